"""Jobs become plans."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from pyproj import Transformer

from shdask.errors import PlanError
from shdask.inputs import ReferenceGrid, read_reference_grid
from shdask.model import Band, TimeInterval
from shdask.plan.group import GroupPlan

PlanOf = Callable[..., GroupPlan]
SMALL = {"chunk_px": 8, "tile_px": 16}
HOLED = shapely.Polygon(
    shapely.box(500_003, 5_000_007, 500_781, 5_000_613).exterior,
    [shapely.box(500_100, 5_000_100, 500_500, 5_000_500).exterior],
)


def union_of(boxes: list[tuple[float, float, float, float]]) -> shapely.Geometry:
    with np.errstate(all="ignore"):  # GEOS may divide by zero on the way to a right union
        return shapely.union_all(
            [shapely.box(5e5 + x, 5e6 + y, 5e5 + x + width, 5e6 + y + height) for x, y, width, height in boxes]
        )


ISLANDS = st.lists(
    st.tuples(st.floats(0, 900), st.floats(0, 900), st.floats(30, 300), st.floats(30, 300)), min_size=1, max_size=4
).map(union_of)


def times_covered(plan: GroupPlan) -> np.ndarray:
    """How many request windows hold each pixel of the array."""
    count = np.zeros(plan.grid.shape, np.int64)
    for tile in plan.tiles():
        for window in tile.windows:
            count[window.slices] += 1
    return count


@given(ISLANDS, st.booleans())
@settings(max_examples=40, deadline=None)
def test_windows_cover_every_pixel_of_the_area_once(plan_of: PlanOf, area: shapely.Geometry, all_touched: bool) -> None:
    """And no pixel of the array twice."""
    plan = plan_of(area, all_touched=all_touched, store=SMALL)
    covered = times_covered(plan)
    assert (covered[plan.area_mask(plan.grid.window)] == 1).all()
    assert covered.max() == 1


@given(ISLANDS)
@settings(max_examples=40, deadline=None)
def test_the_projected_cost_is_the_sum_over_the_tiles(plan_of: PlanOf, area: shapely.Geometry) -> None:
    """By formula and by listing."""
    plan = plan_of(area, store=SMALL)
    windows = [window for tile in plan.tiles() for window in tile.windows]
    assert plan.cost.requests == len(windows)
    assert plan.cost.pu == pytest.approx(sum(plan.window_pu(window) for window in windows), rel=1e-9)
    assert plan.cost.nbytes_down == sum(window.pixel_count for window in windows) * (2 + 2 + 2)
    assert plan.cost.nbytes_stored == sum(tile.extent.pixel_count for tile in plan.tiles()) * (2 + 2 + 1)


@given(ISLANDS)
@settings(max_examples=40, deadline=None)
def test_tile_edges_fall_on_shard_edges(plan_of: PlanOf, area: shapely.Geometry) -> None:
    """A tile starts at a multiple of the shard and is whole but at the array's end; no two share a shard."""
    plan = plan_of(area, store=SMALL)
    tiles = list(plan.tiles())
    y1, x1 = plan.grid.shape
    assert [(tile.extent.y0, tile.extent.x0) for tile in tiles] == [(16 * tile.row, 16 * tile.column) for tile in tiles]
    assert all(tile.extent.y1 == min(tile.extent.y0 + 16, y1) for tile in tiles)
    assert all(tile.extent.x1 == min(tile.extent.x0 + 16, x1) for tile in tiles)
    assert len({(tile.row, tile.column) for tile in tiles}) == plan.tile_count


def test_a_tile_is_found_by_its_index(plan_of: PlanOf) -> None:
    """The same tile as in the listing, whose number counts the array's tiles row by row from the north."""
    plan = plan_of(HOLED, store=SMALL)
    tiles = list(plan.tiles())
    assert [plan.tile(tile.index) for tile in tiles] == tiles
    assert [tile.index for tile in tiles] == [tile.row * 5 + tile.column for tile in tiles]


@pytest.mark.parametrize("index", [-1, 20])
def test_a_tile_outside_the_array_is_refused(plan_of: PlanOf, index: int) -> None:
    """Four rows of five."""
    with pytest.raises(IndexError, match=f"tile {index} of a cube with 20"):
        plan_of(HOLED, store=SMALL).tile(index)


