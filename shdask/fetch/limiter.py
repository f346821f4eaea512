"""When the next request may be sent: two GCRA buckets (requests and processing units), and one reaction to 429.

A state machine with ``now`` as an argument. Refuses to know HTTP, clocks of its own, and who shares the limit.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from shdask.fetch.burst import MINUTE_S, BurstSearch, reserve_s
from shdask.fetch.gcra import Bucket, Dry
from shdask.fetch.outage import Outage, OutageRule
from shdask.fetch.pace import MOST_SHARE, Pace
from shdask.settings import Deployment

__all__ = ["Bucket", "LimiterState", "LocalRateGate", "RateGate"]

HORIZON_S = 1.0
"""A lease holds no permit later than this, but for its first: a lost worker wastes one second of its share."""
SEARCH_HORIZON_S = 0.25
"""The same while the burst is searched: permits in hand are sent although somebody was answered 429."""
REACTION_WINDOW_S = 1.0
"""One reaction to 429 per window: answering each of a volley of 429s would halve the rate for one mistake."""
NEWS_S = 5.0
"""A 429 so long after the last reaction is of a request sent after it, whatever else is still out."""
PROBE_S = 1.0
"""While the service seems down, whoever wants a permit asks again so often; while the burst is searched, sooner."""
LEAST_SPAN_S = 2.0
"""What was granted is told from a time at least so long."""
IDLE_S = 5.0
"""So long after the last permit, nobody uses the rate: it does not show that more than a guess is granted."""
DRY_S = 1.0
"""A bucket of ours that holds less than this is as good as empty."""
_KEPT = (
    *("_held_until", "_last_permit", "_reacted", "_reacted_at", "_reactions"),
    *("_permits", "_pu_permitted", "_outcomes", "_rejections"),
)
"""Other rates change neither what the service has asked for, nor what was counted."""


@dataclass(slots=True, kw_only=True)
class LimiterState:
    """Both limits of one account. Neither thread-safe nor asynchronous: its one owner calls it in turn."""

    requests: Bucket
    pu: Bucket
    burst: BurstSearch | None = None
    """Sets the bursts of both buckets; without it they stay as they are."""
    requests_most: float = 1.0
    """The share of the rate that may be tried: above 1 where it is a guess."""
    pu_most: float = 1.0
    pace: Pace = field(init=False)
    outage: Outage = field(default_factory=Outage)
    _requests_per_s: float = field(init=False)
    _pu_per_s: float = field(init=False)
    _last_permit: float = field(init=False, default=float("-inf"))
    _waited: bool = field(init=False, default=False)
    """Whether the last permit was one for later."""
    _top: float = field(init=False, default=1.0)
    """The largest share of the rate that the last permit waited for."""
    _held_until: float = field(init=False, default=float("-inf"))
    _reacted: float = field(init=False, default=float("-inf"))
    _reacted_at: int = field(init=False, default=0)
    """Number of the last permit before the last reaction."""
    _dry: Dry | None = field(init=False, default=None)
    _permits: int = field(init=False, default=0)
    _pu_permitted: float = field(init=False, default=0.0)
    _outcomes: int = field(init=False, default=0)
    """Permits of which it is known what became of them."""
    _rejections: int = field(init=False, default=0)
    _reactions: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        self._requests_per_s = self.requests.rate_per_s
        self._pu_per_s = self.pu.rate_per_s
        self.pace = Pace(most=max(self.requests_most, self.pu_most))

    @classmethod
    def for_deployment(cls, deployment: Deployment, outage: OutageRule | None = None) -> LimiterState:
        """The limiter for the deployment's rates. Raises PlanError for a rate that is not positive and finite.

        Where the deployment does not say what the service's bucket holds, the burst is searched, from one request on.
        """
        burst = BurstSearch.of_bucket(deployment.bucket_s)

        def bucket(per_minute: float) -> Bucket:
            rate = per_minute / 60
            return Bucket(rate_per_s=rate, burst=max(1.0, rate * burst.known_s))

        return cls(
            requests=bucket(deployment.requests_per_minute),
            pu=bucket(deployment.pu_per_minute),
            burst=burst,
            requests_most=MOST_SHARE if deployment.requests_guessed else 1.0,
            pu_most=MOST_SHARE if deployment.pu_guessed else 1.0,
            outage=Outage(rule=outage or OutageRule()),
        )

    def after(self, earlier: LimiterState, now: float) -> None:
        """Takes over what ``earlier``, of other rates on the same account, has used and knows of the burst."""
        for name in _KEPT:
            setattr(self, name, getattr(earlier, name))
        if self.burst is not None and earlier.burst is not None and self.burst.searching:
            self.burst.after(earlier.burst)
        self._set_burst(0.0, now)
        for mine, other in ((self.requests, earlier.requests), (self.pu, earlier.pu)):
            mine.full_at = now + other.missing(now) / mine.rate_per_s
            if self._held_until > now:
                mine.full_at = max(mine.full_at, self._held_until + mine.burst / mine.rate_per_s)

    def go_on(self, *, known_s: float, searching: float, used_s: float, now: float) -> None:
        """Begins with what an earlier limiter of the account has found, and left: ``burst_*`` of its snapshot."""
        if self.burst is None:
            return
        if self.burst.searching:
            self.burst.learn(known_s, searching=bool(searching), now=now)
        for bucket in (self.requests, self.pu):
            bucket.full_at = now + used_s

    def lease(self, count: int, pu_each: float, now: float) -> tuple[float, ...]:
        """Timed permits for up to ``count`` requests of ``pu_each`` PU: seconds from ``now``, never decreasing.

        All but the first lie within ``HORIZON_S``; there is always one, with two exceptions: while the service seems
        down there is none, or a single one to see whether that is over; and there is none where more may be had soon,
        once it is known whether a burst was granted. Ask again when they are used up (when there was none, after
        ``ask_again_s``), and drop those not yet used when a request is answered 429 or fails.
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
        self._rest(now)
        return self._take(count, pu_each, now)

    def _take(self, count: int, pu_each: float, now: float) -> tuple[float, ...]:
        delays: list[float] = []
        while len(delays) < count:
            self._set_burst(pu_each, now)
            # a hold needs no word here: the buckets are empty until its end
            one, units = self.requests.earliest(1), self.pu.earliest(pu_each)
            self._top = self.requests_most if one >= units else self.pu_most
            at = max(now, self._last_permit, one, units)
            if delays and at - now > self._horizon_s:
                break
            if self.burst is not None and self.burst.is_waiting and at - now > SEARCH_HORIZON_S:
                break
            self.requests.take(1, at)
            self.pu.take(pu_each, at)
            self._last_permit = at
            delays.append(at - now)
            self._permits += 1
            self._pu_permitted += pu_each
            if self.burst is not None:
                self.burst.permitted(self._permits, at, self._used_s(at))
        self._waited = not delays or delays[-1] > 0
        return tuple(delays)

    @property
    def ask_again_s(self) -> float:
        """Seconds after which to ask again when a lease held nothing, or as soon as an answer has come."""
        return PROBE_S if self.outage.paused else SEARCH_HORIZON_S

    @property
    def _horizon_s(self) -> float:
        return SEARCH_HORIZON_S if self.burst is not None and self.burst.searching else HORIZON_S

    def _used_s(self, at: float) -> float:
        """How far the service's buckets are from full at ``at``, if they are as we believe; in s of the rates."""
        return max(self.requests.missing(at) / self._requests_per_s, self.pu.missing(at) / self._pu_per_s)

    def _set_burst(self, pu_each: float, now: float) -> None:
        if self.burst is None:
            return
        self.burst.heard(self._outcomes, now)
        allowed_s = self.burst.allowed_s(max(1 / self._requests_per_s, pu_each / self._pu_per_s))
        self.requests.burst = allowed_s * self._requests_per_s
        self.pu.burst = allowed_s * self._pu_per_s

    def _rest(self, now: float) -> None:
        full_at = max(self.requests.full_at, self.pu.full_at)
        if full_at <= now:
            self._dry = None
        if self.burst is not None and now - full_at >= MINUTE_S:
            self.burst.rested(self._permits, now)

    def rejected(self, now: float, retry_after_s: float | None) -> bool:
        """Reports one 429. True if it slowed the rate: at most once per ``REACTION_WINDOW_S``.

        Nor do 429s slow it whose requests were sent before it was last slowed, as far as can be told.
        Nothing is permitted until ``retry_after_s`` has passed, and the buckets are then empty. Both rates fall (the
        service does not say which limit was hit): by 5 %, or to what was granted where two 429s have bounded a time
        in which everything was used. They recover by 1 % per second, and slowly around what was granted. A burst
        that was not there is not used again.
        """
        self._rejections += 1
        self._outcomes += 1
        self._held_until = max(self._held_until, now + max(0.0, retry_after_s or 0.0))
        since_s = now - self._reacted
        slows = since_s >= NEWS_S or (since_s >= REACTION_WINDOW_S and self._outcomes > self._reacted_at)
        owed_s = self._react(now) if slows else 0.0
        at = max(self._held_until, self._last_permit)
        for bucket in (self.requests, self.pu):  # what is owed is a reserve for late requests: of the rate in force
            bucket.empty(at, owed_s * bucket.rate_per_s)
        return slows

    def _react(self, now: float) -> float:
        """Lowers rates and burst; returns how far the service's bucket is below ours, in s of the rate."""
        self._recover(now)
        self._reacted, self._reacted_at = now, self._permits
        self._reactions += 1
        self.pace.share = min(self.pace.share, self._top)
        self.pace.slow(self._granted(max(now, self._last_permit)))
        self._set_rates(now)
        if self.burst is None:
            return 0.0
        self.burst.refused(self._permits, self._used_s(now), now)
        self._set_burst(0.0, now)
        return reserve_s(self.burst.known_s)

    def _granted(self, at: float) -> float | None:
        """What the service gave since it was last found empty, as a share of our rates; None where nobody can tell."""
        since, is_dry = self._dry, self._is_dry(at)
        if since is not None and is_dry and at - since.at < LEAST_SPAN_S:
            return None
        self._dry = Dry(at=at, permits=self._permits, pu_permitted=self._pu_permitted, rejections=self._rejections)
        permits = 0 if since is None else self._permits - since.permits
        if since is None or not is_dry or permits <= 0:
            return None
        span_s, refused = at - since.at, min(permits, self._rejections - since.rejections)
        pu = self._pu_permitted - since.pu_permitted
        share = max(permits / span_s / self._requests_per_s, pu / span_s / self._pu_per_s)
        return share * (1 - refused / permits)

    def _is_dry(self, at: float) -> bool:
        levels_s = (self.requests.level(at) / self._requests_per_s, self.pu.level(at) / self._pu_per_s)
        return min(levels_s) < DRY_S

    def failed(self, now: float, text: str) -> bool:
        """Reports a request that brought nothing; True if everyone pauses now."""
        self._outcomes += 1
        self.outage.failed(now, text)
        return self.outage.paused

    def answered(self, count: int = 1) -> None:
        """Reports that ``count`` requests brought what they were sent for, or a plain refusal."""
        self._outcomes += count
        if count:
            self.outage.answered()

    def unused(self, count: int) -> None:
        """Reports that ``count`` permits were given up and no request was sent with them."""
        self._outcomes += count

    def held_s(self, now: float) -> float:
        """Seconds from ``now`` during which the service asked for silence."""
        return max(0.0, self._held_until - now)

    def snapshot(self, now: float) -> dict[str, float]:
        """What the limiter holds at ``now``, as plain numbers for displays.

        ``requests_per_s`` and ``pu_per_s`` are the rates in force and ``rate_share`` their share of the configured
        ones; ``requests_available`` and ``pu_available`` could be taken at once, at most ``requests_burst`` and
        ``pu_burst``; ``held_s`` is what is left of the service's advice to wait; ``burst_s`` is what the service's
        bucket is known to hold in seconds of the rates, of which ``burst_used_s`` is in use, and more of it is looked
        for where ``burst_searching`` is 1; ``failures`` are those in a row, and ``paused`` is 1 while the service seems
        down; ``permits``, ``pu_permitted``, ``rejections`` (429s reported) and ``reactions`` (those that slowed the
        rate) count from the start.
        """
        self._recover(now)
        return {
            "requests_per_s": self.requests.rate_per_s,
            "pu_per_s": self.pu.rate_per_s,
            "rate_share": self.pace.share,
            "requests_available": max(0.0, self.requests.level(now)),
            "pu_available": max(0.0, self.pu.level(now)),
            "requests_burst": self.requests.burst,
            "pu_burst": self.pu.burst,
            "burst_s": self.requests.burst / self._requests_per_s if self.burst is None else self.burst.known_s,
            "burst_searching": float(self.burst is not None and self.burst.searching),
            "burst_used_s": self._used_s(now),
            "held_s": self.held_s(now),
            "failures": self.outage.failures,
            "paused": float(self.outage.paused),
            "permits": self._permits,
            "pu_permitted": self._pu_permitted,
            "rejections": self._rejections,
            "reactions": self._reactions,
        }

    def _recover(self, now: float) -> None:
        is_used = now - self._last_permit < IDLE_S and now < max(self.requests.full_at, self.pu.full_at)
        if self.pace.recover(now, in_use=self._waited and is_used and self._top > 1):
            self._set_rates(now)

    def _set_rates(self, now: float) -> None:
        # permits already given for later keep their times, and a hold its empty end: another rate begins after both
        at = max(now, self._last_permit, self._held_until)
        self.requests.change_rate(self._requests_per_s * min(self.pace.share, self.requests_most), at)
        self.pu.change_rate(self._pu_per_s * min(self.pace.share, self.pu_most), at)


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
            self._sleep(self._state.ask_again_s)

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
