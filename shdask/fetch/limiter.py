"""When the next request may be sent: two GCRA buckets (requests and processing units), and one reaction to 429.

A state machine with ``now`` as an argument. Refuses to know HTTP, clocks of its own, and who shares the limit.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from shdask.errors import PlanError
from shdask.fetch.outage import Outage, OutageRule
from shdask.settings import Deployment

HORIZON_S = 1.0
"""A lease holds no permit later than this, but for its first: a lost worker wastes one second of its share."""
REACTION_WINDOW_S = 1.0
"""One reaction to 429 per window: answering each of a volley of 429s would halve the rate for one mistake."""
SLOWDOWN = 0.95
RECOVERY_PER_S = 0.01
BUCKET_S = 60.0
"""The service's buckets hold one minute of their rate and are full at first (documented samplingPeriod PT1M)."""
PROBE_S = 1.0
"""While the service seems down, whoever wants a permit asks again so often."""
BURST_SHARE = 0.5
"""Our burst as a share of the service's bucket; the rest absorbs jitter on the way (measured: no 429 at full rate)."""


@dataclass(slots=True, kw_only=True)
class Bucket:
    """One limit as a generic cell rate algorithm: over any time window, permits <= burst + rate x time.

    A permit that costs more than the burst waits until the bucket is full and is then paid off. Times are
    seconds of one monotonic clock, and permits must be taken in the order of their times.
    """

    rate_per_s: float
    burst: float
    full_at: float = float("-inf")
    """When the bucket would be full again if nothing more were taken (the theoretical arrival time)."""

    def __post_init__(self) -> None:
        if not (0 < self.rate_per_s < float("inf") and 0 < self.burst < float("inf")):
            raise PlanError(f"a rate limit must be positive and finite: {self.rate_per_s} per s, burst {self.burst}")

    def earliest(self, cost: float) -> float:
        """The first moment at which a permit of ``cost`` may be taken; may lie in the past."""
        return self.full_at - max(0.0, self.burst - cost) / self.rate_per_s

    def take(self, cost: float, at: float) -> None:
        """Takes a permit of ``cost`` at the moment ``at``, which must not be before ``earliest(cost)``."""
        self.full_at = max(self.full_at, at) + cost / self.rate_per_s

    def change_rate(self, rate_per_s: float, at: float) -> None:
        """Refills by another rate from ``at`` on; what the bucket holds at that moment stays."""
        if self.full_at > at:
            self.full_at = at + (self.full_at - at) * self.rate_per_s / rate_per_s
        self.rate_per_s = rate_per_s

    def empty(self, at: float) -> None:
        """Holds nothing at the moment ``at`` and refills from there."""
        self.full_at = max(self.full_at, at + self.burst / self.rate_per_s)

    def level(self, at: float) -> float:
        """What could be taken at once at ``at``; negative while something dearer than the burst is paid off."""
        return self.burst - max(0.0, self.full_at - at) * self.rate_per_s


