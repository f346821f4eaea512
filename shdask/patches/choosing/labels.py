"""Labels that people bring: points and polygons with a class, a name, a date or a set of their own; and their places.

Refuses to know pixels, and class rasters.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely
from pyproj import Transformer

from shdask.errors import PlanError
from shdask.inputs import WGS84
from shdask.patches.choosing.label_source import check_shapes, read_table
from shdask.patches.choosing.places import Ground, Places, grid_places, join
from shdask.patches.table import NO_LABEL, SPLITS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Rows = NDArray[np.intp]

NO_SPLIT = 255
LARGEST_CLASS = 2**31 - 1
YEARS = (1900, 2200)
"""What is no year of these is no year."""
NOWHERE = -1e9
"""Pixels: of what has no place in a zone that is far from it."""
SPLIT_NAMES: Mapping[str, int] = {"train": 0, "validation": 1, "val": 1, "test": 2}


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelColumns:
    """What the columns of labels are called; None of what they do not tell."""

    label: str | None = None
    """The class: whole numbers from 0, or words, which are numbered in alphabetical order."""
    parcel: str | None = None
    """What names the feature."""
    date: str | None = None
    """When it was so, in UTC."""
    split: str | None = None
    """The set it is for: train, validation (val) or test."""
    block: str | None = None
    """What must stay together in one set."""

    def names(self) -> list[str]:
        """Of those there are, each once."""
        known = (self.label, self.parcel, self.date, self.split, self.block)
        return list(dict.fromkeys(name for name in known if name is not None))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Features:
    """Labels as they were read; every array is (feature,)."""

    geometry: NDArray[np.object_]
    """Points and polygons, x east, y north, in ``crs``."""
    crs: str
    label: NDArray[np.int64]
    classes: tuple[str, ...]
    """Words that numbers stand for; none where the classes are numbers themselves."""
    parcel: NDArray[np.str_]
    date: NDArray[np.datetime64]
    split: NDArray[np.uint8]
    """Positions in `SPLITS`, NO_SPLIT where it is not told."""
    block: NDArray[np.str_]

    def degrees(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """(longitude, latitude) of all their points. Pure."""
        return _project(self.crs, WGS84, *shapely.get_coordinates(self.geometry).T)


def read_features(source: object, columns: LabelColumns) -> Features:
    """The points and polygons of ``source``: a vector file, a GeoJSON mapping, or anything with __geo_interface__.

    Features without a geometry or, where a class is asked for, without a class are left out. Reads the file. Raises
    PlanError where it cannot be read, a column is missing or holds what it cannot, for lines and polygons that cross
    themselves, and for coordinates that cannot be of its CRS.
    """
    geometry, values, crs = read_table(source, columns.names())
    kept = ~(shapely.is_missing(geometry) | shapely.is_empty(geometry))
    if columns.label is not None:
        kept &= np.array([not _is_null(value) for value in values[columns.label]], np.bool_)
    geometry = geometry[kept]
    values = {name: column[kept] for name, column in values.items()}
    if not geometry.size:
        raise PlanError("labels: no feature has a geometry and a class; check the file and class_column")
    check_shapes(geometry, crs)
    label, classes = _read_classes(None if columns.label is None else values[columns.label], geometry.size)
    return Features(
        geometry=np.asarray(shapely.force_2d(geometry), object),
        crs=crs,
        label=label,
        classes=classes,
        parcel=_texts(values, columns.parcel, geometry.size),
        date=_read_dates(values, columns.date, geometry.size),
        split=_read_splits(values, columns.split, geometry.size),
        block=_texts(values, columns.block, geometry.size),
    )


def place_features(
    features: Features, grounds: Sequence[Ground], *, size_px: int, stride_px: int | None, align_px: int
) -> tuple[Places, Rows]:
    """Windows for features, and the number of the feature that each is for. Pure.

    A point, and a polygon that fits into a patch, has one: in its middle, moved into the array and to the nearest
    corner at multiples of ``align_px``, such that their middle stays in it. A larger polygon has those of the lattice
    of `grid_places` whose middle pixel lies in it. Features are a zone's by a point of theirs; those outside the area,
    and beyond the last aligned window of the array, have none. ``align_px`` is at most ``size_px``.
    """
    points = shapely.point_on_surface(features.geometry)
    longitude, latitude = _project(features.crs, WGS84, shapely.get_x(points), shapely.get_y(points))
    parts: list[Places] = []
    owners: list[Rows] = []
    large = np.zeros(len(points), np.bool_)
    shapes = [_on_grid(features, ground) for ground in grounds]
    for number, (ground, shape) in enumerate(zip(grounds, shapes, strict=True)):
        own = np.ones(len(points), np.bool_) if ground.owner is None else ground.owner.owns(longitude, latitude)
        left, top, right, bottom = shapely.bounds(shape).T
        is_large = own & ((bottom - top > size_px) | (right - left > size_px))
        large |= is_large
        rows = np.flatnonzero(own & ~is_large)
        y = np.floor((top[rows] + bottom[rows]) / 2).astype(np.int64)
        x = np.floor((left[rows] + right[rows]) / 2).astype(np.int64)
        inside = _is_in_area(ground, y, x)
        if size_px <= min(ground.grid.shape):
            around, held = _around(ground, number, y[inside], x[inside], size_px=size_px, align_px=align_px)
            parts.append(around)
            owners.append(rows[inside][held])
    for number, (ground, shape) in enumerate(zip(grounds, shapes, strict=True)):
        found, owner = _on_lattice(ground, number, shape, np.flatnonzero(large), size_px=size_px, stride_px=stride_px)
        parts.append(found)
        owners.append(owner)
    return join(parts), np.concatenate([np.empty(0, np.intp), *owners])


def _is_in_area(ground: Ground, y: NDArray[np.int64], x: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Whether pixels are in the area. At a zone's edge the zone owns a point, and perhaps not its pixel's centre."""
    if ground.owner is None:
        return ground.holds_px(y, x)
    around = [ground.holds_px(y + down, x + right) for down in (-1, 0, 1) for right in (-1, 0, 1)]
    return np.asarray(np.any(around, axis=0))


