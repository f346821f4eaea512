"""Places with their CRS: bounding boxes and polygons, read from every usual spelling. x is east, y is north.

Refuses to know the service, pixels and reprojection beyond moving the corners that are there.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import Any

import numpy as np
import shapely
import shapely.geometry
from numpy.typing import NDArray
from shapely import MultiPolygon, Polygon

from shdask.sentinelhub.crs import CRS

Point = tuple[float, float]
Corners = NDArray[np.float64]
"""(corner, x y)"""
PointFunction = Callable[..., Any]
"""From (x, y) to (x, y)."""


class _Place:
    """What boxes and polygons share."""

    __slots__ = ("_crs",)

    _crs: CRS

    @property
    def crs(self) -> CRS:
        """The CRS of every coordinate here."""
        return self._crs

    @property
    def geometry(self) -> Polygon | MultiPolygon:
        """The place as shapely has it."""
        raise NotImplementedError(type(self).__name__)

    @property
    def geojson(self) -> dict[str, Any]:
        """The place as GeoJSON, with the CRS beside it. Pure."""
        return self.get_geojson()

    @property
    def wkt(self) -> str:
        """The place as well-known text, without its CRS. Pure."""
        return str(self.geometry.wkt)

    def get_geojson(self, with_crs: bool = True) -> dict[str, Any]:
        """The place as GeoJSON; ``with_crs`` puts a ``crs`` member first. Pure."""
        mapping: dict[str, Any] = shapely.geometry.mapping(self.geometry)
        if not with_crs:
            return mapping
        name = f"urn:ogc:def:crs:EPSG::{self.crs.value}"
        return {"crs": {"type": "name", "properties": {"name": name}}, **mapping}


class BBox(_Place):
    """An axis-parallel box: ``min_x``, ``min_y``, ``max_x``, ``max_y`` in units of ``crs``. Iterates in that order.

    Reads ``(x, y, x, y)``, ``((x, y), (x, y))`` of any two opposite corners, ``{"min_x": ...}``, text of four
    numbers, a shapely geometry's bounds, and another box.
    Raises TypeError or ValueError for anything else, KeyError for a mapping that lacks an edge.
    """

    __slots__ = ("max_x", "max_y", "min_x", "min_y")

    def __init__(self, bbox: Any, crs: Any) -> None:
        x1, y1, x2, y2 = _read_corners(bbox)
        self.min_x, self.max_x = min(x1, x2), max(x1, x2)
        self.min_y, self.max_y = min(y1, y2), max(y1, y2)
        self._crs = CRS(crs)

    def __iter__(self) -> Iterator[float]:
        return iter((self.min_x, self.min_y, self.max_x, self.max_y))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, BBox) and self.crs == other.crs and tuple(self) == tuple(other)

    def __hash__(self) -> int:
        return hash((*self, self.crs))

    def __repr__(self) -> str:
        return f"BBox(({self.lower_left}, {self.upper_right}), crs={self.crs!r})"

    def __str__(self) -> str:
        return f"{self.min_x},{self.min_y},{self.max_x},{self.max_y}"

    @property
    def lower_left(self) -> Point:
        """(min_x, min_y). Pure."""
        return self.min_x, self.min_y

    @property
    def upper_right(self) -> Point:
        """(max_x, max_y). Pure."""
        return self.max_x, self.max_y

    @property
    def middle(self) -> Point:
        """The point halfway between the edges. Pure."""
        return (self.min_x + self.max_x) / 2, (self.min_y + self.max_y) / 2

    @property
    def geometry(self) -> Polygon:
        """The box as a shapely polygon. Pure."""
        return Polygon(self.get_polygon())

    def get_polygon(self, reverse: bool = False) -> tuple[Point, ...]:
        """Five corners, clockwise from the lower left one and back to it; ``reverse`` gives (y, x) pairs. Pure."""
        box = self.reverse() if reverse else self
        return (
            (box.min_x, box.min_y),
            (box.min_x, box.max_y),
            (box.max_x, box.max_y),
            (box.max_x, box.min_y),
            (box.min_x, box.min_y),
        )

    def reverse(self) -> BBox:
        """The box with x and y exchanged. Pure."""
        return BBox((self.min_y, self.min_x, self.max_y, self.max_x), self.crs)

    def apply(self, operation: PointFunction) -> BBox:
        """The box whose opposite corners ``operation`` makes of this one's. Pure."""
        return BBox((operation(*self.lower_left), operation(*self.upper_right)), self.crs)

    def transform(self, crs: Any, always_xy: bool = True) -> BBox:
        """The box between the two transformed corners: reversible, but need not cover this one. Pure."""
        target = CRS(crs)
        return BBox(
            [transform_point(xy, self.crs, target, always_xy) for xy in (self.lower_left, self.upper_right)], target
        )

    def transform_bounds(self, crs: Any, always_xy: bool = True) -> BBox:
        """The bounds of the four transformed corners. Pure."""
        return Geometry(self.geometry, self.crs).transform(crs, always_xy).bbox

    def buffer(self, buffer: float | tuple[float, float], *, relative: bool = True) -> BBox:
        """The box with each edge moved outwards, inwards for a negative number; a pair is (x, y). Pure.

        ``relative`` counts in distances from the centre to the edge, else in units of the CRS.
        Raises ValueError where nothing would be left, and for what is neither a number nor a pair.
        """
        if not isinstance(buffer, (int, float, tuple)):
            raise ValueError(f"a buffer is a number or a pair of numbers, not {buffer!r}")  # noqa: TRY004  # theirs too
        by_x, by_y = buffer if isinstance(buffer, tuple) else (buffer, buffer)
        width, height = self.max_x - self.min_x, self.max_y - self.min_y
        if relative:
            by_x, by_y = by_x * width / 2, by_y * height / 2
        if 2 * by_x + width <= 0 or 2 * by_y + height <= 0:
            raise ValueError(f"a buffer of {buffer} leaves nothing of {self!r}")
        return BBox((self.min_x - by_x, self.min_y - by_y, self.max_x + by_x, self.max_y + by_y), self.crs)

    def get_partition(
        self,
        num_x: int | None = None,
        num_y: int | None = None,
        size_x: float | None = None,
        size_y: float | None = None,
    ) -> list[list[BBox]]:
        """Boxes of one size, as ``[column from the left][row from the bottom]``. Pure.

        Either ``num_x`` by ``num_y`` of them that fill this box, or as many of ``size_x`` by ``size_y`` CRS units as
        cover it, the last ones reaching beyond. Raises ValueError for any other choice.
        """
        counts, sizes = (num_x, num_y), (size_x, size_y)
        if num_x is not None and num_y is not None and sizes == (None, None):
            size_x, size_y = (self.max_x - self.min_x) / num_x, (self.max_y - self.min_y) / num_y
        elif size_x is not None and size_y is not None and counts == (None, None):
            num_x, num_y = math.ceil((self.max_x - self.min_x) / size_x), math.ceil((self.max_y - self.min_y) / size_y)
        else:
            raise ValueError("give both num_x and num_y, or both size_x and size_y")
        return [[self._part(i, j, size_x, size_y) for j in range(num_y)] for i in range(num_x)]

    def _part(self, i: int, j: int, size_x: float, size_y: float) -> BBox:
        x, y = self.min_x, self.min_y
        return BBox((x + i * size_x, y + j * size_y, x + (i + 1) * size_x, y + (j + 1) * size_y), self.crs)

    def get_transform_vector(self, resx: float | str, resy: float | str) -> tuple[float, ...]:
        """(left, resx, 0, top, 0, -resy): from (column, row) to x and y, as GDAL orders it. Pure.

        A resolution may be text such as ``"10m"``. Raises TypeError for what is neither text nor a number.
        """
        return self.min_x, _read_resolution(resx), 0, self.max_y, 0, -_read_resolution(resy)


