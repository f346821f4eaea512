"""The Catalog over HTTP: what is listed and found, how it is paged and refused; Process knows the same scenes."""

from __future__ import annotations

import json

import pystac
import pytest
from shapely.geometry import box, shape

from .conftest import SCENE, make_body

LEGACY, NEW = "/api/v1/catalog/1.0.0", "/catalog/v1"
L2A = "sentinel-2-l2a"
BOX = [14.0, 46.0, 15.5, 47.0]
JUNE = "2024-06-01T00:00:00Z/2024-06-30T23:59:59Z"
YEAR = "2023-01-01T00:00:00Z/2023-12-31T23:59:59Z"
FIVE_DAYS = "2024-06-01T00:00:00Z/2024-06-05T23:59:59Z"
NAMES = """//VERSION=3
function setup() {
  return {input: [{bands: ["dataMask"]}], output: {bands: 1, sampleType: "FLOAT32"}, mosaicking: "MOSAICKING"};
}
function evaluatePixel(samples) { return [1]; }
function updateOutputMetadata(scenes, input, output) {
  const tiles = scenes.tiles || scenes.orbits.flatMap((orbit) => orbit.tiles);
  output.userData = tiles.map((tile) => tile.dataPath.split("/").pop());
}
"""


def get(client, path, *, prefix=LEGACY, token=True, accept="*/*"):
    """The answer to GET a path of the Catalog."""
    headers = {"Accept": accept, **({"Authorization": f"Bearer {client.token}"} if token else {})}
    return client.session.get(client.emulator.base_url + prefix + path, headers=headers, timeout=60)


def search(client, *, prefix=LEGACY, accept="*/*", **body):
    """The answer to a search of Sentinel-2 in June 2024 around a box, with these members changed; None removes one."""
    asked = {"collections": [L2A], "datetime": JUNE, "bbox": BOX, **body}
    sent = {name: value for name, value in asked.items() if value is not None}
    headers = {"Authorization": f"Bearer {client.token}", "Accept": accept}
    return client.session.post(client.emulator.base_url + prefix + "/search", json=sent, headers=headers, timeout=60)


def find(client, **body):
    """The features of a search."""
    answer = search(client, **body)
    assert answer.status_code == 200, answer.text
    return answer.json()["features"]


def ids(features):
    """The features' ids."""
    return [feature["id"] for feature in features]


def error_of(answer):
    """Status and code of a refusal in the Catalog's own form."""
    assert sorted(answer.json()) == ["code", "description"]
    return answer.status_code, answer.json()["code"]


@pytest.mark.parametrize("prefix", [LEGACY, LEGACY + "/", NEW, NEW + "/"])
def test_landing_page_is_public_and_leads_on(client, prefix):
    """Without a token, on both paths: the catalogue, whose links stay on this server."""
    page = get(client, "", prefix=prefix, token=False).json()
    assert (page["type"], page["stac_version"], page["id"]) == ("Catalog", "1.0.0", "sentinel-hub")
    root = client.emulator.base_url + prefix.rstrip("/")
    assert {link["href"].startswith(root) for link in page["links"]} == {True}
    assert f"{root}/collections/{L2A}" in [link["href"] for link in page["links"] if link["rel"] == "child"]


def test_conformance_is_public(client):
    """The classes are those of the landing page."""
    classes = get(client, "/conformance", token=False).json()["conformsTo"]
    assert "http://www.opengis.net/spec/cql2/1.0/conf/cql2-json" in classes
    assert len(classes) == 18
    assert classes == get(client, "").json()["conformsTo"]


@pytest.mark.parametrize("path", ["/collections", f"/collections/{L2A}", f"/collections/{L2A}/items", "/search"])
def test_all_else_needs_a_token(client, path):
    """A call without a token is the 401 of the other services."""
    answer = get(client, path, token=False)
    assert (answer.status_code, answer.json()["error"]["code"]) == (401, "COMMON_UNAUTHORIZED")


