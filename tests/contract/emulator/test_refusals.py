"""The emulator's errors: status, code and message as observed at the service."""

from __future__ import annotations

import pytest

from .conftest import make_body

EARTH = {"input.data.0.type": "sentinel-2-l2a"}
WHOLE = {"output.width": None, "output.height": None}
UNCLOSED = {"type": "Polygon", "coordinates": [[[500000, 5099900], [500100, 5099900], [500050, 5100000]]]}

FOOTPRINTS = """//VERSION=3\nfunction setup() {
  return {input: [{bands: ["B02"], metadata: ["bounds"]}], output: {bands: 1}, mosaicking: "TILE"};
}
function evaluatePixel(samples) { return [samples.length]; }
"""

COVERED = [
    ({"evalscript": None}, "COMMON_EXCEPTION", "Missing or empty evalscript."),
    ({"evalscript": "  "}, "COMMON_EXCEPTION", "Missing or empty evalscript."),
    (
        {**WHOLE, "output.resx": 200 / 2624, "output.resy": 10},
        "COMMON_BAD_PAYLOAD",
        "`width = 2624`, calculated from resx, is larger than allowed 2500.\n",
    ),
    (
        {"output.resx": 10, "output.resy": 10},
        "COMMON_BAD_PAYLOAD",
        "Only width and height or resx and resy can be set at the same time.",
    ),
    (
        {**EARTH, "input.bounds.bbox": [0, 4000000, 521817.6, 4260908.8]},
        "COMMON_EXCEPTION",
        (
            "Your request of 26090.88 meters per pixel exceeds the limit 1500.00 meters per pixel of the collection "
            "S2L2A. Please revise the resolution (or corresponding width/height) to make sure it is in supported range."
        ),
    ),
    (
        {"output.responses": [{"identifier": "ndvi"}]},
        "COMMON_BAD_PAYLOAD",
        "Output ndvi requested but missing from function setup()",
    ),
    (
        {
            **EARTH,
            "evalscript": "//VERSION=3\nfunction setup(){return {input:['SMA'],output:{bands:1}}}function evaluatePixel(){}",
        },
        "RENDERER_EXCEPTION",
        "S2L2A has no band SMA",
    ),
]


@pytest.mark.parametrize(("changes", "code", "message"), COVERED)
def test_observed_error_is_repeated(client, changes, code, message):
    """A fault of the caller is answered with the service's own code and words."""
    answer = client.process(make_body(**changes))
    error = answer.json()["error"]
    assert (answer.status_code, error["status"], error["reason"]) == (400, 400, "Bad Request")
    assert (error["code"], error["message"]) == (code, message)


def test_too_large_size_names_its_place(client):
    """Errors in one field carry it as ``output->resx``."""
    error = client.process(make_body(**WHOLE, **{"output.resx": 0.05, "output.resy": 10})).json()["error"]
    assert [place["parameter"] for place in error["errors"]] == ["output->resx"]