class Geometry(_Place):
    """A Polygon or MultiPolygon with its CRS, read from shapely, a GeoJSON mapping, or well-known text.

    Raises ValueError for another kind of geometry and for what cannot be read.
    """

    __slots__ = ("_geometry",)

    def __init__(self, geometry: Any, crs: Any) -> None:
        self._geometry = _read_polygons(geometry)
        self._crs = CRS(crs)

    @classmethod
    def from_geojson(cls, geojson: Mapping[str, Any], crs: Any = None) -> Geometry:
        """The geometry of a GeoJSON mapping, in the CRS that it names, else in ``crs``, else in WGS 84. Pure."""
        named = None
        with suppress(KeyError, AttributeError, TypeError):
            named = geojson["crs"]["properties"]["name"]
        return cls(geojson, named or crs or CRS.WGS84)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Geometry) and self.crs == other.crs and bool(self.geometry == other.geometry)

    def __hash__(self) -> int:
        return hash((self._geometry, self.crs))

    def __repr__(self) -> str:
        return f"Geometry({self.wkt}, crs={self.crs!r})"

    @property
    def geometry(self) -> Polygon | MultiPolygon:
        """The polygons as shapely has them."""
        return self._geometry

    @property
    def bbox(self) -> BBox:
        """The bounds, in the same CRS. Pure."""
        return BBox(self.geometry.bounds, self.crs)

    def reverse(self) -> Geometry:
        """The geometry with x and y exchanged. Pure."""
        return Geometry(shapely.transform(self.geometry, lambda corners: corners[:, ::-1]), self.crs)

    def apply(self, operation: PointFunction) -> Geometry:
        """The geometry with every corner (x, y), one at a time, put through ``operation``. Pure."""

        def apply_each(corners: Corners) -> Corners:
            return np.array([operation(x, y) for x, y in corners.tolist()])

        return Geometry(shapely.transform(self.geometry, apply_each), self.crs)

    def transform(self, crs: Any, always_xy: bool = True) -> Geometry:
        """The geometry with its corners in another CRS; edges between them are not divided. Pure."""
        target = CRS(crs)
        if target == self.crs:
            return Geometry(self.geometry, target)
        function = self.crs.get_transform_function(target, always_xy)

        def move(corners: Corners) -> Corners:
            return np.stack(function(*corners.T), axis=1)

        return Geometry(shapely.transform(self.geometry, move, include_z=self.geometry.has_z), target)


