"""How much of its rate an account may use at once: found out with few requests at risk, in seconds of the rate.

A state machine with ``now`` as an argument. Refuses to know buckets, and what a request is.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

MINUTE_S = 60.0
"""The service's buckets hold one minute of their rate and are full at first (observed: samplingPeriod PT1M)."""
RESERVE_S = 2.0
"""So much of a bucket, and half of a small one, is left for requests that are late and then come close together."""
LEAST_S = 0.25
"""A burst is not cut below this: without one, every moment that nobody asks is lost."""
LATE_S = 1.0
"""A permit used so long ago is taken for granted, where nothing was heard of it: a 429 is answered at once."""
STEP = 1 / 8
"""What is at risk at a time: a single request, or this share of what is known ..."""
STEP_FROM_S = 0.5
"""... beyond this, so that a bucket of one second costs a single 429."""
SEARCH_AGAIN = 2000
"""After so many permits, and a minute's rest, a bucket that was found small is looked at again: it may cost a 429."""
SEARCH_AGAIN_S = 3600.0
"""Or after so long a time: few permits are no reason to believe for ever what one 429 said."""


def usable_s(bucket_s: float) -> float:
    """What of a bucket of so many seconds may be used at once. Pure."""
    return bucket_s - min(bucket_s / 2, RESERVE_S)


def reserve_s(known_s: float) -> float:
    """What is left of the bucket of which ``known_s`` may be used. Pure; `usable_s` read backwards."""
    return min(known_s, RESERVE_S)


@dataclass(slots=True, kw_only=True)
class BurstSearch:
    """What the service's bucket is known to hold: raised by what was granted, cut by the first 429.

    All sizes are seconds of the account's rate, the same for requests and processing units.
    """

    known_s: float
    """May be used at once; while searching, was used at once and granted."""
    most_s: float
    searching: bool = True
    _asked: deque[tuple[int, float, float]] = field(default_factory=deque)
    """(number of the permit, its time, what was in use with it) of the permits beyond what is known."""
    _refused_at: int = 0
    """Number of the last permit before the last refusal."""
    _refused_s: float = float("-inf")
    """When that was."""

    @classmethod
    def of_bucket(cls, bucket_s: float | None) -> BurstSearch:
        """Where a bucket of so many seconds is known to be there, or where none is. Pure."""
        if bucket_s is None:
            return cls(known_s=0.0, most_s=usable_s(MINUTE_S))
        return cls(known_s=usable_s(bucket_s), most_s=usable_s(bucket_s), searching=False)

    @property
    def is_waiting(self) -> bool:
        """Whether something beyond what is known was asked for, and not heard of."""
        return bool(self._asked)

    def allowed_s(self, request_s: float) -> float:
        """What may be in use now, where one request takes ``request_s``."""
        if not self.searching:
            return self.known_s
        return min(self.most_s, self.known_s + max(request_s, STEP * (self.known_s - STEP_FROM_S)))

    def permitted(self, number: int, at: float, used_s: float) -> None:
        """Reports that with the permit of this number ``used_s`` will be in use at ``at``."""
        frontier_s = self._asked[-1][2] if self._asked else self.known_s
        if self.searching and used_s > frontier_s:
            self._asked.append((number, at, used_s))

    def heard(self, outcomes: int, now: float) -> None:
        """Reports the number of permits of which it is known what became of them."""
        while self._asked and (self._asked[0][0] <= outcomes or now - self._asked[0][1] >= LATE_S):
            self.known_s = min(self.most_s, self._asked.popleft()[2])
        if self.known_s >= self.most_s:
            self.searching = False

    def refused(self, number: int, used_s: float, now: float) -> None:
        """Reports a 429 that came ``now``, when ``number`` permits were given and ``used_s`` was in use.

        One that came well below what was known says that less is there; one at the limit, that the rate was wrong.
        """
        if self.searching:
            self.known_s = max(LEAST_S, usable_s(self.known_s))
        elif used_s < 0.75 * self.known_s:
            self.known_s = max(min(LEAST_S, self.known_s), usable_s(used_s))
        self.searching = False
        self._asked.clear()
        self._refused_at, self._refused_s = number, now

    def rested(self, number: int, now: float) -> None:
        """Reports, ``number`` permits given, that a bucket of a minute would be full again."""
        is_old = number - self._refused_at >= SEARCH_AGAIN or now - self._refused_s >= SEARCH_AGAIN_S
        if self.known_s < self.most_s and is_old:
            self.searching = True

    def learn(self, known_s: float, *, searching: bool, now: float) -> None:
        """Takes over what an earlier process has found, as if it had been refused ``now``."""
        self.known_s = min(known_s, self.most_s)
        self.searching = searching and self.known_s < self.most_s
        self._refused_s = now

    def after(self, earlier: BurstSearch) -> None:
        """Takes over what ``earlier`` knows, where its permits go on being counted."""
        self.known_s = min(earlier.known_s, self.most_s)
        self.searching = earlier.searching and self.known_s < self.most_s
        self._refused_at, self._refused_s = earlier._refused_at, earlier._refused_s
