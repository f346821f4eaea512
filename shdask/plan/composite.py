"""From the one request that brings the bands of a date to the one that brings a picture of many of them.

Pure. Refuses to know areas, times and prices.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from shdask.errors import PlanError
from shdask.model import Band
from shdask.plan.composite_spec import CLEAR_COUNT, ORIGIN_DAY, Composite
from shdask.request.composite import CompositeRule
from shdask.request.evalscript import SAMPLE_DTYPES

if TYPE_CHECKING:
    from shdask.plan.part import Part
    from shdask.request.collections import BandInfo, Collection
    from shdask.request.evalscript import RequestedBand


def compose(
    composite: Composite,
    collection: Collection,
    bands: tuple[Band, ...],
    parts: tuple[Part, ...],
    asked: Mapping[str, tuple[Band, RequestedBand, str]],
) -> tuple[tuple[Band, ...], tuple[Part, ...]]:
    """The stored bands and the one part of a layer's composite, from those of its single dates. Pure.

    ``asked`` has, by name, each band that NDVI is made of as it is stored and asked for, and its sample type. Behind
    the bands comes ``clear_count``, and ``origin_day`` where the job wants it, both uint16. Raises PlanError where one
    request cannot bring all of it.
    """
    first, *others = parts
    types = {first.sample_type, *(sample_type for _, _, sample_type in asked.values())}
    if others or len(types) > 1:
        sent = sorted({part.sample_type for part in parts} | types)
        raise PlanError(
            f"composite: one request reads all bands, and these come as {', '.join(sent)}; leave out those of another "
            f"type, or give them one encode"
        )
    # 16 bit with a sign hold the days up to 2059
    if composite.origin and np.dtype(SAMPLE_DTYPES[first.sample_type]).itemsize == 1:
        raise PlanError(
            f"composite: {first.sample_type} cannot hold the day of origin; leave out origin, or encode wider"
        )
    clear, red_nir = composite.clear_band(collection), composite.red_nir(collection)
    weights = tuple((bands[position].scale or 1.0) ** 2 for position in first.bands)
    rule = CompositeRule(
        method=composite.method,
        clear_band=None if clear is None else clear.name,
        clear_classes=() if clear is None else clear.classes,
        bad_bits=0 if clear is None else clear.bad_bits,
        clear_unit="DN" if clear is None else _unit_of_codes(collection.band(clear.name)),
        red_nir=None if red_nir is None else (asked[red_nir[0]][1], asked[red_nir[1]][1]),
        ndvi_steps=() if red_nir is None else _steps_of_ndvi(*(asked[name][:2] for name in red_nir)),
        weights=weights if composite.method == "medoid" else (),
        has_origin=composite.origin,
    )
    told = (CLEAR_COUNT, ORIGIN_DAY) if composite.origin else (CLEAR_COUNT,)
    more = tuple(Band(name=name, dtype="uint16", fill_value=0) for name in told)
    whole = replace(first, bands=tuple(range(len(bands) + len(more))), composite=rule)
    return (*bands, *more), (whole,)


def _unit_of_codes(band: BandInfo) -> str:
    return "DN" if "DN" in band.units else band.units[0]


def _steps_of_ndvi(*red_nir: tuple[Band, RequestedBand]) -> tuple[tuple[float, float], ...]:
    """Told where one is asked for as the source's integers, whose step the request does not say, and one is not."""
    if len({requested.scale is None for _, requested in red_nir}) == 1:
        return ()
    return tuple((1.0 if band.scale is None else band.scale, band.offset) for band, _ in red_nir)