def test_collections_are_those_with_a_catalogue(client):
    """Every synthetic collection and archive by its own id; no height model, no pattern, no old names."""
    listed = [collection["id"] for collection in get(client, "/collections").json()["collections"]]
    synthetic = {"sentinel-1-grd", "sentinel-2-l1c", L2A, "landsat-ot-l1", "landsat-ot-l2"}
    assert synthetic <= set(listed) <= {*synthetic, "byoc-scene"}


@pytest.mark.parametrize("path", [f"/collections/{L2A}", f"/collections/{L2A}/"])
def test_collection_is_a_stac_collection(client, path):
    """Its extent, summaries and links are there, and another reader understands it."""
    collection = pystac.Collection.from_dict(get(client, path).json())
    assert collection.id == L2A
    assert collection.extent.spatial.bboxes == [[-180.0, -56.0, 180.0, 83.0]]
    assert collection.summaries.get_list("constellation") == ["sentinel-2"]


@pytest.mark.parametrize(
    ("collection", "names"),
    [
        (L2A, ["eo:cloud_cover"]),
        ("landsat-ot-l2", ["eo:cloud_cover"]),
        (
            "sentinel-1-grd",
            ["s1:polarization", "s1:resolution", "s1:timeliness", "sar:instrument_mode", "sat:orbit_state"],
        ),
    ],
)
def test_queryables_are_the_documented_ones(client, collection, names):
    """A JSON Schema of what may be filtered by."""
    answer = get(client, f"/collections/{collection}/queryables")
    assert answer.headers["content-type"] == "application/schema+json"
    assert sorted(answer.json()["properties"]) == names
    assert answer.json()["additionalProperties"] is False


def test_search_answers_a_feature_collection(client):
    """GeoJSON with features, links and a context that tells of the next page."""
    answer = search(client)
    assert answer.headers["content-type"] == "application/geo+json"
    page = answer.json()
    url = f"{client.emulator.base_url}{LEGACY}/search"
    assert page["context"] == {"next": 10, "limit": 10, "returned": 10}
    assert page["links"] == [
        {"href": url, "rel": "self", "type": "application/geo+json"},
        {
            "href": url,
            "rel": "next",
            "type": "application/geo+json",
            "title": "Next set of results",
            "method": "POST",
            "body": {"next": 10},
            "merge": True,
        },
    ]


def test_items_are_as_the_service_has_them(client):
    """Members and properties of a Sentinel-2 item, in the order of the documentation."""
    (item,) = find(client, limit=1)
    assert list(item) == [
        "stac_version",
        "stac_extensions",
        "id",
        "type",
        "geometry",
        "bbox",
        "properties",
        "assets",
        "collection",
        "links",
    ]
    assert list(item["properties"]) == [
        "datetime",
        "platform",
        "instruments",
        "constellation",
        "gsd",
        "eo:cloud_cover",
        "proj:epsg",
        "proj:bbox",
        "proj:geometry",
    ]
    assert item["geometry"]["crs"]["properties"]["name"] == "urn:ogc:def:crs:OGC::CRS84"
    assert item["bbox"] == pytest.approx(shape(item["geometry"]).bounds)
    assert list(item["assets"]) == ["data"]


@pytest.mark.parametrize("collection", [L2A, "sentinel-2-l1c", "sentinel-1-grd", "landsat-ot-l1", "landsat-ot-l2"])
def test_answers_are_read_by_another_library(client, collection):
    """PySTAC takes a search as an item collection, newest first, each item in the box and the time."""
    page = search(client, collections=[collection], limit=100).json()
    items = list(pystac.ItemCollection.from_dict(page))
    times = [item.datetime for item in items]
    assert len(items) > 5
    assert times == sorted(times, reverse=True)
    assert {box(*BOX).intersects(shape(item.geometry)) for item in items} == {True}
    assert {item.collection_id for item in items} == {collection}


