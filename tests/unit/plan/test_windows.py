"""The windows in which tiles are bought: laws over areas, grids, steps and rates."""

from __future__ import annotations

import pickle
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from pyproj import Transformer

from shdask.inputs import read_area
from shdask.model import Tile, Window
from shdask.plan.cost import pu_minutes, request_minutes
from shdask.plan.group import GroupPlan
from shdask.plan.grown_area import Reopened, join_areas
from shdask.plan.placing import make_groups, place_in_time
from shdask.plan.spec import CubeSpec
from shdask.plan.tile_set import TileSet
from shdask.plan.tiles import find_tiles
from shdask.plan.timeline import Timeline, make_timeline
from shdask.plan.windows import TileWindows
from shdask.settings import Deployment, Prices

from .scenes import scene, span

PlanOf = Callable[..., GroupPlan]
TILE_PX = 40
STORE = {"chunk_px": 8, "tile_px": TILE_PX}
EXACT = Prices(px_per_pu=100.0, min_area=0.02, min_request_pu=0.001)
"""A tile of 40 x 40 pixels costs what one of 2048 x 2048 does, and small windows are worth asking for."""
TIMED = {"s2": {"collection": "sentinel-2-l2a", "bands": ["B02", "B03"], "cadence": "acquisition"}}
TO_DEGREES = Transformer.from_crs("EPSG:32633", "EPSG:4326", always_xy=True)


def ragged(seed: int, *, radius: float = 700.0, corners: int = 40, x: float = 5e5, y: float = 5e6) -> shapely.Geometry:
    """A spiky area of one or more parts around (x, y), by default less than 1.4 km wide."""
    random = np.random.default_rng(seed)
    angle = np.sort(random.uniform(0, 2 * np.pi, corners))
    length = radius * random.uniform(0.1, 1.0, corners)
    ring = shapely.Polygon(np.stack((x + length * np.cos(angle), y + length * np.sin(angle)), axis=1))
    islands = [
        shapely.box(x + dx, y + dy, x + dx + size, y + dy + size)
        for dx, dy, size in zip(*random.uniform(-radius, radius, (2, 3)), random.uniform(3, 60, 3), strict=True)
    ]
    with np.errstate(all="ignore"):  # GEOS may divide by zero on the way to a right union
        return shapely.union_all([shapely.buffer(ring, 0), *islands])


AREAS = st.integers(0, 10**6).map(ragged).filter(lambda area: area.area > 1000)
PREFER = st.sampled_from(["auto", "pu", "time", "requests"])


def priced(plan: GroupPlan, **rates: Any) -> GroupPlan:
    """The plan at `EXACT` prices and other rates, its tiles cut anew."""
    deployment = replace(plan.deployment, prices=EXACT, **rates)
    return replace(plan, layer=replace(plan.layer, prices=EXACT), deployment=deployment).with_windows()


def times_bought(plan: GroupPlan, step: int | None = None) -> np.ndarray:
    """How many windows hold each pixel of the array, at a step."""
    count = np.zeros(plan.grid.shape, np.int64)
    for window in (window for tile in plan.tiles() if tile.step == step for window in tile.windows):
        count[window.slices] += 1
    return count


def is_tight(mask: np.ndarray) -> bool:
    """Whether each edge holds a pixel."""
    return bool(mask[0].any() and mask[-1].any() and mask[:, 0].any() and mask[:, -1].any())


def lies_in(window: Window, tile: Tile) -> bool:
    return (
        tile.extent.y0 <= window.y0 < window.y1 <= tile.extent.y1
        and tile.extent.x0 <= window.x0 < window.x1 <= tile.extent.x1
    )


