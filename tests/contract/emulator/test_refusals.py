"""The emulator's errors: status, code and message as observed at the service."""

from __future__ import annotations

import json

import pytest

from .conftest import make_body

WHOLE = {"output.width": None, "output.height": None}
RING = [[500000, 5099900], [500100, 5099900], [500050, 5100000], [500000, 5099900]]
TIME = "input.data.0.dataFilter.timeRange"


@pytest.fixture(scope="module")
def impatient():
    """An emulator that soon gives up on scripts."""
    from shdask.emulator.launch import start_emulator

    from .conftest import Client

    with start_emulator(renderers=2, script_timeout_s=0.5) as running:
        yield Client(running)


FOOTPRINTS = """//VERSION=3\nfunction setup() {
  return {input: [{bands: ["B02"], metadata: ["bounds"]}], output: {bands: 1}, mosaicking: "TILE"};
}
function evaluatePixel(samples) { return [samples.length]; }
"""


def polygon(*rings):
    """A change that sets the geometry to these rings."""
    return {"input.bounds.geometry": {"type": "Polygon", "coordinates": list(rings)}}


@pytest.mark.parametrize(
    "changes",
    [
        {"output.width": 2501},
        {"output.width": 0},
        {"output.width": -5},
        {"output.width": 10.5},
        {"output.width": "10"},
        {"output.width": True},
        {"output": []},
        {**WHOLE, "output.resx": 10},
        {**WHOLE, "output.resy": 10},
        {**WHOLE, "output.resx": 0, "output.resy": 10},
        {**WHOLE, "output.resx": -10, "output.resy": 10},
        {**WHOLE, "output.resx": 1e-300, "output.resy": 1e-300},
        {"input": None},
        {"input.data": []},
        {"input.data": None},
        {"input.data": {"type": "pattern"}},
        {"input.data.0.type": None},
        {"input.data.0.type": 7},
        {"input.data.0.type": "sentinel-9"},
        {"input.data.0.type": "\ud800"},
        {"input.bounds": None},
        {"input.bounds.bbox": None},
        {"input.bounds.bbox": [0, 0, 0, 1]},
        {"input.bounds.bbox": [0, 0, 1]},
        {"input.bounds.bbox": [0, 0, 0, 1, 1, 1]},
        {"input.bounds.bbox": [0, 0, 1, "1"]},
        {"input.bounds.bbox": [0, 0, 1, True]},
        {"input.bounds.bbox": [0, 0, 1, None]},
        {"input.bounds.bbox": [0, 0, 1e300, 1e300]},
        {"input.bounds.bbox": [1e15, 1e15, 1e15 + 200, 1e15 + 200]},
        {"input.bounds.bbox": [500000, 5100000, 500000.00000001, 5100001]},
        {"input.bounds.geometry": {"type": "Point", "coordinates": [0, 0]}},
        {"input.bounds.geometry": {"type": "GeometryCollection", "geometries": []}},
        {"input.bounds.geometry": {"type": "Polygon"}},
        {"input.bounds.geometry": {"type": "MultiPolygon", "coordinates": [RING]}},
        polygon(),
        polygon([]),
        polygon(RING[:3]),
        polygon([RING[0], RING[1], RING[0]]),
        polygon([[*position, 7] for position in RING]),
        polygon([["a", 1], ["a", 1], [0, 0], ["a", 1]]),
        polygon([[True, 1], [0, 1], [0, 0], [True, 1]]),
        polygon([[1e300, 1], [0, 1], [0, 0], [1e300, 1]]),
        {"input.bounds.properties.crs": 32633},
        {"input.bounds.properties.crs": "EPSG:32633"},
        {"input.bounds.properties.crs": "https://www.opengis.net/def/crs/EPSG/0/32633"},
        {"input.bounds.properties.crs": "http://www.opengis.net/def/crs/EPSG/0/32633/"},
        {"input.bounds.properties.crs": "http://www.opengis.net/def/crs/EPSG/0/032633"},
        {"input.bounds.properties.crs": "http://www.opengis.net/def/crs/EPSG/0/31287"},
        {"input.bounds.properties.crs": "http://www.opengis.net/def/crs/EPSG/0/32661"},
        {TIME: {"from": "2024-06-01", "to": "2024-06-02"}},
        {TIME: {"from": "2024-06-01T00:00:00", "to": "2024-06-02T00:00:00"}},
        {TIME: {"from": "2024-06-31T00:00:00Z", "to": ".."}},
        {TIME: {"from": "0001-01-01T00:00:00+10:00", "to": ".."}},
        {TIME: {"from": "2024-06-02T00:00:00Z", "to": "2024-06-01T00:00:00Z"}},
        {TIME: {"from": "2024-06-02T00:00:00Z"}},
        {TIME: {"from": 1717286400, "to": 1717286400}},
        {"input.data.0.dataFilter.mosaickingOrder": "best"},
        {"input.data.0.dataFilter.maxCloudCoverage": 101},
        {"input.data.0.dataFilter.maxCloudCoverage": -1},
        {"input.data.0.dataFilter.maxCloudCoverage": "50"},
        {"input.data.0.processing": {"upsampling": "CUBIC"}},
        {"output.responses": []},
        {"output.responses": [{"format": {"type": "image/jpeg", "quality": 101}}]},
        {"output.responses": [{"format": {"type": "image/jpeg", "quality": -1}}]},
        {"output.responses": [{"format": {"type": "image/jpeg", "quality": 50.5}}]},
        {"output.responses": [{"format": {"type": "image/jpeg"}}]},
        {"output.responses": [{"format": {"type": "application/json"}}]},
        {"output.responses": [{"identifier": "userdata"}]},
        {"evalscript": 7},
        {"input.data": [{"type": "pattern"}, {"type": "pattern"}]},
    ],
)
def test_malformed_field_is_a_bad_payload(client, changes):
    """What the schema does not allow is 400 COMMON_BAD_PAYLOAD."""
    answer = client.process(make_body(**changes))
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "COMMON_BAD_PAYLOAD")


