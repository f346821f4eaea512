"""Searches as they are sent: bodies and URLs, checked field by field."""

from __future__ import annotations

import json
from contextlib import nullcontext
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from shapely.geometry import LineString, MultiPolygon, Point, Polygon, box, mapping

from shdask.emulator.catalog.error import CatalogError
from shdask.emulator.catalog.fields import Fields
from shdask.emulator.catalog.query import SearchRules, read_parameters, read_search

JUNE = "2024-06-01T00:00:00Z/2024-06-30T23:59:59Z"
START, END = datetime(2024, 6, 1, tzinfo=UTC), datetime(2024, 6, 30, 23, 59, 59, tzinfo=UTC)
POINT = {"type": "Point", "coordinates": [15.0, 46.0]}


def read(rules=None, **changes):
    """The query in a body; ``filter_lang`` stands for filter-lang."""
    body = {"collections": ["sentinel-2-l2a"], "datetime": JUNE, **changes}
    named = {name.replace("filter_", "filter-"): value for name, value in body.items()}
    return read_search(json.dumps(named).encode(), rules or SearchRules())


def read_url(rules=None, **changes):
    """The query in a URL's parameters."""
    return read_parameters({"collections": "sentinel-2-l2a", "datetime": JUNE, **changes}, rules or SearchRules())


def status_of(raw):
    """200, or the status of the refusal of a body."""
    try:
        read_search(raw, SearchRules())
    except CatalogError as error:
        return error.status
    return 200


@pytest.mark.parametrize(
    ("text", "start", "end"),
    [
        (JUNE, START, END),
        ("2024-06-01T00:00:00Z", START, START),
        ("2024-06-01T02:00:00+02:00/..", START, None),
        ("../2024-06-30T23:59:59Z", None, END),
        ("../..", None, None),
        ("2024-06-01t00:00:00.000z/2024-06-01T00:00:00Z", START, START),
    ],
)
def test_datetime_is_an_instant_or_an_interval(text, start, end):
    """Instants, intervals and open ends, in any zone, become UTC."""
    query = read(datetime=text)
    assert (query.start, query.end) == (start, end)
    assert query == read_url(datetime=text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "/",
        "2024-06-01",
        "2024-06-01T00:00:00",
        "2024-06-01/2024-06-30",
        "2024-13-01T00:00:00Z",
        "2024-06-30T00:00:00Z/2024-06-01T00:00:00Z",
        "2024-06-01T00:00:00Z/",
        "2024-06-01T00:00:00Z/../..",
        "..",
        "0001-01-01T00:00:00+02:00",
        "yesterday",
    ],
)
def test_other_datetimes_are_refused(text):
    """Dates without a time, times without a zone, reversed and half-empty intervals are no RFC 3339 interval."""
    with pytest.raises(CatalogError, match="datetime"):
        read(datetime=text)


@pytest.mark.parametrize(
    ("rule", "ids", "expected"),
    [
        ("required", ["a"], pytest.raises(CatalogError, match="datetime must be given")),
        ("unless_ids", None, pytest.raises(CatalogError, match="datetime must be given")),
        ("unless_ids", ["a"], nullcontext()),
        ("optional", None, nullcontext()),
    ],
)
def test_datetime_may_be_needed_or_not(rule, ids, expected):
    """Whether a search must have a time is a choice; ids stand for it by default."""
    body = json.dumps({"collections": ["x"], "ids": ids}).encode()
    with expected:
        assert read_search(body, SearchRules(datetime=rule)).start is None


@pytest.mark.parametrize(
    ("bbox", "expected"),
    [
        ([14, 46, 15.5, 47], box(14, 46, 15.5, 47)),
        ([14, 46, -100, 15.5, 47, 9000], box(14, 46, 15.5, 47)),
        ([14, 46, 14, 46], Point(14, 46)),
        ([14, 46, 15, 46], LineString([(14, 46), (15, 46)])),
        ([170, -10, -170, 10], MultiPolygon([box(170, -10, 180, 10), box(-180, -10, -170, 10)])),
    ],
)
def test_bbox_has_four_or_six_numbers(bbox, expected):
    """Flat and with heights, as a point or line, and across the antimeridian; the same from a URL."""
    (area,) = read(bbox=bbox).areas
    assert area.equals(expected)
    assert read_url(bbox=",".join(map(str, bbox))).areas[0].equals(expected)