def check_windows(plan: GroupPlan) -> None:
    """The laws of a plan without a time axis."""
    pairs = [(window, tile) for tile in plan.tiles() for window in tile.windows]
    assert all(lies_in(window, tile) for window, tile in pairs)
    assert all(max(window.shape) <= min(plan.store.tile_px, plan.deployment.max_request_px) for window, _ in pairs)
    assert all(is_tight(plan.area_mask(window)) for window, _ in pairs)
    bought = times_bought(plan)
    assert (bought[plan.area_mask(plan.grid.window)] == 1).all()
    assert bought.max() == 1


def listed(plan: GroupPlan) -> tuple[float, int, int]:
    """(PU, requests, pixels down) by listing tiles as they are bought: those of a bundle with the same windows once."""
    tiles = list(plan.tiles())
    numbers = plan.tile_set.bundle_numbers(plan.tile_set.indices()).tolist()
    together: dict[Any, int] = {}
    for number, tile in zip(numbers, tiles, strict=True):
        together[number, tile.windows] = together.get((number, tile.windows), 0) + 1
    pixels = [(window.pixel_count, dates) for (_, windows), dates in together.items() for window in windows]
    pu = sum(plan.layer.price_pixels(np.array([float(count)]), dates=dates)[0] for count, dates in pixels)
    return pu, len(pixels) * len(plan.layer.parts), sum(count * dates for count, dates in pixels)


def check_sums(plan: GroupPlan) -> None:
    """By formula and by listing."""
    tiles = plan.tile_set.indices()
    pu, requests, pixels = listed(plan)
    assert plan.cost.pu == pytest.approx(pu, rel=1e-9)
    assert plan.prices(tiles).sum() == pytest.approx(pu, rel=1e-9)
    assert (plan.cost.requests, int(plan.request_counts(tiles).sum())) == (requests, requests)
    assert plan.cost.nbytes_down == pixels * plan.layer.sent_nbytes_per_px


@given(AREAS, st.booleans(), PREFER)
@settings(max_examples=20)
def test_every_pixel_is_in_one_tight_window_of_its_tile(
    plan_of: PlanOf, area: shapely.Geometry, touched: bool, prefer: str
) -> None:
    """And the price is that of the windows."""
    plan = priced(plan_of(area, all_touched=touched, store=STORE, service={"prefer": prefer}))
    check_windows(plan)
    check_sums(plan)


@given(AREAS, st.sampled_from([(4326, 0.00012), (3035, 12.5), (32634, 11.0), (3857, 15.0)]))
@settings(max_examples=8)
def test_windows_hold_on_any_grid(plan_of: PlanOf, area: shapely.Geometry, grid: tuple[int, float]) -> None:
    """Whatever CRS the area is brought into."""
    check_windows(priced(plan_of(area, crs=f"EPSG:{grid[0]}", resolution=grid[1], store=STORE)))


@given(AREAS, st.integers(1, 15), st.integers(1, 15))
@settings(max_examples=8)
def test_windows_hold_in_a_last_tile_of_a_few_pixels(
    plan_of: PlanOf, area: shapely.Geometry, rows: int, columns: int
) -> None:
    """Fewer than there are cells to cut along."""
    size = TILE_PX * 10
    extent = (499_600, 5_000_400 - size - rows * 10, 499_600 + size + columns * 10, 5_000_400)
    plan = priced(plan_of(shapely.union(area, shapely.box(*extent).boundary.buffer(8)), extent=extent, store=STORE))
    assert plan.grid.shape == (TILE_PX + rows, TILE_PX + columns)
    check_windows(plan)


@given(AREAS, AREAS, st.booleans())
@settings(max_examples=8)
def test_windows_hold_for_an_area_that_has_grown(
    plan_of: PlanOf, one: shapely.Geometry, other: shapely.Geometry, touched: bool
) -> None:
    """Each part by its own rule, where one touches the other, too."""
    extent = (499_000, 4_999_000, 501_000, 5_001_000)
    first, second = plan_of(one, extent=extent, store=STORE), plan_of(other, extent=extent, all_touched=touched)
    area = join_areas([first.area, second.area])
    tiles = TileSet(runs=find_tiles(area, TILE_PX))
    check_windows(priced(replace(first, area=area, tile_set=tiles, windows=TileWindows())))


