"""Plans narrowed to patches, of cubes whose plans need no catalogue."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

import shdask
from shdask.errors import PlanError
from shdask.patches.buying import plan_patches
from shdask.patches.table import Patches
from shdask.plan.cube import CubePlan, make_cube_plan
from tests.unit.serve.timed import timed_plan

from .rows import make_patches

CORNERS = [(10, 10), (120, 110), (121, 111), (400, 300)]


@pytest.fixture(scope="module")
def whole() -> CubePlan:
    """Two layers of 20 km x 20 km at 40 m in tiles of 128 px; the north-east half of the square is left out."""
    with pytest.MonkeyPatch.context() as environ:
        environ.delenv("SH_BASE_URL", raising=False)
        return shdask.make_plan(job(shapely.Polygon([(500000, 5100000), (520000, 5080000), (500000, 5080000)])))


def job(area: shapely.Geometry, crs: str = "EPSG:32633") -> shdask.CubeSpec:
    """Optical bands and heights."""
    return shdask.CubeSpec(
        aoi=area,
        aoi_crs="EPSG:32633",
        crs=crs,
        resolution=40,
        time=("2024-06-01", "2024-06-20"),
        layers={
            "s2": {"collection": "sentinel-2-l2a", "bands": ["B02", "SCL"]},
            "dem": {"collection": "dem", "bands": ["DEM"]},
        },
        store={"chunk_px": 64, "tile_px": 128},
    )


@pytest.fixture(scope="module")
def patches(whole: CubePlan) -> Patches:
    return make_patches(whole.groups["s2"].grid, CORNERS)


def test_a_narrow_plan_has_the_whole_cubes_grid_and_identity(whole, patches) -> None:
    """So that rows and columns of patches stay, and further patches can be bought into the same store."""
    narrow = plan_patches(whole, patches)
    assert list(narrow.groups) == ["s2", "dem"]
    for_all = [(group.grid, group.layer) for group in narrow.groups.values()]
    assert for_all == [(group.grid, group.layer) for group in whole.groups.values()]
    assert "area" not in narrow.groups["s2"].identity()


def test_windows_hold_all_pixels_that_are_bought(whole, patches) -> None:
    """Each in one window of one tile; the patches have pixels of the area in four tiles."""
    group = plan_patches(whole, patches).groups["s2"]
    times = np.zeros(group.grid.shape, np.int64)
    for window in (window for tile in group.tiles() for window in tile.windows):
        times[window.slices] += 1
    assert set(times[group.area_mask(group.grid.window)].tolist()) == {1}
    assert group.tile_count == 4


def test_what_it_costs_is_told_beside_the_whole(whole, patches) -> None:
    """As both plans have it."""
    narrow = plan_patches(whole, patches)
    assert narrow.cost.pu < whole.cost.pu / 4
    assert f"{narrow.cost.pu:.2f} PU" in narrow.notes[-1]
    assert f"{whole.cost.pu:.2f} PU" in repr(narrow)


def test_processing_units_are_saved_unless_the_job_says_otherwise(whole, patches) -> None:
    """A word of the job's own stays."""
    hasty = replace(whole, groups={path: replace(group, prefer="requests") for path, group in whole.groups.items()})
    asked = [plan_patches(plan, patches).groups["s2"].prefer for plan in (whole, hasty)]
    assert asked == ["pu", "requests"]


def test_the_order_of_patches_and_their_repetition_change_nothing(whole, patches) -> None:
    """The area is known by its pixels."""
    again = patches.take(np.array([2, 0, 3, 1, 1]))
    digests = [plan_patches(whole, some).groups["dem"].area_digest for some in (patches, again)]
    assert digests[0] == digests[1]


def test_dates_do_not_matter_to_layers_without_time(whole) -> None:
    """They are bought as they are, and may grow."""
    dated = make_patches(whole.groups["s2"].grid, CORNERS, dates=["2024-06-05"])
    assert plan_patches(whole, dated).groups["s2"].has_fixed_array


def test_pixels_beside_the_area_are_not_bought(whole) -> None:
    """Of a patch on the border only what the whole cube would hold."""
    on_border = make_patches(whole.groups["s2"].grid, [(100, 90)])
    inside = plan_patches(whole, on_border).groups["s2"].area_mask(whole.groups["s2"].grid.window)
    assert 0 < inside.sum() < 32 * 32
    assert not (inside & ~whole.groups["s2"].area_mask(whole.groups["s2"].grid.window)).any()


def test_patches_beside_the_area_are_refused(whole) -> None:
    """Nothing would be bought."""
    with pytest.raises(PlanError, match="no pixel of any patch lies in the area"):
        plan_patches(whole, make_patches(whole.groups["s2"].grid, [(0, 400)]))


