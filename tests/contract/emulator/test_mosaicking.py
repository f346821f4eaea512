"""ORBIT and TILE mosaicking, the functions that see scenes, and data fusion."""

from __future__ import annotations

import numpy as np
import pytest
import shapely
import shapely.geometry
from rasterio.io import MemoryFile

from .conftest import make_body

JUNE = {"timeRange": {"from": "2024-06-01T00:00:00Z", "to": "2024-06-20T23:59:59Z"}}
NEVER = {"timeRange": {"from": "2024-06-01T00:00:00Z", "to": "2024-06-01T00:00:01Z"}}
EARTH = {"input.data": [{"type": "sentinel-2-l2a", "dataFilter": JUNE}]}
AS_JSON = {"output.responses": [{"identifier": "userdata", "format": {"type": "application/json"}}]}
SIMPLE = """//VERSION=3
function setup() {
  return {input: [{bands: ["B02", "dataMask"], units: "DN"}], output: {bands: 2, sampleType: "UINT16"}};
}
function evaluatePixel(s) { return [s.B02, s.dataMask]; }
"""


def stacked(mosaicking, *, more="", bands=1, returned="[samples.length]"):
    """A script that reads B02 and dataMask of a stack; ``more`` are further functions."""
    return (
        "//VERSION=3\nfunction setup() { return {input: [{bands: ['B02', 'dataMask'], units: 'DN'}], "
        f"output: {{bands: {bands}, sampleType: 'UINT16'}}, mosaicking: '{mosaicking}'}}; }}\n"
        f"function evaluatePixel(samples, scenes) {{ return {returned}; }}\n{more}"
    )


def telling(expression):
    """updateOutputMetadata() that tells the value of an expression."""
    return f"function updateOutputMetadata(scenes, input, output) {{ output.userData = {expression}; }}"


def read(client, **changes):
    """Pixels (band, y, x) of the TIFF that answers a request."""
    answer = client.process(make_body(**changes))
    assert answer.status_code == 200, answer.text
    with MemoryFile(answer.content) as file, file.open() as dataset:
        return dataset.read()


def tell(client, source, **changes):
    """The metadata a script leaves."""
    return client.process(make_body(evalscript=source, **{**EARTH, **AS_JSON, **changes})).json()


def test_days_are_described(client):
    """ORBIT gives a sample per day, latest first, each with the day's ends and its tiles."""
    orbits = tell(client, stacked("ORBIT", more=telling("scenes.orbits")))
    days = [orbit["dateFrom"] for orbit in orbits]
    assert days == sorted(set(days), reverse=True)
    assert orbits[0]["dateTo"] == orbits[0]["dateFrom"].replace("T00:00:00Z", "T23:59:59Z")
    assert orbits[0]["tiles"][0]["date"][:10] == orbits[0]["dateFrom"][:10]


def test_tiles_are_described(client):
    """TILE gives a sample per scene with the documented fields."""
    tiles = tell(client, stacked("TILE", more=telling("scenes.tiles")))
    assert {"date", "cloudCoverage", "dataPath", "shId"} <= set(tiles[0])
    assert len({tile["shId"] for tile in tiles}) == len(tiles)


@pytest.mark.parametrize(("mosaicking", "kind"), [("ORBIT", "orbits"), ("TILE", "tiles")])
def test_samples_are_as_many_as_scenes(client, mosaicking, kind):
    """The array of a pixel is as long as the scenes' own."""
    count = tell(client, stacked(mosaicking, more=telling(f"scenes.{kind}.length")))
    assert (read(client, evalscript=stacked(mosaicking), **EARTH) == count).all()


def test_first_sample_with_data_is_the_simple_mosaic(client):
    """Whoever takes the first sample with data has what SIMPLE gives."""
    first = "(function (s) { return s ? [s.B02, 1] : [0, 0]; })(samples.find((s) => s.dataMask))"
    by_tile = read(client, evalscript=stacked("TILE", bands=2, returned=first), **EARTH)
    np.testing.assert_array_equal(by_tile, read(client, evalscript=SIMPLE, **EARTH))
    assert by_tile[1].all()


def test_day_equals_the_day_alone(client):
    """A sample of ORBIT is the SIMPLE mosaic of its day."""
    day = tell(client, stacked("ORBIT", more=telling("scenes.orbits[1].dateFrom")))[:10]
    times = {"timeRange": {"from": f"{day}T00:00:00Z", "to": f"{day}T23:59:59Z"}}
    alone = read(client, evalscript=SIMPLE, **{"input.data": [{"type": "sentinel-2-l2a", "dataFilter": times}]})
    second = stacked("ORBIT", bands=2, returned="[samples[1].B02, samples[1].dataMask]")
    np.testing.assert_array_equal(read(client, evalscript=second, **EARTH), alone)


