"""What of a layer a sample holds: which bands, in which values, scaled how, at which dates.

Pure. Refuses to know where pixels come from.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

import numpy as np

from shdask.errors import PlanError
from shdask.patches.reading.alignment import Alignment

if TYPE_CHECKING:
    from numpy.typing import NDArray

Values = Literal["stored", "dn", "reflectance", "db", "power"]
"""``dn`` is reflectance x 10,000; ``db`` and ``power`` are backscatter in decibels and as it is."""
DN_PER_REFLECTANCE = 10_000.0
LEAST_POWER = 1e-5
"""-50 dB: far below what Sentinel-1 tells from its own noise, so that no pixel becomes minus infinity."""
_DECIBELS = "dB"
_KNOWN_UNITS: Mapping[str, frozenset[str]] = {
    "stored": frozenset(),
    "dn": frozenset({"", "1"}),
    "reflectance": frozenset({"", "1"}),
    "db": frozenset({_DECIBELS, "1"}),
    "power": frozenset({_DECIBELS, "1"}),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Scaling:
    """What is taken from each band, and what the rest is divided by: image = (values - means) / stds."""

    means: tuple[float, ...]
    stds: tuple[float, ...]

    def __post_init__(self) -> None:
        if len(self.means) != len(self.stds) or not all(std > 0 for std in self.stds):
            raise PlanError(f"scaling: {len(self.means)} means and stds {self.stds}; a std above 0 for each mean")

    @classmethod
    def of(cls, bands: Sequence[str], means: Mapping[str, float], stds: Mapping[str, float]) -> Scaling:
        """That of ``bands`` from figures by band. Raises PlanError for a band without."""
        lacking = [band for band in bands if band not in means or band not in stds]
        if lacking:
            raise PlanError(f"scaling: no mean and std of {', '.join(lacking)}; there are those of {', '.join(means)}")
        return cls(means=tuple(means[band] for band in bands), stds=tuple(stds[band] for band in bands))

    def apply(self, image: NDArray[np.float32]) -> None:
        """Scale ``image`` (step, band, y, x) where it stands."""
        shape = (1, -1, 1, 1)
        image -= np.asarray(self.means, np.float32).reshape(shape)
        image *= (1.0 / np.asarray(self.stds, np.float64)).astype(np.float32).reshape(shape)


class BandFigures(Protocol):
    """Means and stds of stored values by band, as `shdask.patches.measuring.statistics.Statistics` has them."""

    def means(self, bands: Sequence[str]) -> NDArray[np.float64]:
        """(band,) in the order of ``bands``. Raises PlanError."""

    def stds(self, bands: Sequence[str]) -> NDArray[np.float64]:
        """(band,) in the order of ``bands``. Raises PlanError."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerView:
    """What of a layer a sample holds."""

    layer: str = ""
    """Its name; may be left out where the cube has one."""
    bands: tuple[str, ...] = ()
    """In the order of the image's channels, by their own names or by common ones (red, nir, swir16); empty: all but
    bands of classes."""
    time: Alignment | None = None
    """Which dates; None: the patch's own, or all where it has none."""
    values: Values = "stored"
    scaling: Scaling | BandFigures | None = None
    """Figures in the order of ``bands``, or statistics of the cube; None leaves ``values`` as they are."""

    def __post_init__(self) -> None:
        if self.scaling is not None and not isinstance(self.scaling, Scaling) and self.values != "stored":
            raise PlanError(f"scaling: statistics are of stored values, not of {self.values}; leave values out")

    def scaling_of(self, bands: Sequence[str]) -> Scaling | None:
        """That of ``bands``, the arrays behind the image's channels. Pure. Raises PlanError where it does not fit."""
        found = self.scaling
        if found is None:
            return None
        if not isinstance(found, Scaling):
            found = Scaling(means=tuple(found.means(bands).tolist()), stds=tuple(found.stds(bands).tolist()))
        if len(found.means) != len(bands):
            raise PlanError(f"scaling: {len(found.means)} means for the {len(bands)} bands {', '.join(bands)}")
        return found


def convert_values(image: NDArray[np.float32], units: Sequence[str], values: Values) -> None:
    """Turn ``image`` (step, band, y, x), whose bands are stored in ``units``, into ``values`` where it stands. Pure.

    Units are the arrays' own: none for a digital number, ``1`` for reflectance and power, ``dB``. Raises PlanError
    where a band has others.
    """
    for channel, unit in enumerate(units):
        band = image[:, channel]
        if values != "stored" and unit not in _KNOWN_UNITS[values]:
            raise PlanError(f"values: bands in {unit or 'digital numbers'!r} cannot be had as {values}; take stored")
        if values == "dn" and unit == "1":
            band *= DN_PER_REFLECTANCE
        elif values == "reflectance" and not unit:
            band /= DN_PER_REFLECTANCE
        elif values == "db" and unit != _DECIBELS:
            np.log10(np.maximum(band, LEAST_POWER, out=band), out=band)
            band *= 10.0
        elif values == "power" and unit == _DECIBELS:
            np.power(10.0, band / 10.0, out=band)