def test_a_tile_wholly_in_a_hole_is_not_asked_for(plan_of: PlanOf) -> None:
    """4 rows of 5 tiles of 160 m, four of which the hole of 400 m swallows."""
    plan = plan_of(HOLED, store=SMALL)
    assert plan.tile_set.grid_shape == (4, 5)
    missing = set(np.ndindex(4, 5)) - {(tile.row, tile.column) for tile in plan.tiles()}
    assert missing == {(1, 1), (1, 2), (2, 1), (2, 2)}


@given(ISLANDS, st.integers(0, 10**6))
@settings(max_examples=30, deadline=None)
def test_a_tiles_mask_is_its_part_of_the_whole_mask(plan_of: PlanOf, area: shapely.Geometry, pick: int) -> None:
    """At 0.0001 degrees too: from UTM into degrees, bit for bit."""
    plan = plan_of(area, crs="EPSG:4326", resolution=0.0001, store=SMALL)
    tile = plan.tile(plan.tile_set.indices()[pick % plan.tile_count])
    np.testing.assert_array_equal(plan.area_mask(tile.extent), plan.area_mask(plan.grid.window)[tile.extent.slices])


def test_reflectance_is_bought_as_dn(plan_of: PlanOf) -> None:
    """16 bit on the wire, float32 in the store; a band with one unit keeps it."""
    bands = ["B02", "SCL", "CLD"]
    layer = {"collection": "sentinel-2-l2a", "bands": bands, "units": "REFLECTANCE"}
    plan = plan_of(HOLED, layers={"s2": layer})
    b02, scl, cld = plan.layer.bands
    assert (b02.dtype, b02.scale, np.isnan(b02.fill_value)) == ("float32", 0.0001, True)
    assert scl == Band(name="SCL", dtype="uint8", fill_value=0)
    assert cld == Band(name="CLD", dtype="uint8", fill_value=0, units="percent")
    (part,) = plan.layer.parts
    assert [(band.name, band.unit) for band in part.requested] == [("B02", "DN"), ("SCL", "DN"), ("CLD", "PERCENT")]
    assert (part.bands, part.sample_type) == ((0, 1, 2), "UINT16")


def test_a_layer_carries_what_every_request_asks(plan_of: PlanOf) -> None:
    """Time, order, clouds and resampling as the job has them."""
    layer = {
        "collection": "sentinel-2-l1c",
        "bands": ["B10"],
        "mosaicking_order": "leastCC",
        "max_cloud_cover": 0.6,
        "resampling": "bicubic",
    }
    plan = plan_of(HOLED, layers={"toa": layer}).layer
    assert (plan.name, plan.collection, plan.leading.mosaicking_order) == ("toa", "sentinel-2-l1c", "leastCC")
    (part,) = plan.parts
    assert (plan.leading.max_cloud_cover, part.resampling, part.sample_type) == (0.6, "bicubic", "UINT16")
    assert plan.interval == TimeInterval(start=datetime(2024, 6, 1, tzinfo=UTC), end=datetime(2024, 7, 1, tzinfo=UTC))


def test_a_users_collection_needs_no_time(plan_of: PlanOf) -> None:
    """byoc- data may have none."""
    layer = {"collection": "byoc-1", "bands": ["anything"]}
    assert plan_of(HOLED, layers={"own": layer}, time=None).layer.interval is None


def test_a_like_grid_is_taken_exactly(plan_of: PlanOf, shared_data: Path) -> None:
    """The Landsat scene's left edge is 15082.5 x 30: no snapping moves it."""
    grid = read_reference_grid(shared_data / "landsat-8_l1_p20_utm16" / "B2.tif")
    plan = plan_of(None, grid=grid)
    assert plan.grid.transform == grid.transform
    assert plan.grid.bounds() == (452475.0, 3390555.0 + 0.0, 452475.0 + 627 * 30, 3390555.0 + 603 * 30)
    assert plan.grid.shape == (603, 627)
    assert plan.area_mask(plan.grid.window).all()


def test_a_like_grid_may_hold_a_smaller_area(plan_of: PlanOf) -> None:
    """The array is the raster's; only the area is fetched."""
    like = ReferenceGrid(crs="EPSG:32633", transform=(10, 0, 500_000, 0, -10, 5_001_000), shape=(100, 100))
    plan = plan_of(shapely.box(500_100, 5_000_200, 500_200, 5_000_300), grid=like)
    assert plan.grid.shape == (100, 100)
    rows, columns = np.nonzero(plan.area_mask(plan.grid.window))
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (70, 79, 10, 19)