def test_no_scenes_are_no_samples(client):
    """A time without scenes gives empty arrays."""
    nothing = {"input.data": [{"type": "sentinel-2-l2a", "dataFilter": NEVER}]}
    assert not read(client, evalscript=stacked("TILE"), **nothing).any()


def test_scenes_can_be_left_out(client):
    """preProcessScenes() filters by day, and the price follows the samples left."""
    days = tell(client, stacked("ORBIT", more=telling("scenes.orbits.map((orbit) => orbit.dateFrom)")))
    keep = (
        "function preProcessScenes(collections) { collections.scenes.orbits = collections.scenes.orbits.filter("
        f"(orbit) => orbit.dateFrom !== '{days[0]}' && new Date(orbit.dateFrom) >= collections.from);"
        " return collections; }"
    )
    size = {"output.width": 512, "output.height": 512}
    answers = [
        client.process(make_body(evalscript=stacked("ORBIT", more=more), **EARTH, **size)) for more in ("", keep)
    ]
    spent = [float(answer.headers["x-processingunits-spent"]) for answer in answers]
    assert spent == pytest.approx([len(days) / 3, (len(days) - 1) / 3])


def test_preprocessing_sees_no_tiles_of_orbits(client):
    """The orbits given to preProcessScenes() come without tiles; those given later have them."""
    spy = (
        "let seen; function preProcessScenes(c) { seen = c.scenes.orbits.map((o) => 'tiles' in o); return c; }"
        + telling("[seen.some((x) => x), scenes.orbits.every((o) => o.tiles.length > 0)]")
    )
    assert tell(client, stacked("ORBIT", more=spy)) == [False, True]


def test_bands_can_follow_the_scenes(client):
    """updateOutput() makes one band of every scene."""
    count = tell(client, stacked("ORBIT", more=telling("scenes.orbits.length")))
    update = (
        "function updateOutput(output, collection) {"
        " output.default.bands = collection.scenes.filter((scene) => scene.date.getTime() > 0).length; }"
    )
    pixels = read(client, evalscript=stacked("ORBIT", more=update, returned="samples.map((s) => s.B02)"), **EARTH)
    assert pixels.shape == (count, 10, 20)


def test_inventing_scenes_is_refused(client):
    """preProcessScenes() may only return what it was given."""
    more = "function preProcessScenes(c) { c.scenes.tiles = [{date: '2024-06-01T00:00:00Z'}]; return c; }"
    answer = client.process(make_body(evalscript=stacked("TILE", more=more), **EARTH))
    assert answer.status_code == 400
    assert "preProcessScenes() must return" in answer.json()["error"]["message"]


FUSED = """//VERSION=3
function setup() {
  return {
    input: [{%s bands: ["B03"], units: "DN"}, {%s bands: ["B02", "dataMask"], units: "DN", mosaicking: "ORBIT"}],
    output: {bands: 3, sampleType: "UINT16"},
  };
}
function evaluatePixel(samples) {
  const one = samples%s, two = samples%s;
  return [one.length ? one[0].B03 : 7, two.length, one.length];
}
"""
NAMED = FUSED % ('datasource: "field",', 'datasource: "earth",', ".field", ".earth")
NUMBERED = FUSED % ("", "", "['0']", "['1']")
FIELD, SECOND = {"type": "pattern", "id": "field"}, {"type": "sentinel-2-l2a", "id": "earth", "dataFilter": JUNE}


def test_inputs_are_found_by_name(client):
    """Inputs of the request meet those of setup() by id and datasource, whatever the order."""
    pixels = read(client, evalscript=NAMED, **{"input.data": [SECOND, FIELD]})
    columns, rows = np.arange(50000, 50020), np.arange(-510000, -509990)
    np.testing.assert_array_equal(pixels[0], 1 + (7 * columns[None, :] + 13 * rows[:, None] + 202) % 10000)
    assert (pixels[1] == tell(client, stacked("ORBIT", more=telling("scenes.orbits.length")))).all()


def test_inputs_without_names_go_by_order(client):
    """Without datasources the keys are '0' and '1', in the order of the request."""
    by_order = read(client, evalscript=NUMBERED, **{"input.data": [FIELD, SECOND]})
    np.testing.assert_array_equal(by_order, read(client, evalscript=NAMED, **{"input.data": [FIELD, SECOND]}))


def test_simple_input_of_several_is_an_array(client):
    """A fused SIMPLE input holds one sample, or none where no scene is found."""
    assert (read(client, evalscript=NAMED, **{"input.data": [FIELD, SECOND]})[2] == 1).all()
    nowhere = {"type": "sentinel-2-l2a", "id": "field", "dataFilter": NEVER}
    pixels = read(client, evalscript=NAMED, **{"input.data": [nowhere, SECOND]})
    assert (pixels[0] == 7).all()
    assert not pixels[2].any()


