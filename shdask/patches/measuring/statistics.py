"""Statistics of the bands of a layer over the pixels of patches, and the file that keeps them.

Refuses to know how patches were chosen, and what the statistics are for.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from shdask.assemble.place import Place, open_place
from shdask.errors import PlanError
from shdask.patches.measuring.patch_pixels import PixelPass, measure_bands
from shdask.patches.table import Patches, Split

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from shdask.patches.measuring.moments import Moments

PERCENTILES = (2.0, 25.0, 50.0, 75.0, 98.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class BandStatistics:
    """Of one band, in its stored unit; NaN throughout where no pixel counted."""

    name: str
    count: int
    """Of pixels that counted, over all dates."""
    mean: float
    std: float
    """Of these pixels: divided by their count."""
    min: float
    max: float
    percentiles: Mapping[float, float]
    """Percent -> value. Exact for integers of up to 16 bits; of others within 1/512 of the value."""

    @classmethod
    def of(cls, name: str, moments: Moments, percentiles: Sequence[float]) -> Self:
        """Those of a band. Pure."""
        some = moments.count > 0
        return cls(
            name=name,
            count=moments.count,
            mean=moments.mean if some else math.nan,
            std=moments.std,
            min=moments.least if some else math.nan,
            max=moments.most if some else math.nan,
            percentiles={float(percent): moments.percentile(percent) for percent in percentiles},
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Statistics:
    """Of the bands of one layer, over the patches of one set."""

    cube: str
    layer: str
    split: str
    """Of the patches that counted; empty for all."""
    seed: int
    """Of the patches."""
    patch_count: int
    clear_only: bool
    bands: tuple[BandStatistics, ...]

    def of(self, band: str) -> BandStatistics:
        """Those of ``band``. Raises PlanError that names the bands there are."""
        for each in self.bands:
            if each.name == band:
                return each
        raise PlanError(f"no statistics of band {band!r}; there are those of {', '.join(b.name for b in self.bands)}")

    def means(self, bands: Sequence[str]) -> NDArray[np.float64]:
        """(band,): of ``bands``, in their order. Raises PlanError."""
        return np.array([self.of(band).mean for band in bands], np.float64)

    def stds(self, bands: Sequence[str]) -> NDArray[np.float64]:
        """(band,): of ``bands``, in their order. Raises PlanError."""
        return np.array([self.of(band).std for band in bands], np.float64)

    def save(self, file: str | os.PathLike[str]) -> None:
        """Write them as JSON, which is YAML too; NaN is null."""
        told = asdict(self)
        told["bands"] = [_tell(band) for band in told["bands"]]
        Path(file).write_text(json.dumps(told, indent=2, allow_nan=False) + "\n", "utf-8")

    @classmethod
    def load(cls, file: str | os.PathLike[str]) -> Self:
        """What `save` wrote. Raises PlanError for a file that holds something else; OSError where there is none."""
        try:
            told = json.loads(Path(file).read_text("utf-8"))
            return cls(**{**told, "bands": tuple(_band_of(band) for band in told["bands"])})
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise PlanError(f"{file} holds no statistics that were saved here: {error}") from error


def measure_statistics(
    store: str | os.PathLike[str] | Place,
    patches: Patches,
    layer: str,
    *,
    bands: Sequence[str] | None = None,
    split: Split | None = "train",
    clear_only: bool = False,
    all_dates: bool = False,
    percentiles: Sequence[float] = PERCENTILES,
) -> Statistics:
    """Statistics of ``bands`` (all) of ``layer`` over the valid pixels of the patches of ``split`` (None: of all).

    Every pixel of a date counts once, however many patches it lies in. A patch counts at its own date, one without at
    all dates of the layer; ``all_dates`` takes all for every patch, such as for a layer of other dates than those the
    patches were chosen by. A date that was bought again counts as it was bought last. ``clear_only`` leaves out what
    the layer's own band of clouds tells is not clear. Values that are not finite do not count, nor do tiles that are
    not written.

    Reads at most a megapixel of a band at once on each of eight threads, and puts parts together in a fixed order: the
    same cube and patches give the same bits. Raises PlanError where ``split`` has no patch, for a band that the layer
    does not have, and for a date that it does not have; StoreError.
    """
    chosen = patches if split is None else patches.of_split(split)
    if not len(chosen):
        raise PlanError(f"no patch of {patches.cube} is in the set {split!r}; sample with a share for it")
    rules = PixelPass(layer=layer, bands=None if bands is None else tuple(bands), clear_only=clear_only)
    found = measure_bands(open_place(store), chosen, rules, all_dates=all_dates)
    return Statistics(
        cube=patches.cube,
        layer=layer,
        split=split or "",
        seed=patches.seed,
        patch_count=len(chosen),
        clear_only=clear_only,
        bands=tuple(BandStatistics.of(name, moments, percentiles) for name, moments in found.items()),
    )


def _tell(band: Mapping[str, Any]) -> dict[str, Any]:
    numbers = {name: _or_null(band[name]) for name in ("mean", "std", "min", "max")}
    percentiles = {f"{percent:g}": _or_null(value) for percent, value in band["percentiles"].items()}
    return {**band, **numbers, "percentiles": percentiles}


def _band_of(told: Mapping[str, Any]) -> BandStatistics:
    numbers = {name: _or_nan(told[name]) for name in ("mean", "std", "min", "max")}
    percentiles = {float(percent): _or_nan(value) for percent, value in told["percentiles"].items()}
    return BandStatistics(name=str(told["name"]), count=int(told["count"]), percentiles=percentiles, **numbers)


def _or_null(value: float) -> float | None:
    return None if math.isnan(value) else value


def _or_nan(value: float | None) -> float:
    return math.nan if value is None else float(value)
