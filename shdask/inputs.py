"""Reads what users bring: areas from vector files and Python objects, grids from rasters. The only reader of them.

Refuses to know what the area or the grid is for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import shapely
import shapely.geometry
from pyproj import CRS
from pyproj.exceptions import CRSError

from shdask.errors import PlanError

WGS84 = "EPSG:4326"
CRS_CURE = 'write it as "EPSG:4326", for instance'


@dataclass(frozen=True, slots=True, kw_only=True)
class AreaOfInterest:
    """A polygonal geometry and its CRS."""

    geometry: shapely.Geometry
    """Polygon, MultiPolygon, or a collection of them whose union is meant; x east, y north; may be invalid."""
    crs: str
    """``EPSG:n`` where it has a code, else WKT."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferenceGrid:
    """The grid of a north-up raster."""

    crs: str
    """``EPSG:n`` where it has a code, else WKT."""
    transform: tuple[float, float, float, float, float, float]
    """Affine (a, b, c, d, e, f) from (column, row) to (x, y), with b = d = 0, a > 0, e < 0."""
    shape: tuple[int, int]
    """(rows, columns)."""


def read_area(
    aoi: object,
    *,
    crs: str | None = None,
    layer: str | None = None,
    where: str | None = None,
    folder: Path | None = None,
) -> AreaOfInterest:
    """The area that ``aoi`` stands for.

    ``aoi`` is a path to a vector file (relative to ``folder``; ``layer`` and ``where``, an OGR SQL condition,
    choose features), a GeoJSON mapping, anything with ``__geo_interface__``, a shapely geometry, or a bbox
    (left, bottom, right, top); a geographic bbox with left > right crosses the antimeridian.
    ``crs`` overrides what the file or mapping says; without either it is EPSG:4326.
    Reads the file. Raises PlanError where there is no file, no feature or no polygon.
    """
    if isinstance(aoi, str | Path):
        _check_path(str(aoi))
        return _read_vector(Path(folder or ".") / Path(aoi).expanduser(), crs, layer, where)
    if layer is not None or where is not None:
        raise PlanError("aoi_layer and aoi_where choose from a file, and aoi is not a path; leave them out")
    if isinstance(aoi, shapely.Geometry):
        return _polygonal([aoi], normalise_crs(crs or WGS84, "aoi_crs"), "aoi")
    if isinstance(aoi, Sequence | np.ndarray) and not isinstance(aoi, bytes):
        return _from_bbox(aoi, normalise_crs(crs or WGS84, "aoi_crs"))
    mapping = aoi if isinstance(aoi, Mapping) else getattr(aoi, "__geo_interface__", None)
    if not isinstance(mapping, Mapping):
        raise PlanError(
            f"aoi: {type(aoi).__name__} is no area; give a path, a GeoJSON mapping, a shapely geometry "
            f"or a bbox [left, bottom, right, top]"
        )
    own_crs = getattr(aoi, "crs", None) if mapping is not aoi else None  # GeoDataFrame and the like
    found = normalise_crs(crs or _member_crs(mapping) or own_crs or WGS84, "aoi_crs")
    return _polygonal(_from_geojson(mapping), found, "aoi")


def read_reference_grid(path: str | Path, *, folder: Path | None = None) -> ReferenceGrid:
    """The grid of a raster file (relative to ``folder``). Reads its header.

    Raises PlanError where it cannot be read, has no CRS, or is rotated or south-up.
    """
    import rasterio
    from rasterio.errors import RasterioError

    path = Path(folder or ".") / Path(path).expanduser()
    if not path.exists():
        raise PlanError(f"like: {path} does not exist; relative paths count from the job file's folder")
    try:
        with rasterio.open(path) as raster:
            crs, affine, shape = raster.crs, raster.transform, raster.shape
    except RasterioError as error:
        raise PlanError(f"like: {path} cannot be read as a raster: {error}") from error
    if crs is None:
        raise PlanError(f"like: {path} has no CRS; assign one, or give crs, resolution and extent instead")
    if affine.b or affine.d or affine.a <= 0 or affine.e >= 0:
        raise PlanError(f"like: {path} is rotated or not north-up; warp it to a north-up grid first")
    return ReferenceGrid(crs=normalise_crs(crs.to_wkt(), f"like: {path}"), transform=tuple(affine)[:6], shape=shape)


def normalise_crs(crs: object, place: str) -> str:
    """``EPSG:n`` for a CRS that has a code, else WKT. Pure. Raises PlanError, naming ``place``, where it is none."""
    try:
        known = CRS.from_user_input(crs)
    except CRSError as error:
        raise PlanError(f"{place}: {crs!r} is not a CRS; {CRS_CURE}") from error
    if known.to_authority() == ("OGC", "CRS84"):
        return WGS84
    epsg = known.to_epsg()
    return f"EPSG:{epsg}" if epsg is not None else str(known.to_wkt())


def _check_path(text: str) -> None:
    """Raise PlanError for what is no path but looks like something else that stands for an area."""
    start = text.lstrip().upper()
    if not start:
        raise PlanError("aoi: the path is empty; name a vector file")
    if start.startswith("{"):
        raise PlanError("aoi: this is the text of a GeoJSON, not a path; give json.loads(text), or save it as a file")
    if start.startswith(("POLYGON", "MULTIPOLYGON", "GEOMETRYCOLLECTION")) and "(" in start:
        raise PlanError("aoi: this is WKT, not a path; give shapely.from_wkt(text), or save it as a file")


