"""Which share of the believed rates is in force: down on 429s, towards what was granted, and up again carefully.

A state machine with ``now`` as an argument. Refuses to know buckets, and who uses the rates besides us.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

SLOWDOWN = 0.95
"""After a 429 of which nothing is known; a reaction is at least as large."""
LARGEST_SLOWDOWN = 0.5
RECOVERY_PER_S = 0.01
BELOW_LIMIT = 0.97
"""Where the service was seen to grant a rate, this share of it is used at first ..."""
ABOVE_LIMIT = 1.03
CARE_PER_S = 0.001
"""... and around it the rate grows so slowly that the bucket's reserve bears it for a minute."""
CLIMB_PER_S = 0.003
"""Above rates that are only a guess."""
MOST_SHARE = 4.0
"""Of rates that are a guess: the largest published plan has four times the requests of the smallest."""
LONGEST_S = 3600.0
"""An hour recovers from anything; the power of a day would overflow."""
LEAST_SHARE = 0.01


@dataclass(slots=True, kw_only=True)
class Pace:
    """The share, and the rate at which the service's bucket ran dry, as a share too."""

    most: float = 1.0
    """1 where the rates are the account's own."""
    share: float = 1.0
    limit: float | None = None
    """What was granted while the bucket was empty; None until that could be told."""
    _at: float = float("-inf")

    def recover(self, now: float, *, in_use: bool) -> bool:
        """Raises the share by the time that has passed; True if it changed. Beyond 1 only where it is ``in_use``."""
        elapsed_s, self._at = now - self._at, max(now, self._at)
        top = self.most if in_use else max(1.0, min(self.share, self.most))
        if elapsed_s <= 0 or self.share >= top:
            return False
        self.share = self._grown(min(elapsed_s, LONGEST_S), top)
        return True

    def slow(self, granted: float | None) -> None:
        """Lowers the share, to what the service ``granted`` since its bucket was last empty where that is known."""
        least = max(LEAST_SHARE, LARGEST_SLOWDOWN * self.share)
        most = max(LEAST_SHARE, SLOWDOWN * self.share)
        if granted is None:
            self.share = most
            return
        self.limit = min(granted, self.share)
        self.share = min(most, max(least, BELOW_LIMIT * self.limit))

    def _grown(self, left_s: float, top: float) -> float:
        share = self.share
        for end, per_s in self._bands():
            end_here = min(end, top)
            if share >= end_here:
                continue
            needed_s = math.log(end_here / share) / math.log1p(per_s)
            if needed_s >= left_s:
                return min(end_here, share * math.exp(left_s * math.log1p(per_s)))
            share, left_s = end_here, left_s - needed_s
        return share

    def _bands(self) -> Iterator[tuple[float, float]]:
        """(up to which share, growth per second), ascending but for those that are of no more meaning."""
        if self.limit is not None:
            yield BELOW_LIMIT * self.limit, RECOVERY_PER_S
            yield ABOVE_LIMIT * self.limit, CARE_PER_S
        yield 1.0, RECOVERY_PER_S
        yield self.most, CLIMB_PER_S
