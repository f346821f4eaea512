"""The emulator's Process answers: pixels, place, price and repetition."""

from __future__ import annotations

import numpy as np
import pytest
import rasterio
from rasterio.io import MemoryFile

from .conftest import make_body

EARTH = {"input.data.0.type": "sentinel-2-l2a"}


def read(content):
    """Pixels (band, y, x) and profile of a TIFF, read by rasterio."""
    with MemoryFile(content) as file, file.open() as dataset:
        return dataset.read(), dataset.profile


def script(bands, returned, sample_type="UINT16", units="DN"):
    """A script that reads ``bands`` and returns the expressions ``returned``."""
    names = ", ".join(f'"{band}"' for band in bands)
    return (
        f"//VERSION=3\nfunction setup() {{ return {{input: [{{bands: [{names}], units: '{units}'}}], "
        f"output: {{bands: {len(returned)}, sampleType: '{sample_type}'}}}}; }}\n"
        f"function evaluatePixel(s) {{ return [{', '.join(returned)}]; }}"
    )


def test_answer_is_a_placed_tiff(client):
    """An image covers the bbox in the CRS asked for, in the script's type and band count."""
    answer = client.process(make_body())
    _, profile = read(answer.content)
    assert answer.headers["content-type"] == "image/tiff"
    assert profile["crs"] == rasterio.CRS.from_epsg(32633)
    assert profile["transform"] == rasterio.Affine(10, 0, 500000, 0, -10, 5100000)
    assert (profile["count"], profile["height"], profile["width"], profile["dtype"]) == (2, 10, 20, "uint16")
    assert profile["interleave"] == "pixel"


def test_pattern_is_the_published_sum(client):
    """The collection ``pattern`` holds 1 + (7 column + 13 row + 101 band) mod 10000 of the absolute pixel index."""
    pixels, _ = read(client.process(make_body()).content)
    columns, rows = np.arange(50000, 50020), np.arange(-510000, -509990)
    expected = 1 + (7 * columns[None, :] + 13 * rows[:, None] + 101) % 10000
    np.testing.assert_array_equal(pixels[0], expected)


def test_second_path_answers_alike(client):
    """The new path family serves the same image."""
    url = client.emulator.base_url + "/process/v1"
    headers = {"Authorization": f"Bearer {client.token}"}
    answer = client.session.post(url, json=make_body(), headers=headers, timeout=30)
    assert answer.content == client.process(make_body()).content


def test_same_request_gets_the_same_bytes(client):
    """The synthetic Earth is deterministic down to the file."""
    body = make_body(**EARTH)
    assert client.process(body).content == client.process(body).content


def test_size_defaults_to_256(client):
    """Without a size the image is 256 x 256, as documented."""
    _, profile = read(client.process(make_body(**{"output.width": None, "output.height": None})).content)
    assert (profile["height"], profile["width"]) == (256, 256)


def test_size_follows_from_resolution(client):
    """The fields resx and resy are in units of the CRS."""
    sizes = {"output.width": None, "output.height": None, "output.resx": 20, "output.resy": 50}
    _, profile = read(client.process(make_body(**sizes)).content)
    assert (profile["height"], profile["width"]) == (2, 10)


def test_bbox_takes_any_two_opposite_corners(client):
    """The order of the corners does not matter."""
    swapped = make_body(**{"input.bounds.bbox": [500200, 5100000, 500000, 5099900]})
    assert client.process(swapped).content == client.process(make_body()).content


def test_outside_of_the_geometry_is_nothing(client):
    """With bbox and geometry the image covers the bbox, and holds data inside the geometry alone."""
    ring = [[500000, 5099900], [500100, 5099900], [500100, 5100000], [500000, 5100000], [500000, 5099900]]
    geometry = {"type": "Polygon", "coordinates": [ring]}
    pixels, _ = read(client.process(make_body(**{"input.bounds.geometry": geometry})).content)
    whole, _ = read(client.process(make_body()).content)
    np.testing.assert_array_equal(pixels[:, :, :10], whole[:, :, :10])
    assert not pixels[:, :, 10:].any()