def _read_vector(path: Path, crs: str | None, layer: str | None, where: str | None) -> AreaOfInterest:
    import pyogrio
    from pyogrio.errors import DataLayerError, DataSourceError

    if not path.exists():
        raise PlanError(f"aoi: {path} does not exist; relative paths count from the job file's folder")
    try:
        layers = [str(name) for name in pyogrio.list_layers(path)[:, 0]]
    except DataSourceError as error:
        raise PlanError(f"aoi: {path} {_why_unreadable(path, str(error))}") from error
    if layer is None and len(layers) > 1:
        raise PlanError(f"aoi: {path} has layers {', '.join(layers)}; choose one with aoi_layer")
    if layer is not None and layer not in layers:
        raise PlanError(f"aoi_layer: {path} has no layer {layer!r}; it has {', '.join(layers)}")
    try:
        # GDAL reads a legacy "crs" member, and says EPSG:4326 of GeoJSON without one.
        meta, _, blobs, _ = pyogrio.raw.read(path, layer=layer, where=where, columns=[])
    except (DataSourceError, DataLayerError, ValueError) as error:
        if where is not None:
            raise PlanError(f"aoi_where: {where!r} does not choose from {path}: {error}") from error
        raise PlanError(f"aoi: {path} {_why_unreadable(path, str(error))}") from error
    with np.errstate(invalid="ignore"):  # of coordinates that are no number, which are told of later
        geometries = [g for g in shapely.from_wkb(blobs) if g is not None and not shapely.is_empty(g)]
    if not geometries:
        because = f"no feature matches aoi_where = {where!r}" if where else "it has no feature with a geometry"
        raise PlanError(f"aoi: {path}: {because}")
    return _polygonal(geometries, normalise_crs(crs or meta["crs"] or WGS84, "aoi_crs"), f"aoi: {path}")


def _why_unreadable(path: Path, reason: str) -> str:
    if path.is_dir():
        return "is a folder; name a vector file in it"
    if path.stat().st_size == 0:
        return "is empty; give a GeoJSON or GeoPackage with a polygon"
    if "malformed" in reason or "short read" in reason:  # SQLite's words
        return "is damaged, or only part of it is here; copy it again"
    return f"cannot be read as a vector file: {reason.split('.; ', maxsplit=1)[0]}"  # without GDAL's advice on drivers


def _from_bbox(box: Sequence[Any] | np.ndarray[Any, Any], crs: str) -> AreaOfInterest:
    try:
        left, bottom, right, top = (float(number) for number in box)
    except (TypeError, ValueError) as error:
        raise PlanError(f"aoi: {box!r} is not a bbox; give four numbers [left, bottom, right, top]") from error
    if left > right and CRS.from_user_input(crs).is_geographic:
        right += 360.0  # RFC 7946, 5.2: the box crosses the antimeridian
    if not (left < right and bottom < top and np.isfinite([left, bottom, right, top]).all()):
        raise PlanError(f"aoi: {list(box)!r} is not [left, bottom, right, top] with left < right and bottom < top")
    # No side is longer than a quarter of the box, so that none is taken for a jump across the antimeridian.
    xs = [left + (right - left) * quarter / 4 for quarter in range(4)] + [right]
    ring = [(x, bottom) for x in xs] + [(x, top) for x in reversed(xs)]
    return AreaOfInterest(geometry=shapely.Polygon(ring), crs=crs)


def _member_crs(mapping: Mapping[str, Any]) -> str | None:
    member = mapping.get("crs")
    properties = member.get("properties") if isinstance(member, Mapping) else None
    return properties.get("name") if isinstance(properties, Mapping) else None


def _from_geojson(mapping: Any) -> list[shapely.Geometry]:
    kind = mapping.get("type") if isinstance(mapping, Mapping) else None
    try:
        if kind == "FeatureCollection":
            return [geometry for feature in mapping["features"] for geometry in _from_geojson(feature)]
        if kind == "Feature":
            return _from_geojson(mapping["geometry"]) if mapping["geometry"] else []
        with np.errstate(invalid="ignore"):  # of coordinates that are no number, which are told of later
            return [shapely.geometry.shape(dict(mapping))]
    except PlanError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, shapely.errors.ShapelyError) as error:
        raise PlanError(
            f"aoi: this is not GeoJSON (type {kind!r}): {error}; give a geometry, a Feature or a FeatureCollection"
        ) from error


def _polygonal(geometries: list[shapely.Geometry], crs: str, place: str) -> AreaOfInterest:
    parts = [part for geometry in geometries for part in _members(geometry) if not shapely.is_empty(part)]
    if not parts:
        raise PlanError(f"{place}: there is no geometry in it; an area needs at least one polygon")
    other = sorted({type(part).__name__ for part in parts} - {"Polygon", "MultiPolygon"})
    if other:
        raise PlanError(f"{place}: {', '.join(other)} is no area; give polygons, or buffer the lines or points first")
    flat = [shapely.force_2d(part) for part in parts]
    if not np.isfinite(shapely.get_coordinates(flat)).all():
        raise PlanError(f"{place}: a coordinate is not a finite number; mend the geometry")
    return AreaOfInterest(geometry=flat[0] if len(flat) == 1 else shapely.GeometryCollection(flat), crs=crs)


def _members(geometry: shapely.Geometry) -> list[shapely.Geometry]:
    if isinstance(geometry, shapely.GeometryCollection):
        return [member for part in geometry.geoms for member in _members(part)]
    return [geometry]