def test_slovenia_at_20_m(plan_of: PlanOf, shared_data: Path) -> None:
    """20,313 km2 by the data's README, in 400 m2 pixels; its bounding box snapped to 20 m."""
    plan = plan_of(shared_data / "slovenia.geojson", resolution=20)
    _, starts, stops = plan.area.spans(0, plan.grid.shape[0])
    assert (stops - starts).sum() * 400 / 1e6 == pytest.approx(20313, abs=1)
    assert plan.grid.shape == (8030, 12110)
    assert plan.tile_count == 21
    assert plan.cost.pu <= 1.05 * (stops - starts).sum() / 512**2 * len(plan.layer.bands) / 3


def test_a_wide_area_keeps_its_bent_edges(plan_of: PlanOf) -> None:
    """Pixel centres taken back to degrees by PROJ lie in the box; at most those 0.001 px from an edge may not."""
    plan = plan_of(shapely.box(13, 45, 17, 47), "EPSG:4326", resolution=100)
    centres = np.meshgrid(plan.grid.x_coords(), plan.grid.y_coords())
    x, y = Transformer.from_crs("EPSG:32633", "EPSG:4326", always_xy=True).transform(*centres)
    expected = (x > 13) & (x < 17) & (y > 45) & (y < 47)
    assert (plan.area_mask(plan.grid.window) ^ expected).sum() < 0.001 * 2 * (2260 + 3160)


def test_utm_takes_the_zone_of_the_centre(plan_of: PlanOf) -> None:
    """Fiji, across the antimeridian, is in 60 south and in one piece."""
    plan = plan_of([177, -20, -178, -15], "EPSG:4326", crs="utm", resolution=1000)
    assert plan.grid.epsg == 32760
    assert plan.grid.shape == (562, 539)


