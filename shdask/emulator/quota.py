"""Token buckets that decide who must wait, and the price of a request.

Refuses to know the clock: time is an argument. The formula is written here a second time, on purpose.
"""

from __future__ import annotations

from dataclasses import dataclass

NANOSECOND_S = 1e-9

AREA_UNIT_PX = 512 * 512
MINIMUM_AREA = 0.01
BANDS_UNIT = 3
FLOAT32_FACTOR = 2.0
MINIMUM_PU = 0.005


class Bucket:
    """A token bucket, full at the start and refilled continuously up to its capacity.

    A take is honoured when the bucket holds as much; the emulator's clock only moves forward.
    """

    def __init__(self, *, per_minute: float | None, capacity: float | None, now: float) -> None:
        """A bucket filled at ``per_minute`` tokens; ``capacity`` None holds one minute's worth; no rate, no limit."""
        self.rate = None if per_minute is None else per_minute / 60.0
        self.capacity = capacity if capacity is not None else (per_minute or 0.0)
        self._level = self.capacity
        self._updated = now

    def level(self, now: float) -> float:
        """Tokens held at ``now`` (seconds)."""
        if self.rate is not None and now > self._updated:
            self._level = min(self.capacity, self._level + (now - self._updated) * self.rate)
            self._updated = now
        return self._level

    def wait_s(self, amount: float, now: float) -> float:
        """Seconds until ``amount`` tokens are there; 0 when they are; infinite when they never will be."""
        if self.rate is None:
            return 0.0
        if amount > self.capacity:
            return float("inf")
        missing = amount - self.level(now)
        # a refill counted in floats may fall short by the last bit; the service counts nanoseconds
        return 0.0 if missing <= self.rate * NANOSECOND_S else missing / self.rate

    def take(self, amount: float, now: float) -> None:
        """Remove ``amount`` tokens; to be called after ``wait_s`` answered 0."""
        if self.rate is not None:
            self._level = max(0.0, self.level(now) - amount)

    def give_back(self, amount: float, now: float) -> None:
        """Return ``amount`` tokens that were not spent."""
        if self.rate is not None:
            self._level = min(self.capacity, self.level(now) + amount)


@dataclass(frozen=True, slots=True, kw_only=True)
class Priced:
    """What the price of a Process request depends on."""

    width_px: int
    height_px: int
    inputs: tuple[tuple[int, int], ...]
    """Per input of setup(): its bands (``dataMask`` counts only where it stands alone) and the samples of a pixel."""
    float32: bool
    """A TIFF of 32-bit floats."""


def price_pu(request: Priced) -> float:
    """Processing units of one Process request: area x bands x samples x format x fusion, at least 0.005. Pure.

    Source: documentation page "Processing Unit", with the published examples. How bands and samples of several inputs
    go together is not documented; here each input's product is added up, then multiplied by the number of inputs.
    """
    area = max(request.width_px * request.height_px / AREA_UNIT_PX, MINIMUM_AREA)
    bands = sum(count * samples for count, samples in request.inputs) / BANDS_UNIT
    factor = len(request.inputs) * (FLOAT32_FACTOR if request.float32 else 1.0)
    return max(area * bands * factor, MINIMUM_PU)
