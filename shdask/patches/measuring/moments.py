"""Count, mean, spread, extremes and percentiles of numbers that come in parts.

Pure. Refuses to know where the numbers come from.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import DTypeLike, NDArray

_EXACT_BITS = 16
"""Integers of so many bits have a bucket each."""
_SHIFT = 14
"""Of a float32 the sign, the exponent and the first nine bits of the fraction choose the bucket."""
_SIGN = np.uint32(1 << 31)


@dataclass(frozen=True, slots=True, kw_only=True)
class Buckets:
    """Numbers of one type, in buckets that ascend with them.

    Integers of up to 16 bits have a bucket each; all others are taken as float32, and a bucket is as wide as 1/512 of
    the power of two below it.
    """

    exact: bool
    lowest: int
    """Of the integers that have one each."""

    @classmethod
    def of(cls, dtype: DTypeLike) -> Self:
        """Those for numbers of ``dtype``. Pure."""
        kind = np.dtype(dtype)
        exact = kind.kind in "iu" and kind.itemsize * 8 <= _EXACT_BITS
        return cls(exact=exact, lowest=int(np.iinfo(kind).min) if exact else 0)

    def find(self, values: NDArray[np.number]) -> NDArray[np.int64]:
        """The bucket of each of finite ``values``. Pure."""
        if self.exact:
            return np.asarray(values.astype(np.int64) - self.lowest)
        largest = np.finfo(np.float32).max
        whole = np.clip(values, -largest, largest).astype(np.float32) + np.float32(0)  # which makes of -0 the other
        bits = whole.view(np.uint32)
        ascending = np.where(bits & _SIGN, ~bits, bits | _SIGN)
        return np.asarray(ascending >> np.uint32(_SHIFT), np.int64)

    def edges(self, bucket: int) -> tuple[float, float]:
        """(lower, upper) edge of a bucket: the same number where it holds one only. Pure."""
        if self.exact:
            return float(bucket + self.lowest), float(bucket + self.lowest)
        ascending = np.array([bucket << _SHIFT, ((bucket + 1) << _SHIFT) - 1], np.uint32)
        bits = np.where(ascending & _SIGN, ascending & ~_SIGN, ~ascending)
        lower, upper = bits.astype(np.uint32).view(np.float32).tolist()
        return lower, upper


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Moments:
    """What is known of some numbers; parts are put together by `merge`."""

    buckets: Buckets
    count: int = 0
    mean: float = 0.0
    squares: float = 0.0
    """Sum of squared differences from the mean."""
    least: float = math.inf
    most: float = -math.inf
    first: int = 0
    """The bucket that ``filled`` begins with."""
    filled: NDArray[np.int64]
    """How many numbers fell in each bucket."""

    @classmethod
    def of(cls, values: NDArray[np.number], dtype: DTypeLike) -> Self:
        """Those of finite ``values``, of any shape, that are stored as ``dtype``. Pure."""
        buckets = Buckets.of(dtype)
        if not values.size:
            return cls(buckets=buckets, filled=np.zeros(0, np.int64))
        mean = float(np.mean(values, dtype=np.float64))
        away = values.astype(np.float64).ravel() - mean
        found = buckets.find(values.ravel())
        first = int(found.min())
        return cls(
            buckets=buckets,
            count=values.size,
            mean=mean,
            squares=float(np.dot(away, away)),
            least=float(values.min()),
            most=float(values.max()),
            first=first,
            filled=np.bincount(found - first),
        )

    def merge(self, other: Moments) -> Moments:
        """Those of both. Pure. Source: Chan, Golub and LeVeque 1979, "Updating formulae and a pairwise algorithm"."""
        if not other.count or not self.count:
            return self if self.count else other
        count = self.count + other.count
        apart = other.mean - self.mean
        first = min(self.first, other.first)
        filled = np.zeros(max(part.first + part.filled.size for part in (self, other)) - first, np.int64)
        for part in (self, other):
            filled[part.first - first :][: part.filled.size] += part.filled
        return Moments(
            buckets=self.buckets,
            count=count,
            mean=self.mean + apart * other.count / count,
            squares=self.squares + other.squares + apart**2 * self.count * other.count / count,
            least=min(self.least, other.least),
            most=max(self.most, other.most),
            first=first,
            filled=filled,
        )

    @property
    def std(self) -> float:
        """Of all of them, not estimated for more: divided by their count. NaN of none."""
        return math.sqrt(self.squares / self.count) if self.count else math.nan

    def percentile(self, percent: float) -> float:
        """As numpy's, linear between neighbours; NaN of none. Pure.

        Exact where each number has its bucket, else within the bucket's width: 1/512 of the value at most.
        """
        if not self.count:
            return math.nan
        rank = percent / 100 * (self.count - 1)
        low = self._at(math.floor(rank))
        return low + (self._at(math.ceil(rank)) - low) * (rank - math.floor(rank))

    def _at(self, rank: int) -> float:
        """The number of that rank from below, those in one bucket taken as spread evenly."""
        until = np.cumsum(self.filled)
        bucket = int(np.searchsorted(until, rank, side="right"))
        before = int(until[bucket] - self.filled[bucket])
        lower, upper = self.buckets.edges(self.first + bucket)
        value = lower + (upper - lower) * (rank - before + 0.5) / int(self.filled[bucket])
        return min(max(value, self.least), self.most)