def test_pages_are_the_whole_in_pieces(client):
    """Following ``next`` gives every scene once, and ends without a ``next``."""
    whole = search(client, limit=100).json()
    assert "next" not in whole["context"]
    assert [link["rel"] for link in whole["links"]] == ["self"]
    pages = [find(client, limit=7, next=start) for start in range(0, 105, 7)]
    assert [name for page in pages for name in ids(page)] == ids(whole["features"])
    assert len(ids(whole["features"])) == len(set(ids(whole["features"]))) > 20


def test_limit_beyond_a_hundred_is_cut(client):
    """A larger limit is no error, and the context tells the one that counts."""
    context = search(client, limit=5000, datetime=YEAR).json()["context"]
    assert context == {"next": 100, "limit": 100, "returned": 100}


def test_search_by_url_is_the_same(client):
    """GET with parameters finds what POST finds, and its link leads to the next page."""
    start = f"/search?collections={L2A}&datetime={JUNE}&bbox=14,46,15.5,47&limit=5&fields=id"
    first = get(client, start).json()
    href = first["links"][1]["href"]
    second = client.session.get(href, headers={"Authorization": f"Bearer {client.token}"}, timeout=60).json()
    assert ids(first["features"]) + ids(second["features"]) == ids(find(client, limit=10))
    assert first["links"][1]["rel"] == "next"
    assert "next=5" in href


def test_both_families_of_paths_answer_alike(client):
    """The new paths find the same and link to themselves."""
    legacy, new = search(client).text, search(client, prefix=NEW).text
    assert new == legacy.replace(LEGACY, NEW)
    assert new != legacy


def test_items_of_a_collection(client):
    """Box, time and limit as parameters; the number of features, a time stamp and a link to the next page."""
    page = get(client, f"/collections/{L2A}/items?bbox=14,46,15.5,47&datetime={JUNE}&limit=5").json()
    assert ids(page["features"]) == ids(find(client, limit=5))
    assert page["numberReturned"] == 5
    assert page["timeStamp"].endswith("Z")
    assert [link["rel"] for link in page["links"]] == ["root", "self", "parent", "next"]
    assert get(client, f"/collections/{L2A}/items").json()["numberReturned"] == 10


@pytest.mark.parametrize("collection", [L2A, "sentinel-1-grd", "landsat-ot-l2"])
def test_item_is_had_by_its_own_link(client, collection):
    """The link ``self`` of a feature leads to that feature."""
    (feature,) = find(client, collections=[collection], limit=1)
    href = next(link["href"] for link in feature["links"] if link["rel"] == "self")
    answer = client.session.get(href, headers={"Authorization": f"Bearer {client.token}"}, timeout=60)
    assert answer.headers["content-type"] == "application/geo+json"
    assert answer.json() == feature


def test_search_by_ids(client):
    """Ids find their scenes, newest first, with or without a time; unknown ones find nothing."""
    known = ids(find(client, limit=3))
    asked = {"ids": [*reversed(known), "unknown"], "bbox": None}
    assert ids(find(client, **asked)) == known
    assert ids(find(client, **asked, datetime=None)) == known
    assert find(client, **{**asked, "datetime": "2020-01-01T00:00:00Z/.."}) != []
    assert find(client, **{**asked, "datetime": "../2020-01-01T00:00:00Z"}) == []


def test_instant_finds_what_was_seen_then(client):
    """A single time finds the scenes of that second."""
    (newest,) = find(client, limit=1)
    assert newest["id"] in ids(find(client, datetime=newest["properties"]["datetime"]))


def test_nothing_is_found_in_the_future(client):
    """An open or late end is now."""
    assert find(client, datetime="2099-01-01T00:00:00Z/..") == []
    assert ids(find(client, datetime="2024-06-01T00:00:00Z/2099-01-01T00:00:00Z", limit=3)) == ids(
        find(client, datetime="2024-06-01T00:00:00Z/..", limit=3)
    )


