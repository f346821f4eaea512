"""Labels that people bring: points and polygons with a class, a name, a date or a set of their own; and their places.

Refuses to know pixels, and class rasters.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely
import shapely.geometry
from pyproj import Transformer

from shdask.errors import PlanError
from shdask.inputs import WGS84, normalise_crs
from shdask.patches.places import Ground, Places, grid_places, join
from shdask.patches.table import NO_LABEL, SPLITS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Rows = NDArray[np.intp]

POINT, POLYGONS = 0, (3, 6)
"""`shapely.get_type_id`."""
NO_SPLIT = 255
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


def read_features(source: object, columns: LabelColumns) -> Features:
    """The points and polygons of ``source``: a vector file, a GeoJSON mapping, or anything with __geo_interface__.

    Features without a geometry or, where a class is asked for, without a class are left out. Reads the file. Raises
    PlanError where it cannot be read, a column is missing or holds what it cannot, and for lines.
    """
    if isinstance(source, str | os.PathLike):
        geometry, values, crs = _read_file(Path(source).expanduser(), columns)
    else:
        geometry, values, crs = _read_mapping(source, columns)
    kept = ~(shapely.is_missing(geometry) | shapely.is_empty(geometry))
    if columns.label is not None:
        kept &= np.array([not _is_null(value) for value in values[columns.label]], np.bool_)
    geometry = geometry[kept]
    values = {name: column[kept] for name, column in values.items()}
    if not geometry.size:
        raise PlanError("labels: no feature has a geometry and a class; check the file and class_column")
    kinds = shapely.get_type_id(geometry)
    if not np.isin(kinds, (POINT, *POLYGONS)).all():
        raise PlanError("labels: they are to be points or polygons; buffer lines, and explode collections, first")
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


def _read_file(path: Path, columns: LabelColumns) -> tuple[NDArray[np.object_], dict[str, NDArray[Any]], str]:
    import pyogrio
    from pyogrio.errors import DataLayerError, DataSourceError

    if not path.exists():
        raise PlanError(f"labels: {path} does not exist")
    try:
        there = [str(name) for name in pyogrio.read_info(path)["fields"]]
        missing = [name for name in columns.names() if name not in there]
        if missing:
            raise PlanError(f"labels: {path} has no column {missing[0]!r}; it has {', '.join(there) or 'none'}")
        meta, _, blobs, fields = pyogrio.raw.read(path, columns=columns.names())
    except (DataSourceError, DataLayerError) as error:
        raise PlanError(f"labels: {path} cannot be read as a vector file: {error}") from error
    values = dict(zip((str(name) for name in meta["fields"]), fields, strict=True))
    return shapely.from_wkb(blobs), values, normalise_crs(meta["crs"] or WGS84, "labels")


def _read_mapping(source: object, columns: LabelColumns) -> tuple[NDArray[np.object_], dict[str, NDArray[Any]], str]:
    mapping = source if isinstance(source, Mapping) else getattr(source, "__geo_interface__", None)
    if not isinstance(mapping, Mapping) or mapping.get("type") != "FeatureCollection":
        raise PlanError(
            f"labels: {type(source).__name__} holds no features; give a file, or a FeatureCollection of GeoJSON"
        )
    rows = list(mapping["features"])
    shapes = [None if row["geometry"] is None else shapely.geometry.shape(row["geometry"]) for row in rows]
    geometry = np.empty(len(rows), object)
    geometry[:] = shapes
    values = {}
    for name in columns.names():
        if not any(name in (row.get("properties") or {}) for row in rows):
            raise PlanError(f"labels: no feature has a property {name!r}")
        column = np.empty(len(rows), object)
        column[:] = [(row.get("properties") or {}).get(name) for row in rows]
        values[name] = column
    own = None if source is mapping else getattr(source, "crs", None)  # a GeoDataFrame's
    return geometry, values, normalise_crs(own or WGS84, "labels")


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
    label = numbers.astype(np.int64)
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
        return np.array([np.datetime64(None if _is_null(value) else _day(value), "s") for value in values[name]])
    except ValueError as error:
        raise PlanError(f"labels: {name} holds no date: {error}; write them as 2024-06-01") from error


def _day(value: object) -> str:
    return str(value).replace("/", "-").removesuffix("Z").removesuffix("+00:00")


def _read_splits(values: Mapping[str, NDArray[Any]], name: str | None, count: int) -> NDArray[np.uint8]:
    if name is None:
        return np.full(count, NO_SPLIT, np.uint8)
    told = [None if _is_null(value) else str(value).strip().lower() for value in values[name]]
    unknown = sorted({each for each in told if each and each not in SPLIT_NAMES})
    if unknown:
        raise PlanError(f"labels: {name} says {unknown[0]!r}; the sets are {', '.join(SPLITS[:3])}")
    return np.array([SPLIT_NAMES[each] if each else NO_SPLIT for each in told], np.uint8)