def _around(
    ground: Ground, number: int, y: NDArray[np.int64], x: NDArray[np.int64], *, size_px: int, align_px: int
) -> tuple[Places, NDArray[np.bool_]]:
    """Aligned windows that hold the pixels, and which of them have one."""
    starts = []
    held = np.ones(y.size, np.bool_)
    for middle, length in zip((y, x), ground.grid.shape, strict=True):
        last = (length - size_px) // align_px * align_px
        # half way between two corners the later one: with align_px = size_px the earlier would just miss the pixel
        nearest = (middle - size_px // 2 + align_px // 2) // align_px * align_px
        starts.append(np.clip(nearest, 0, last))
        held &= np.minimum(middle, length - 1) < last + size_px
    places = Places(ground=np.full(y.size, number, np.intp), y0=starts[0], x0=starts[1])
    return places.take(held), held


def _on_lattice(
    ground: Ground, number: int, shapes: NDArray[np.object_], rows: Rows, *, size_px: int, stride_px: int | None
) -> tuple[Places, Rows]:
    if not rows.size:
        return join([]), rows
    lattice = grid_places(ground, number, size_px=size_px, stride_px=stride_px)
    middle_y, middle_x = lattice.y0 + size_px // 2 + 0.5, lattice.x0 + size_px // 2 + 0.5
    tree = shapely.STRtree(np.asarray(shapely.points(middle_x, middle_y), object))
    feature, found = tree.query(shapes[rows], predicate="intersects")
    order = np.lexsort((found, feature))
    return lattice.take(found[order]), rows[feature[order]]


def _on_grid(features: Features, ground: Ground) -> NDArray[np.object_]:
    """The features in pixels of the grid, x east, y south, from the array's upper left corner."""
    (ox, oy), (rx, ry), (east, north) = ground.grid.origin, ground.grid.resolution, ground.grid.offset
    coordinates = shapely.get_coordinates(features.geometry)
    x, y = _project(features.crs, ground.grid.crs, *coordinates.T)
    moved = np.stack(((x - ox) / rx - east, north - (y - oy) / ry), axis=1)
    moved[~np.isfinite(moved).all(axis=1)] = NOWHERE
    return np.asarray(shapely.set_coordinates(features.geometry.copy(), moved), object)


def _project(
    source: str, target: str, x: NDArray[np.float64], y: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    across, up = Transformer.from_crs(source, target, always_xy=True).transform(x, y)
    return np.asarray(across), np.asarray(up)


def _is_null(value: object) -> bool:
    return value is None or value != value  # noqa: PLR0124  # NaN and NaT differ from themselves


def _read_classes(values: NDArray[Any] | None, count: int) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    if values is None:
        return np.full(count, NO_LABEL, np.int64), ()
    try:
        numbers = np.asarray(values, np.float64)
    except (TypeError, ValueError):
        words, label = np.unique([str(value) for value in values], return_inverse=True)
        return np.asarray(label, np.int64), tuple(words.tolist())
    label = np.where((numbers >= 0) & (numbers <= LARGEST_CLASS), numbers, -1).astype(np.int64)
    if (label != numbers).any() or (label < 0).any():
        raise PlanError("labels: classes that are numbers are to be whole ones from 0; or give words")
    return label, ()


def _texts(values: Mapping[str, NDArray[Any]], name: str | None, count: int) -> NDArray[np.str_]:
    if name is None:
        return np.zeros(count, "U1")
    return np.array(["" if _is_null(value) else str(value) for value in values[name]], np.str_)


def _read_dates(values: Mapping[str, NDArray[Any]], name: str | None, count: int) -> NDArray[np.datetime64]:
    if name is None:
        return np.full(count, "NaT", "datetime64[s]")
    try:
        dates = np.array([np.datetime64(None if _is_null(value) else _in_utc(value), "s") for value in values[name]])
    except ValueError as error:
        raise PlanError(f"labels: {name} holds no date: {error}; write them as 2024-06-01") from error
    years = dates.astype("datetime64[Y]").astype(np.int64) + 1970
    wrong = np.flatnonzero(~np.isnat(dates) & ((years < YEARS[0]) | (years > YEARS[1])))
    if wrong.size:
        raise PlanError(f"labels: {name} holds no date: {values[name][wrong[0]]}; write them as 2024-06-01")
    return dates


def _in_utc(value: object) -> str:
    """A date as numpy reads it; one without a time zone is UTC."""
    text = str(value).replace("/", "-").removesuffix("Z")
    if "T" not in text and " " not in text:
        return text
    moment = datetime.fromisoformat(text)
    return text if moment.tzinfo is None else moment.astimezone(UTC).replace(tzinfo=None).isoformat()


def _read_splits(values: Mapping[str, NDArray[Any]], name: str | None, count: int) -> NDArray[np.uint8]:
    if name is None:
        return np.full(count, NO_SPLIT, np.uint8)
    told = [None if _is_null(value) else str(value).strip().lower() for value in values[name]]
    unknown = sorted({each for each in told if each and each not in SPLIT_NAMES})
    if unknown:
        raise PlanError(f"labels: {name} says {unknown[0]!r}; the sets are {', '.join(SPLITS[:3])}")
    return np.array([SPLIT_NAMES[each] if each else NO_SPLIT for each in told], np.uint8)