def test_intersects_finds_what_a_box_finds(client):
    """The box as a polygon finds the same; a point finds fewer."""
    corners = [[14, 46], [15.5, 46], [15.5, 47], [14, 47], [14, 46]]
    polygon = {"type": "Polygon", "coordinates": [corners]}
    assert ids(find(client, bbox=None, intersects=polygon, limit=100)) == ids(find(client, limit=100))
    point = ids(find(client, bbox=None, intersects={"type": "Point", "coordinates": [14.1, 46.1]}, limit=100))
    assert set(point) < set(ids(find(client, limit=100)))


def test_fields_choose_members(client):
    """Empty fields are the default set; include adds a property."""
    (item,) = find(client, limit=1, fields={})
    assert sorted(item) == ["assets", "bbox", "geometry", "id", "links", "properties", "type"]
    assert list(item["properties"]) == ["datetime"]
    (item,) = find(client, limit=1, fields={"include": ["properties.eo:cloud_cover"], "exclude": ["geometry"]})
    assert sorted(item["properties"]) == ["datetime", "eo:cloud_cover"]
    assert "geometry" not in item


def test_filters_keep_what_holds(client):
    """As text and as JSON the same scenes are left, all of them within the limits."""
    text = find(client, limit=100, filter="eo:cloud_cover > 10 AND eo:cloud_cover <= 80")
    expression = {
        "op": "and",
        "args": [
            {"op": ">", "args": [{"property": "eo:cloud_cover"}, 10]},
            {"op": "<=", "args": [{"property": "eo:cloud_cover"}, 80]},
        ],
    }
    covers = [item["properties"]["eo:cloud_cover"] for item in text]
    assert 0 < len(covers) < len(find(client, limit=100))
    assert 10 < min(covers) <= max(covers) <= 80
    assert find(client, limit=100, filter=expression, **{"filter-lang": "cql2-json"}) == text


@pytest.mark.parametrize(
    ("name", "value"),
    [("sat:orbit_state", "ascending"), ("sat:orbit_state", "descending"), ("sar:instrument_mode", "IW")],
)
def test_radar_is_filtered_by_its_own_properties(client, name, value):
    """A filter for radar leaves some scenes, all of which have the value."""
    left = find(client, collections=["sentinel-1-grd"], filter=f"{name}='{value}'", limit=100)
    assert {item["properties"][name] for item in left} == {value}


def test_distinct_dates_are_listed(client):
    """Dates are texts, each once, from the first on, page by page; links and context are as documented."""
    page = search(client, distinct="date", limit=100).json()
    seen = sorted({item["properties"]["datetime"][:10] for item in find(client, limit=100)})
    assert page["features"] == seen
    assert page["context"] == {"limit": 100, "returned": len(seen)}
    assert search(client, distinct="date", limit=2, next=1).json()["features"] == seen[1:3]
    assert search(client, distinct="date", limit=2, next=1).json()["context"] == {"next": 3, "limit": 2, "returned": 2}


def test_distinct_values_of_radar(client):
    """Other properties that a collection lists values of."""
    found = search(client, collections=["sentinel-1-grd"], distinct="sat:orbit_state").json()["features"]
    assert found == ["ascending", "descending"]