def test_unknown_datasource_is_refused(client):
    """A datasource that the request does not have is a 400."""
    answer = client.process(make_body(evalscript=NAMED, **{"input.data": [{**FIELD, "id": "other"}, SECOND]}))
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "COMMON_BAD_PAYLOAD")


def test_strips_join_without_a_seam(client):
    """An image too deep for one piece equals the parts asked for alone, inside a geometry as well."""
    deep = stacked("TILE", returned="[samples.reduce((sum, s) => sum + s.B02, 0) % 60000]")
    ring = [[500000, 5091000], [506000, 5091000], [500000, 5100000], [500000, 5091000]]
    times = {"timeRange": {"from": "2024-05-01T00:00:00Z", "to": "2024-06-20T23:59:59Z"}}
    asked = {
        "evalscript": deep,
        "input.data": [{"type": "sentinel-2-l2a", "dataFilter": times}],
        "input.bounds.geometry": {"type": "Polygon", "coordinates": [ring]},
        "output.width": 600,
    }
    whole = {"output.height": 900, "input.bounds.bbox": [500000, 5091000, 506000, 5100000]}
    part = {"output.height": 100, "input.bounds.bbox": [500000, 5091000, 506000, 5092000]}
    pixels = read(client, **asked, **whole)
    np.testing.assert_array_equal(pixels[:, 800:], read(client, **asked, **part))
    assert pixels[:, 800:].any()


def bounded(mosaicking, expression):
    """A script that asks for the bounds of scenes and tells an expression."""
    return stacked(mosaicking, more=telling(expression)).replace("units: 'DN'", "units: 'DN', metadata: ['bounds']")


@pytest.mark.parametrize(("mosaicking", "tiles"), [("TILE", "scenes.tiles"), ("ORBIT", "scenes.orbits[0].tiles")])
def test_footprints_of_scenes_come_when_asked_for(client, mosaicking, tiles):
    """With the metadata "bounds" each tile has its footprint and the box around it, in the CRS of the request."""
    tile = tell(client, bounded(mosaicking, tiles))[0]
    geometry, envelope = shapely.geometry.shape(tile["dataGeometry"]), shapely.geometry.shape(tile["dataEnvelope"])
    assert envelope.equals(geometry.envelope)
    assert geometry.intersects(shapely.box(500000, 5099900, 500200, 5100000))
    assert tile["dataGeometry"]["crs"]["properties"]["name"] == "urn:ogc:def:crs:EPSG::32633"
    assert "dataGeometry" not in tell(client, stacked(mosaicking, more=telling(tiles)))[0]


def test_footprint_tells_where_a_scene_has_data(client):
    """A pixel has data of a scene where its centre lies in the scene's footprint."""
    wide = {"input.bounds.bbox": [400000, 5000000, 600000, 5100000], "output.width": 200, "output.height": 100}
    told = tell(client, bounded("TILE", "scenes.tiles.map((tile) => tile.dataGeometry)"), **wide)
    shapes = [shapely.geometry.shape(one) for one in told]
    bands = len(shapes)
    pixels = read(
        client, evalscript=stacked("TILE", bands=bands, returned="samples.map((s) => s.dataMask)"), **EARTH, **wide
    )
    x, y = np.meshgrid(400500 + 1000 * np.arange(200), 5099500 - 1000 * np.arange(100))
    for_sure = [shapely.distance(shape.boundary, shapely.points(x, y)) > 200 for shape in shapes]
    expected = [shapely.contains_xy(shape, x, y) for shape in shapes]
    np.testing.assert_array_equal(pixels.astype(bool)[for_sure], np.array(expected)[for_sure])
    assert 0 < np.mean(expected) < 1


BOTH = """
let seen;
function preProcessScenes(collections) {
  seen = Object.keys(collections);
  collections.earth.scenes.orbits = collections.earth.scenes.orbits.slice(0, 2);
  return collections;
}
function updateOutput(output, collection) {
  output.default.bands = 3 + collection.earth.scenes.length + collection.field.scenes.length;
}
"""


def test_functions_see_each_input_of_several(client):
    """With fusion the functions for scenes find every input under its name."""
    source = (
        NAMED.replace("[one.length ? one[0].B03 : 7, two.length, one.length]", "[1, two.length, 3, 4, 5, 6]") + BOTH
    )
    pixels = read(client, evalscript=source, **{"input.data": [FIELD, SECOND]})
    assert pixels[:, 0, 0].tolist() == [1, 2, 3, 4, 5, 6]
    told = tell(client, source + telling("seen"), **{"input.data": [FIELD, SECOND]})
    assert sorted(told) == ["earth", "field"]


def test_metadata_of_the_service_are_there(client):
    """Custom data are an empty object, and the version of the service is told."""
    source = stacked("TILE").replace("(samples, scenes)", "(samples, scenes, input, custom, output)")
    source = source.replace("return [", "output.userData = [custom, typeof input.serviceVersion]; return [")
    assert tell(client, source) == [{}, "string"]