def test_windows_hold_in_every_utm_zone(deployment: Deployment, job: dict[str, Any]) -> None:
    """Of an area across 12 degrees east."""
    island = shapely.transform(
        ragged(3, radius=60_000, x=738_000, y=5_100_000),
        lambda points: np.stack(Transformer.from_crs(32632, 4326, always_xy=True).transform(*points.T), axis=1),
    )
    spec = CubeSpec(**{**job, "aoi": island, "crs": "utm-zones", "resolution": 500, "store": STORE})
    groups = make_groups(spec, area=read_area(island, crs="EPSG:4326"), like=None, deployment=deployment)
    assert set(groups) == {"32632", "32633"}
    [check_windows(priced(group)) for group in groups.values()]


def timed(plan: GroupPlan, *footprints: shapely.Geometry) -> GroupPlan:
    """The plan along a pass a footprint (in UTM 33), a day apart."""
    scenes = [
        scene(str(day), f"2024-06-{day + 1:02d}T10:00:00", footprint=shapely.transform(shape, _in_degrees))
        for day, shape in enumerate(footprints)
    ]
    return place_in_time(plan, make_timeline(scenes, "acquisition", span("2024-06-01", "2024-07-01")))


def _in_degrees(points: np.ndarray) -> np.ndarray:
    return np.stack(TO_DEGREES.transform(*points.T), axis=1)


ALONE = {"requests_per_minute": 1e9, "pu_per_minute": 1.0}
"""At which no dates are bought together."""


@given(AREAS, st.floats(-1500, 1500), st.floats(-0.6, 0.6))
@settings(max_examples=8)
def test_swath_edges_leave_out_no_pixel_of_a_scene(
    plan_of: PlanOf, area: shapely.Geometry, shift: float, lean: float
) -> None:
    """Pixels of the area whose centre lies in the step's footprint are bought once, others at most once."""
    x, y = 5e5 + shift, 5e6
    swath = shapely.Polygon(
        [(x, y - 2e4), (x + 2e4, y - 2e4), (x + 2e4 + lean * 4e4, y + 2e4), (x + lean * 4e4, y + 2e4)]
    )
    swath = shapely.affinity.translate(swath, -lean * 2e4)
    base = priced(plan_of(area, store=STORE, layers=TIMED), **ALONE)
    plan = timed(base, shapely.box(4e5, 4.9e6, 6e5, 5.1e6), swath)
    centres = np.meshgrid(plan.grid.x_coords(), plan.grid.y_coords())
    inside = plan.area_mask(plan.grid.window)
    seen = inside & shapely.contains_xy(swath, *centres)
    whole, partly = times_bought(plan, 0), times_bought(plan, 1)
    assert (whole[inside] == 1).all()
    assert (partly[seen] == 1).all()
    assert max(whole.max(), partly.max()) == 1
    check_sums(plan)


def test_a_swath_edge_inside_tiles_is_not_paid_for(plan_of: PlanOf) -> None:
    """A full square of 4 x 4 tiles of which a scene holds the western part, up to 60 m into the third column."""
    base = priced(plan_of((500_000, 5_000_000, 501_600, 5_001_600), store=STORE, layers=TIMED), **ALONE)
    plan = timed(base, shapely.box(480_000, 4_980_000, 500_860, 5_020_000))
    bought = times_bought(plan, 0)
    last = int(np.flatnonzero(bought.any(axis=0))[-1])
    assert 86 <= last < 119
    assert (bought[:, : last + 1] == 1).all()
    assert plan.windows.by_tile.keys.tolist() == [2, 6, 10, 14]
    assert plan.windows.by_cell.keys.size == 0