def test_across_the_antimeridian_in_degrees_only_the_two_ends_are_asked_for(plan_of: PlanOf) -> None:
    """5 degrees of land in an array of 360: two runs of columns in each row of tiles."""
    plan = plan_of([177, -20, -178, -15], "EPSG:4326", crs="EPSG:4326", resolution=0.01, store=SMALL)
    columns = {tile.column for tile in plan.tiles()}
    assert plan.grid.shape == (500, 36000)
    assert columns == {*range(13), *range(35700 // 16, 2250)}
    assert plan.area_mask(plan.grid.window).sum() == 500 * 500


def test_a_buffer_widens_the_area_in_units_of_the_cubes_crs(plan_of: PlanOf) -> None:
    """A square kilometre in degrees, 500 m wider on each side in UTM."""
    bare = plan_of([15.0, 45.0, 15.01, 45.01], "EPSG:4326").grid.bounds()
    wide = plan_of([15.0, 45.0, 15.01, 45.01], "EPSG:4326", buffer=500).grid.bounds()
    np.testing.assert_array_equal(np.subtract(wide, bare), [-500, -500, 500, 500])


def test_an_extent_larger_than_the_area_adds_no_tiles(plan_of: PlanOf) -> None:
    """Room to grow costs nothing."""
    extent = [490_000, 4_990_000, 510_000, 5_010_000]
    plan = plan_of(HOLED, extent=extent, store=SMALL)
    assert plan.grid.bounds() == tuple(extent)
    assert plan.tile_count <= 30
    assert plan.notes == ()


def test_an_extent_smaller_than_the_area_is_noted(plan_of: PlanOf) -> None:
    """What is cut off is said."""
    plan = plan_of(HOLED, extent=[500_000, 5_000_000, 500_050, 5_000_050])
    assert plan.notes == ("the area reaches beyond the array; what lies outside is not fetched",)


def test_an_area_in_another_zone_is_noted(plan_of: PlanOf) -> None:
    """With the zone that would be right: a wrong digit in the CRS makes a cube that nobody wants."""
    (note,) = plan_of((14, 46, 14.1, 46.1), "EPSG:4326", crs="EPSG:32630").notes
    assert note.startswith("the area reaches 14 degrees of longitude beyond where EPSG:32630 is meant to be used")
    assert "the UTM zone of its centre is EPSG:32633" in note


def test_an_area_near_its_zone_is_not_noted(plan_of: PlanOf) -> None:
    """A country of two zones fits one; the antimeridian between them changes nothing."""
    assert plan_of((177, -19, -178, -16), "EPSG:4326", crs="EPSG:32760", resolution=100).notes == ()


@pytest.mark.parametrize(
    "fiji",
    [(177, -19, -178, -16), shapely.MultiPolygon([shapely.box(177, -19, 180, -16), shapely.box(-180, -19, -178, -16)])],
    ids=["bbox", "cut in two"],
)
def test_an_array_round_the_globe_is_noted(plan_of: PlanOf, fiji: object) -> None:
    """Fiji in degrees is two ends of a very wide array."""
    (note,) = plan_of(fiji, "EPSG:4326", crs="EPSG:4326", resolution=0.001).notes
    assert note == 'the array goes round the globe, since EPSG:4326 is cut at 180; crs = "utm" keeps it whole'


def test_two_areas_far_apart_are_not_noted(plan_of: PlanOf) -> None:
    """Their array is as wide on the other side of the globe."""
    far = shapely.MultiPolygon([shapely.box(-100, 40, -99, 41), shapely.box(80, 40, 81, 41)])
    assert plan_of(far, "EPSG:4326", crs="EPSG:4326", resolution=0.001).notes == ()


def test_a_mended_area_is_noted(plan_of: PlanOf) -> None:
    """The user learns where the area crossed itself."""
    bow_tie = shapely.Polygon([(5e5, 5e6), (5e5 + 500, 5e6 + 500), (5e5 + 500, 5e6), (5e5, 5e6 + 500)])
    plan = plan_of(bow_tie)
    assert plan.notes == ("aoi: repaired: Self-intersection[500250 5000250]",)
    assert "Self-intersection" in repr(plan)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            {"crs": "EPSG:4258"},
            r"cube\.crs: the service does not render in EPSG:4258; .* EPSG:32633 \(UTM\), .*EPSG:4326",
        ),
        ({"crs": "lambert"}, r"cube\.crs: 'lambert' is not understood; write \"EPSG:32633\", or \"utm\""),
        ({"resolution": 2000}, r"cube\.resolution: 2000 m per pixel is coarser than the 1500 m .* make it finer"),
        ({"crs": "EPSG:4326", "resolution": 0.1}, r"cube\.resolution: 11132 m per pixel is coarser"),
        ({"crs": "EPSG:4326", "resolution": 20}, r"resolution is in degrees in EPSG:4326; 10 m are about 0\.0001"),
        ({"resolution": 1e-6}, r"cube\.resolution: 1e-06 makes an array of .* px with .* tiles, and a cube may"),
        ({"extent": (0, 0, 1000, 1000)}, r"aoi: the area is wholly outside the array\. In EPSG:32633 .* check aoi_crs"),
        ({"buffer": -1000}, r"buffer = -1000 leaves nothing of the area; make it smaller"),
    ],
)
def test_a_job_that_the_service_cannot_do_is_refused(plan_of: PlanOf, fields: dict[str, object], message: str) -> None:
    """Before any request, with the cure."""
    with pytest.raises(PlanError, match=message):
        plan_of(HOLED, **fields)


def test_an_area_between_pixel_centres_needs_all_touched(plan_of: PlanOf) -> None:
    """Refused by the pixel-centre rule, planned when every touched pixel counts."""
    speck = shapely.box(500_001, 5_000_001, 500_002, 5_000_002)
    with pytest.raises(PlanError, match="set all_touched = true, take a finer resolution"):
        plan_of(speck)
    assert plan_of(speck, all_touched=True).tile_count == 1


@pytest.mark.parametrize("aoi", [(-170, -70, 170, 70), (-180, -90, 180, 90)])
def test_an_area_that_a_zone_cannot_hold_is_refused(plan_of: PlanOf, aoi: tuple[float, ...]) -> None:
    """A transverse projection of half the globe folds over itself."""
    with pytest.raises(
        PlanError, match=r"cube\.crs: the area reaches 1.. degrees of longitude beyond .*; else take EPSG:4326$"
    ):
        plan_of(aoi, "EPSG:4326", crs="EPSG:32633", resolution=1000)