def process_names(client, collection, bbox, *, crs=4326, mosaicking="TILE", **data_filter):
    """The ids of the scenes that Process mosaics over a box in five days, as a script sees them."""
    start, end = FIVE_DAYS.split("/")
    when = {"timeRange": {"from": start, "to": end}, **data_filter}
    bounds = {"bbox": bbox, "properties": {"crs": f"http://www.opengis.net/def/crs/EPSG/0/{crs}"}}
    changes = {
        "input.bounds": bounds,
        "input.data": [{"type": collection, "dataFilter": when}],
        "evalscript": NAMES.replace("MOSAICKING", mosaicking),
        "output.width": 100,
        "output.height": 100,
        "output.responses": [{"identifier": "userdata", "format": {"type": "application/json"}}],
    }
    answer = client.process(make_body(**changes))
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_clouds_are_those_that_process_filters_by(client):
    """Process admits by maxCloudCoverage just the scenes that a filter leaves in the Catalog."""
    left = ids(find(client, limit=100, datetime=FIVE_DAYS, filter="eo:cloud_cover <= 40"))
    assert process_names(client, L2A, BOX, maxCloudCoverage=40) == left
    assert set(left) < set(process_names(client, L2A, BOX))


@pytest.mark.parametrize("bbox", [BOX, [-70.3, -33.2, -70.1, -33.0], [11.01, 78.0, 12.5, 78.4]])
@pytest.mark.parametrize(
    ("collection", "mosaicking"),
    [(L2A, "TILE"), (L2A, "ORBIT"), ("landsat-ot-l2", "TILE"), ("sentinel-1-grd", "ORBIT")],
)
def test_process_takes_the_scenes_that_are_found(client, collection, mosaicking, bbox):
    """A mosaicking over a box has just the scenes that the Catalog finds for it, in the same order."""
    found = ids(find(client, collections=[collection], bbox=bbox, limit=100, datetime=FIVE_DAYS))
    assert process_names(client, collection, bbox, mosaicking=mosaicking) == found


def test_both_sides_of_the_antimeridian_are_found(client):
    """A box that spans it finds more than either side, and Process in UTM meets some of those."""
    both = set(ids(find(client, bbox=[179.5, 66.0, -179.5, 67.0], datetime=FIVE_DAYS, limit=100)))
    west = set(ids(find(client, bbox=[179.5, 66.0, 180.0, 67.0], datetime=FIVE_DAYS, limit=100)))
    east = set(ids(find(client, bbox=[-180.0, 66.0, -179.5, 67.0], datetime=FIVE_DAYS, limit=100)))
    assert west | east == both
    assert min(len(west - east), len(east - west)) > 0
    inside = set(process_names(client, L2A, [350_000, 7_340_000, 380_000, 7_370_000], crs=32601))
    assert inside <= both
    assert min(len(inside & west), len(inside & east)) > 0


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"collections": ["nothing"]}, (400, "IllegalCollection")),
        ({"collections": ["dem"]}, (400, "IllegalCollection")),
        ({"collections": ["S2L2A"]}, (400, "IllegalCollection")),
        ({"collections": [L2A, "sentinel-2-l1c"]}, (400, "InvalidParameter")),
        ({"collections": None}, (400, "InvalidParameter")),
        ({"datetime": None}, (400, "InvalidParameter")),
        ({"datetime": "2024"}, (400, "InvalidParameter")),
        ({"bbox": [1, 2, 3]}, (400, "InvalidParameter")),
        ({"limit": 0}, (400, "InvalidParameter")),
        ({"intersects": {"type": "Point", "coordinates": [15, 46]}}, (400, "InvalidParameter")),
        ({"filter": "gsd = 10"}, (400, "InvalidParameter")),
        ({"filter": "eo:cloud_cover < 5 OR eo:cloud_cover > 6"}, (400, "InvalidParameter")),
        ({"filter": "sat:orbit_state = 'ascending'"}, (400, "InvalidParameter")),
        ({"distinct": "eo:cloud_cover"}, (400, "InvalidParameter")),
    ],
)
def test_refusals_have_the_catalogues_form(client, changes, expected):
    """What cannot be is an error with a code and a description, without the wrapper of other services."""
    assert error_of(search(client, **changes)) == expected


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/collections/nothing", (400, "IllegalCollection")),
        ("/collections/nothing/queryables", (400, "IllegalCollection")),
        ("/collections/dem/items", (400, "IllegalCollection")),
        (f"/collections/{L2A}/items/nothing", (404, "NotFound")),
        (f"/collections/{L2A}/items?bbox=1,2", (400, "InvalidParameter")),
        (f"/search?collections={L2A}", (400, "InvalidParameter")),
    ],
)
def test_refusals_of_paths(client, path, expected):
    """Unknown collections are illegal, unknown items are not found."""
    assert error_of(get(client, path)) == expected