@pytest.mark.parametrize(
    "changes",
    [
        {"output.width": 2501},
        {"output.width": 0},
        {"output.width": "wide"},
        {**WHOLE, "output.resx": 10},
        {"input.data": []},
        {"input.data.0.type": "sentinel-9"},
        {"input.bounds.bbox": None},
        {"input.bounds.bbox": [0, 0, 0, 1]},
        {"input.bounds.bbox": [0, 0, 1]},
        {"input.bounds.geometry": UNCLOSED},
        {"input.bounds.geometry": {"type": "Point", "coordinates": [0, 0]}},
        {"input.bounds.geometry": {"type": "Polygon", "coordinates": [[["a", 1], ["a", 1], [0, 0], ["a", 1]]]}},
        {"input.bounds.properties.crs": "EPSG:32633"},
        {"input.bounds.properties.crs": "http://www.opengis.net/def/crs/EPSG/0/31287"},
        {"input.data.0.dataFilter.timeRange": {"from": "2024-06-01", "to": "2024-06-02"}},
        {"input.data.0.dataFilter.mosaickingOrder": "best"},
        {"input.data.0.dataFilter.maxCloudCoverage": 101},
        {"input.data.0.processing": {"upsampling": "CUBIC"}},
        {"output.responses": [{"format": {"type": "image/jpeg", "quality": 101}}]},
        {"output.responses": [{"format": {"type": "image/jpeg"}}]},
        {"output.responses": [{"format": {"type": "application/json"}}]},
        {"output.responses": [{"identifier": "userdata"}]},
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


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("//VERSION=3\nfunction setup() {", "SyntaxError"),
        ("//VERSION=3\nfunction setup(){return {input:['B02'],output:{bands:1}}}", "evaluatePixel() is missing"),
        (
            (
                "//VERSION=3\nfunction setup(){return {input:['B02'],output:{bands:1}}}"
                "function evaluatePixel(){throw new Error('no luck')}"
            ),
            " Error: no luck",
        ),
        (
            "//VERSION=3\nfunction setup(){return {input:['B02'],output:{bands:2}}}function evaluatePixel(){return [1]}",
            "2 values",
        ),
    ],
)
def test_failing_script_is_told_its_own_error(client, source, message):
    """A script that does not load or throws is 400 with the text clients look for."""
    answer = client.process(make_body(evalscript=source))
    assert answer.status_code == 400
    assert "Failed to evaluate script!" in answer.json()["error"]["message"]
    assert message in answer.json()["error"]["message"]


def test_runaway_script_ends_alone(client):
    """An endless script is ended at its deadline, and the emulator goes on answering."""
    source = (
        "//VERSION=3\nfunction setup(){return {input:['B02'],output:{bands:1}}}function evaluatePixel(){while(true){}}"
    )
    answer = client.process(make_body(evalscript=source))
    assert answer.status_code == 400
    assert "longer than 2 s" in answer.json()["error"]["message"]
    assert client.process(make_body()).status_code == 200


def test_greedy_script_ends_alone(launched):
    """A script that takes all memory is ended with its process, and the emulator goes on answering."""
    client = launched(script_memory_mb=700, script_timeout_s=60.0)
    source = (
        "//VERSION=3\nvar kept = []; function setup(){return {input:['B02'],output:{bands:1}}}"
        "function evaluatePixel(){for(;;) kept.push(new Float64Array(1e6).fill(1))}"
    )
    answer = client.process(make_body(evalscript=source))
    assert answer.status_code == 400
    assert "too much memory" in answer.json()["error"]["message"]
    assert client.process(make_body()).status_code == 200


def test_empty_body_is_refused(client):
    """A body of no bytes gets the message seen at the service."""
    url, headers = client.emulator.base_url + "/api/v1/process", {"Authorization": f"Bearer {client.token}"}
    answer = client.session.post(url, data=b"", headers=headers, timeout=30)
    assert answer.json()["error"]["message"] == "Request body should be non-empty."


def test_other_content_types_are_refused(client):
    """Bodies are JSON or a multipart form."""
    url, headers = client.emulator.base_url + "/api/v1/process", {"Authorization": f"Bearer {client.token}"}
    answer = client.session.post(url, data={"a": "b"}, headers=headers, timeout=30)
    assert (answer.status_code, answer.json()["error"]["code"]) == (415, "COMMON_UNSUPPORTED_MEDIA_TYPE")


def test_get_is_not_allowed(client):
    """GET on the Process path is 405 in the error wrapper."""
    answer = client.session.get(client.emulator.base_url + "/api/v1/process", timeout=30)
    assert (answer.status_code, answer.json()["error"]["code"]) == (405, "COMMON_METHOD_NOT_ALLOWED")


def test_unknown_path_is_not_found(client):
    """Services that are not emulated are 404 in the error wrapper."""
    answer = client.session.get(client.emulator.base_url + "/api/v1/catalog/1.0.0/search", timeout=30)
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "COMMON_NOT_FOUND")