def test_a_revision_is_not_trimmed_to_its_new_scenes(plan_of: PlanOf) -> None:
    """Its requests ask for all scenes of its time, so that no window may decide which of their pixels are kept."""
    base = priced(plan_of((500_000, 5_000_000, 501_600, 5_001_600), store=STORE, layers=TIMED), **ALONE)
    plan = timed(base, shapely.box(480_000, 4_980_000, 500_860, 5_020_000))
    (step,) = plan.timeline.steps
    again = place_in_time(plan, replace(plan.timeline, steps=(replace(step, revision=1),)))
    assert again.windows.by_tile.keys.size == 0


def test_dates_that_come_together_share_their_windows(plan_of: PlanOf) -> None:
    """Where requests are few and PU many; one of the steps ends inside the area."""
    base = priced(plan_of(ragged(1), store=STORE, layers=TIMED), requests_per_minute=1.0, pu_per_minute=1e6)
    everywhere = shapely.box(4e5, 4.9e6, 6e5, 5.1e6)
    plan = timed(base, everywhere, shapely.box(4e5, 4.9e6, 500_100, 5.1e6), everywhere)
    assert plan.tile_set.bundles == (0, 0, 0)
    assert plan.windows.by_tile.keys.size == 0
    windows: dict[tuple[int, int], set[tuple[Window, ...]]] = {}
    [windows.setdefault((tile.row, tile.column), set()).add(tile.windows) for tile in plan.tiles()]
    assert {len(found) for found in windows.values()} == {1}
    check_sums(plan)


@pytest.mark.parametrize("rates", [ALONE, {"requests_per_minute": 1.0, "pu_per_minute": 1e6}], ids=["alone", "bundles"])
@given(AREAS, AREAS, st.integers(0, 10**6))
@settings(max_examples=10)
def test_reopened_tiles_cost_what_they_lack(
    plan_of: PlanOf, rates: dict[str, float], old: shapely.Geometry, new: shapely.Geometry, seed: int
) -> None:
    """Some stand with the pixels of the first area, some are bought anew, some are new."""
    extent = (499_000, 4_999_000, 501_000, 5_001_000)
    first = priced(plan_of(old, extent=extent, store=STORE, layers=TIMED), **rates)
    area = join_areas([first.area, plan_of(new, extent=extent, store=STORE, layers=TIMED).area])
    wide = replace(first, area=area, tile_set=TileSet(runs=find_tiles(area, TILE_PX)), windows=TileWindows())
    everywhere = shapely.box(4e5, 4.9e6, 6e5, 5.1e6)
    plan = timed(wide, everywhere, everywhere)
    tiles = plan.tile_set.indices()
    levels = np.random.default_rng(seed).integers(-1, 2, tiles.size)
    chosen = {int(tile): int(level) for tile, level in zip(tiles, levels, strict=True) if level >= 0}
    reopened = replace(plan, reopened=Reopened(parts=area.parts, levels=chosen))
    # one that lacks just what a new one is asked for comes with it, which the sums do not look for
    alike = {tile for tile, level in chosen.items() if level and reopened.tile(tile).windows == plan.tile(tile).windows}
    told_apart = {tile: level for tile, level in chosen.items() if tile not in alike}
    check_sums(replace(plan, reopened=Reopened(parts=area.parts, levels=told_apart)))


@given(AREAS)
@settings(max_examples=12)
def test_what_is_preferred_is_saved(plan_of: PlanOf, area: shapely.Geometry) -> None:
    """PU from the one end to the other, requests the other way; a plan that prefers requests has one a tile."""
    base = priced(plan_of(area, store=STORE), requests_per_minute=30, pu_per_minute=100)
    by_pu, by_time, auto, by_requests = (
        replace(base, prefer=prefer).with_windows() for prefer in ("pu", "time", "auto", "requests")
    )
    assert by_pu.cost.pu <= auto.cost.pu * 1.00001 <= by_requests.cost.pu * 1.00002
    assert by_pu.cost.requests >= auto.cost.requests >= by_requests.cost.requests == base.tile_count
    assert by_time.cost == auto.cost
    assert auto.cost.minutes <= min(by_pu.cost.minutes, by_requests.cost.minutes) * 1.05