@pytest.mark.parametrize(
    ("accept", "status"),
    [("application/geo+json", 200), ("*/*", 200), ("application/json, */*;q=0.1", 200), ("application/json", 406)],
)
def test_features_are_not_had_as_plain_json(client, accept, status):
    """Since version 1.0.0 searches and items are refused to whoever takes only application/json."""
    assert search(client, accept=accept).status_code == status
    assert get(client, f"/collections/{L2A}/items", accept=accept).status_code == status
    assert get(client, "/collections", accept=accept).status_code == 200


def test_other_methods_are_not_allowed(client):
    """A collection cannot be posted to."""
    url = f"{client.emulator.base_url}{LEGACY}/collections"
    answer = client.session.post(url, headers={"Authorization": f"Bearer {client.token}"}, timeout=30)
    assert (answer.status_code, answer.json()["error"]["code"]) == (405, "COMMON_METHOD_NOT_ALLOWED")


def test_archive_is_a_collection(client, shared_data):
    """A folder's acquisition is an item of its name, at noon of its date, where its rasters lie."""
    (item,) = find(client, collections=["byoc-scene"], bbox=None, datetime="../..")
    assert (item["id"], item["properties"]["datetime"]) == (SCENE, "2016-01-12T12:00:00Z")
    assert item["bbox"] == pytest.approx(json.loads(json.dumps(shape(item["geometry"]).bounds)))
    assert box(*item["bbox"]).intersects(box(-76, 37, -75, 38))


def test_searches_cost_requests_and_units(launched):
    """A search costs by area and months, tells so, and is stopped by the same buckets as Process."""
    client = launched(requests_per_minute=0.1, request_burst=3, pu_per_minute=0.1, pu_burst=0.05)
    first = search(client)
    assert (first.status_code, first.headers["x-processingunits-spent"]) == (200, "0.012766418978571892")
    dear = search(client, bbox=None)
    assert (dear.status_code, dear.json()["error"]["code"]) == (429, "RATE_LIMIT_TOKEN_COUNT_EXCEEDS_CAPACITY")
    assert get(client, "/collections").status_code == get(client, f"/collections/{L2A}").status_code == 200
    last = get(client, "/collections")
    assert (last.status_code, last.json()["error"]["code"]) == (429, "RATE_LIMIT_EXCEEDED")
    assert int(last.headers["Retry-After"]) > 500_000
    assert client.emulator.stats()["pu_charged"] == pytest.approx(0.012766419)


def test_failed_search_costs_no_units(launched):
    """A search that is refused for its filter leaves the bucket as it was."""
    client = launched(pu_per_minute=0.1, pu_burst=0.013)
    assert [search(client, filter="a = 1").status_code, search(client).status_code] == [400, 200]


def test_collections_may_be_forbidden(launched):
    """What an account may not see is 403, and not listed."""
    client = launched(forbidden_collections=[L2A])
    assert error_of(search(client)) == (403, "InsufficientPermissions")
    assert error_of(get(client, f"/collections/{L2A}")) == (403, "InsufficientPermissions")
    assert L2A not in get(client, "/collections").text


def test_endless_search_is_given_up(launched):
    """A search of the world for what is nowhere ends with 500 after the time allowed, and the emulator goes on."""
    client = launched(catalog_timeout_s=0.3)
    assert error_of(search(client, bbox=None, datetime=YEAR, filter="eo:cloud_cover < 0")) == (500, "Timeout")
    assert get(client, "/collections").status_code == 200
