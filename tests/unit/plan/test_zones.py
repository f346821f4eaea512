"""Areas in UTM zones: every pixel is one zone's, and nothing is bought twice."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Mapping

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from pyproj import Geod, Transformer

from shdask.errors import PlanError
from shdask.inputs import read_area
from shdask.plan.cost import add_costs
from shdask.plan.footprint import make_footprint
from shdask.plan.grid import Grid
from shdask.plan.group import GroupPlan
from shdask.plan.placing import make_groups
from shdask.plan.spec import CubeSpec
from shdask.plan.zones import Zone, owned_columns
from shdask.settings import DEPLOYMENTS

Groups = Mapping[str, GroupPlan]
GroupsOf = Callable[..., Groups]
S2 = {"collection": "sentinel-2-l2a", "bands": ["B02"]}
TWO_ZONES = (11.2, 45.9, 12.9, 46.6)
THREE_ZONES_TWO_HEMISPHERES = (5.7, -0.25, 12.3, 0.2)
OVER_180 = (179.4, -17.3, 180.7, -16.8)
PLACES = [TWO_ZONES, THREE_ZONES_TWO_HEMISPHERES, OVER_180]


def plan_zones(aoi: object, aoi_crs: str = "EPSG:4326", **fields: object) -> Groups:
    """Groups of a small job in zones."""
    job = {
        "crs": "utm-zones",
        "resolution": 120,
        "time": ("2024-06-01", "2024-06-30"),
        "layers": {"s2": S2},
        "store": {"chunk_px": 16, "tile_px": 64},
        **fields,
    }
    spec = CubeSpec(aoi=aoi, aoi_crs=aoi_crs, **job)
    return make_groups(spec, area=read_area(aoi, crs=aoi_crs), like=None, deployment=DEPLOYMENTS["services"])


def degrees_of(group: GroupPlan) -> tuple[np.ndarray, np.ndarray]:
    """(longitude, latitude), each (y, x), of the centres of a group's pixels, by pyproj."""
    x, y = np.meshgrid(group.grid.x_coords(), group.grid.y_coords())
    return Transformer.from_crs(group.grid.crs, "EPSG:4326", always_xy=True).transform(x, y)


def owned_here(group: GroupPlan, longitudes: np.ndarray, latitudes: np.ndarray) -> np.ndarray:
    """Whether points are the group's zone's, by its number alone."""
    number, is_north = group.grid.epsg % 100, group.grid.epsg < 32700
    return (np.floor((longitudes + 180) / 6) % 60 + 1 == number) & ((latitudes >= 0) == is_north)