def test_polygons_that_enclose_nothing_are_refused(plan_of: PlanOf) -> None:
    """A ring along a parallel is a line on the map."""
    with pytest.raises(PlanError, match=r"aoi: its polygons enclose nothing"):
        plan_of(shapely.Polygon([(-180, 80), (-90, 80), (0, 80), (90, 80), (180, 80)]), "EPSG:4326", crs="EPSG:3995")


def test_a_like_grid_in_another_crs_is_refused(plan_of: PlanOf) -> None:
    """The service has no ETRS89 longitude and latitude."""
    like = ReferenceGrid(crs="EPSG:4258", transform=(0.1, 0, 14, 0, -0.1, 47), shape=(10, 10))
    with pytest.raises(PlanError, match="like: its CRS: the service does not render in EPSG:4258"):
        plan_of(None, grid=like)


def test_a_plan_survives_pickling(plan_of: PlanOf) -> None:
    """It is what workers get."""
    plan = plan_of(HOLED, store=SMALL)
    copy = pickle.loads(pickle.dumps(plan))  # noqa: S301  # our own bytes
    assert copy.identity() == plan.identity()
    assert list(copy.tiles()) == list(plan.tiles())
    np.testing.assert_array_equal(copy.area_mask(copy.grid.window), plan.area_mask(plan.grid.window))


def test_identity_and_description_are_json(plan_of: PlanOf) -> None:
    """They go into a store's attributes and come back the same."""
    plan = plan_of(HOLED, layers={"s2": {"collection": "sentinel-2-l2a", "bands": ["B02"], "units": "REFLECTANCE"}})
    assert json.loads(json.dumps(plan.identity(), allow_nan=False)) == plan.identity()
    assert json.loads(json.dumps(plan.describe(), allow_nan=False)) == plan.describe()


@pytest.mark.parametrize("fields", [{"service": {"max_pu": 3, "deployment": "cdse"}}, {"aoi_where": None}])
def test_budget_and_service_are_no_part_of_the_identity(plan_of: PlanOf, fields: dict[str, object]) -> None:
    """A build may go on elsewhere, with another budget."""
    assert plan_of(HOLED, **fields).identity() == plan_of(HOLED).identity()


@pytest.mark.parametrize(
    "fields",
    [
        {"resolution": 20},
        {"buffer": 0.5},
        {"all_touched": True},
        {"time": ("2024-06-01", "2024-06-29")},
        {"layers": {"s2": {"collection": "sentinel-2-l2a", "bands": ["B03", "B02"]}}},
        {"store": {"tile_px": 1024}},
        {"store": {"sharded": False}},
    ],
)
def test_what_changes_pixels_or_layout_changes_the_identity(plan_of: PlanOf, fields: dict[str, object]) -> None:
    """Another cube must not be continued as this one."""
    assert plan_of(HOLED, **fields).identity() != plan_of(HOLED).identity()


def test_the_repr_says_what_it_will_cost(plan_of: PlanOf) -> None:
    """62 x 79 px of two 16 bit bands and the mask."""
    assert repr(plan_of(HOLED)).splitlines() == [
        "GroupPlan of sentinel-2-l2a: B02, B03",
        "  62 x 79 px (y, x) of 10 x 10 in EPSG:32633",
        "  1 tile of 2048 px",
        "  1 request, 0.01 PU, 0 s at 300 requests/min",
        "  0.0 MB stored before compression",
    ]


def test_a_million_tiles_plan_in_little_memory(plan_of: PlanOf) -> None:
    """A border of 10,000 corners around more than a million tiles of 2048 px: only the border takes room."""
    angle = np.linspace(0, 2 * np.pi, 10_000, endpoint=False)
    reach = 12_000e3 * (1 + 0.05 * np.sin(40 * angle) + 0.0001 * np.random.default_rng(0).random(10_000))
    border = shapely.Polygon(np.stack((reach * np.cos(angle), reach * np.sin(angle)), axis=1))
    plan = plan_of(border)
    assert plan.tile_count > 1_000_000
    assert plan.cost.pu < plan.tile_count * plan.layer.price((2048, 2048))
    assert len(pickle.dumps(plan)) < 5e6
    last = int(plan.tile_set.indices()[-1])
    assert plan.tile(last).index == last >= plan.tile_count