def test_geometry_alone_covers_its_envelope(client):
    """Without a bbox the image covers the geometry's envelope."""
    ring = [[500000, 5099900], [500100, 5099900], [500050, 5100000], [500000, 5099900]]
    body = make_body(**{"input.bounds.bbox": None, "input.bounds.geometry": {"type": "Polygon", "coordinates": [ring]}})
    _, profile = read(client.process(body).content)
    assert profile["transform"] == rasterio.Affine(5, 0, 500000, 0, -10, 5100000)


def test_time_without_scenes_is_an_empty_image(client):
    """No scene found is not an error: zeros, dataMask 0."""
    times = {"from": "2014-01-01T00:00:00Z", "to": "2014-01-02T00:00:00Z"}
    answer = client.process(make_body(**EARTH, **{"input.data.0.dataFilter": {"timeRange": times}}))
    assert answer.status_code == 200
    assert not read(answer.content)[0].any()


def test_crs84_is_longitude_latitude(client):
    """The default CRS is CRS84, and its TIFF lies in degrees, x first."""
    body = make_body(**{"input.bounds": {"bbox": [14.0, 46.0, 14.2, 46.1]}})
    _, profile = read(client.process(body).content)
    assert profile["crs"] == rasterio.CRS.from_epsg(4326)
    assert profile["transform"].c == pytest.approx(14.0)


def test_accept_header_wins_over_the_format(client):
    """Accept has priority over the type in the output object."""
    answer = client.process(make_body(evalscript=script(["B02"], ["s.B02"])), accept="image/png")
    assert answer.headers["content-type"] == "image/png"


def test_reflectance_is_the_default_unit(client):
    """Without units a band arrives as reflectance, DN / 10000."""
    source = script(["B02"], ["s.B02 * 10000"]).replace(", units: 'DN'", "")
    pixels, _ = read(client.process(make_body(evalscript=source)).content)
    in_dn, _ = read(client.process(make_body()).content)
    np.testing.assert_array_equal(pixels[0], in_dn[0])


@pytest.mark.parametrize(
    ("size", "bands", "sample_type", "pu"),
    [
        ((631, 1047), ["B02", "B03", "B04"], "UINT8", 2.5202064514160156),
        ((20, 20), ["B02", "B03"], "UINT16", 0.01 * 2 / 3),
        ((10, 10), ["B02", "B03"], "FLOAT32", 0.01 * 2 / 3 * 2),
        ((10, 10), ["B02"], "UINT8", 0.005),
        ((512, 512), ["B02", "B03", "B04", "dataMask"], "UINT16", 1.0),
        ((512, 512), ["dataMask"], "UINT8", 1 / 3),
    ],
)
def test_price_is_the_published_one(client, size, bands, sample_type, pu):
    """Processing units follow the documentation's examples and the observed header."""
    source = script(bands, [f"s.{bands[0]}"], sample_type)
    body = make_body(evalscript=source, **{"output.width": size[0], "output.height": size[1]})
    answer = client.process(body)
    assert float(answer.headers["x-processingunits-spent"]) == pytest.approx(pu, rel=1e-6)


def test_order_decides_between_scenes(client):
    """Orders mostRecent and leastRecent differ where several scenes hold data, and both are full."""
    bounds = {"input.bounds.bbox": [500000, 5090000, 520000, 5100000]}
    orders = [make_body(**EARTH, **bounds) for _ in range(2)]
    orders[1]["input"]["data"][0]["dataFilter"]["mosaickingOrder"] = "leastRecent"
    recent, oldest = (read(client.process(body).content)[0] for body in orders)
    assert recent[1].all()
    assert oldest[1].all()
    assert (recent[0] != oldest[0]).any()