def test_patches_of_another_grid_are_refused(whole) -> None:
    """Half a pixel off, or beyond the array."""
    grid = whole.groups["s2"].grid
    with pytest.raises(PlanError, match="is not there on the 500 x 500 px grid"):
        plan_patches(whole, make_patches(replace(grid, origin=(20.0, 0.0)), CORNERS))
    with pytest.raises(PlanError, match="at row 480 and column 0"):
        plan_patches(whole, make_patches(grid, [(480, 0)]))


def test_patches_of_another_zone_are_refused(whole) -> None:
    """The message names both."""
    other = make_patches(replace(whole.groups["s2"].grid, epsg=32634), CORNERS)
    with pytest.raises(PlanError, match="some are in EPSG:32634, and this cube is in EPSG:32633"):
        plan_patches(whole, other)


def test_no_patches_are_refused(whole, patches) -> None:
    """There is nothing to plan."""
    with pytest.raises(PlanError, match="no patches"):
        plan_patches(whole, patches.take(np.zeros(4, np.bool_)))


def test_zones_without_patches_are_left_out() -> None:
    """Each zone of the others is narrowed on its own grid."""
    both = shdask.make_plan(job(shapely.box(725000, 5090000, 745000, 5100000), crs="utm-zones"))
    assert list(both.groups) == ["32633/s2", "32633/dem", "32634/s2", "32634/dem"]
    east = make_patches(both.groups["32634/s2"].grid, [(40, 60)], zone="32634")
    assert list(plan_patches(both, east).groups) == ["32634/s2", "32634/dem"]


def test_days_around_are_each_layers_own(whole, patches) -> None:
    """By its name. Scenes are of the 2nd, 5th and 9th of June; other layers and days before none are refused."""
    optical = timed_plan()
    radar = replace(optical, layer=replace(optical.layer, name="s1"))
    dated = make_patches(optical.grid, [(0, 0)], dates=["2024-06-04"])
    narrow = plan_patches(make_cube_plan({"s2": optical, "s1": radar}), dated, days_around={"s2": 1, "s1": 2})
    days = {name: [step.time.day for step in group.timeline.steps] for name, group in narrow.groups.items()}
    assert days == {"s2": [5], "s1": [2, 5]}
    with pytest.raises(PlanError, match="the cube has no layer 's1'; it has s2, dem"):
        plan_patches(whole, patches, days_around={"s1": 3})
    with pytest.raises(PlanError, match="days_around = -1: it counts days"):
        plan_patches(whole, patches, days_around=-1)


@cache
def one_tile() -> CubePlan:
    """Heights of 128 x 128 px, in one tile: cuts run every 8 px, and up to 51 x 51 px have one price."""
    square = job(shapely.box(500000, 5100000 - 128 * 40, 500000 + 128 * 40, 5100000))
    both = shdask.make_plan(square)
    return replace(both, groups={"": both.groups["dem"]})


def ways_to_share(patches: list[tuple[int, int]]) -> list[list[list[tuple[int, int]]]]:
    """Every way to put patches into heaps."""
    if not patches:
        return [[]]
    first, *rest = patches
    found = []
    for heaps in ways_to_share(rest):
        found.append([[first], *heaps])
        found += [[*heaps[:n], [first, *heaps[n]], *heaps[n + 1 :]] for n in range(len(heaps))]
    return found


def price_of(heaps: list[list[tuple[int, int]]], side_px: int, worth_pu: float) -> float:
    """Units of a request for the box around each heap, and what requests are worth; no price where boxes overlap."""
    boxes = [shapely.box(*np.min(heap, axis=0), *(np.max(heap, axis=0) + side_px)) for heap in heaps]
    if shapely.area(shapely.union_all(boxes)) < sum(box.area for box in boxes):
        return np.inf
    return sum(one_tile().only.layer.price((1, int(box.area))) + worth_pu for box in boxes)


@given(
    corners=st.lists(
        st.tuples(*[st.integers(0, 14).map(lambda cell: 8 * cell)] * 2), min_size=1, max_size=4, unique=True
    )
)
@settings(max_examples=25)
def test_no_way_to_share_requests_is_cheaper(corners: list[tuple[int, int]]) -> None:
    """Of all ways to buy patches together, in boxes that do not overlap; nor has any fewer requests at that price.

    Of more than four boxes some cannot be told apart by cuts right across.
    """
    group = plan_patches(one_tile(), make_patches(one_tile().only.grid, corners, size_px=16)).only
    worth = group.windows.worth_pu
    assert group.cost.pu + worth * group.cost.requests <= (
        min(price_of(heaps, 16, worth) for heaps in ways_to_share(corners)) * (1 + 1e-6)
    )
