"""Acquisitions from STAC items, whole and broken."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st
from shapely.geometry import mapping

from shdask.plan.acquisition import EVERYWHERE, read_footprint, read_item

SQUARE = shapely.box(14, 46, 15, 47)
S2 = "S2A_MSIL2A_20240610T100559_N0510_R022_T33TVM_20240610T164912"
HALVES = shapely.MultiPolygon([shapely.box(179, 10, 180, 11), shapely.box(-180, 10, -178, 11)])


def item(name: str = S2, geometry: Any = SQUARE, **properties: Any) -> dict[str, Any]:
    return {
        "id": name,
        "geometry": mapping(geometry) if isinstance(geometry, shapely.Geometry) else geometry,
        "bbox": [14.0, 46.0, 15.0, 47.0],
        "properties": {"datetime": "2024-06-10T10:11:12Z", **properties},
    }


def test_an_item_tells_everything_it_has() -> None:
    """Properties go before the name; percent become a share."""
    scene = read_item(
        item(**{"platform": "Sentinel-2A", "eo:cloud_cover": 12.5, "sat:orbit_state": "descending", "gsd": 10})
    )
    assert scene.id == S2
    assert scene.time == datetime(2024, 6, 10, 10, 11, 12, tzinfo=UTC)
    assert (scene.platform, scene.relative_orbit, scene.orbit_direction) == ("sentinel-2a", 22, "descending")
    assert (scene.cloud_cover, scene.baseline, scene.note) == (0.125, "05.10", "")
    assert shapely.equals(scene.footprint, SQUARE)


def test_stated_orbits_go_before_those_of_the_name() -> None:
    """The catalogue's own property is the authority."""
    name = "S1A_IW_GRDH_1SDV_20170909T175748_20170909T175813_018302_01EC88_98A1"
    assert read_item(item(name)).relative_orbit == 30
    assert read_item(item(name, **{"sat:relative_orbit": 31})).relative_orbit == 31
    assert read_item(item("mine", **{"landsat:wrs_path": "038"})).relative_orbit == 38


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("2024-06-10T10:11:12.345Z", datetime(2024, 6, 10, 10, 11, 12, 345000, tzinfo=UTC)),
        ("2024-06-10T12:11:12+02:00", datetime(2024, 6, 10, 10, 11, 12, tzinfo=UTC)),
        ("2024-06-10T10:11:12", datetime(2024, 6, 10, 10, 11, 12, tzinfo=UTC)),
    ],
)
def test_times_are_utc(text: str, time: datetime) -> None:
    """Milliseconds are kept, zones are turned, none is UTC."""
    assert read_item(item(datetime=text)).time == time


def test_a_null_datetime_is_the_start_of_the_range() -> None:
    """STAC allows a null datetime beside a range."""
    scene = read_item(item(datetime=None, start_datetime="2024-06-10T10:00:00Z"))
    assert scene.time == datetime(2024, 6, 10, 10, tzinfo=UTC)


@pytest.mark.parametrize("changes", [{"id": None}, {"id": ""}, {"properties": {}}, {"properties": None}])
def test_an_item_without_id_or_time_is_an_error(changes: dict[str, Any]) -> None:
    """Such a scene could be put nowhere."""
    with pytest.raises(ValueError, match=r"without an id|has no time"):
        read_item({**item(), **changes})


@pytest.mark.parametrize("cloud", [-1, 101, float("nan"), "much", None, True])
def test_an_impossible_cloud_cover_is_unknown(cloud: Any) -> None:
    """A number outside 0 to 100 is not believed."""
    assert read_item(item(**{"eo:cloud_cover": cloud})).cloud_cover is None


@pytest.mark.parametrize(
    "geometry",
    [
        None,
        {},
        {"type": "Point", "coordinates": [14, 46]},
        {"type": "Polygon", "coordinates": []},
        {"type": "Polygon", "coordinates": [[[14, 46], [15, 46]]]},
        {"type": "Polygon", "coordinates": [[[14, 46], [15, 46], [15, "north"], [14, 46]]]},
        {"type": "Polygon", "coordinates": [[[14, 46], [15, 46], [16, 46], [14, 46]]]},
        {"type": "Polygon", "coordinates": [[[0, 80], [90, 80], [180, 80], [-90, 80], [0, 80]]]},
        {"type": "Polygon", "coordinates": [[[14, 460], [15, 46], [15, 47], [14, 460]]]},
        "POLYGON",
    ],
)
def test_a_broken_footprint_is_replaced_by_its_bbox(geometry: Any) -> None:
    """Missing, of no area, unreadable, around a pole, off the globe: the bbox, with a note that names the scene."""
    scene = read_item(item(geometry=geometry))
    assert shapely.equals(scene.footprint, SQUARE)
    assert scene.note.startswith(f"{S2}: ")
    assert scene.note.endswith("its bbox is taken")


@pytest.mark.parametrize("bbox", [None, [], [14, 46, 15], [14, 47, 15, 46], ["a", 46, 15, 47], "14,46,15,47"])
def test_without_footprint_and_bbox_a_scene_may_be_anywhere(bbox: Any) -> None:
    """Never less than the scene may hold."""
    footprint, note = read_footprint(None, bbox)
    assert footprint == EVERYWHERE
    assert "everywhere" in note


@pytest.mark.parametrize(
    "geometry",
    [
        HALVES,
        shapely.box(179, 10, 182, 11),
        shapely.Polygon([(179, 10), (-178, 10), (-178, 11), (179, 11)]),
    ],
)
def test_footprints_across_the_antimeridian_are_two_parts(geometry: shapely.Geometry) -> None:
    """Cut already, beyond 180, or jumping to -180: the same area, within 180 degrees."""
    footprint, note = read_footprint(mapping(geometry), None)
    assert shapely.equals(footprint, HALVES)
    assert note == ""


def test_a_bbox_across_the_antimeridian_has_west_above_east() -> None:
    """As RFC 7946 has it."""
    assert shapely.equals(read_footprint(None, [179, 10, -178, 11])[0], HALVES)


def test_a_bow_tie_is_mended() -> None:
    """Two triangles that touch are both kept."""
    bow = {"type": "Polygon", "coordinates": [[[0, 0], [2, 2], [2, 0], [0, 2], [0, 0]]]}
    footprint, _ = read_footprint(bow, [0, 0, 2, 2])
    assert shapely.is_valid(footprint)
    assert footprint.area == pytest.approx(2.0)


@given(
    st.one_of(
        st.none(),
        st.recursive(
            st.one_of(st.none(), st.floats(), st.integers(), st.text(max_size=3)),
            lambda inner: (
                st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["type", "coordinates"]), inner)
            ),
            max_leaves=20,
        ),
        st.fixed_dictionaries(
            {
                "type": st.sampled_from(["Polygon", "MultiPolygon", "Point", "GeometryCollection"]),
                "coordinates": st.lists(
                    st.lists(st.lists(st.floats(-400, 400), min_size=1, max_size=3), max_size=6), max_size=3
                ),
            }
        ),
    )
)
def test_any_geometry_gives_a_valid_area(geometry: Any) -> None:
    """Whatever the catalogue writes, a footprint is polygonal, valid, not empty and on the globe."""
    footprint, _ = read_footprint(geometry, [14.0, 46.0, 15.0, 47.0])
    west, _, east, _ = shapely.bounds(footprint)
    assert footprint.geom_type in {"Polygon", "MultiPolygon"}
    assert shapely.is_valid(footprint)
    assert footprint.area > 0
    assert -180 <= west < east <= 180