def test_archive_holds_exactly_the_files_pixels(client, shared_data):
    """A scene served as a collection, asked for on its own grid, equals what rasterio reads."""
    with rasterio.open(shared_data / "sentinel-2-l1c_T18SVG_2016-01-12" / "B05.tif") as dataset:
        expected, bounds = dataset.read(1), dataset.bounds
    body = make_body(
        evalscript=script(["B05", "dataMask"], ["s.B05", "s.dataMask"]),
        **{
            "input.bounds.bbox": list(bounds),
            "input.bounds.properties": {"crs": "http://www.opengis.net/def/crs/EPSG/0/32618"},
            "input.data": [{"type": "byoc-scene"}],
            "output.width": 967,
            "output.height": 973,
        },
    )
    pixels, _ = read(client.process(body).content)
    np.testing.assert_array_equal(pixels[0], expected)
    assert pixels[1].all()


def test_answer_has_the_observed_headers(client):
    """It comes in chunks; a page of another site may read it, and ask first whether it may."""
    answer = client.process(make_body())
    assert (answer.headers["transfer-encoding"], "content-length" in answer.headers) == ("chunked", False)
    assert answer.headers["access-control-allow-origin"] == "*"
    assert answer.headers["access-control-max-age"] == "3600"
    asked = client.session.options(client.emulator.base_url + "/api/v1/process", timeout=30)
    assert (asked.status_code, asked.headers["access-control-allow-origin"]) == (200, "*")


def test_missing_half_of_the_size_is_256(client):
    """Width without height takes the default for the other."""
    _, profile = read(client.process(make_body(**{"output.height": None})).content)
    assert (profile["height"], profile["width"]) == (256, 20)


def test_whole_number_may_be_written_with_a_point(client):
    """JSON has one kind of number: 20.0 pixels are 20."""
    assert client.process(make_body(**{"output.width": 20.0})).content == client.process(make_body()).content


def count_scenes(client, when):
    """How many scenes the script is told of in this time range."""
    source = (
        "//VERSION=3\nfunction setup() { return {input: ['B02'], output: {bands: 1}, mosaicking: 'TILE'}; }"
        "function evaluatePixel() {} function updateOutputMetadata(scenes, i, o) {"
        " o.userData = scenes.tiles.map((tile) => tile.date); }"
    )
    changes = {"output.responses": [{"identifier": "userdata", "format": {"type": "application/json"}}]}
    body = make_body(evalscript=source, **EARTH, **changes, **{"input.data.0.dataFilter": {"timeRange": when}})
    return client.process(body).json()


def test_both_ends_of_the_time_are_inclusive(client):
    """A range that begins and ends with a scene holds it."""
    latest = count_scenes(client, {"from": "2024-06-01T00:00:00Z", "to": "2024-06-30T23:59:59Z"})[0]
    assert count_scenes(client, {"from": latest, "to": latest}) == [latest]


def test_offset_of_a_time_counts(client):
    """A time with an offset is the same instant in UTC."""
    latest = count_scenes(client, {"from": "2024-06-01T00:00:00Z", "to": "2024-06-30T23:59:59Z"})[0]
    shifted = f"{latest[:11]}{int(latest[11:13]) + 2:02}{latest[13:19]}+02:00"
    assert count_scenes(client, {"from": shifted, "to": shifted}) == [latest]


def test_open_end_of_the_time_is_the_client_s_two_dots(client):
    """An end written ".." holds no scene back."""
    bounded = count_scenes(client, {"from": "2015-06-27T00:00:00Z", "to": "2015-12-31T23:59:59Z"})
    assert count_scenes(client, {"from": "..", "to": "2015-12-31T23:59:59Z"}) == bounded


HOLE = [[500050, 5099950], [500100, 5099950], [500100, 5099970], [500050, 5099970], [500050, 5099950]]
SQUARE = [[500000, 5099900], [500200, 5099900], [500200, 5100000], [500000, 5100000], [500000, 5099900]]
BOW = [[500000, 5099900], [500200, 5100000], [500200, 5099900], [500000, 5100000], [500000, 5099900]]


