"""The place of a request: its bounds and size become a lattice and a geometry, within the service's limits.

Refuses to know collections, but for the resolution they allow.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import shapely
from shapely.geometry import shape
from shapely.geometry.base import BaseGeometry

from shdask.emulator.lattice import Lattice, make_lattice
from shdask.emulator.process.body import Output, ProcessBody
from shdask.emulator.projection import METRES_PER_DEGREE
from shdask.emulator.refusal import Refusal, bad_payload
from shdask.emulator.source import Source

MAX_PX = 2500
DEFAULT_PX = 256
FARTHEST = 1e9
"""Coordinates beyond are no place in any CRS, and too far to count pixels to."""
SMALLEST_PX = 1e-7
"""CRS units; the coordinates' own floats resolve no finer."""
RING_POSITIONS = 4
GEOMETRY = "input->bounds->geometry"

Bbox = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class SizeRule:
    """How large a picture may be."""

    max_px: int = MAX_PX
    """Of either side."""
    default_px: int | None = DEFAULT_PX
    """Of a side that is not told; None demands that it is."""


PROCESS_SIZES = SizeRule()


def read_area(body: ProcessBody, sizes: SizeRule = PROCESS_SIZES) -> tuple[Lattice, BaseGeometry | None]:
    """The pixels asked for, and the geometry in the lattice's CRS outside of which there is no data.

    Pure; raises Refusal (400) where the service would refuse.
    """
    bounds = body.input.bounds
    geometry = None if bounds.geometry is None else _read_geometry(bounds.geometry)
    if bounds.bbox is not None:
        (xa, ya, xb, yb) = bounds.bbox
        bbox = (min(xa, xb), min(ya, yb), max(xa, xb), max(ya, yb))
    elif geometry is not None:
        bbox = geometry.bounds
    else:
        raise bad_payload("Either bbox or geometry must be set.", "input->bounds")
    if bbox[0] == bbox[2] or bbox[1] == bbox[3]:
        raise bad_payload("The bounds have no area.", "input->bounds")
    if max(map(abs, bbox)) > FARTHEST:
        raise bad_payload("The bounds lie outside of the CRS.", "input->bounds")
    width, height = _read_size(body.output, bbox, sizes)
    if min((bbox[2] - bbox[0]) / width, (bbox[3] - bbox[1]) / height) < SMALLEST_PX:
        raise bad_payload("The bounds are too small for their pixels.", "input->bounds")
    return make_lattice(bounds.properties.crs, bbox, width, height), geometry


def check_resolution(lattice: Lattice, source: Source) -> None:
    """Accept a lattice that is fine enough for a collection; raises Refusal (400) otherwise. Pure."""
    scale_x = scale_y = 1.0
    if lattice.crs == "EPSG:4326":
        middle = (lattice.bounds()[1] + lattice.bounds()[3]) / 2
        scale_x, scale_y = METRES_PER_DEGREE * math.cos(math.radians(middle)), METRES_PER_DEGREE
    metres = max(lattice.res_x * scale_x, lattice.res_y * scale_y)
    limit = source.max_metres_per_px
    if limit is not None and metres > limit:
        message = (
            f"Your request of {metres:.2f} meters per pixel exceeds the limit {limit:.2f} meters per pixel of the "
            f"collection {source.name}. Please revise the resolution (or corresponding width/height) to make sure it "
            "is in supported range."
        )
        raise Refusal(400, "COMMON_EXCEPTION", message)


def _read_geometry(geojson: dict[str, Any]) -> BaseGeometry:
    kind, coordinates = geojson.get("type"), geojson.get("coordinates")
    if kind not in ("Polygon", "MultiPolygon"):
        raise bad_payload(f"A geometry must be a Polygon or MultiPolygon, not {kind}.", GEOMETRY)
    for ring in _rings(coordinates if kind == "MultiPolygon" else [coordinates]):
        if len(ring) < RING_POSITIONS or ring[0] != ring[-1]:
            raise bad_payload("The rings of a geometry must be closed, with four positions at least.", GEOMETRY)
        if not all(map(_is_position, ring)):
            raise bad_payload("The positions of a geometry must be two numbers.", GEOMETRY)
    try:
        return shape({"type": kind, "coordinates": coordinates})
    except (ValueError, shapely.errors.GEOSException):
        raise bad_payload("The geometry cannot be read.", GEOMETRY) from None


def _rings(polygons: Any) -> Iterator[Sequence[Any]]:
    for polygon in _list(polygons):
        yield from map(_list, _list(polygon))


def _list(value: Any) -> Sequence[Any]:
    if not isinstance(value, list) or not value:
        raise bad_payload("The geometry cannot be read.", GEOMETRY)
    return value


def _is_position(value: Any) -> bool:
    if not isinstance(value, list) or len(value) != 2:  # noqa: PLR2004  # x and y
        return False
    # a whole number of JSON may be too large to compare as a float
    return all(type(part) in {int, float} and -FARTHEST <= part <= FARTHEST for part in value)


def _read_size(output: Output, bbox: Bbox, sizes: SizeRule) -> tuple[int, int]:
    by_size = output.width is not None or output.height is not None
    by_resolution = output.resx is not None or output.resy is not None
    if by_size and by_resolution:
        raise bad_payload("Only width and height or resx and resy can be set at the same time.", "output")
    if not by_resolution:
        return _check_side("width", output.width, sizes), _check_side("height", output.height, sizes)
    if output.resx is None or output.resy is None:
        raise bad_payload("Both resx and resy must be set.", "output")
    return (
        _count(bbox[2] - bbox[0], output.resx, ("width", "resx"), sizes.max_px),
        _count(bbox[3] - bbox[1], output.resy, ("height", "resy"), sizes.max_px),
    )


def _check_side(name: str, told: int | None, sizes: SizeRule) -> int:
    value = sizes.default_px if told is None else told
    if value is None:
        raise bad_payload("Either width and height or resx and resy must be set.", f"output->{name}")
    if value > sizes.max_px:
        raise bad_payload(f"`{name} = {value}` is larger than allowed {sizes.max_px}.\n", f"output->{name}")
    return value


def _count(length: float, resolution: float, names: tuple[str, str], max_px: int) -> int:
    if length / resolution > 1e15:  # noqa: PLR2004  # beyond, floats are no counts
        raise bad_payload(f"`{names[1]}` is too small for the bounds.\n", f"output->{names[1]}")
    # how the service rounds is not documented; half up is assumed
    count = max(1, math.floor(length / resolution + 0.5))
    if count > max_px:
        message = f"`{names[0]} = {count}`, calculated from {names[1]}, is larger than allowed {max_px}.\n"
        raise bad_payload(message, f"output->{names[1]}")
    return count