@pytest.mark.parametrize(
    "bbox",
    [
        [],
        [1, 2, 3],
        [1, 2, 3, 4, 5],
        [14, 47, 15, 46],
        [14, 46, 190, 47],
        [14, -91, 15, 46],
        [500000, 5000000, 600000, 5100000],
        [14, 46, "15", 47],
        [14, 46, None, 47],
        [14, 46, True, 47],
        "14,46,15,47",
    ],
)
def test_other_boxes_are_refused(bbox):
    """Boxes of other lengths, of other CRS, upside down or of texts."""
    with pytest.raises(CatalogError, match="bbox"):
        read(bbox=bbox)


@pytest.mark.parametrize(
    "geometry",
    [Point(15, 46), LineString([(14, 46), (15, 47)]), box(14, 46, 15, 47), MultiPolygon([box(14, 46, 15, 47)])],
)
def test_intersects_is_geojson(geometry):
    """Any GeoJSON geometry, from a body and from a URL."""
    geojson = json.loads(json.dumps(mapping(geometry)))
    assert read(intersects=geojson).areas == (geometry,)
    assert read_url(intersects=json.dumps(geojson)).areas == (geometry,)


@pytest.mark.parametrize(
    "geojson",
    [
        {},
        {"type": "Point"},
        {"type": "Point", "coordinates": []},
        {"type": "Point", "coordinates": ["a", "b"]},
        {"type": "Point", "coordinates": [500000, 5000000]},
        {"type": "Polygon", "coordinates": [[[0, 0], [1, 1]]]},
        {"type": "Polygon", "coordinates": [[[0, 0], [2, 2], [2, 0], [0, 2], [0, 0]]]},
        {"type": "Polygon", "coordinates": 5},
        {"type": "Feature", "geometry": POINT},
        {"type": "Circle", "coordinates": [1, 2]},
        [15, 46],
    ],
)
def test_other_geometries_are_refused(geojson):
    """What is no geometry, lies off the globe or crosses itself."""
    with pytest.raises(CatalogError, match="intersects"):
        read(intersects=geojson)


def test_two_areas_are_refused_or_both_meant():
    """A box and a geometry together: an error, or items that meet both; the price is that of the smaller."""
    areas = {"bbox": [14, 45, 16, 47], "intersects": POINT}
    with pytest.raises(CatalogError, match="Only one"):
        read(**areas)
    query = read(SearchRules(two_areas="both"), **areas)
    assert query.areas == (box(14, 45, 16, 47), Point(15, 46))
    assert query.bbox == (15, 46, 15, 46)


def test_no_area_is_the_world():
    """Without bbox and intersects the price is the world's."""
    assert read().areas == ()
    assert read().bbox == (-180, -90, 180, 90)


@pytest.mark.parametrize(("sent", "limit"), [(None, 10), (1, 1), (100, 100), (101, 100), (10**30, 100)])
def test_limit_is_cut_and_not_refused(sent, limit):
    """The default is 10, the most is 100 whatever is asked for."""
    assert read(limit=sent).limit == limit


@pytest.mark.parametrize(
    ("name", "value"),
    [("limit", 0), ("limit", -1), ("limit", "5"), ("limit", 5.5), ("next", -1), ("next", "5"), ("next", 10**12)],
)
def test_limit_and_next_are_whole_numbers(name, value):
    """Zero, negative, broken and written numbers are refused."""
    with pytest.raises(CatalogError, match=name):
        read(**{name: value})


@pytest.mark.parametrize("collections", [[], ["a", "b"], None, "a", [5]])
def test_exactly_one_collection_is_needed(collections):
    """None, two, a text and a number are no list of one id."""
    with pytest.raises(CatalogError, match="collections"):
        read(collections=collections)