@dataclass(slots=True, kw_only=True)
class LimiterState:
    """Both limits of one account. Neither thread-safe nor asynchronous: its one owner calls it in turn."""

    requests: Bucket
    pu: Bucket
    outage: Outage = field(default_factory=Outage)
    _requests_per_s: float = field(init=False)
    _pu_per_s: float = field(init=False)
    _share: float = field(init=False, default=1.0)
    _share_at: float = field(init=False, default=float("-inf"))
    _last_permit: float = field(init=False, default=float("-inf"))
    _held_until: float = field(init=False, default=float("-inf"))
    _reacted: float = field(init=False, default=float("-inf"))
    _permits: int = field(init=False, default=0)
    _pu_permitted: float = field(init=False, default=0.0)
    _rejections: int = field(init=False, default=0)
    _reactions: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        self._requests_per_s = self.requests.rate_per_s
        self._pu_per_s = self.pu.rate_per_s

    @classmethod
    def for_deployment(cls, deployment: Deployment, outage: OutageRule | None = None) -> LimiterState:
        """The limiter for the deployment's rates. Raises PlanError for a rate that is not positive and finite."""

        def bucket(per_minute: float) -> Bucket:
            rate = per_minute / 60
            return Bucket(rate_per_s=rate, burst=BURST_SHARE * rate * BUCKET_S)

        return cls(
            requests=bucket(deployment.requests_per_minute),
            pu=bucket(deployment.pu_per_minute),
            outage=Outage(rule=outage or OutageRule()),
        )

    def lease(self, count: int, pu_each: float, now: float) -> tuple[float, ...]:
        """Timed permits for up to ``count`` requests of ``pu_each`` PU: seconds from ``now``, never decreasing.

        All but the first lie within ``HORIZON_S``; there is always one, unless the service seems down: then there is
        none, or a single one to see whether that is over. Ask again when they are used up (when there was none, after
        ``PROBE_S``), and drop those not yet used when a request is answered 429 or fails.
        Raises ValueError for a count below 1 or a negative price, ServiceDown when it is time to give up.
        """
        if count < 1 or not 0 <= pu_each < float("inf"):
            raise ValueError(f"cannot lease {count} permits of {pu_each} PU")
        down = self.outage.stops(now)
        if down is not None:
            raise down
        if self.outage.paused:
            if self.outage.pause_s(now) > 0:
                return ()
            self.outage.probe(now)
            count = 1
        self._recover(now)
        delays: list[float] = []
        while len(delays) < count:
            # a hold needs no word here: the buckets are empty until its end
            at = max(now, self._last_permit, self.requests.earliest(1), self.pu.earliest(pu_each))
            if delays and at - now > HORIZON_S:
                break
            self.requests.take(1, at)
            self.pu.take(pu_each, at)
            self._last_permit = at
            delays.append(at - now)
        self._permits += len(delays)
        self._pu_permitted += pu_each * len(delays)
        return tuple(delays)

    def rejected(self, now: float, retry_after_s: float | None) -> bool:
        """Reports one 429. True if it slowed the rate: at most once per ``REACTION_WINDOW_S``.

        Nothing is permitted until ``retry_after_s`` has passed, and the buckets are then empty. Both rates fall by
        5 % (the service does not say which limit was hit) and recover by 1 % per second.
        """
        self._rejections += 1
        self._held_until = max(self._held_until, now + max(0.0, retry_after_s or 0.0))
        slows = now - self._reacted >= REACTION_WINDOW_S
        if slows:
            self._recover(now)
            self._reacted = now
            self._reactions += 1
            self._set_share(self._share * SLOWDOWN, now)
        for bucket in (self.requests, self.pu):
            bucket.empty(max(self._held_until, self._last_permit))
        return slows

    def failed(self, now: float, text: str) -> bool:
        """Reports a request that brought nothing; True if everyone pauses now."""
        self.outage.failed(now, text)
        return self.outage.paused

    def answered(self) -> None:
        """Reports that a request brought what it was sent for, or a plain refusal."""
        self.outage.answered()

    def held_s(self, now: float) -> float:
        """Seconds from ``now`` during which the service asked for silence."""
        return max(0.0, self._held_until - now)

    def snapshot(self, now: float) -> dict[str, float]:
        """What the limiter holds at ``now``, as plain numbers for displays.

        ``requests_per_s`` and ``pu_per_s`` are the rates in force and ``rate_share`` their share of the configured
        ones; ``requests_available`` and ``pu_available`` could be taken at once, at most ``requests_burst`` and
        ``pu_burst``; ``held_s`` is what is left of the service's advice to wait; ``failures`` are those in a row, and
        ``paused`` is 1 while the service seems down; ``permits``, ``pu_permitted``, ``rejections`` (429s reported) and
        ``reactions`` (those that slowed the rate) count from the start.
        """
        self._recover(now)
        return {
            "requests_per_s": self.requests.rate_per_s,
            "pu_per_s": self.pu.rate_per_s,
            "rate_share": self._share,
            "requests_available": max(0.0, self.requests.level(now)),
            "pu_available": max(0.0, self.pu.level(now)),
            "requests_burst": self.requests.burst,
            "pu_burst": self.pu.burst,
            "held_s": self.held_s(now),
            "failures": self.outage.failures,
            "paused": float(self.outage.paused),
            "permits": self._permits,
            "pu_permitted": self._pu_permitted,
            "rejections": self._rejections,
            "reactions": self._reactions,
        }

    def _recover(self, now: float) -> None:
        if self._share < 1.0 and now > self._share_at:
            # an hour recovers from anything; the power of a day would overflow
            elapsed_s = min(now - self._share_at, 3600.0)
            self._set_share(min(1.0, self._share * (1 + RECOVERY_PER_S) ** elapsed_s), now)

    def _set_share(self, share: float, now: float) -> None:
        # permits already given for later keep their times, and a hold its empty end: another rate begins after both
        at = max(now, self._last_permit, self._held_until)
        self._share, self._share_at = share, now
        self.requests.change_rate(self._requests_per_s * share, at)
        self.pu.change_rate(self._pu_per_s * share, at)