def transform_point(point: Point, source_crs: Any, target_crs: Any, always_xy: bool = True) -> Point:
    """``point`` (x, y) of ``source_crs`` in ``target_crs``. Pure."""
    source, target = CRS(source_crs), CRS(target_crs)
    if source == target:
        return point
    x, y = source.get_transform_function(target, always_xy)(*point)
    return x, y


def read_bbox(thing: Any) -> BBox:
    """``thing`` as one of our boxes: ours, or one of sentinelhub-py. Pure. Raises ValueError for anything else."""
    if isinstance(thing, BBox):
        return thing
    if not (hasattr(thing, "min_x") and hasattr(thing, "crs")):
        raise ValueError(f"bbox is a BBox with its CRS, not {thing!r}")
    return BBox(thing, thing.crs)


def read_geometry(thing: Any) -> Geometry:
    """``thing`` as one of our geometries: ours, or one of sentinelhub-py. Pure. Raises ValueError for anything else."""
    if isinstance(thing, Geometry):
        return thing
    if not (hasattr(thing, "get_geojson") and hasattr(thing, "crs")) or hasattr(thing, "min_x"):
        raise ValueError(f"geometry is a Geometry with its CRS, not {thing!r}")
    return Geometry(thing.geometry, thing.crs)


def _read_corners(bbox: Any) -> tuple[float, float, float, float]:
    if hasattr(bbox, "min_x"):
        return bbox.min_x, bbox.min_y, bbox.max_x, bbox.max_y
    if isinstance(bbox, Mapping):
        return bbox["min_x"], bbox["min_y"], bbox["max_x"], bbox["max_y"]
    if isinstance(bbox, shapely.Geometry):
        bbox = tuple(shapely.bounds(bbox))
    if isinstance(bbox, str):
        bbox = bbox.replace(",", " ").split()
        if len(bbox) != 4:  # noqa: PLR2004  # edges of a box
            raise ValueError(f"{' '.join(bbox)!r} is not the four numbers of a bbox")
    if not isinstance(bbox, (list, tuple)):
        raise TypeError(f"{bbox!r} is no bbox; expected (min_x, min_y, max_x, max_y)")
    if len(bbox) == 4:  # noqa: PLR2004  # edges of a box
        x1, y1, x2, y2 = bbox
    else:
        (x1, y1), (x2, y2) = bbox
    return float(x1), float(y1), float(x2), float(y2)


def _read_resolution(resolution: float | str) -> float:
    if isinstance(resolution, str):
        return float(resolution.strip("m"))
    if not isinstance(resolution, (int, float)):
        raise TypeError(f"a resolution is a number, not {resolution!r}")
    return float(resolution)


def _read_polygons(geometry: Any) -> Polygon | MultiPolygon:
    if isinstance(geometry, str):
        read: Any = shapely.from_wkt(geometry)
    else:
        try:
            read = shapely.geometry.shape(geometry)
        except (shapely.errors.GeometryTypeError, AttributeError) as error:
            raise ValueError(f"{geometry!r} is no geometry that can be read") from error
    if read.geom_type not in {"Polygon", "MultiPolygon"}:
        raise ValueError(f"expected a Polygon or MultiPolygon, not a {read.geom_type}")
    polygons: Polygon | MultiPolygon = read
    return polygons
