"""The observed errors of the service, one test a row, asked for in raw bytes on both path families."""

from __future__ import annotations

import json

import pytest

from .conftest import make_body

PATHS = pytest.mark.parametrize("path", ["/api/v1/process", "/process/v1"])
WHOLE = {"output.width": None, "output.height": None}
EARTH = {"input.data.0.type": "sentinel-2-l2a"}
JUNE = {"from": "2024-06-01T00:00:00Z", "to": "2024-06-30T23:59:59Z"}
RADAR = {"input.data": [{"type": "sentinel-1-grd", "dataFilter": {"timeRange": JUNE}}]}
READS = "//VERSION=3\nfunction setup(){return {input:['%s'],output:{bands:1}}}function evaluatePixel(){return [1]}"
THROWS = READS.replace("return [1]", "throw new Error('no luck')")


def post(client, path, raw, **headers):
    """Status and ``error`` of the answer to these bytes."""
    known = {"Authorization": f"Bearer {client.token}", "Content-Type": "application/json"}
    answer = client.session.post(client.emulator.base_url + path, data=raw, headers={**known, **headers}, timeout=60)
    return answer.status_code, answer.json()["error"]


def refuse(client, path, **changes):
    """``error`` of the answer to a body with these changes, which must be a 400 in every respect."""
    status, error = post(client, path, json.dumps(make_body(**changes)).encode())
    assert (status, error["status"], error["reason"]) == (400, 400, "Bad Request")
    return error


@PATHS
def test_no_body(client, path):
    """A body of no bytes."""
    status, error = post(client, path, b"")
    assert (status, error["code"]) == (400, "COMMON_BAD_PAYLOAD")
    assert error["message"] == "Request body should be non-empty."


@PATHS
@pytest.mark.parametrize("script", [None, "", " \n"])
def test_no_evalscript(client, path, script):
    """A script that is absent or blank."""
    error = refuse(client, path, evalscript=script)
    assert (error["code"], error["message"]) == ("COMMON_EXCEPTION", "Missing or empty evalscript.")


@PATHS
@pytest.mark.parametrize(("short", "name"), [("resx", "width"), ("resy", "height")])
def test_resolution_makes_too_many_pixels(client, path, short, name):
    """A size that follows from the resolution and is beyond 2500."""
    sizes = {"output.resx": 10, "output.resy": 10, f"output.{short}": {"width": 200, "height": 100}[name] / 2624}
    error = refuse(client, path, **WHOLE, **sizes)
    message = f"`{name} = 2624`, calculated from {short}, is larger than allowed 2500.\n"
    assert (error["code"], error["message"]) == ("COMMON_BAD_PAYLOAD", message)
    assert error["errors"] == [{"parameter": f"output->{short}", "violation": message}]


@PATHS
@pytest.mark.parametrize("sizes", [{"output.resx": 10, "output.resy": 10}, {"output.height": None, "output.resy": 10}])
def test_both_ways_to_say_the_size(client, path, sizes):
    """Pixels and resolution at once, even where each says the half."""
    error = refuse(client, path, **sizes)
    message = "Only width and height or resx and resy can be set at the same time."
    assert (error["code"], error["message"]) == ("COMMON_BAD_PAYLOAD", message)


@PATHS
@pytest.mark.parametrize("sizes", [{}, {**WHOLE, "output.resx": 26090.88, "output.resy": 26090.88}])
def test_pixels_are_too_coarse(client, path, sizes):
    """More than 1500 metres a pixel of Sentinel-2, by size or by resolution."""
    error = refuse(client, path, **EARTH, **{"input.bounds.bbox": [0, 4000000, 521817.6, 4260908.8]}, **sizes)
    message = (
        "Your request of 26090.88 meters per pixel exceeds the limit 1500.00 meters per pixel of the collection S2L2A. "
        "Please revise the resolution (or corresponding width/height) to make sure it is in supported range."
    )
    assert (error["code"], error["message"]) == ("COMMON_EXCEPTION", message)


@PATHS
def test_degrees_are_too_coarse(client, path):
    """In degrees the limit is metres as well."""
    error = refuse(client, path, **EARTH, **{"input.bounds": {"bbox": [10, 40, 20, 50]}})
    assert error["message"].startswith("Your request of 111319.49 meters per pixel exceeds the limit 1500.00")


@PATHS
def test_output_is_not_in_setup(client, path):
    """A response whose identifier is no output."""
    error = refuse(client, path, **{"output.responses": [{"identifier": "dataMask"}]})
    message = "Output dataMask requested but missing from function setup()"
    assert (error["code"], error["message"]) == ("COMMON_BAD_PAYLOAD", message)


