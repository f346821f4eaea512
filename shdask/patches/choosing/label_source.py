"""Where labels are read from: a vector file or GeoJSON, as shapes, columns and a CRS that can be worked with.

Refuses to know what the columns mean.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely
import shapely.errors
import shapely.geometry
from pyproj import CRS

from shdask.errors import PlanError
from shdask.inputs import WGS84, normalise_crs

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Table = tuple[NDArray[np.object_], dict[str, NDArray[Any]], str]
    """(feature,) shapes, None where one has none; columns by name; and the CRS."""

POINT, POLYGONS = 0, (3, 6)
"""`shapely.get_type_id`."""
FURTHEST = (360.0, 90.0)
"""Degrees of longitude and latitude."""


def read_table(source: object, columns: Sequence[str]) -> Table:
    """Shapes and ``columns`` of a vector file, a GeoJSON mapping, or anything with __geo_interface__.

    Reads the file. Raises PlanError where there is none, it holds no shapes, or a column is missing.
    """
    if isinstance(source, str | os.PathLike):
        return _read_file(Path(source).expanduser(), columns)
    return _read_mapping(source, columns)


def check_shapes(shapes: NDArray[np.object_], crs: str) -> None:
    """Raise PlanError for what is neither a point nor a whole polygon, and for coordinates that are not of ``crs``.

    It names the first such shape. Pure.
    """
    if not np.isin(shapely.get_type_id(shapes), (POINT, *POLYGONS)).all():
        raise PlanError("labels: they are to be points or polygons; buffer lines, and explode collections, first")
    corners = shapely.bounds(shapes)
    if not np.isfinite(corners).all():
        raise PlanError("labels: some have coordinates that are no numbers; leave these features out")
    if CRS.from_user_input(crs).is_geographic:
        far = np.flatnonzero((np.abs(corners).reshape(-1, 2, 2) > FURTHEST).any(axis=(1, 2)))
        if far.size:
            x, y = corners[far[0], :2].tolist()
            raise PlanError(
                f"labels: one lies at ({x:g}, {y:g}), which are no degrees, and {crs} is in degrees (as is what names "
                f"no CRS); assign the CRS that its coordinates are in, x before y"
            )
    broken = np.flatnonzero(~shapely.is_valid(shapes))
    if broken.size:
        raise PlanError(
            f"labels: {broken.size} polygons are broken, the first at {shapely.is_valid_reason(shapes[broken[0]])} "
            f"({crs}); repair them, as shapely.make_valid or QGIS's Fix geometries do"
        )


def _read_file(path: Path, columns: Sequence[str]) -> Table:
    import pyogrio
    from pyogrio.errors import DataLayerError, DataSourceError

    if not path.exists():
        raise PlanError(f"labels: {path} does not exist")
    try:
        layers = sorted(str(name) for name, kind in pyogrio.list_layers(path).tolist() if kind is not None)
        if len(layers) != 1:
            told = f"several layers, {', '.join(layers)}; save the one of the labels as a file of its own"
            raise PlanError(f"labels: {path} has {told if layers else 'no geometries; give points or polygons'}")
        there = [str(name) for name in pyogrio.read_info(path, layer=layers[0])["fields"]]
        missing = [name for name in columns if name not in there]
        if missing:
            raise PlanError(f"labels: {path} has no column {missing[0]!r}; it has {', '.join(there) or 'none'}")
        meta, _, blobs, fields = pyogrio.raw.read(
            path, layer=layers[0], columns=list(columns), datetime_as_string=True
        )  # as datetimes they would lose their time zone
    except (DataSourceError, DataLayerError) as error:
        raise PlanError(f"labels: {path} cannot be read as a vector file: {error}") from error
    values = dict(zip((str(name) for name in meta["fields"]), fields, strict=True))
    return shapely.from_wkb(blobs), values, normalise_crs(meta["crs"] or WGS84, "labels")


def _read_mapping(source: object, columns: Sequence[str]) -> Table:
    mapping = source if isinstance(source, Mapping) else getattr(source, "__geo_interface__", None)
    if not isinstance(mapping, Mapping) or mapping.get("type") != "FeatureCollection":
        raise PlanError(
            f"labels: {type(source).__name__} holds no features; give a file, or a FeatureCollection of GeoJSON"
        )
    rows = list(mapping.get("features") or ())
    geometry = np.empty(len(rows), object)
    for number, row in enumerate(rows):
        geometry[number] = _read_shape(row, number)
    told = [_read_properties(row, number) for number, row in enumerate(rows)]
    values = {}
    for name in columns:
        column = np.empty(len(rows), object)
        column[:] = [properties.get(name) for properties in told]
        if rows and not any(name in properties for properties in told):
            there = ", ".join(map(str, told[0])) or "none"
            raise PlanError(f"labels: no feature has a property {name!r}; the first has {there}")
        values[name] = column
    own = _own_crs(mapping) if source is mapping else getattr(source, "crs", None)  # a GeoDataFrame's
    return geometry, values, normalise_crs(own or WGS84, "labels")


def _read_shape(row: Mapping[str, Any], number: int) -> shapely.Geometry | None:
    try:
        return None if row["geometry"] is None else shapely.geometry.shape(row["geometry"])
    except (KeyError, TypeError, ValueError, AttributeError, shapely.errors.ShapelyError) as error:
        raise PlanError(
            f"labels: feature {number} has no geometry of GeoJSON ({type(error).__name__}: {error}); mend it, or give "
            f"it the geometry null"
        ) from error


def _read_properties(row: Mapping[str, Any], number: int) -> Mapping[str, Any]:
    properties = row.get("properties") or {}
    if not isinstance(properties, Mapping):
        raise PlanError(
            f"labels: feature {number} has a {type(properties).__name__} of properties; give names and values, as "
            f'{{"crop": "maize"}}'
        )
    return properties


def _own_crs(mapping: Mapping[str, Any]) -> str | None:
    """What GeoJSON of before 2016 names, and GDAL still writes and reads."""
    told = mapping.get("crs")
    if told is None:
        return None
    properties = told.get("properties") if isinstance(told, Mapping) and told.get("type") == "name" else None
    name = properties.get("name") if isinstance(properties, Mapping) else None
    if not isinstance(name, str):
        raise PlanError(
            f"labels: crs is {told!r}, which names none; leave it out where coordinates are in degrees, or give "
            f'{{"type": "name", "properties": {{"name": "EPSG:32633"}}}}'
        )
    return name
