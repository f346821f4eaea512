"""How many dates a composite reads, and what it costs, window by window."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pytest
import shapely

from shdask.assemble.grow import continue_timeline
from shdask.assemble.store import create_or_open
from shdask.errors import PlanError
from shdask.plan import placing, samples
from shdask.plan.acquisition import Acquisition
from shdask.plan.all_dates import weigh_composites
from shdask.plan.cube import make_cube_plan
from shdask.plan.grid import Grid
from shdask.plan.group import GroupPlan
from shdask.plan.jobs import make_jobs
from shdask.plan.placing import place_in_time
from shdask.plan.samples import count_samples
from shdask.plan.spec import CubeSpec
from shdask.plan.timeline import Step, make_timeline
from tests.unit.plan.scenes import scene, span

PlanOf = Callable[..., GroupPlan]
GRID = Grid(epsg=32633, origin=(500_000.0, 5_100_000.0), resolution=(10.0, 10.0), offset=(0, 400), shape=(400, 400))
"""From 15 degrees east, the zone's middle, where its columns run along meridians, 4 km to the east."""
BOXES = np.array([[0, 100, 0, 100], [0, 100, 100, 200], [0, 400, 0, 400]])
EVERYWHERE = shapely.box(10, 40, 20, 50)
EAST = shapely.box(15.0 + 0.0135, 40, 20, 50)
"""From some 1040 m east of the array's left edge."""
JUNE = span("2024-06-01", "2024-07-01")
SPEC_WORDS = {"aoi": [15, 46, 15.1, 46.1], "crs": "EPSG:32633", "resolution": 10, "time": ("2024-06-01", "2024-06-30")}
S2 = {"collection": "sentinel-2-l2a", "bands": ["B02", "B04"], "cadence": "month", "composite": "median"}


def step(*scenes: Acquisition) -> Step:
    return Step(interval=JUNE, time=JUNE.start, acquisitions=scenes)


def counts(
    *steps: Step, of_step: tuple[int, ...] = (0, 0, 0), boxes: np.ndarray = BOXES, grid: Grid = GRID
) -> list[float]:
    return count_samples(steps, np.array(of_step), boxes, grid).tolist()


def test_a_window_has_the_days_whose_scenes_meet_it() -> None:
    """Of a scene from the second window on, and one that is everywhere."""
    everywhere = scene("a", "2024-06-03T10:00:00", footprint=EVERYWHERE)
    assert counts(step(everywhere, scene("b", "2024-06-08T10:00:00", footprint=EAST))) == [1, 2, 2]


def test_scenes_of_one_day_are_one_sample() -> None:
    """A day is the service's, in UTC; half of it may meet a window and half not."""
    west = shapely.box(10, 40, 15.001, 50)
    both = scene("a", "2024-06-03T10:00:00", footprint=west), scene("b", "2024-06-03T10:00:10", footprint=EAST)
    assert counts(step(*both)) == [1, 1, 1]
    assert counts(step(both[0], scene("b", "2024-06-04T00:00:00", footprint=EAST))) == [1, 1, 2]


def test_each_window_is_counted_at_its_own_step() -> None:
    """The same box may stand at several."""
    june = scene("a", "2024-06-03T10:00:00", footprint=EAST)
    july = scene("b", "2024-07-03T10:00:00", footprint=EVERYWHERE)
    boxes = BOXES[[1, 1, 0]]
    assert counts(step(june), step(june, july), of_step=(0, 1, 1), boxes=boxes) == [1, 2, 1]


def test_a_step_that_is_bought_again_reads_all_its_scenes() -> None:
    """Also those that the step it mends was first made of."""
    first = step(scene("a", "2024-06-03T10:00:00", footprint=EVERYWHERE))
    again = replace(step(scene("b", "2024-06-08T10:00:00", footprint=EVERYWHERE)), revision=1)
    assert counts(first, again, of_step=(0, 1, 1)) == [1, 2, 2]


