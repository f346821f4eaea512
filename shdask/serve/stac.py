"""A layer of a cube as a STAC item, with the files that were made of it: what it holds, where and when.

Pure, but for what it reads of the store. Refuses to publish it.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely

from shdask.assemble.place import S3_SCHEME, open_place
from shdask.assemble.store import read_cube_attributes
from shdask.assemble.template import DATA_MASK
from shdask.assemble.time_axis import TIME
from shdask.assemble.tree import child
from shdask.errors import StoreUnavailable
from shdask.request.reproject import reproject, split_at_antimeridian
from shdask.serve.open import open_cube, pick_group
from shdask.serve.stored import StoredCube
from shdask.serve.whole_file import write_whole

if TYPE_CHECKING:
    import xarray as xr

    from shdask.serve.cog import Exported

STAC_VERSION = "1.1.0"
DATACUBE = "https://stac-extensions.github.io/datacube/v2.2.0/schema.json"
PROJECTION = "https://stac-extensions.github.io/projection/v2.0.0/schema.json"
WGS84 = "EPSG:4326"
ZARR_TYPE = "application/vnd.zarr; version=3"
COG_TYPE = "image/tiff; application=geotiff; profile=cloud-optimized"
_DIGITS = 7
"""Of degrees: a centimetre."""


def write_item(
    store: str | os.PathLike[str],
    path: str | os.PathLike[str],
    *,
    layer: str | None = None,
    zone: str | int | None = None,
    files: Sequence[Exported] = (),
) -> dict[str, Any]:
    """Write `make_item` to ``path``, on this machine, as JSON; what it names is named from there. Returns the item.

    Raises StoreError as `make_item`, StoreUnavailable where ``path`` cannot be written.
    """
    target = Path(path).absolute()
    item = make_item(store, layer=layer, zone=zone, files=files, folder=target.parent)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreUnavailable(f"{target}: {error.strerror or error}; choose another file") from error
    write_whole(target, (json.dumps(item, indent=2) + "\n").encode())
    return item


def make_item(
    store: str | os.PathLike[str],
    *,
    layer: str | None = None,
    zone: str | int | None = None,
    files: Sequence[Exported] = (),
    folder: Path | None = None,
) -> dict[str, Any]:
    """A layer of the cube at ``store`` as a STAC 1.1 item, with the extensions datacube and projection.

    Its geometry is the array's extent in WGS 84, split at the antimeridian; its dates are those of the cube, or the
    interval that it was asked for; of a layer without either, the time at which the item is made. Assets are the Zarr
    group and ``files``, named from ``folder`` where they are on this machine. Raises StoreError as `open_cube`.
    """
    place = open_place(store)
    path = pick_group(StoredCube(place=place), layer, zone)
    cube = open_cube(store, layer=path or layer, zone=None if path else zone)
    attributes = read_cube_attributes(child(place, path))
    code, bounds = attributes["proj:code"], attributes["spatial:bbox"]
    geometry = shapely.orient_polygons(shapely.set_precision(_footprint(bounds, code), 10.0**-_DIGITS))
    projection = {
        "proj:code": code,
        "proj:shape": attributes["spatial:shape"],
        "proj:transform": attributes["spatial:transform"],
        "proj:bbox": bounds,
    }
    return {
        "type": "Feature",
        "stac_version": STAC_VERSION,
        "stac_extensions": [DATACUBE, PROJECTION],
        "id": _identifier(place.name, path or attributes["layer"]),
        "geometry": json.loads(shapely.to_geojson(geometry)),
        "bbox": _bbox(geometry),
        "properties": {
            "title": attributes["title"],
            **_times(cube, attributes),
            **projection,
            "cube:dimensions": _dimensions(cube, bounds, code),
            "cube:variables": _variables(cube),
        },
        "links": [],
        "assets": {
            "zarr": {
                "href": _href(f"{place.name}/{path}" if path else place.name, folder),
                "type": ZARR_TYPE,
                "title": attributes["title"],
                "roles": ["data"],
                "bands": [_band(cube, name) for name in attributes["bands"]],
            },
            **{_key(number, each): _file_asset(cube, each, folder) for number, each in enumerate(files)},
        },
    }


def _footprint(bounds: Sequence[float], code: str) -> shapely.Geometry:
    left, bottom, right, top = bounds
    degrees = reproject(shapely.box(left, bottom, right, top), code, WGS84, tolerance=1e-4)
    return split_at_antimeridian(degrees, WGS84)


def _bbox(geometry: shapely.Geometry) -> list[float]:
    """(west, south, east, north); west is greater than east where it crosses the antimeridian, as GeoJSON has it."""
    west, south, east, north = shapely.bounds(geometry).tolist()
    parts = shapely.get_parts(geometry)
    if len(parts) > 1 and west == -180 and east == 180:  # noqa: PLR2004  # degrees
        edges = shapely.bounds(parts)
        west, east = edges[edges[:, 2] == east, 0].min(), edges[edges[:, 0] == west, 2].max()
    return [round(float(value), _DIGITS) for value in (west, south, east, north)]


def _times(cube: xr.Dataset, attributes: dict[str, Any]) -> dict[str, Any]:
    if TIME in cube.dims:
        first, last = _stamp(cube[TIME].to_numpy().min()), _stamp(cube[TIME].to_numpy().max())
        return {"datetime": None, "start_datetime": first, "end_datetime": last}
    if "time_coverage_start" in attributes:
        said = [attributes[f"time_coverage_{name}"].replace("+00:00", "Z") for name in ("start", "end")]
        return {"datetime": None, "start_datetime": said[0], "end_datetime": said[1]}
    return {"datetime": datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")}


def _stamp(time: np.datetime64) -> str:
    return f"{np.datetime_as_string(time, 's')}Z"


def _dimensions(cube: xr.Dataset, bounds: Sequence[float], code: str) -> dict[str, Any]:
    left, bottom, right, top = bounds
    epsg = int(code.rpartition(":")[2])
    found: dict[str, Any] = {}
    for axis, extent in (("x", [left, right]), ("y", [bottom, top])):
        step = (extent[1] - extent[0]) / cube.sizes[axis]
        found[axis] = {
            "type": "spatial",
            "axis": axis,
            "extent": extent,
            "step": step if axis == "x" else -step,
            "reference_system": epsg,
        }
    if TIME in cube.dims:
        values = [_stamp(time) for time in cube[TIME].to_numpy()]
        found[TIME] = {"type": "temporal", "extent": [values[0], values[-1]], "values": values}
    return found


def _variables(cube: xr.Dataset) -> dict[str, Any]:
    return {
        str(name): {
            "variable_type": "auxiliary" if name == DATA_MASK else "data",
            "dimensions": [str(axis) for axis in variable.dims],
            "description": str(variable.attrs.get("long_name", name)),
            "data_type": variable.dtype.name,
            **_unit(variable),
        }
        for name, variable in cube.data_vars.items()
    }


def _band(cube: xr.Dataset, name: str) -> dict[str, Any]:
    variable = cube[name]
    nodata = {"nodata": "nan"} if variable.dtype.kind == "f" else {}
    return {"name": name, "data_type": variable.dtype.name, **nodata, **_unit(variable)}


def _unit(variable: xr.DataArray) -> dict[str, str]:
    unit = str(variable.attrs.get("units", ""))
    return {"unit": unit} if unit else {}


def _key(number: int, file: Exported) -> str:
    return "cog" if file.time is None else f"cog_{number}_{file.time[:10]}"


def _file_asset(cube: xr.Dataset, file: Exported, folder: Path | None) -> dict[str, Any]:
    told = file.as_dict()
    nodata = {} if told["nodata"] is None else {"nodata": told["nodata"]}
    a, _, c, _, e, f = file.transform
    return {
        "href": _href(file.path, folder),
        "type": COG_TYPE,
        "roles": ["data"],
        **({} if file.time is None else {"datetime": file.time}),
        "proj:shape": list(file.shape),
        "proj:transform": list(file.transform),
        "proj:bbox": [c, f + file.shape[0] * e, c + file.shape[1] * a, f],
        "bands": [{"name": name, "data_type": file.dtype, **nodata, **_unit(cube[name])} for name in file.bands],
    }


def _href(path: str, folder: Path | None) -> str:
    if path.startswith(S3_SCHEME) or folder is None:
        return path
    return Path(os.path.relpath(Path(path).absolute(), folder)).as_posix()


def _identifier(store: str, name: str) -> str:
    words = f"{Path(store).stem}-{name}"
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", words).strip("-")
