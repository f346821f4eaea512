"""The two buckets every data call must pass, and the advice to those that must wait.

Refuses to know HTTP and the clock.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Self

from shdask.emulator.config import EmulatorConfig
from shdask.emulator.quota import Bucket

UNITS_PER_S = {"ms": 1000, "s": 1}


@dataclass(frozen=True, slots=True, kw_only=True)
class Limited:
    """A call that must wait."""

    code: str
    message: str
    retry_after: int | None
    """In the configured unit, rounded up; None where waiting does not help."""


class Limits:
    """Requests and processing units of one account."""

    def __init__(self, *, requests: Bucket, units: Bucket, units_per_s: int) -> None:
        self._requests = requests
        self._pu = units
        self._units_per_s = units_per_s

    @classmethod
    def make(cls, config: EmulatorConfig, now: float) -> Self:
        """Full buckets of the configured rates."""
        return cls(
            requests=Bucket(per_minute=config.requests_per_minute, capacity=config.request_burst, now=now),
            units=Bucket(per_minute=config.pu_per_minute, capacity=config.pu_burst, now=now),
            units_per_s=UNITS_PER_S[config.retry_after_unit],
        )

    def admit(self, now: float) -> Limited | None:
        """Take one request; None when it may pass."""
        wait_s = self._requests.wait_s(1.0, now)
        if wait_s:
            return self._limited(wait_s)
        self._requests.take(1.0, now)
        return None

    def charge(self, pu: float, now: float) -> Limited | None:
        """Take ``pu``; a call that is turned away here gets its request back."""
        wait_s = self._pu.wait_s(pu, now)
        if wait_s:
            self._requests.give_back(1.0, now)
            return self._limited(wait_s)
        self._pu.take(pu, now)
        return None

    def refund(self, pu: float, now: float) -> None:
        """Return the units of a call that failed; only answers with 2xx cost."""
        self._pu.give_back(pu, now)

    def _limited(self, wait_s: float) -> Limited:
        if math.isinf(wait_s):
            return Limited(
                code="RATE_LIMIT_TOKEN_COUNT_EXCEEDS_CAPACITY",
                message="The request needs more than your rate limit can ever hold",
                retry_after=None,
            )
        return Limited(
            code="RATE_LIMIT_EXCEEDED",
            message="You have exceeded your rate limit",
            retry_after=math.ceil(wait_s * self._units_per_s),
        )
