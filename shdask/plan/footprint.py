"""The area of interest brought into the cube's CRS, and the grid that holds it.

Refuses to know tiles, bands and prices.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import shapely
from pyproj import CRS

from shdask.errors import PlanError
from shdask.plan.area import Area, make_area, whole_area
from shdask.plan.grid import Grid, snap_grid
from shdask.request.reproject import (
    SUPPORTED_EPSG,
    clean,
    find_centre,
    reproject,
    split_at_antimeridian,
    utm_epsg,
    widen,
)

if TYPE_CHECKING:
    from shdask.inputs import AreaOfInterest, ReferenceGrid
    from shdask.plan.spec import CubeSpec

EDGE_TOLERANCE_PX = 0.1
MAX_NEAR_CRS = 3
METRES_PER_DEGREE = 111_320.0
"""Of a great circle; a degree of longitude is shorter away from the equator."""


class Footprint(NamedTuple):
    """Where the cube is: its grid, the area on it, and what was done to get there."""

    grid: Grid
    area: Area
    notes: tuple[str, ...]


def make_footprint(spec: CubeSpec, area: AreaOfInterest | None, like: ReferenceGrid | None) -> Footprint:
    """The grid and the area of a spec, from what its ``aoi`` and ``like`` were read as. Pure.

    Raises PlanError for a CRS that the service does not render in, and for an area that cannot be placed in it.
    """
    if area is None:
        if like is not None:
            whole = _grid_like(like, None)
            return Footprint(whole, whole_area(whole), ())
        raise PlanError("aoi missing; give an area, or a raster's grid with like")
    geometry, notes = clean(area.geometry, area.crs)
    grid = None if like is None else _grid_like(like, (geometry, area.crs))
    epsg = grid.epsg if grid else _choose_epsg(str(spec.crs), geometry, area.crs)
    resolution = grid.resolution if grid else _pair(spec.resolution)
    geometry = reproject(geometry, area.crs, f"EPSG:{epsg}", tolerance=EDGE_TOLERANCE_PX * min(resolution))
    if spec.buffer:
        geometry = widen(geometry, spec.buffer)
        if shapely.is_empty(geometry):
            raise PlanError(f"buffer = {spec.buffer:g} leaves nothing of the area; make it smaller")
    geometry = split_at_antimeridian(geometry, f"EPSG:{epsg}")
    if grid is None:
        left, bottom, right, top = spec.extent or (float(edge) for edge in shapely.bounds(geometry))
        origin = _pair(spec.origin or (0.0, 0.0))
        grid = snap_grid(epsg=epsg, origin=origin, resolution=resolution, bounds=(left, bottom, right, top))
    if not _within(geometry, grid):
        notes = (*notes, "the area reaches beyond the array; what lies outside is not fetched")
    return Footprint(grid, make_area(geometry, grid, all_touched=spec.all_touched), notes)


def metres_per_px(grid: Grid) -> float:
    """The longer side of a pixel in metres, by the CRS's own unit; degrees as at the equator. Pure."""
    axis = CRS.from_epsg(grid.epsg).axis_info[0]
    unit = METRES_PER_DEGREE if axis.unit_name == "degree" else axis.unit_conversion_factor
    return float(max(grid.resolution) * unit)


def _grid_like(like: ReferenceGrid, area: tuple[shapely.Geometry, str] | None) -> Grid:
    epsg = CRS.from_user_input(like.crs).to_epsg()
    if epsg is None:
        raise PlanError("like: its CRS has no EPSG code; the service renders only in CRSs that have one")
    _check_supported(epsg, area, "like: its CRS")
    rx, _, left, _, ry, top = like.transform
    return Grid(epsg=epsg, origin=(left, top), resolution=(rx, -ry), offset=(0, 0), shape=like.shape)


def _choose_epsg(crs: str, geometry: shapely.Geometry, area_crs: str) -> int:
    if crs.lower() == "utm":
        return utm_epsg(*find_centre(geometry, area_crs))
    code = crs.upper().removeprefix("EPSG:")
    if not code.isdigit():
        raise PlanError(f'cube.crs: {crs!r} is not understood; write "EPSG:32633", or "utm" for the area\'s zone')
    _check_supported(int(code), (geometry, area_crs), "cube.crs")
    return int(code)


def _check_supported(epsg: int, area: tuple[shapely.Geometry, str] | None, place: str) -> None:
    if epsg in SUPPORTED_EPSG:
        return
    near = "a UTM zone, EPSG:3857 or EPSG:4326" if area is None else _near_crs(*area)
    raise PlanError(f"{place}: the service does not render in EPSG:{epsg}; for this area it does in {near}")


def _near_crs(geometry: shapely.Geometry, crs: str) -> str:
    longitude, latitude = find_centre(geometry, crs)
    utm = utm_epsg(longitude, latitude)
    national = sorted(code for code in SUPPORTED_EPSG if not 32601 <= code <= 32760 and code not in {4326, 3857})  # noqa: PLR2004  # the UTM codes
    holding = []
    for code in national:
        use = CRS.from_epsg(code).area_of_use
        if use and use.west <= longitude <= use.east and use.south <= latitude <= use.north:
            holding.append(f"EPSG:{code}")
    return ", ".join([f"EPSG:{utm} (UTM)", *holding[:MAX_NEAR_CRS], "EPSG:3857", "EPSG:4326"])


def _pair(value: float | tuple[float, float] | None) -> tuple[float, float]:
    pair = value if isinstance(value, tuple) else (value, value)
    x, y = (float("nan") if number is None else float(number) for number in pair)
    return x, y


def _within(geometry: shapely.Geometry, grid: Grid) -> bool:
    left, bottom, right, top = shapely.bounds(geometry)
    outer = grid.bounds()
    # An edge of the lattice and the same number read from a file may differ in the last bit.
    slack = 1e-6 * np.array(grid.resolution)
    return bool(
        left >= outer[0] - slack[0]
        and bottom >= outer[1] - slack[1]
        and right <= outer[2] + slack[0]
        and top <= outer[3] + slack[1]
    )
