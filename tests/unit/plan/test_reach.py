"""Which cells of the tile grid each step reaches."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from pyproj import Geod, Transformer

from shdask.errors import PlanError
from shdask.plan.acquisition import EVERYWHERE
from shdask.plan.grid import Grid, snap_grid
from shdask.plan.reach import find_reach
from shdask.plan.timeline import Timeline, make_timeline

from .scenes import scene, span

JUNE = span("2024-06-01", "2024-07-01")
TILE_PX = 100
GRID = snap_grid(epsg=32633, origin=(0.0, 0.0), resolution=(10.0, 10.0), bounds=(500000, 5094500, 510500, 5100000))
"""1050 x 550 pixels: 11 x 6 cells of 1 km, those of the last column and row half as wide."""


def timeline(*footprints: shapely.Geometry) -> Timeline:
    """A step a footprint, an hour apart."""
    scenes = [
        scene(str(number), f"2024-06-10T{number:02d}:00:00", footprint=one) for number, one in enumerate(footprints)
    ]
    return make_timeline(scenes, "acquisition", JUNE)


def degrees(left: float, bottom: float, right: float, top: float, epsg: int = 32633) -> shapely.Geometry:
    """A box of the CRS as its corners in degrees."""
    to_degrees = Transformer.from_crs(f"EPSG:{epsg}", "EPSG:4326", always_xy=True)
    box = shapely.segmentize(shapely.box(left, bottom, right, top), 500)
    return shapely.transform(box, lambda points: np.stack(to_degrees.transform(*points.T), axis=1))


def test_a_footprint_reaches_the_cells_it_meets() -> None:
    """One that ends in the middle of cells; rows go from the north."""
    reach = find_reach(timeline(degrees(501500, 5096500, 503500, 5098500)), GRID, TILE_PX)
    expected = np.zeros((6, 11), np.bool_)
    expected[1:4, 1:4] = True
    assert np.array_equal(reach.mask(0), expected)
    assert reach.counts.tolist() == [9]


def test_four_pixels_beside_a_footprint_are_reached() -> None:
    """A kernel reads beyond a pixel: one that ends 35 m before the edge of a cell reaches over it."""
    reach = find_reach(timeline(degrees(501500, 5098500, 502965, 5099500)), GRID, TILE_PX)
    assert reach.mask(0)[0].tolist() == [False, True, True, True] + [False] * 7


def test_a_footprint_inside_one_cell_reaches_it() -> None:
    """However small."""
    reach = find_reach(timeline(degrees(503500, 5097500, 503501, 5097501)), GRID, TILE_PX)
    assert np.argwhere(reach.mask(0)).tolist() == [[2, 3]]


def test_footprints_over_all_or_nothing() -> None:
    """The common cases of a small cube."""
    reach = find_reach(timeline(shapely.box(14, 45, 16, 47), shapely.box(20, 45, 21, 47)), GRID, TILE_PX)
    assert reach.counts.tolist() == [66, 0]


def test_scenes_of_one_step_are_united() -> None:
    """Where they overlap, too: the even-odd rule must not see them together."""
    west, east = degrees(500100, 5094600, 506500, 5099900), degrees(503500, 5094600, 508500, 5099900)
    scenes = [scene("w", "2024-06-10", footprint=west), scene("e", "2024-06-10", footprint=east)]
    reach = find_reach(make_timeline(scenes, "day", JUNE), GRID, TILE_PX)
    assert reach.mask(0).sum(axis=0).tolist() == [6] * 9 + [0] * 2


@pytest.mark.parametrize("footprint", [EVERYWHERE, shapely.box(-40, -10, 60, 80)])
def test_a_stand_in_reaches_every_cell(footprint: shapely.Geometry) -> None:
    """What has no place in the CRS may be anywhere."""
    assert find_reach(timeline(footprint), GRID, TILE_PX).counts.tolist() == [66]


def test_without_steps_there_is_an_empty_table() -> None:
    """Nothing is reached."""
    reach = find_reach(Timeline(cadence="day", interval=JUNE, steps=()), GRID, TILE_PX)
    assert reach.counts.tolist() == []


@pytest.mark.parametrize("epsg", [32660, 32601, 4326, 3857])
def test_both_sides_of_the_antimeridian_are_reached(epsg: int) -> None:
    """A footprint in two parts, on grids to either side of 180 degrees and across it."""
    lefts = {32660: 700000.0, 32601: 290000.0, 4326: 179.5, 3857: 19990000.0}
    bottoms = {32660: 1110000.0, 32601: 1110000.0, 4326: 10.1, 3857: 1123000.0}
    size = 0.4 if epsg == 4326 else 40000.0
    left, bottom = lefts[epsg], bottoms[epsg]
    grid = snap_grid(
        epsg=epsg,
        origin=(0.0, 0.0),
        resolution=(size / 400, size / 400),
        bounds=(left, bottom, left + size, bottom + size),
    )
    halves = shapely.MultiPolygon([shapely.box(179, 9, 180, 12), shapely.box(-180, 9, -179, 12)])
    assert find_reach(timeline(halves), grid, TILE_PX).mask(0).all()


def test_cells_can_be_asked_for_one_by_one() -> None:
    """The bits are those of the unpacked table."""
    reach = find_reach(timeline(degrees(501500, 5096500, 503500, 5098500)), GRID, TILE_PX)
    rows, columns = (index.ravel() for index in np.indices((6, 11)))
    assert np.array_equal(reach.cells(0, rows, columns), reach.mask(0).ravel())


def test_a_million_cells_take_an_eighth_of_a_megabyte() -> None:
    """A bit each."""
    grid = Grid(epsg=32633, origin=(0.0, 0.0), resolution=(10.0, 10.0), offset=(40000, 520000), shape=(10000, 10000))
    reach = find_reach(timeline(shapely.box(14, 45, 16, 47)), grid, 10)
    assert reach.packed.nbytes == 125_000


@settings(max_examples=60)
@given(
    epsg=st.sampled_from([32633, 32632, 3857, 4326, 3035]),
    corner=st.tuples(st.floats(14.5, 15.5), st.floats(45.7, 46.4)),
    size=st.tuples(st.floats(0.001, 0.5), st.floats(0.001, 0.4)),
    lean=st.floats(-0.3, 0.3),
    tile_px=st.sampled_from([7, 50, 128]),
)
def test_no_pixel_inside_a_footprint_is_missed(
    epsg: int, corner: tuple[float, float], size: tuple[float, float], lean: float, tile_px: int
) -> None:
    """By brute force: where a pixel's centre lies in the footprint, its cell is reached; far away none is."""
    resolution = 0.002 if epsg == 4326 else 200.0
    to_crs = Transformer.from_crs("EPSG:4326", f"EPSG:{epsg}", always_xy=True)
    bounds = to_crs.transform_bounds(14.6, 45.8, 15.4, 46.3)
    grid = snap_grid(epsg=epsg, origin=(0.0, 0.0), resolution=(resolution, resolution), bounds=bounds)
    (x, y), (dx, dy) = corner, size
    footprint = shapely.Polygon([(x, y), (x + dx, y), (x + dx + lean, y + dy), (x + lean, y + dy)])
    reached = find_reach(timeline(footprint), grid, tile_px).mask(0)
    rows, columns = np.indices(grid.shape)
    to_degrees = Transformer.from_crs(f"EPSG:{epsg}", "EPSG:4326", always_xy=True)
    longitude, latitude = to_degrees.transform(grid.x_coords()[columns], grid.y_coords()[rows])
    inside = shapely.contains_xy(footprint, longitude, latitude)
    cells = np.zeros_like(reached)
    cells[rows[inside] // tile_px, columns[inside] // tile_px] = True
    assert not (cells & ~reached).any()
    # 4 px, 0.1 % and the bend are less than 10 pixels here: 0.03 degrees
    far = ~shapely.contains_xy(shapely.buffer(footprint, 0.05), longitude, latitude)
    lonely = np.ones_like(reached)
    lonely[rows[~far] // tile_px, columns[~far] // tile_px] = False
    full = np.zeros_like(reached)
    full[: grid.shape[0] // tile_px, : grid.shape[1] // tile_px] = True  # beyond the array nothing was looked at
    assert not (lonely & reached & full).any()


def test_edges_may_be_straight_on_the_ground() -> None:
    """A catalogue gives corners 220 km apart at 60 degrees north: the great circle between them bulges by 1.7 km."""
    corners = [(13.0, 58.0), (17.0, 58.0), (17.0, 60.0), (13.0, 60.0)]
    north = Geod(ellps="WGS84").npts(17.0, 60.0, 13.0, 60.0, 200)
    on_ground = shapely.Polygon([*corners[:3], *north, corners[3]])
    grid = snap_grid(epsg=32633, origin=(0.0, 0.0), resolution=(10.0, 10.0), bounds=(500000, 6650000, 501000, 6655000))
    reach = find_reach(timeline(shapely.Polygon(corners)), grid, 10)
    rows, columns = np.indices(reach.grid_shape)
    to_degrees = Transformer.from_crs("EPSG:32633", "EPSG:4326", always_xy=True)
    longitude, latitude = to_degrees.transform(500050 + 100.0 * columns, 6654950 - 100.0 * rows)
    delivered = shapely.contains_xy(on_ground, longitude, latitude)
    assert (delivered & ~shapely.contains_xy(shapely.Polygon(corners), longitude, latitude)).sum() > 100
    assert not (delivered & ~reach.mask(0)).any()
    assert not reach.mask(0).all()


def test_passes_that_share_a_cell_and_seconds_are_refused() -> None:
    """Two satellites one behind the other: a request for one would bring the other's pixels, too."""
    box = degrees(501500, 5096500, 503500, 5098500)
    scenes = [
        scene("a", "2024-06-10T10:00:00", footprint=box),
        scene("b", "2024-06-10T10:00:30", footprint=box),
        scene("c", "2024-06-10T10:00:15", footprint=box, platform="sentinel-2c"),
    ]
    with pytest.raises(PlanError, match=r"2a and at 2024-06-10T10:00:15Z of sentinel-2c both reach .* row 1, column 1"):
        find_reach(make_timeline(scenes, "acquisition", JUNE), GRID, TILE_PX)


def test_passes_that_share_seconds_only_are_not() -> None:
    """Over a wide area two satellites see different parts at once."""
    scenes = [
        scene("a", "2024-06-10T10:00:00", footprint=degrees(500500, 5096500, 501500, 5098500)),
        scene("c", "2024-06-10T10:00:00", footprint=degrees(508500, 5096500, 509500, 5098500), platform="sentinel-2c"),
    ]
    reach = find_reach(make_timeline(scenes, "acquisition", JUNE), GRID, TILE_PX)
    assert reach.counts.tolist() == [6, 6]


def test_passes_one_after_the_other_are_not_refused() -> None:
    """A second's end is the next one's start."""
    steps = find_reach(timeline(*[shapely.box(14, 45, 16, 47)] * 3), GRID, TILE_PX)
    assert all(one == two for one, two in pairwise(steps.counts.tolist()))
