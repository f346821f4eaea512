"""One limit as a bucket of permits, counted by the time at which it would be full (generic cell rate algorithm).

A state machine with ``now`` as an argument. Refuses to know what is limited, and how the limit was found.
"""

from __future__ import annotations

from dataclasses import dataclass

from shdask.errors import PlanError


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

    def empty(self, at: float, owed: float = 0.0) -> None:
        """Holds nothing at the moment ``at``, or ``owed`` less than that, and refills from there."""
        self.full_at = max(self.full_at, at + (self.burst + owed) / self.rate_per_s)

    def missing(self, at: float) -> float:
        """What the full bucket holds more than this one at ``at``."""
        return max(0.0, self.full_at - at) * self.rate_per_s

    def level(self, at: float) -> float:
        """What could be taken at once at ``at``; negative while something dearer than the burst is paid off."""
        return self.burst - self.missing(at)


@dataclass(slots=True, kw_only=True)
class Dry:
    """A moment at which the service's bucket was empty, and what was counted until then."""

    at: float
    permits: int
    pu_permitted: float
    rejections: int
