"""Which band tells clear ground from clouds, and by which of its values: of scenes, pixels and scripts alike.

Pure. Refuses to know who asks, and which collections there are.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from shdask.errors import PlanError
from shdask.plan.clear import CLEAR_CLASSES, LOOK_BAND

if TYPE_CHECKING:
    from numpy.typing import NDArray

BAD_LANDSAT_BITS = 0b11111
"""Fill, dilated cloud, cirrus, cloud and shadow of a cloud; snow and water are ground as it is. Source: USGS, Landsat
Collection 2, QA_PIXEL."""

MOST_BITS = 2**31 - 1
"""JavaScript's & looks at 32 bits, of which one is the sign."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClearBand:
    """A band of codes: a pixel is clear where its code is among ``classes``, or has none of the bits ``bad_bits``."""

    name: str
    classes: tuple[int, ...] = ()
    """None where bits decide."""
    bad_bits: int = 0

    def __post_init__(self) -> None:
        if bool(self.classes) == bool(self.bad_bits):
            raise PlanError(f"mask band {self.name}: tell either which codes are clear, or which bits are bad")
        if not 0 <= self.bad_bits <= MOST_BITS:
            raise PlanError(f"mask band {self.name}: bad_bits = {self.bad_bits} is not between 0 and {MOST_BITS}")

    def is_clear(self, codes: NDArray[Any]) -> NDArray[np.bool_]:
        """True where a code says clear, in the shape of ``codes``; NaN, which masked cubes hold, is not clear. Pure."""
        if self.classes and codes.dtype == np.uint8:
            every = np.isin(np.arange(256), self.classes)
            return np.asarray(every[codes])  # five times as fast as to ask for each pixel
        if self.classes:
            found: NDArray[np.bool_] = np.isin(codes, self.classes)
            return found
        if codes.dtype.kind != "f":
            fits = self.bad_bits <= np.iinfo(codes.dtype).max
            return np.asarray(((codes if fits else codes.astype(np.int64)) & self.bad_bits) == 0)
        is_known = np.isfinite(codes)
        bits = np.where(is_known, codes, 0).astype(np.int64)
        return np.asarray(is_known & ((bits & self.bad_bits) == 0))


CLEAR_BANDS: Mapping[str, ClearBand] = MappingProxyType(
    {
        band.name: band
        for band in (
            ClearBand(name=LOOK_BAND, classes=CLEAR_CLASSES),
            # the service's own cloud mask of Sentinel-2, where a deployment has it: 0 clear, 1 cloud, 255 no data
            ClearBand(name="CLM", classes=(0,)),
            # the probability behind it x 255, up to 0.4, where s2cloudless itself draws the line
            ClearBand(name="CLP", classes=tuple(range(103))),
            ClearBand(name="BQA", bad_bits=BAD_LANDSAT_BITS),
            # the same, by the name that it has in the product
            ClearBand(name="QA_PIXEL", bad_bits=BAD_LANDSAT_BITS),
        )
    }
)
"""By the band's name, the first the one to be preferred."""


def find_clear_band(bands: Iterable[str]) -> ClearBand | None:
    """The first of `CLEAR_BANDS` that is among ``bands``; None where there is none. Pure."""
    there = set(bands)
    return next((band for name, band in CLEAR_BANDS.items() if name in there), None)