@given(AREAS, st.floats(5, 500))
@settings(max_examples=12)
def test_cuts_never_make_requests_the_bottleneck(plan_of: PlanOf, area: shapely.Geometry, requests: float) -> None:
    """Where they are not without any; and one worth a little less would, or is the least there is."""
    plan = priced(plan_of(area, store=STORE), requests_per_minute=requests, pu_per_minute=100)
    trimmed = replace(plan, prefer="requests").with_windows()
    least = plan.layer.price((TILE_PX, TILE_PX)) / 2**10
    is_cut = np.isfinite(plan.windows.worth_pu)
    assert plan.cost.minutes_by_requests <= max(plan.cost.minutes_by_pu, trimmed.cost.minutes_by_requests)
    assert plan.windows.worth_pu >= min(least, plan.layer.price(plan.grid.shape) / 2**10)
    assert is_cut or trimmed.cost.requests == plan.cost.requests


def test_a_months_quota_of_requests_counts(plan_of: PlanOf) -> None:
    """A plan that takes months for its requests is cut no further."""
    plan = priced(plan_of(ragged(5), store=STORE), requests_per_minute=1e6, pu_per_minute=1e3, pu_per_month=None)
    short = priced(plan, requests_per_month=plan.tile_count, pu_per_month=None)
    assert plan.cost.requests > 1.2 * plan.tile_count
    assert short.cost.requests == plan.tile_count
    assert request_minutes(short.cost.requests, short.deployment) <= pu_minutes(short.cost.pu, short.deployment)


def test_a_sample_tells_what_a_request_is_worth(plan_of: PlanOf) -> None:
    """As all of 300 border tiles do, to one step of the scale."""
    plan = plan_of(ragged(8, radius=5_000, corners=250), store=STORE)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("shdask.plan.windows.SAMPLE_TILES", 10**6)
        whole = priced(plan, requests_per_minute=1000, pu_per_minute=800)
    sampled = priced(plan, requests_per_minute=1000, pu_per_minute=800)
    assert sampled.ground.border().count > 300
    assert np.isfinite(whole.windows.worth_pu)
    assert abs(np.log2(sampled.windows.worth_pu / whole.windows.worth_pu)) <= 1 / 3 + 1e-9


def test_windows_are_those_of_a_tile_alone_and_among_many(plan_of: PlanOf) -> None:
    """Tiles are cut some at a time: where one batch ends and the next begins makes no difference."""
    plan = priced(plan_of(ragged(8, radius=5_000, corners=250), store=STORE))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("shdask.plan.ground.TILES_AT_ONCE", 7)
        few = plan.with_windows()
    assert few.windows.by_cell.boxes.tolist() == plan.windows.by_cell.boxes.tolist()
    assert few.windows.by_cell.first.tolist() == plan.windows.by_cell.first.tolist()


def test_windows_of_another_area_are_refused(plan_of: PlanOf) -> None:
    """They might lack pixels of it; those of other steps as well."""
    plan = priced(plan_of(ragged(1), store=STORE))
    with pytest.raises(ValueError, match="cut them anew"):
        replace(plan, area=plan_of(ragged(2), store=STORE).area)
    base = priced(plan_of(ragged(1), store=STORE, layers=TIMED), **ALONE)
    partly = timed(base, shapely.box(4e5, 4.9e6, 500_100, 5.1e6))
    assert partly.timeline is not None
    later = Timeline(
        cadence="acquisition",
        interval=replace(partly.timeline.interval, end=partly.timeline.interval.end + timedelta(days=1)),
        steps=partly.timeline.steps,
    )
    with pytest.raises(ValueError, match="cut them anew"):
        replace(partly, timeline=later)


