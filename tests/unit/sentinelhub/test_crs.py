"""A CRS is its EPSG code, however it is spelled."""

from __future__ import annotations

import copy
import pickle
from types import ModuleType

import numpy as np
import pyproj
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shdask.sentinelhub.crs import CRS
from shdask.sentinelhub.exceptions import SHUserWarning

SPELLINGS = [
    32633,
    np.int64(32633),
    "32633",
    "EPSG:32633",
    "epsg:32633",
    " EPSG: 32633",
    "urn:ogc:def:crs:EPSG::32633",
    {"init": 32633},
    {"init": "epsg:32633"},
    pyproj.CRS(32633),
]
NOT_CRS = ["", "abc", None, 123, "12", True, 4.2, -32633, "urn:ogc:def:crs:", {"code": 4326}]


@pytest.mark.parametrize("spelling", SPELLINGS, ids=repr)
def test_every_spelling_is_one_object(spelling: object) -> None:
    """However a code is spelled, the same object comes out, so that ``is`` works."""
    assert CRS(spelling) is CRS.UTM_33N


@pytest.mark.parametrize("spelling", [*SPELLINGS, "CRS84", "3035", "urn:ogc:def:crs:OGC::CRS84"], ids=repr)
def test_spellings_mean_what_they_mean_to_sentinelhub_py(spelling: object, theirs: ModuleType) -> None:
    """A spelling gives sentinelhub-py's code."""
    assert CRS(spelling).value == theirs.CRS(spelling).value


@pytest.mark.parametrize("value", NOT_CRS, ids=repr)
def test_what_is_no_crs_is_refused(value: object, theirs: ModuleType) -> None:
    """ValueError where sentinelhub-py raises one."""
    with pytest.raises(ValueError, match=r".*"):
        theirs.CRS(value)
    with pytest.raises(ValueError, match="expected an EPSG code"):
        CRS(value)


def test_a_crs_of_sentinelhub_py_is_read(theirs: ModuleType) -> None:
    """Its members are accepted as they are."""
    assert CRS(theirs.CRS.POP_WEB) is CRS.POP_WEB


def test_a_crs_without_epsg_code_is_refused() -> None:
    """A projection of one's own has no code to send."""
    with pytest.raises(ValueError, match="no EPSG code"):
        CRS(pyproj.CRS("+proj=aea +lat_1=29.5 +lat_2=42.5"))


def test_longitude_first_wgs84_is_read() -> None:
    """WGS 84 with longitude first, as pyproj has it, is our WGS 84."""
    assert CRS(pyproj.CRS("+proj=longlat +ellps=WGS84 +datum=WGS84 +no_defs")) is CRS.WGS84


def test_latitude_first_wgs84_warns() -> None:
    """EPSG:4326 of pyproj has latitude first: it is read with a warning."""
    with pytest.warns(SHUserWarning, match="latitude first"):
        assert CRS(pyproj.CRS(4326)) is CRS.WGS84


@pytest.mark.parametrize("name", ["WGS84", "POP_WEB", "UTM_1N", "UTM_60N", "UTM_1S", "UTM_60S"])
def test_texts_are_those_of_sentinelhub_py(name: str, theirs: ModuleType) -> None:
    """Name, code, URI, OGC string and the two texts are the same."""
    ours, other = CRS[name], theirs.CRS[name]
    assert (ours.name, ours.epsg, ours.opengis_string, ours.ogc_string(), str(ours), repr(ours), ours.is_utm()) == (
        other.name,
        other.epsg,
        other.opengis_string,
        other.ogc_string(),
        str(other),
        repr(other),
        other.is_utm(),
    )


def test_members_are_those_of_sentinelhub_py(theirs: ModuleType) -> None:
    """The named systems are the same ones; others are added by nobody."""
    CRS(3035)
    named = {name: crs.value for name, crs in theirs.CRS.__members__.items() if not name.startswith("EPSG_")}
    assert {name: crs.value for name, crs in CRS.__members__.items()} == named


def test_unknown_names_are_no_attributes() -> None:
    """A zone that does not exist is an AttributeError."""
    with pytest.raises(AttributeError, match="UTM_61N"):
        _ = CRS.UTM_61N


@pytest.mark.parametrize("crs", [CRS.WGS84, CRS(3035)])
def test_copies_are_the_same_object(crs: CRS) -> None:
    """Pickling and copying keep identity."""
    assert pickle.loads(pickle.dumps(crs)) is crs is copy.deepcopy(crs)  # noqa: S301  # our own bytes


@settings(max_examples=150, deadline=None)
@given(lng=st.floats(-181, 181), lat=st.floats(-81, 85))
def test_utm_zones_are_those_of_sentinelhub_py(lng: float, lat: float, theirs: ModuleType) -> None:
    """Every point falls in the same zone, Norway and Svalbard included, or is refused alike."""
    assert _zone(CRS, lng, lat) == _zone(theirs.CRS, lng, lat)


@pytest.mark.parametrize(
    ("lng", "lat", "code"),
    [(5.0, 60.0, 32632), (2.9, 60.0, 32631), (8.9, 78.0, 32631), (9.0, 78.0, 32633), (33.0, 78.0, 32637),
     (180.0, 0.0, 32601), (-180.0, -1.0, 32701), (42.0, 78.0, 32638), (3.0, 64.0, 32631),
     (10.0, 72.0, 32633), (10.0, 71.9, 32632), (3.5, 56.0, 32632), (3.5, 55.9, 32631)],
)  # fmt: skip  # one row a place
def test_utm_zones_at_their_edges(lng: float, lat: float, code: int, theirs: ModuleType) -> None:
    """The exceptions begin and end where sentinelhub-py has them."""
    assert CRS.get_utm_from_wgs84(lng, lat).epsg == code == theirs.CRS.get_utm_from_wgs84(lng, lat).epsg


@settings(max_examples=50, deadline=None)
@given(
    lng=st.floats(-179, 179),
    lat=st.floats(-79, 79),
    pair=st.lists(st.sampled_from(["4326", "3857", "3035", "32633", "32733"]), min_size=2, max_size=2),
)
def test_points_land_where_sentinelhub_py_puts_them(
    lng: float, lat: float, pair: list[str], theirs: ModuleType
) -> None:
    """The transformation of a point is equal to the last bit."""
    source, target = pair
    ours = CRS(source).get_transform_function(CRS(target))(lng, lat)
    assert ours == theirs.CRS(source).get_transform_function(theirs.CRS(target))(lng, lat)


def test_pyproj_objects_are_those_of_sentinelhub_py(theirs: ModuleType) -> None:
    """WGS 84 has longitude first for pyproj."""
    assert CRS.WGS84.pyproj_crs() == theirs.CRS.WGS84.pyproj_crs()
    assert CRS.UTM_33N.projection().definition_string() == theirs.CRS.UTM_33N.projection().definition_string()


def _zone(crs: object, lng: float, lat: float) -> str | None:
    try:
        return str(crs.get_utm_from_wgs84(lng, lat))  # type: ignore[attr-defined]  # either class
    except ValueError:
        return None