@pytest.mark.parametrize(
    "changes",
    [
        {"output.responses": [{"identifier": "default"}, {"identifier": "other"}]},
        {"output.responses": [{"format": {"type": "image/jp2"}}]},
        {"evalscript": FOOTPRINTS},
    ],
)
def test_absent_feature_says_so(client, changes):
    """What this emulator lacks is refused, never faked."""
    answer = client.process(make_body(**changes))
    assert answer.status_code == 400
    assert answer.json()["error"]["message"].startswith("This emulator does not serve")


SETUP = "//VERSION=3\nfunction setup(){return {input:['B02'],output:{bands:1}%s}}"
PIXEL = "function evaluatePixel(){return [1]}"


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("//VERSION=3\nfunction setup() {", "SyntaxError"),
        ("//VERSION=3\n" + PIXEL, "setup() is missing"),
        (SETUP % "", "evaluatePixel() is missing"),
        ("//VERSION=3\nfunction setup(){throw new Error('no luck')}" + PIXEL, " Error: no luck"),
        (SETUP % "" + "function evaluatePixel(){throw new Error('no luck')}", "evalscript.js:2: Error: no luck"),
        (SETUP % "" + PIXEL + "function updateOutputMetadata(){throw new Error('no luck')}", " Error: no luck"),
        (
            SETUP % ",mosaicking:'TILE'" + PIXEL + "function preProcessScenes(){throw new Error('no luck')}",
            " Error: no luck",
        ),
        (SETUP % "" + PIXEL + "function updateOutput(){throw new Error('no luck')}", " Error: no luck"),
        (SETUP % "" + "function evaluatePixel(){return [1, 2]}", "1 values"),
        (SETUP % "" + "function evaluatePixel(){}", "1 values"),
        (SETUP % "" + "function evaluatePixel(){return {other: [1]}}", "1 values"),
        (SETUP % "" + "function evaluatePixel(){return evaluatePixel()}", "Maximum call stack size exceeded"),
        (SETUP % "" + "function evaluatePixel(){let s='a';for(;;)s+=s}", "Invalid string length"),
        ("//VERSION=3\nArrayBuffer=function(){return 5};" + (SETUP % "")[12:] + PIXEL, "changed the language"),
    ],
)
def test_failing_script_is_told_its_own_error(client, source, message):
    """A script that does not load, throws or returns the wrong thing is 400 with the text clients look for."""
    answer = client.process(make_body(evalscript=source))
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "RENDERER_EXCEPTION")
    assert answer.json()["error"]["message"].startswith("Failed to evaluate script!")
    assert message in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    "first", ["", "//VERSION=2\n", "//VERSION=1\n", "//VERSION=31\n", "// a script\n//VERSION=3\n"]
)
def test_other_versions_of_scripts_are_refused(client, first):
    """Only scripts whose first line says version 3 run."""
    answer = client.process(make_body(evalscript=first + (SETUP % "")[12:] + PIXEL))
    assert answer.json()["error"]["message"].startswith("This emulator does not serve evalscripts of other versions")


