"""Scenes of a catalogue: when they were seen, by whom, and where they hold data. Pure.

Refuses to know searches, HTTP and how scenes become steps.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import shapely
from shapely.geometry import shape

from shdask.errors import PlanError
from shdask.plan.product import read_product
from shdask.request.reproject import clean, only_polygons, split_at_antimeridian

WGS84 = "EPSG:4326"
EVERYWHERE = shapely.box(-180.0, -90.0, 180.0, 90.0)
DIGITS = 7
"""Decimals of a degree that footprints are kept with: a centimetre, far below any pixel."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Acquisition:
    """One scene; None where the catalogue and the scene's name say nothing."""

    id: str
    time: datetime
    """UTC, as exact as the catalogue has it: whole seconds on some deployments, milliseconds on others."""
    footprint: shapely.Geometry
    """Polygon or MultiPolygon in EPSG:4326 (longitude, latitude), within 180 degrees; holds all of the data."""
    platform: str | None = None
    relative_orbit: int | None = None
    orbit_direction: str | None = None
    """``ascending`` or ``descending``."""
    cloud_cover: float | None = None
    """Share of the scene, 0 to 1."""
    baseline: str | None = None
    """Version of the processing, such as ``05.10``."""
    note: str = ""
    """What had to be assumed of the footprint; empty where it came whole."""


def read_item(item: Mapping[str, Any]) -> Acquisition:
    """The acquisition that a STAC item describes; what its properties lack is taken from its product name. Pure.

    A footprint that is missing or broken is replaced by the item's bbox, one without bbox by the whole world: never
    by less than the scene may hold. Raises ValueError for an item without id or time.
    """
    name, told = item.get("id"), item.get("properties")
    if not isinstance(name, str) or not name:
        raise ValueError("an item without an id")
    properties: Mapping[str, Any] = told if isinstance(told, Mapping) else {}
    product = read_product(name)
    footprint, note = read_footprint(item.get("geometry"), item.get("bbox"))
    orbit = _number(properties.get("sat:relative_orbit", properties.get("landsat:wrs_path")))
    cloud = _number(properties.get("eo:cloud_cover"))
    return Acquisition(
        id=name,
        time=_time(name, properties),
        footprint=footprint,
        platform=_word(properties.get("platform")) or product.platform,
        relative_orbit=product.relative_orbit if orbit is None else int(orbit),
        orbit_direction=_word(properties.get("sat:orbit_state")),
        cloud_cover=None if cloud is None or not 0 <= cloud <= 100 else cloud / 100,  # noqa: PLR2004  # percent
        baseline=product.baseline or _version(properties),
        note=f"{name}: {note}" if note else "",
    )


def read_footprint(geometry: object, bbox: object) -> tuple[shapely.Geometry, str]:
    """(footprint, note) of an item's GeoJSON ``geometry`` and ``bbox`` in degrees. Pure.

    The footprint is polygonal, valid, cut at the antimeridian and rounded to 7 decimals. The note is empty, or says
    why something larger stands for it.
    """
    try:
        return _polygonal(geometry), ""
    # whatever a catalogue may write where a geometry belongs
    except (ValueError, TypeError, KeyError, AttributeError, IndexError, shapely.errors.ShapelyError) as error:
        reason = "there is no footprint" if geometry is None else f"the footprint cannot be read ({_line(error)})"
    box = _box(bbox)
    if box is None:
        return EVERYWHERE, f"{reason}, and no bbox; it is taken to reach everywhere"
    return box, f"{reason}; its bbox is taken"


def _polygonal(geometry: object) -> shapely.Geometry:
    if not isinstance(geometry, Mapping):
        raise TypeError("no object")
    given = shape(dict(geometry))
    if given.geom_type not in {"Polygon", "MultiPolygon"}:
        raise ValueError(f"a {given.geom_type} has no area")
    if not all(math.isfinite(edge) for edge in given.bounds):
        raise ValueError("it is empty")
    cleaned = clean(shapely.force_2d(given), WGS84).geometry
    rounded = shapely.transform(split_at_antimeridian(cleaned, WGS84), lambda points: points.round(DIGITS))
    # rounding may fold a sliver
    whole = rounded if shapely.is_valid(rounded) else only_polygons(shapely.make_valid(rounded))
    if shapely.is_empty(whole) or not shapely.area(whole):
        raise ValueError("it encloses nothing")
    return whole


def _box(bbox: object) -> shapely.Geometry | None:
    if not isinstance(bbox, Sequence) or len(bbox) not in {4, 6}:
        return None
    numbers = [_number(edge) for edge in bbox]
    west, south, east, north = (numbers[index] for index in ((0, 1, 3, 4) if len(numbers) == 6 else (0, 1, 2, 3)))  # noqa: PLR2004  # with heights
    if west is None or south is None or east is None or north is None or south >= north or west == east:
        return None
    # RFC 7946: across the antimeridian west is the greater
    return split_at_antimeridian(shapely.box(west, south, east + (360.0 if east < west else 0.0), north), WGS84)


def _time(name: str, properties: Mapping[str, Any]) -> datetime:
    text = properties.get("datetime") or properties.get("start_datetime")
    try:
        moment = datetime.fromisoformat(str(text))
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError(f"the item {name} has no time: {text!r}") from None


def _version(properties: Mapping[str, Any]) -> str | None:
    for key in ("s2:processing_baseline", "processing:version"):
        found = properties.get(key)
        if isinstance(found, str) and found:
            return found
    return None


def _word(value: object) -> str | None:
    return value.lower() if isinstance(value, str) and value else None


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _line(error: Exception) -> str:
    text = str(error).splitlines()[0] if str(error) else type(error).__name__
    return text.removeprefix("aoi: ") if isinstance(error, PlanError) else text
