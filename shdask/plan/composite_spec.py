"""What a job may say of a layer whose dates the service makes one picture of.

Refuses to know how the picture is made, and what it costs.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any, Self

from pydantic import Discriminator, NonNegativeInt, Tag, field_validator, model_validator

from shdask.plan.cadence import ACQUISITION
from shdask.plan.clear_bands import CLEAR_BANDS, MOST_BITS, ClearBand, find_clear_band
from shdask.plan.complaints import Table
from shdask.request.composite import CompositeMethod

if TYPE_CHECKING:
    from shdask.request.collections import Collection

AUTO, NO_MASK = "auto", "none"
CLEAR_COUNT = "clear_count"
"""Stored with every composite: of how many dates a pixel is made."""
ORIGIN_DAY = "origin_day"
"""Stored where a job asks for it: the day since 1970-01-01 that a pixel was taken from."""
OF_COMPOSITES = frozenset((CLEAR_COUNT, ORIGIN_DAY))
RED_NIR: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "sentinel-2-l1c": ("B04", "B08"),
        "sentinel-2-l2a": ("B04", "B08"),
        "landsat-ot-l1": ("B04", "B05"),
        "landsat-ot-l2": ("B04", "B05"),
    }
)
"""The bands of NDVI by collection."""


class MaskBand(Table):
    """A band of codes that tells clear ground, where the collection's own is another, or none is known."""

    band: str
    clear: tuple[NonNegativeInt, ...] = ()
    """Its codes that are clear."""
    bad_bits: NonNegativeInt = 0
    """Or its bits of which a clear pixel has none."""

    @model_validator(mode="after")
    def _decides(self) -> Self:
        if bool(self.clear) == bool(self.bad_bits):
            raise ValueError("tell either which codes are clear = [...], or which bad_bits a clear pixel has none of")
        if self.bad_bits > MOST_BITS:
            raise ValueError(
                f"bad_bits = {self.bad_bits} is beyond the 31 bits that the service's scripts look at; give at most "
                f"{MOST_BITS}"
            )
        return self


class Composite(Table):
    """One picture of the clear dates of each step; the service makes it, and is paid for every date that it reads."""

    method: CompositeMethod
    """``median`` of each band; the date nearest to it (``medoid``); the date of the greatest NDVI (``max-ndvi``)."""
    mask: Annotated[
        Annotated[str, Tag("name")] | Annotated[MaskBand, Tag("table")],
        Discriminator(lambda given: "name" if isinstance(given, str) else "table"),
    ] = AUTO
    """The band that tells clear ground; ``auto`` takes the collection's, if there is one, ``none`` counts all dates, a
    table says it of a band of your own."""
    ndvi: tuple[str, str] | None = None
    """Red and near infrared; the collection's where left out."""
    origin: bool = False
    """Stores the day that each pixel was taken from."""

    @field_validator("mask")
    @classmethod
    def _is_known(cls, mask: str | MaskBand) -> str | MaskBand:
        known = (AUTO, NO_MASK, *CLEAR_BANDS)
        if isinstance(mask, str) and mask not in known:
            raise ValueError(f"{mask!r} is not known; write {', '.join(known)}, or a table for a band of your own")
        return mask

    def clear_band(self, collection: Collection) -> ClearBand | None:
        """What tells clear ground in ``collection``. Pure."""
        if isinstance(self.mask, MaskBand):
            return ClearBand(name=self.mask.band, classes=self.mask.clear, bad_bits=self.mask.bad_bits)
        if self.mask == AUTO:
            return find_clear_band(collection.bands or ())
        return None if self.mask == NO_MASK else CLEAR_BANDS[self.mask]

    def red_nir(self, collection: Collection) -> tuple[str, str] | None:
        """The bands of NDVI, where the method needs them. Pure."""
        return (self.ndvi or RED_NIR.get(collection.name)) if self.method == "max-ndvi" else None

    def also_read(self, collection: Collection) -> tuple[str, ...]:
        """Bands that are read whether or not they are stored, each once. Pure."""
        clear = self.clear_band(collection)
        return (*(self.red_nir(collection) or ()), *(() if clear is None else (clear.name,)))


def by_method(given: Any) -> Any:
    """What a job says of a composite as a table; a word is its method. Pure."""
    return {"method": given} if isinstance(given, str) else given


def check_composite(composite: Composite, collection: Collection, fields: Mapping[str, Any]) -> None:
    """Raise ValueError, or PlanError, where the rest of a layer, ``fields`` by name, makes no composite. Pure."""
    if fields.get("evalscript") is not None:
        raise ValueError("a script makes its own picture; leave composite out, or the script")
    if not collection.orbit_dates:
        raise ValueError(f"{collection.name} has no days to tell apart; leave it out")
    cadence = fields.get("cadence")
    if cadence in {"mosaic", ACQUISITION, "day"}:
        raise ValueError(
            f"is made of the dates of a step, and {cadence!r} has one; take a cadence such as month or P1Y"
        )
    if fields.get("resampling", "nearest") != "nearest" and composite.clear_band(collection) is not None:
        raise ValueError(
            'reads codes beside bands in one request, and codes are never mixed; take resampling = "nearest", or '
            'mask = "none"'
        )
    if fields.get("clear") is not None:
        raise ValueError("leaves out what is not clear pixel by pixel; leave out clear, which does so by tiles")
    _check_bands(composite, collection, fields.get("bands") or ())


def _check_bands(composite: Composite, collection: Collection, bands: tuple[str, ...]) -> None:
    if composite.method == "max-ndvi" and composite.red_nir(collection) is None:
        raise ValueError('max-ndvi does not know the bands of this collection; write ndvi = ["B04", "B08"], red first')
    if composite.ndvi is not None and (composite.method != "max-ndvi" or len(set(composite.ndvi)) == 1):
        raise ValueError("ndvi names the red and the near infrared band of max-ndvi; leave it out")
    if composite.origin and composite.method == "median":
        raise ValueError("a median is of no one date; leave out origin, or take medoid")
    for name in composite.also_read(collection):
        collection.band(name)
    clear = composite.clear_band(collection)
    mask = None if clear is None else clear.name
    if mask in (composite.red_nir(collection) or ()):
        raise ValueError(f"{mask} is what NDVI is made of, and no mask as well; name another band in mask")
    codes = [name for name in bands if collection.band(name).classes or name == mask]
    if codes:
        raise ValueError(f"{', '.join(codes)} holds codes, of which no composite is made; leave it out of the bands")
    for name in sorted(OF_COMPOSITES & set(bands)):
        raise ValueError(f"{name!r} is a name that composites use themselves; leave the band out")
