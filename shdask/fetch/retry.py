"""The only retry loop: the error's class says whether to try again, its advice or a backoff says when.

Refuses to know what is tried.
"""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from shdask.errors import RateLimited, ShdaskError, TokenRejected

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """How long and how often one request is tried."""

    max_retries: int = 6
    """For errors that bring no ``max_retries`` of their own; 429s do not count."""
    base_wait_s: float = 1.0
    """The n-th wait is random between 0 and ``base_wait_s`` x ``growth``^(n-1) (full jitter) ..."""
    growth: float = 2.0
    max_wait_s: float = 30.0
    """... and at most this."""
    total_s: float = 900.0
    """No attempt starts later than this after the first."""


def call_with_retries(
    attempt: Callable[[], T],
    policy: RetryPolicy,
    *,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], object] = time.sleep,
    rng: Callable[[], float] = random.random,
    on_error: Callable[[ShdaskError, float], None] | None = None,
    is_enough: Callable[[], bool] = lambda: False,
) -> T:
    """Returns what ``attempt`` returns, calling it again after errors whose class is retryable.

    A 429 waits as long as the service advises and is bounded by the total time only; after a first refused token it
    is tried at once. ``on_error`` hears each error that is tried again, and the seconds until then. ``is_enough`` is
    asked after each error whether the attempts have cost enough. ``rng`` gives [0, 1).
    Raises the last error, with a note on how often and how long it was tried.
    """
    started = clock()
    failures: Counter[type[ShdaskError]] = Counter()
    while True:
        try:
            return attempt()
        except ShdaskError as error:
            kind = type(error)
            failures[kind] += 1
            wait_s = _wait_s(error, failures[kind], policy, rng)
            left_s = started + policy.total_s - clock()
            if not kind.retryable or _used_up(error, failures, policy) or wait_s > left_s or is_enough():
                if kind.retryable:
                    tried = failures.total()
                    error.add_note(f"given up after {tried} attempts in {clock() - started:.1f} s")
                raise
            if on_error is not None:
                on_error(error, wait_s)
        sleep(wait_s)


def _used_up(error: ShdaskError, failures: Counter[type[ShdaskError]], policy: RetryPolicy) -> bool:
    if isinstance(error, RateLimited):
        return False
    if error.max_retries is not None:
        return failures[type(error)] > error.max_retries
    counted = sum(count for kind, count in failures.items() if kind.max_retries is None and kind is not RateLimited)
    return counted > policy.max_retries


def _wait_s(error: ShdaskError, failures: int, policy: RetryPolicy, rng: Callable[[], float]) -> float:
    if isinstance(error, TokenRejected) and failures == 1:
        return 0.0
    if isinstance(error, RateLimited) and error.retry_after_s is not None:
        return error.retry_after_s
    # an exponent beyond 32 says nothing but max_wait_s, and would overflow after a thousand 429s
    return rng() * min(policy.max_wait_s, policy.base_wait_s * policy.growth ** min(failures - 1, 32))
