"""How a cube says where it is and what its numbers mean: CF, GDAL's GeoTransform, and the Zarr conventions.

Pure: attributes from a grid; refuses to know arrays and disks.
"""

from __future__ import annotations

import base64
import struct
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from pyproj import CRS
from pyproj.enums import WktVersion

from shdask.model import TileState
from shdask.plan.grid import Grid

GRID_MAPPING = "spatial_ref"
"""The name that rioxarray and GDAL look for."""
NOT_CHOSEN = 252
"""In ``tile_state``: a cell of the area that scenes reach at a step at which somebody chose not to buy it. The lowest
value that is no `TileState`; stores of older versions say `NO_ACQUISITION` of such a cell until they are continued."""
TOO_CLOUDY = 253
"""In ``tile_state``: a tile that a coarse look found less clear than the job asks for; it was not bought."""
NO_ACQUISITION = 254
"""In ``tile_state``: a cell of the area at a step at which no satellite passed; it holds no data and cost nothing."""
OUTSIDE_AREA = 255
"""In ``tile_state``: a tile of the bounding box that the area does not touch."""
NO_TILE: Mapping[int, str] = MappingProxyType(
    {
        NOT_CHOSEN: "not_chosen",
        TOO_CLOUDY: "too_cloudy",
        NO_ACQUISITION: "no_acquisition",
        OUTSIDE_AREA: "outside_area",
    }
)
"""In ``tile_state``: what is said of cells that are not bought."""


def _convention(name: str, uuid: str, description: str) -> dict[str, str]:
    # Registered at https://github.com/zarr-conventions; both are "Pilot" at v0.1, readers go by the uuid.
    return {
        "uuid": uuid,
        "name": name,
        "schema_url": f"https://raw.githubusercontent.com/zarr-conventions/{name}/refs/tags/v0.1/schema.json",
        "spec_url": f"https://github.com/zarr-conventions/{name}/blob/v0.1/README.md",
        "description": description,
    }


def zarr_conventions(grid: Grid) -> dict[str, Any]:
    """The ``proj:`` and ``spatial:`` attributes of a group whose (y, x) arrays lie on ``grid``. Pure.

    Without ``spatial:dimensions``, which a group need not name: where one does, and has consolidated metadata, GDAL
    3.13.3 ends with a segmentation fault.
    """
    return {
        "zarr_conventions": [
            _convention(
                "proj",
                "f17cb550-5864-4468-aeb7-f3180cfb622f",
                "Coordinate reference system information for geospatial data",
            ),
            _convention("spatial", "689b58e2-cf7b-45e0-9fff-9cfc0883d6b4", "Spatial coordinate information"),
        ],
        "proj:code": grid.crs,
        "proj:wkt2": CRS.from_user_input(grid.crs).to_wkt(WktVersion.WKT2_2019),
        "spatial:shape": list(grid.shape),
        "spatial:transform": list(grid.transform),
        "spatial:bbox": list(grid.bounds()),
        "spatial:registration": "pixel",
    }


def grid_mapping(grid: Grid) -> dict[str, Any]:
    """Attributes of the ``spatial_ref`` scalar: CF plus the WKT 1 and GeoTransform of GDAL and rioxarray. Pure."""
    crs = CRS.from_user_input(grid.crs)
    a, b, c, d, e, f = grid.transform
    return {
        **crs.to_cf(),
        "spatial_ref": crs.to_wkt(WktVersion.WKT1_GDAL),
        "GeoTransform": " ".join(str(float(value)) for value in (c, a, b, f, d, e)),
    }


def axis_attributes(grid: Grid) -> dict[str, dict[str, Any]]:
    """CF attributes of the coordinates ``x`` and ``y``: pixel centres in CRS units. Pure."""
    axes = {str(axis["axis"]): dict(axis) for axis in CRS.from_user_input(grid.crs).cs_to_cf()}
    return {"x": axes["X"], "y": axes["Y"]}


def band_attributes(*, long_name: str, units: str | None, others: Sequence[str] = ()) -> dict[str, Any]:
    """What every raster carries: both attributes, since plain xarray drops the CRS with either alone. Pure.

    ``others`` are further coordinates.
    """
    known = {"long_name": long_name} if units is None else {"long_name": long_name, "units": units}
    return {**known, "grid_mapping": GRID_MAPPING, "coordinates": " ".join((GRID_MAPPING, *others))}


def nan_fill_attribute() -> dict[str, str]:
    """``_FillValue`` NaN as xarray encodes it in Zarr v3 (base64 of a little-endian double). Pure.

    Only floats have one: on integers xarray would turn the array into floats, and 0 may be a value.
    """
    return {"_FillValue": base64.standard_b64encode(struct.pack("<d", float("nan"))).decode()}


def flag_attributes(meanings: dict[int, str]) -> dict[str, Any]:
    """CF flags. Pure."""
    return {"flag_values": list(meanings), "flag_meanings": " ".join(meanings.values())}


def tile_state_attributes() -> dict[str, Any]:
    """Attributes of the (tile_y, tile_x) or (time, tile_y, tile_x) array ``tile_state``. Pure."""
    meanings = {int(state): state.name.lower() for state in TileState}
    return {"long_name": "what is known of each tile", **flag_attributes({**meanings, **NO_TILE})}