class RateGate(Protocol):
    """Gives the permit to send one request. Thread-safe."""

    def acquire(self, pu: float) -> float:
        """Blocks until a request of ``pu`` processing units may be sent; returns the seconds waited.

        Raises ServiceDown when the service has brought nothing for too long.
        """
        ...

    def answered(self) -> None:
        """Reports that a request brought what it was sent for, or a plain refusal."""
        ...

    def failed(self, text: str) -> None:
        """Reports that a request brought nothing: no answer, 5xx, or no picture; ``text`` says why."""
        ...

    def rejected(self, retry_after_s: float | None) -> None:
        """Reports that a request was answered 429, with the service's advice in seconds if it gave one."""
        ...


class LocalRateGate:
    """A RateGate for the threads of one process, one permit at a time, over a ``LimiterState`` it alone owns."""

    def __init__(
        self,
        state: LimiterState,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        self._state = state
        self._clock = clock
        self._sleep = sleep
        self._turn = threading.Lock()
        self._state_lock = threading.Lock()

    def acquire(self, pu: float) -> float:
        """Blocks until a request of ``pu`` processing units may be sent; returns the seconds waited.

        Raises ServiceDown when the service has brought nothing for too long.
        """
        asked = self._clock()
        # Only the thread whose turn it is holds a permit for later: if a 429 arrives meanwhile, one is late, not all.
        with self._turn:
            delay = self._lease(pu)
            while delay > 0:
                self._sleep(delay)
                with self._state_lock:
                    delay = self._state.held_s(self._clock())
        return self._clock() - asked

    def _lease(self, pu: float) -> float:
        """Seconds until the next permit is good; sleeps for as long as the service seems down."""
        while True:
            with self._state_lock:
                delays = self._state.lease(1, pu, self._clock())
            if delays:
                return delays[0]
            self._sleep(PROBE_S)

    def answered(self) -> None:
        """Reports that a request brought what it was sent for, or a plain refusal."""
        with self._state_lock:
            self._state.answered()

    def failed(self, text: str) -> None:
        """Reports that a request brought nothing: no answer, 5xx, or no picture; ``text`` says why."""
        with self._state_lock:
            self._state.failed(self._clock(), text)

    def rejected(self, retry_after_s: float | None) -> None:
        """Reports that a request was answered 429, with the service's advice in seconds if it gave one."""
        with self._state_lock:
            self._state.rejected(self._clock(), retry_after_s)

    def snapshot(self) -> dict[str, float]:
        """What the limiter holds now; the numbers of ``LimiterState.snapshot``."""
        with self._state_lock:
            return self._state.snapshot(self._clock())