@PATHS
def test_band_is_unknown(client, path):
    """A band that the collection lacks."""
    error = refuse(client, path, **EARTH, evalscript=READS % "SMA")
    assert (error["code"], error["message"]) == ("RENDERER_EXCEPTION", "S2L2A has no band SMA")


@PATHS
def test_polarization_is_missing(client, path):
    """A band that the polarization of the scenes found does not have."""
    error = refuse(client, path, **RADAR, evalscript=READS % "HH")
    assert error["code"] == "RENDERER_S1_MISSING_POLARIZATION"
    assert error["message"].startswith("Requested band 'HH' is not present in Sentinel 1 tile '")
    assert error["message"].endswith("' returned by criteria specified in `dataFilter` parameter.")


@PATHS
def test_script_throws(client, path):
    """An error of the script, in the words that clients look for."""
    message = refuse(client, path, evalscript=THROWS % "B02")["message"]
    assert message.startswith("Failed to evaluate script!")
    assert " Error: no luck" in message


@PATHS
@pytest.mark.parametrize("header", ["", "Bearer", "Bearer wrong", "Basic ZTplCg=="])
def test_token_is_not_valid(client, path, header):
    """No token, half of one, another, another scheme."""
    status, error = post(client, path, b"{}", Authorization=header)
    assert (status, error["status"], error["reason"], error["code"]) == (
        401,
        401,
        "Unauthorized",
        "COMMON_UNAUTHORIZED",
    )


@PATHS
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH", "TRACE"])
def test_method_is_not_post(client, path, method):
    """Only POST is served, and the question of a browser whether it may."""
    answer = client.session.request(method, client.emulator.base_url + path, timeout=30)
    error = answer.json()["error"]
    assert (answer.status_code, error["reason"]) == (405, "Method Not Allowed")
    assert answer.headers["allow"] == "OPTIONS, POST"
    assert (error["code"], error["message"]) == ("COMMON_METHOD_NOT_ALLOWED", "HTTP 405 Method Not Allowed")


@PATHS
@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"[]", "Input should be an object"),
        (b'{"input": {"bounds": {"properties": {"crs": "x"}}}}', "the CRS x is not"),
    ],
)
def test_violations_name_no_class(client, path, body, words):
    """Places are told in the words of JSON, not in those of the program."""
    _, error = post(client, path, body)
    assert error["errors"][0]["violation"].startswith(words)


@PATHS
def test_type_is_no_json(client, path):
    """A body of another type."""
    status, error = post(client, path, b"<a/>", **{"Content-Type": "text/xml"})
    assert (status, error["code"]) == (415, "COMMON_UNSUPPORTED_MEDIA_TYPE")


@pytest.fixture(scope="module")
def strict():
    """An emulator whose switches stand otherwise, and which allows little."""
    from shdask.emulator.launch import start_emulator

    from .conftest import Client

    options = {"unknown_collection": "not_found", "forbidden_collections": ["sentinel-2-l1c"], "max_body_nbytes": 4000}
    with start_emulator(renderers=1, pu_per_minute=1, requests_per_minute=20, **options) as running:
        yield Client(running)


@PATHS
def test_collection_is_not_allowed(strict, path):
    """A collection that the account has no right to."""
    status, error = post(strict, path, json.dumps(make_body(**{"input.data.0.type": "sentinel-2-l1c"})))
    assert (status, error["reason"], error["code"]) == (403, "Forbidden", "COMMON_INSUFFICIENT_PERMISSIONS")
    assert error["message"] == "You are not authorized to perform this action."


@PATHS
def test_unknown_collection_follows_the_switch(strict, path):
    """A collection that is not there is a 404, where the switch says so."""
    status, error = post(strict, path, json.dumps(make_body(**{"input.data.0.type": "byoc-none"})))
    assert (status, error["code"]) == (404, "COMMON_NOT_FOUND")


@PATHS
def test_body_is_too_large(strict, path):
    """More bytes than the switch allows."""
    status, error = post(strict, path, json.dumps(make_body(evalscript="//VERSION=3" + " " * 4000)))
    assert (status, error["status"], error["reason"]) == (413, 413, "Request Entity Too Large")


@PATHS
def test_request_is_dearer_than_the_bucket(strict, path):
    """A request that no waiting can pay for."""
    status, error = post(strict, path, json.dumps(make_body(**{"output.width": 2500, "output.height": 2500})))
    assert (status, error["code"]) == (429, "RATE_LIMIT_TOKEN_COUNT_EXCEEDS_CAPACITY")