def test_windows_are_counted_block_by_block(monkeypatch: pytest.MonkeyPatch) -> None:
    """As they are at once, whatever step and place they have."""
    june = step(scene("a", "2024-06-03T10:00:00", footprint=EAST))
    july = step(
        scene("b", "2024-07-03T10:00:00", footprint=EVERYWHERE), scene("c", "2024-07-08T10:00:00", footprint=EAST)
    )
    boxes, of_step = np.concatenate((BOXES, BOXES[::-1])), (0, 1, 0, 1, 0, 1)
    monkeypatch.setattr(samples, "BLOCK_BOXES", 2)
    assert counts(june, july, of_step=of_step, boxes=boxes) == [0, 2, 1, 2, 1, 1]


def test_counts_are_kept_for_their_plan_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another timeline is counted anew; what is sent to workers is empty."""
    monkeypatch.setattr(samples, "FEW", 0)
    one, other = (
        make_timeline([scene("a", "2024-06-03T10:00:00", footprint=footprint)], "month", JUNE)
        for footprint in (EVERYWHERE, EAST)
    )
    memo, of_step = samples.SampleMemo(), np.zeros(3, np.intp)
    first = memo.count(one, of_step, BOXES, GRID)
    assert memo.count(one, of_step, BOXES, GRID) is first
    assert memo.count(other, of_step, BOXES, GRID).tolist() == [0, 1, 1]
    assert copy.copy(memo).count(one, of_step, BOXES, GRID) is not first


def test_a_window_across_the_antimeridian_is_not_the_whole_globe() -> None:
    """It meets what lies on either side of 180 degrees, and nothing at Greenwich."""
    grid = Grid(
        epsg=32660,
        origin=(0.0, 0.0),
        resolution=(10.0, 10.0),
        offset=(82_000, 10),
        shape=(100, 4000),
    )
    box = np.array([[0, 100, 0, 4000]])
    east, west = shapely.box(179, -1, 180, 1), shapely.box(-180, -1, -179, 1)
    greenwich = scene("c", "2024-06-05T10:00:00", footprint=shapely.box(-1, -1, 1, 1))
    sides = scene("a", "2024-06-03T10:00:00", footprint=east), scene("b", "2024-06-04T10:00:00", footprint=west)
    assert counts(step(*sides, greenwich), of_step=(0,), boxes=box, grid=grid) == [2]


@pytest.fixture
def placed(plan_of: PlanOf) -> GroupPlan:
    """Medians of a month over an area with a corner cut off, in tiles of 16 px, with scenes that end inside it."""
    area = shapely.Polygon([(500_000, 5_100_000), (500_640, 5_100_000), (500_640, 5_100_300), (500_000, 5_100_640)])
    plan = plan_of(area, layers={"s2": S2}, store={"chunk_px": 16, "tile_px": 16})
    half = shapely.box(15.0041, 40, 20, 50)
    scenes = [scene(str(day), f"2024-06-{day:02}T10:00:00", footprint=EVERYWHERE) for day in (2, 7, 12)]
    some = [scene(f"half {day}", f"2024-06-{day:02}T10:00:00", footprint=half) for day in (4, 9)]
    return place_in_time(plan, make_timeline([*scenes, *some], "month", JUNE))


def test_the_price_is_the_sum_over_the_windows(placed: GroupPlan) -> None:
    """Three bands read at three dates, or five; by formula and by listing."""
    tiles = list(placed.tiles())
    windows = [(window, tile.step) for tile in tiles for window in tile.windows]
    prices = [placed.window_pu(window, step) for window, step in windows]
    dates = placed.samples(np.zeros(len(windows), int), np.array([[w.y0, w.y1, w.x0, w.x1] for w, _ in windows]))
    least = np.maximum(np.array([window.pixel_count for window, _ in windows]) / 512**2, 0.01)
    assert set(dates.tolist()) == {3.0, 5.0}
    assert prices == pytest.approx(least * dates)
    assert placed.cost.pu == pytest.approx(sum(prices))
    assert placed.cost.requests == len(windows)
    assert 3 < placed.layer.leading.samples < 5


def test_a_tile_is_explained_at_its_own_dates(placed: GroupPlan) -> None:
    """Its price is the sum of its windows', and of its parts'."""
    tile = placed.tile_set.indices()[-1]
    told = placed.explain(int(tile))
    assert told.pu == pytest.approx(sum(each.pu for each in told.windows))
    assert told.pu == pytest.approx(sum(each.pu for each in told.parts))
    assert told.pu == pytest.approx(placed.prices(np.array([tile]))[0])


def test_a_jobs_price_has_its_own_dates(placed: GroupPlan) -> None:
    """Of one box around all windows, which all scenes meet: by 10 PU a job is never cheaper."""
    (job,) = make_jobs(placed, placed.tile_set.indices())
    assert job.pu == 10.0


def test_more_dates_than_their_type_holds_are_refused(placed: GroupPlan) -> None:
    """They would be counted as fewer than they are."""
    assert placed.timeline is not None
    (part,) = placed.layer.parts
    small = replace(placed, layer=replace(placed.layer, parts=(replace(part, sample_type="INT8"),)))
    assert place_in_time(small, placed.timeline).cost.requests == placed.cost.requests
    days = [date(2024, 1, 1) + timedelta(number) for number in range(130)]
    many = [scene(f"{day}", f"{day}T10:00:00", footprint=EVERYWHERE) for day in days]
    half = make_timeline(many, "P1Y", span("2024-01-01", "2025-01-01"))
    with pytest.raises(PlanError, match="holds 127, and a step has up to 130 dates; encode wider, or take a shorter"):
        place_in_time(small, half)


def test_where_no_band_tells_clouds_the_plan_says_so(plan_of: PlanOf) -> None:
    """Radar has none to see, and who wants none has said so."""
    area = shapely.box(500_000, 5_100_000, 500_640, 5_100_640)
    optical, unmasked, radar = (
        plan_of(area, layers={"one": {**S2, **fields}}).notes
        for fields in (
            {"collection": "sentinel-2-l1c"},
            {"collection": "sentinel-2-l1c", "composite": {"method": "median", "mask": "none"}},
            {"collection": "sentinel-1-grd", "bands": ["VV"]},
        )
    )
    assert optical[-1].startswith("no band of sentinel-2-l1c is known to tell clouds: its composites count every date")
    assert unmasked == radar == ()


def test_composites_are_weighed_against_all_dates(placed: GroupPlan) -> None:
    """By day, the same bands and codes at the dates that reach a tile: a few more, for that is told with a margin."""
    weighed = weigh_composites({"": placed}, CubeSpec(**SPEC_WORDS, layers={"s2": S2}))[""]
    assert weighed.all_dates is not None
    assert placed.cost.pu < weighed.all_dates.pu < 1.3 * placed.cost.pu
    assert weighed.all_dates.nbytes_down > 2 * placed.cost.nbytes_down
    plan = make_cube_plan({"": weighed})
    assert "cheaper, in as many requests" in repr(plan)
    assert plan.summary().as_dict()["all_dates"]["requests"] == weighed.all_dates.requests
    assert ("composite", repr(plan).split("\n")[-2].strip()) in list(plan.summary().rows())


def test_a_cube_of_all_dates_that_cannot_be_is_not_compared(placed: GroupPlan, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cell for each tile and day is more than a cube may have, where one for each month is not."""
    monkeypatch.setattr(placing, "MAX_TILE_CELLS", 50)
    weighed = weigh_composites({"": placed}, CubeSpec(**SPEC_WORDS, layers={"s2": S2}))[""]
    assert weighed.all_dates is None
    assert weighed.cost.pu == placed.cost.pu


def test_a_composite_that_is_bought_again_is_told_at_its_price(placed: GroupPlan, tmp_path: Path) -> None:
    """With all dates of its step, though a single late scene is the reason."""
    assert placed.timeline is not None
    late = scene("late", "2024-06-20T10:00:00", footprint=EVERYWHERE)
    scenes = [*placed.timeline.steps[0].acquisitions, late]
    cube = create_or_open(placed, tmp_path / "cube")
    cube = replace(cube, plan=place_in_time(placed, make_timeline(scenes, "month", JUNE)))
    _, notes = continue_timeline(cube)
    updated, _ = continue_timeline(cube, update=True)
    tiles = updated.plan.tile_set.indices()
    revised = tiles[tiles >= updated.plan.tile_set.cell_count]
    assert f"{updated.plan.prices(revised).sum():.2f} PU" in notes[-1]
    assert updated.plan.prices(revised).sum() > 3 * 0.01 * revised.size