def holds(group: GroupPlan, longitude: float, latitude: float) -> bool:
    """Whether the pixel of the group's array in which a point lies is in its area."""
    x, y = Transformer.from_crs("EPSG:4326", group.grid.crs, always_xy=True).transform(longitude, latitude)
    left, _, _, top = group.grid.bounds()
    column, row = int((x - left) // group.grid.resolution[0]), int((top - y) // group.grid.resolution[1])
    inside = 0 <= row < group.grid.shape[0] and 0 <= column < group.grid.shape[1]
    return inside and bool(group.area_mask(group.grid.window)[row, column])


@pytest.fixture(scope="module", params=PLACES, ids=["two zones", "equator", "180 degrees"])
def aoi(request: pytest.FixtureRequest) -> tuple[float, float, float, float]:
    return request.param


@pytest.fixture(scope="module")
def groups(aoi: tuple[float, float, float, float]) -> Groups:
    return plan_zones(aoi)


@pytest.mark.parametrize(
    ("aoi", "paths"),
    [
        (TWO_ZONES, ["32632", "32633"]),
        (THREE_ZONES_TWO_HEMISPHERES, ["32631", "32731", "32632", "32732", "32633", "32733"]),
        (OVER_180, ["32701", "32760"]),
        ((13.0, 46.0, 13.1, 46.1), ["32633"]),
        ((11.5, 46.0, 12.0, 46.1), ["32632"]),
    ],
)
def test_a_group_is_a_zone_that_the_area_meets(aoi, paths) -> None:
    """By its EPSG code, also where there is only one; an area that only touches a zone's edge has no pixel there."""
    assert list(plan_zones(aoi)) == paths


def test_several_layers_are_below_their_zone() -> None:
    """On one grid."""
    groups = plan_zones(TWO_ZONES, layers={"s2": S2, "dem": {"collection": "dem", "bands": ["DEM"]}})
    assert list(groups) == ["32632/s2", "32632/dem", "32633/s2", "32633/dem"]
    assert groups["32632/s2"].grid == groups["32632/dem"].grid


def test_no_pixel_of_a_zone_is_another_zones(groups) -> None:
    """By the longitude and latitude of each centre."""
    strangers = [
        int(np.count_nonzero(group.area_mask(group.grid.window) & ~owned_here(group, *degrees_of(group))))
        for group in groups.values()
    ]
    assert strangers == [0] * len(groups)


@given(share=st.tuples(st.floats(0.02, 0.98), st.floats(0.02, 0.98)))
@settings(max_examples=60, deadline=None)
def test_a_point_of_the_area_is_owned_once(groups, aoi, share) -> None:
    """By exactly one zone's array; but for points within a pixel of a border, which the two grids cut."""
    longitude, latitude = aoi[0] + share[0] * (aoi[2] - aoi[0]), aoi[1] + share[1] * (aoi[3] - aoi[1])
    to_border = min(abs(longitude - round(longitude / 6) * 6), abs(latitude) if aoi[1] < 0 < aoi[3] else 90)
    owners = sum(holds(group, longitude, latitude) for group in groups.values())
    assert owners == 1 or (to_border < 0.0025 and owners in {0, 2})


def test_the_zones_hold_the_ground_of_the_area(groups, aoi) -> None:
    """Geodesic square metres, within half a pixel along its edge and along borders of zones."""
    ground = sum(int(group.area_mask(group.grid.window).sum()) for group in groups.values()) * 120.0**2
    outline = shapely.segmentize(shapely.box(*aoi), 0.01)
    area, around = Geod(ellps="WGS84").geometry_area_perimeter(outline)
    # on the ground a pixel is up to 0.2 % more or less than its size on the map
    assert ground == pytest.approx(abs(area), rel=2e-3, abs=abs(around) * 60)


def test_zones_cost_hardly_more_than_one(groups, aoi) -> None:
    """Border tiles are bought in two zones, whole; less than a tenth of all."""
    spec = CubeSpec(
        aoi=aoi,
        crs="utm",
        resolution=120,
        time=("2024-06-01", "2024-06-30"),
        layers={"s2": S2},
        store={"chunk_px": 16, "tile_px": 64},
    )
    area = read_area(aoi, crs="EPSG:4326")
    (one,) = make_groups(spec, area=area, like=None, deployment=DEPLOYMENTS["services"]).values()
    assert add_costs([group.cost for group in groups.values()]).pu < 1.1 * one.cost.pu


def test_every_tile_of_a_zone_holds_a_pixel_that_it_owns(groups) -> None:
    """Nothing is bought for the neighbour."""
    empty = [
        (path, tile.index)
        for path, group in groups.items()
        for tile in group.tiles()
        if not group.area_mask(tile.extent).any()
    ]
    assert empty == []


def test_an_array_ends_where_its_zones_pixels_end(groups) -> None:
    """No row or column at its edges is empty."""
    masks = [group.area_mask(group.grid.window) for group in groups.values()]
    edges = [(mask[0].any(), mask[-1].any(), mask[:, 0].any(), mask[:, -1].any()) for mask in masks]
    assert edges == [(True, True, True, True)] * len(groups)


def test_a_window_sees_the_pixels_that_the_whole_sees(groups) -> None:
    """A pixel is in the area or not, whatever it is asked with."""
    group = next(iter(groups.values()))
    whole = group.area_mask(group.grid.window)
    parts = [np.array_equal(group.area_mask(tile.extent), whole[tile.extent.slices]) for tile in group.tiles()]
    assert all(parts)


ZONES = st.builds(Zone, number=st.integers(1, 60), is_north=st.booleans())


@given(zone=ZONES, top=st.floats(-9.2e6, 9.2e6), left=st.floats(150e3, 840e3), size=st.floats(5.0, 5000.0))
@settings(max_examples=80, deadline=None)
def test_columns_are_those_whose_longitude_is_the_zones(zone, top, left, size) -> None:
    """Row by row, against every centre's longitude and latitude by pyproj; also across the equator and near poles."""
    origin = (left, top if zone.is_north else top + 10e6)
    grid = Grid(epsg=zone.epsg, origin=origin, resolution=(size, size), offset=(0, 0), shape=(40, 50))
    x, y = np.meshgrid(grid.x_coords(), grid.y_coords())
    degrees = Transformer.from_crs(grid.crs, "EPSG:4326", always_xy=True).transform(x, y)
    first, after = owned_columns(zone, grid, 0, 40)
    columns = np.arange(50)[None]
    assert np.array_equal((columns >= first[:, None]) & (columns < after[:, None]), zone.owns(*degrees))


@given(longitude=st.floats(-540, 540), latitude=st.floats(-84, 84))
def test_a_point_has_one_zone(longitude, latitude) -> None:
    """And it is the one that `utm_epsg` of pyproj's list would pick by number."""
    zones = [Zone(number=number, is_north=is_north) for number in range(1, 61) for is_north in (True, False)]
    owners = [zone for zone in zones if zone.owns(np.array([longitude]), np.array([latitude]))[0]]
    assert len(owners) == 1


@pytest.mark.parametrize(
    ("longitude", "latitude", "epsg"),
    [(12.0, 46.0, 32633), (11.999999, 46.0, 32632), (180.0, 1.0, 32601), (-180.0, 1.0, 32601), (13.0, 0.0, 32633),
     (13.0, -1e-9, 32733), (5.0, 60.0, 32631), (10.0, 78.0, 32632)],
)  # fmt: skip  # a table
def test_borders_belong_to_the_east_and_the_north(longitude, latitude, epsg) -> None:
    """Zones are [west, east); the equator is northern; the wider zones of Norway and Svalbard are not used."""
    zones = [Zone(number=number, is_north=is_north) for number in range(1, 61) for is_north in (True, False)]
    found = [zone.epsg for zone in zones if zone.owns(np.array([longitude]), np.array([latitude]))[0]]
    assert found == [epsg]


def test_maps_with_other_zones_are_told() -> None:
    """Over Norway's west coast, and not elsewhere."""
    assert any("Norway and Svalbard" in note for note in plan_zones((4.9, 60, 5.1, 60.1))["32631"].notes)
    assert plan_zones(TWO_ZONES)["32632"].notes == ()


@pytest.mark.parametrize("buffer", [1500.0, -1500.0])
def test_a_buffer_is_taken_at_the_areas_edge_and_not_at_borders_of_zones(buffer) -> None:
    """The ground grows or shrinks by its edge's length times the buffer, and has no gap between zones."""
    groups = plan_zones(TWO_ZONES, buffer=buffer)
    ground = sum(int(group.area_mask(group.grid.window).sum()) for group in groups.values()) * 120.0**2
    (x0, y0, x1, y1) = TWO_ZONES
    one = make_footprint(
        CubeSpec(aoi=TWO_ZONES, crs="EPSG:32632", resolution=120, buffer=buffer, layers={"s2": S2},
                 time=("2024-06-01", "2024-06-30")),
        read_area((x0, y0, x1, y1), crs="EPSG:4326"), None,
    )  # fmt: skip
    assert ground == pytest.approx(int(one.area.mask(one.grid.window).sum()) * 120.0**2, rel=4e-3)


def test_touched_pixels_are_owned_by_their_centre() -> None:
    """With all_touched there are more pixels, and none that is another zone's."""
    touched, centred = plan_zones(TWO_ZONES, all_touched=True)["32633"], plan_zones(TWO_ZONES)["32633"]
    mask = touched.area_mask(touched.grid.window)
    assert mask.sum() > centred.area_mask(centred.grid.window).sum()
    assert not (mask & ~owned_here(touched, *degrees_of(touched))).any()


def test_an_area_in_metres_is_split_as_well() -> None:
    """Given in web mercator, across 180 degrees."""
    groups = plan_zones((19_990_000, -1_960_000, 20_080_000, -1_900_000), "EPSG:3857")
    assert list(groups) == ["32701", "32760"]


def test_pieces_on_either_side_of_180_are_one_area() -> None:
    """As GeoJSON asks for: the pixels of a ring that goes on past 180."""
    pieces = shapely.MultiPolygon([shapely.box(179.4, -17.3, 180, -16.8), shapely.box(-180, -17.3, -179.3, -16.8)])
    split, whole = plan_zones(pieces), plan_zones(OVER_180)
    assert {path: group.grid for path, group in split.items()} == {path: group.grid for path, group in whole.items()}
    masks = [groups["32760"].area_mask(groups["32760"].grid.window) for groups in (split, whole)]
    # edges in degrees are bent in UTM, and are drawn by other corners: a thousandth of a pixel
    assert np.count_nonzero(masks[0] != masks[1]) <= 2


@pytest.mark.parametrize(
    ("aoi", "crs"),
    [((10, 80, 20, 85), "EPSG:4326"), ((0, -86, 10, -70), "EPSG:4326"), ((-1e6, -1e6, 1e6, 1e6), "EPSG:3995")],
)
def test_areas_beyond_utm_are_refused(aoi, crs) -> None:
    """With the CRSs that hold them."""
    with pytest.raises(PlanError, match=r"UTM ends at 84 degrees, .* \"EPSG:3995\" or \"EPSG:3031\""):
        plan_zones(aoi, crs)


def test_an_area_without_a_pixel_centre_is_refused() -> None:
    """As in one CRS."""
    with pytest.raises(PlanError, match="no pixel centre lies in the area"):
        plan_zones((12.5, 46.0, 12.5001, 46.0001))


def test_a_zones_cube_is_another_than_that_of_its_crs_alone() -> None:
    """Pixels of other zones are not in it: neither continues the other."""
    zone = plan_zones((13.0, 46.0, 13.1, 46.1))["32633"]
    again = plan_zones((13.0, 46.0, 13.1, 46.1))["32633"]
    alone = plan_zones((13.0, 46.0, 13.1, 46.1), crs="EPSG:32633")[""]
    assert zone.identity() == again.identity()
    assert zone.area_digest != alone.area_digest


def test_a_zones_plan_can_be_pickled(groups) -> None:
    """Workers clip tiles by it."""
    group = next(iter(groups.values()))
    again = pickle.loads(pickle.dumps(group))  # noqa: S301  # our own
    assert np.array_equal(again.area_mask(again.grid.window), group.area_mask(group.grid.window))