def test_fields_come_as_objects_and_as_signed_names():
    """The two forms of the documentation's example."""
    fields = Fields(
        include=("id", "type", "bbox", "properties"), exclude=("geometry", "links", "assets"), both="include"
    )
    rules = SearchRules(fields_both="include")
    sent = {"include": list(fields.include), "exclude": list(fields.exclude)}
    assert read(rules, fields=sent).fields == fields
    assert read_url(rules, fields="id,type,-geometry,bbox,properties,-links,-assets").fields == fields


def test_absent_and_empty_fields_differ():
    """Nothing chooses everything, {} and nulls choose the default set."""
    empty = Fields(include=(), exclude=())
    assert read().fields is None
    assert read(fields={}).fields == read(fields={"include": None, "exclude": []}).fields == empty


def test_filters_keep_their_language():
    """A text or an object, with or without its language; a URL has them as texts."""
    expression = {"op": "=", "args": [{"property": "a"}, 1]}
    assert read(filter="a = 1").filter == "a = 1"
    query = read(filter=expression, filter_lang="cql2-json")
    assert (query.filter, query.filter_language) == (expression, "cql2-json")
    assert read_url(**{"filter": json.dumps(expression), "filter-lang": "cql2-json"}) == query


@pytest.mark.parametrize(
    "changes",
    [
        {"filter_lang": "cql-text"},
        {"filter_crs": "http://www.opengis.net/def/crs/EPSG/0/3857"},
        {"filter": ["a"]},
        {"distinct": 5},
        {"ids": "a"},
        {"fields": []},
        {"fields": {"include": "id"}},
    ],
)
def test_other_values_are_refused(changes):
    """Unknown languages and CRS, and values of another type."""
    with pytest.raises(CatalogError):
        read(**changes)


def test_filter_crs_may_be_crs84():
    """The one CRS that must be accepted is."""
    assert read(filter_crs="http://www.opengis.net/def/crs/OGC/1.3/CRS84").filter is None


def test_null_stands_for_nothing():
    """A body with every optional member null is one without them."""
    names = ["bbox", "intersects", "ids", "limit", "next", "fields", "filter", "filter_lang", "filter_crs", "distinct"]
    assert read(**dict.fromkeys(names)) == read()


def test_url_and_body_say_the_same():
    """All parameters of the documentation's GET example."""
    query = read_url(bbox="13,45,14,46", limit="1", next="3", ids="a,b", filter="eo:cloud_cover>90", distinct="date")
    expected = read(bbox=[13, 45, 14, 46], limit=1, next=3, ids=["a", "b"], filter="eo:cloud_cover>90", distinct="date")
    assert query == expected


@pytest.mark.parametrize(
    "changes",
    [{"limit": "many"}, {"next": "1.5"}, {"bbox": "a,b,c,d"}, {"intersects": "POINT(1 2)"}, {"bbox": "nan,0,1,1"}],
)
def test_other_parameters_are_refused(changes):
    """Numbers that are none and geometries that are no JSON."""
    with pytest.raises(CatalogError):
        read_url(**changes)


@pytest.mark.parametrize("raw", [b"", b"no json", b"[]", b"5", b"\xff\xfe", b"[" * 100_000, b'{"collections":"\xff"}'])
def test_broken_bodies_are_refused(raw):
    """What is no JSON object of a search is a 400."""
    assert status_of(raw) == 400


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=6) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=12,
)
NAMES = ["bbox", "intersects", "ids", "limit", "next", "fields", "filter", "filter-lang", "distinct", "datetime"]
GEOJSON = st.fixed_dictionaries(
    {"type": st.sampled_from(["Point", "LineString", "Polygon", "MultiPolygon"]), "coordinates": JSON}
)


@given(body=st.dictionaries(st.sampled_from(NAMES), JSON | GEOJSON))
def test_any_body_is_read_or_refused(body):
    """Whatever JSON is sent is a query or a 400, nothing else."""
    raw = json.dumps({"collections": ["x"], "datetime": JUNE, **body}).encode()
    assert status_of(raw) in {200, 400}


def test_polygon_keeps_its_holes():
    """A hole of the area is no part of it."""
    ring = Polygon(box(10, 40, 20, 50).exterior, [box(14, 44, 16, 46).exterior])
    assert not read(intersects=json.loads(json.dumps(mapping(ring)))).areas[0].contains(Point(15, 45))