def test_windows_survive_pickling(plan_of: PlanOf) -> None:
    """Workers get them with the plan, and they fit its area there."""
    plan = priced(plan_of(ragged(4), store=STORE))
    copy = pickle.loads(pickle.dumps(plan))  # noqa: S301  # our own bytes
    assert list(copy.tiles()) == list(plan.tiles())
    assert copy.windows.fit(copy.area, copy.timeline)


def test_full_tiles_have_no_windows_of_their_own(plan_of: PlanOf) -> None:
    """A box on the grid of tiles is bought whole."""
    plan = priced(plan_of((500_000, 5_000_000, 501_600, 5_001_600), store=STORE))
    assert plan.windows.by_cell.keys.size == 0
    assert [tile.windows for tile in plan.tiles()] == [(tile.extent,) for tile in plan.tiles()]


def test_an_island_without_a_pixel_centre_is_not_asked_for(plan_of: PlanOf) -> None:
    """Neither widens it the window of a tile that it shares with land; touched, it does."""
    land, speck = (
        shapely.box(500_000, 5_000_000, 500_100, 5_000_100),
        shapely.box(500_391, 5_000_391, 500_394, 5_000_394),
    )
    extent = (500_000, 5_000_000, 500_400, 5_000_400)
    plan = plan_of(land | speck, extent=extent, store=STORE)
    touched = priced(plan_of(land | speck, extent=extent, store=STORE, all_touched=True), **ALONE)
    assert [tile.windows for tile in plan.tiles()] == [(Window(y0=30, y1=40, x0=0, x1=10),)]
    assert sorted(touched.tile(0).windows, key=lambda window: window.y0) == [
        Window(y0=0, y1=1, x0=39, x1=40),
        Window(y0=30, y1=40, x0=0, x1=10),
    ]


@pytest.mark.parametrize(
    ("crs", "resolution"), [("EPSG:4326", 0.01), ("utm", 1000), ("EPSG:3995", 1200), ("EPSG:3857", 1500)]
)
def test_a_ring_across_180_degrees_is_bought_as_a_ring(plan_of: PlanOf, crs: str, resolution: float) -> None:
    """Its hole is left out, whichever way the map is cut."""
    ring = shapely.Polygon(
        [(178, 68), (182, 68), (182, 70), (178, 70)], [[(178.5, 68.5), (181.5, 68.5), (181.5, 69.5), (178.5, 69.5)]]
    )
    plan = priced(
        plan_of(ring, "EPSG:4326", crs=crs, resolution=resolution, store={"chunk_px": 8, "tile_px": 80}), **ALONE
    )
    check_windows(plan)
    pixels = plan.area_mask(plan.grid.window).sum()
    bought = sum(window.pixel_count for tile in plan.tiles() for window in tile.windows)
    assert pixels <= bought < 1.3 * pixels


def test_an_area_that_crosses_itself_is_bought_once(plan_of: PlanOf) -> None:
    """Mended first: two triangles."""
    bow_tie = shapely.Polygon([(5e5, 5e6), (5e5 + 900, 5e6 + 900), (5e5 + 900, 5e6), (5e5, 5e6 + 900)])
    plan = priced(plan_of(bow_tie, store=STORE))
    check_windows(plan)
    assert plan.area_mask(plan.grid.window).sum() == pytest.approx(90 * 90 / 2, rel=0.05)


def test_a_far_island_costs_no_memory(plan_of: PlanOf) -> None:
    """Two small areas 14,000 km apart in an array of 34 million tiles: only their own are looked at."""
    pair = shapely.union(ragged(1, x=-1e7, y=-5e6), ragged(2, x=5e6, y=1e7))
    small = {"chunk_px": 64, "tile_px": 256}
    tracemalloc.start()
    plan = priced(plan_of(pair, "EPSG:3857", crs="EPSG:3857", store=small))
    cost, (_, peak) = plan.cost, tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert plan.tile_set.cell_count > 30_000_000
    assert plan.tile_count < 20
    assert cost.requests >= plan.tile_count
    assert peak < 20e6
    check_sums(plan)