def masked(client, kind, coordinates):
    """How many pixels of 20 x 10 hold data inside a geometry."""
    body = make_body(**{"input.bounds.geometry": {"type": kind, "coordinates": coordinates}})
    return read(client.process(body).content)[0][1].sum()


def test_hole_of_a_geometry_is_empty(client):
    """A hole of 5 x 2 pixels takes ten."""
    assert masked(client, "Polygon", [SQUARE, HOLE]) == 190


def test_parts_of_a_geometry_count_together(client):
    """A multipolygon of the hole's place and nothing else has ten pixels."""
    assert masked(client, "MultiPolygon", [[HOLE], [HOLE]]) == 10


def test_crossing_edges_leave_both_halves(client):
    """A bow tie is drawn as it lies, half of its square."""
    assert masked(client, "Polygon", [BOW]) == pytest.approx(100, abs=10)


def test_geometry_beside_the_bbox_leaves_nothing(client):
    """Nothing is drawn where bbox and geometry do not meet."""
    assert masked(client, "Polygon", [[[x + 5000, y] for x, y in SQUARE]]) == 0


@pytest.mark.parametrize("bbox", [[170, 84.9, 170.1, 85], [-180.1, 10, -180, 10.1], [500, 95, 500.1, 95.1]])
def test_bounds_beyond_the_world_are_empty_at_worst(client, bbox):
    """Where a CRS has no land the image is there, and may hold nothing."""
    body = make_body(**EARTH, **{"input.bounds": {"bbox": bbox}})
    assert client.process(body).status_code == 200


@pytest.mark.parametrize("code", [3857, 32601, 32660, 32701, 32760, 2180, 3035, 3413, 3995, 28992, 32184])
def test_listed_crs_are_served(client, code):
    """A CRS of the documentation's list is understood, and written into the file."""
    crs = {"crs": f"http://www.opengis.net/def/crs/EPSG/0/{code}"}
    _, profile = read(client.process(make_body(**EARTH, **{"input.bounds.properties": crs})).content)
    assert profile["crs"] == rasterio.CRS.from_epsg(code)


def test_pixels_are_evaluated_row_by_row(client):
    """A counter of the script sees the pixels from the upper left, row by row, and starts anew in every request."""
    source = (
        "//VERSION=3\nfunction setup() { return {input: ['B02'], output: {bands: 1, sampleType: 'UINT16'}}; }"
        "let seen = 0; function evaluatePixel() { return [seen++]; }"
    )
    body = make_body(evalscript=source)
    np.testing.assert_array_equal(read(client.process(body).content)[0][0], np.arange(200).reshape(10, 20))
    assert client.process(body).content == client.process(body).content


@pytest.mark.parametrize(
    ("sample_type", "written", "tag"),
    [("UINT16", "65535", 65535), ("FLOAT32", "-9999", -9999), ("UINT8", "null", None)],
)
def test_nodata_value_is_a_tag(client, sample_type, written, tag):
    """The nodataValue is written into the TIFF's tag and changes no pixel."""
    source = script(["B02"], ["s.B02"], sample_type)
    tagged = source.replace("sampleType", f"nodataValue: {written}, sampleType")
    pixels, profile = read(client.process(make_body(evalscript=tagged)).content)
    assert profile["nodata"] == tag
    np.testing.assert_array_equal(pixels, read(client.process(make_body(evalscript=source)).content)[0])


def test_nodata_value_may_be_nan(client):
    """A nodataValue that JSON does not have arrives all the same."""
    source = script(["B02"], ["s.B02"], "FLOAT32").replace("sampleType", "nodataValue: NaN, sampleType")
    assert np.isnan(read(client.process(make_body(evalscript=source)).content)[1]["nodata"])


def test_nodata_value_that_does_not_fit_is_refused(client):
    """A tag that the image's type cannot hold is refused, not bent."""
    source = script(["B02"], ["s.B02"], "UINT8").replace("sampleType", "nodataValue: -9999, sampleType")
    answer = client.process(make_body(evalscript=source))
    assert answer.json()["error"]["message"].startswith("This emulator does not serve the nodataValue -9999")