@pytest.mark.parametrize(
    "endless",
    [
        SETUP % "" + "function evaluatePixel(){while(true){}}",
        SETUP % ",get mosaicking(){while(true){}}" + PIXEL,
        "//VERSION=3\nfunction setup(){return new Proxy({},{ownKeys(){while(true){}}})}" + PIXEL,
        "//VERSION=3\nfunction setup(){Atomics.wait(new Int32Array(new SharedArrayBuffer(4)),0,0)}" + PIXEL,
        SETUP % "" + "function evaluatePixel(){(function f(){Promise.resolve().then(f)})();return [1]}",
    ],
    ids=["loop", "getter", "proxy", "wait", "promises"],
)
def test_endless_script_ends_alone(impatient, endless):
    """A script that never ends is ended at its deadline, and the next request is served."""
    answer = impatient.process(make_body(evalscript=endless))
    assert answer.status_code == 400
    assert "longer than 0.5 s" in answer.json()["error"]["message"]
    assert impatient.process(make_body()).status_code == 200


@pytest.mark.parametrize(
    "greed",
    [
        pytest.param("kept.push(new Float64Array(1e6).fill(1))", id="typed arrays"),
        pytest.param("kept.push([1, 2, 3])", id="small arrays", marks=pytest.mark.long),
        pytest.param("kept.push('a'.repeat(1e6) + kept.length)", id="texts", marks=pytest.mark.long),
    ],
)
def test_greedy_script_ends_alone(launched, greed):
    """A script that takes all memory is ended with its process, and the emulator goes on answering."""
    client = launched(script_memory_mb=450, script_timeout_s=60.0)
    source = (
        "//VERSION=3\nvar kept = []; function setup(){return {input:['B02'],output:{bands:1}}}"
        "function evaluatePixel(){for(;;) " + greed + "}"
    )
    answer = client.process(make_body(evalscript=source))
    assert answer.status_code == 400
    assert "too much memory" in answer.json()["error"]["message"]
    assert client.process(make_body()).status_code == 200


VALID = json.dumps(make_body()).encode()


@pytest.mark.parametrize(
    "raw",
    [
        b"{",
        b"[]",
        b"null",
        b'"text"',
        b"\xff\xfe{}",
        VALID.decode().encode("utf-16"),
        VALID + b"}",
        VALID.replace(b"500200", b"NaN"),
        VALID.replace(b"500200", b"Infinity"),
        VALID.replace(b"500200", b"1e400"),
        VALID.replace(b"500200", b"9" * 5000),
        VALID.replace(b'"responses"', b'"deep": ' + b"[" * 100_000 + b"]" * 100_000 + b', "responses"'),
        b"[" * 500_000,
    ],
    ids=range(13),
)
def test_body_that_is_no_json_is_a_bad_payload(client, raw):
    """Bytes, numbers and depths that JSON does not have are 400 COMMON_BAD_PAYLOAD."""
    url = client.emulator.base_url + "/api/v1/process"
    headers = {"Authorization": f"Bearer {client.token}", "Content-Type": "application/json"}
    answer = client.session.post(url, data=raw, headers=headers, timeout=30)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "COMMON_BAD_PAYLOAD")


def test_last_of_two_equal_keys_holds(client):
    """A key that occurs twice counts as written last."""
    url = client.emulator.base_url + "/api/v1/process"
    headers = {"Authorization": f"Bearer {client.token}", "Content-Type": "application/json"}
    raw = VALID.replace(b'"width": 20', b'"width": 9999, "width": 20')
    assert (
        client.session.post(url, data=raw, headers=headers, timeout=30).content == client.process(make_body()).content
    )


def test_several_places_are_named(client):
    """Every offending field is listed with its place."""
    error = client.process(make_body(**{"output.width": "a", "input.bounds.bbox": [1, 2]})).json()["error"]
    assert [place["parameter"] for place in error["errors"]] == ["input->bounds->bbox", "output->width"]


def test_unknown_path_is_not_found(client):
    """Services that are not emulated are 404 in the error wrapper."""
    answer = client.session.get(client.emulator.base_url + "/api/v1/statistics", timeout=30)
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "COMMON_NOT_FOUND")
