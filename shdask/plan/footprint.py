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
    DEGREES_ROUND,
    SUPPORTED_EPSG,
    WEB_MERCATOR_ROUND,
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

EDGE_TOLERANCE_PX = 0.001
MAX_NEAR_CRS = 3
STRETCHED_DEGREES = 6.0
"""Longitudes this far outside of where a CRS is meant to be used are worth a note: one more UTM zone."""
LOST_DEGREES = 80.0
"""Beyond this a transverse projection folds over."""
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
    if shapely.is_empty(geometry):
        raise PlanError(
            "aoi: its polygons enclose nothing; check the corners, and give an area around a pole in a polar CRS "
            "such as EPSG:3995 or EPSG:3031"
        )
    grid = None if like is None else _grid_like(like, (geometry, area.crs))
    epsg = grid.epsg if grid else _choose_epsg(str(spec.crs), geometry, area.crs)
    notes = (*notes, *_notes_on_reach(geometry, area.crs, epsg))
    resolution = grid.resolution if grid else _pair(spec.resolution)
    geometry = reproject(geometry, area.crs, f"EPSG:{epsg}", tolerance=EDGE_TOLERANCE_PX * min(resolution))
    if spec.buffer:
        geometry = widen(geometry, spec.buffer)
        if shapely.is_empty(geometry):
            raise PlanError(f"buffer = {spec.buffer:g} leaves nothing of the area; make it smaller")
    geometry = split_at_antimeridian(geometry, f"EPSG:{epsg}")
    if grid is None and spec.extent is None and _goes_round(geometry, epsg):
        notes = (*notes, f'the array goes round the globe, since EPSG:{epsg} is cut at 180; crs = "utm" keeps it whole')
    if grid is None:
        left, bottom, right, top = spec.extent or (float(edge) for edge in shapely.bounds(geometry))
        origin = _pair(spec.origin or (0.0, 0.0))
        grid = snap_grid(epsg=epsg, origin=origin, resolution=resolution, bounds=(left, bottom, right, top))
    _check_overlap(geometry, grid)
    if not _within(geometry, grid):
        notes = (*notes, "the area reaches beyond the array; what lies outside is not fetched")
    return Footprint(grid, make_area(geometry, grid, all_touched=spec.all_touched), notes)


def metres_per_px(grid: Grid) -> float:
    """The longer side of a pixel in metres, by the CRS's own unit; degrees as at the equator. Pure."""
    axis = CRS.from_epsg(grid.epsg).axis_info[0]
    unit = METRES_PER_DEGREE if axis.unit_name == "degree" else axis.unit_conversion_factor
    return float(max(grid.resolution) * unit)


def _notes_on_reach(geometry: shapely.Geometry, crs: str, epsg: int) -> tuple[str, ...]:
    """What to say of an area far from where the target CRS is meant to be used. Raises PlanError where it is lost."""
    use = CRS.from_epsg(epsg).area_of_use
    if crs == f"EPSG:{epsg}" or use is None or use.north - use.south >= 170 or use.east - use.west >= 350:  # noqa: PLR2004  # the whole globe
        return ()
    west, east = use.west, use.east + (DEGREES_ROUND if use.east < use.west else 0.0)
    boxes = shapely.MultiPolygon([shapely.box(*shapely.bounds(part)) for part in shapely.get_parts(geometry)])
    bounds = shapely.bounds(shapely.get_parts(reproject(boxes, crs, "EPSG:4326", tolerance=0.1)))
    middle = (bounds[:, 0] + bounds[:, 2]) / 2
    turns = np.round((middle - (west + east) / 2) / DEGREES_ROUND) * DEGREES_ROUND
    beyond = float(max((west - bounds[:, 0] + turns).max(), (bounds[:, 2] - turns - east).max()))
    if beyond <= STRETCHED_DEGREES:
        return ()
    zone = utm_epsg(*find_centre(boxes, crs))
    text = (
        f"the area reaches {beyond:.0f} degrees of longitude beyond where EPSG:{epsg} is meant to be used "
        f"({use.west:g} to {use.east:g}){'' if zone == epsg else f'; the UTM zone of its centre is EPSG:{zone}'}. "
        f"Check aoi_crs, and that coordinates are x, then y"
    )
    if beyond > LOST_DEGREES:
        raise PlanError(f"cube.crs: {text}; else take EPSG:4326")
    return (text,)


def _goes_round(geometry: shapely.Geometry, epsg: int) -> bool:
    """Whether the area would fit an array less than half as wide, were the CRS not cut at the antimeridian."""
    period = {4326: DEGREES_ROUND, 3857: WEB_MERCATOR_ROUND}.get(epsg)
    if period is None:
        return False
    bounds = shapely.bounds(shapely.get_parts(geometry))
    turns = np.where(bounds[:, 0] < 0, period, 0.0)
    width = bounds[:, 2].max() - bounds[:, 0].min()
    return bool((bounds[:, 2] + turns).max() - (bounds[:, 0] + turns).min() < width / 2)


def _check_overlap(geometry: shapely.Geometry, grid: Grid) -> None:
    left, bottom, right, top = shapely.bounds(geometry)
    outer = grid.bounds()
    if right <= outer[0] or left >= outer[2] or top <= outer[1] or bottom >= outer[3]:
        raise PlanError(
            f"aoi: the area is wholly outside the array. In {grid.crs} (left, bottom, right, top) it is at "
            f"{left:.10g}, {bottom:.10g}, {right:.10g}, {top:.10g}, and the array at "
            f"{', '.join(f'{edge:.10g}' for edge in outer)}; check aoi_crs, and extent or like"
        )


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
