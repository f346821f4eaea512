"""Bodies, headers and scripts that no client would send: every answer is a documented one, and comes soon.

``EMULATOR_FUZZ_EXAMPLES`` sets how many are tried by each test; ``make fuzz`` tries many.
"""

from __future__ import annotations

import copy
import json
import os

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from .conftest import make_body

FUZZ = settings(
    max_examples=int(os.environ.get("EMULATOR_FUZZ_EXAMPLES", "60")),
    deadline=None,
    derandomize="EMULATOR_FUZZ_EXAMPLES" not in os.environ,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
STATUSES = {200, 400, 401, 403, 404, 405, 413, 415, 429}
TYPES = ("image/tiff", "image/png", "image/jpeg", "application/json", "application/x-tar", "multipart/mixed")
JSON_TYPE = {"Content-Type": "application/json"}
MULTI = """//VERSION=3
function setup() {
  return {input: [{bands: ["B02", "dataMask"], units: "DN"}], output: {bands: 1}, mosaicking: "TILE"};
}
function preProcessScenes(collections) { return collections; }
function evaluatePixel(samples, scenes) { return [samples.length / 10]; }
"""
FILTER = {
    "timeRange": {"from": "2024-06-01T00:00:00Z", "to": "2024-06-05T23:59:59Z"},
    "mosaickingOrder": "leastCC",
    "maxCloudCoverage": 50,
}
RING = [[500000, 5099900], [500100, 5099900], [500050, 5100000], [500000, 5099900]]
BODIES = (
    make_body(),
    make_body(
        evalscript=MULTI,
        **{
            "input.data": [{"type": "sentinel-2-l2a", "dataFilter": FILTER, "processing": {"upsampling": "BICUBIC"}}],
            "input.bounds.geometry": {"type": "Polygon", "coordinates": [RING]},
            "output": {"resx": 10, "resy": 10, "responses": [{"format": {"type": "image/jpeg", "quality": 50}}]},
        },
    ),
)
LITERALS = (None, True, 0, -1, 1, 2500, 2501, 1e308, -1e308, 1e-308, 10**400, 0.5, "", "..", [], {}, "default", "10")
WILD = st.recursive(
    st.sampled_from(LITERALS) | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


def paths_of(node, path=()):
    """The place of every node below this one."""
    inner = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    return [found for key, value in inner for found in [(*path, key), *paths_of(value, (*path, key))]]


def mutate(body, path, change, value):
    """``body`` with the node at ``path`` dropped, replaced, doubled, wrapped or swapped for a node of the same kind."""
    body = copy.deepcopy(body)
    place = body
    for key in path[:-1]:
        place = place[key]
    old = place[path[-1]]
    if change == "drop":
        del place[path[-1]]
    elif change == "double" and isinstance(place, list):
        place.append(copy.deepcopy(old))
    elif change == "wrap":
        place[path[-1]] = [old]
    elif change == "scale" and type(old) in {int, float}:
        place[path[-1]] = old * value if type(value) is int and abs(value) < 10**9 else -old
    else:
        place[path[-1]] = value
    return body


@st.composite
def mutated(draw):
    """A valid body with up to three nodes changed."""
    body = draw(st.sampled_from(BODIES))
    for _ in range(draw(st.integers(1, 3))):
        paths = paths_of(body)
        if not paths:
            break
        change = draw(st.sampled_from(["drop", "double", "wrap", "scale", "replace", "replace"]))
        body = mutate(body, draw(st.sampled_from(paths)), change, draw(WILD))
    return body


@st.composite
def damaged(draw):
    """The bytes of a valid body with a stretch cut out, repeated, or overwritten."""
    raw = json.dumps(draw(st.sampled_from(BODIES))).encode()
    start = draw(st.integers(0, len(raw)))
    stop = draw(st.integers(start, min(len(raw), start + 40)))
    middle = draw(st.sampled_from([b"", raw[start:stop] * 2]) | st.binary(max_size=12))
    return raw[:start] + middle + raw[stop:]


def post(client, raw, headers):
    """The answer to these bytes."""
    url = client.emulator.base_url + "/api/v1/process"
    return client.session.post(
        url, data=raw, headers={"Authorization": f"Bearer {client.token}", **headers}, timeout=20
    )


def is_documented(answer):
    """Whether an answer has a status of the service, and the form that belongs to it."""
    if answer.status_code == 200:
        return answer.headers["content-type"].startswith(TYPES) and "x-processingunits-spent" in answer.headers
    error = answer.json()["error"]
    whole = {"status", "reason", "message", "code"} <= set(error) and error["status"] == answer.status_code
    return answer.status_code in STATUSES and whole


@FUZZ
@given(body=mutated())
def test_changed_bodies_get_documented_answers(client, body):
    """A valid body with nodes dropped, doubled or replaced is served or refused as documented."""
    answer = post(client, json.dumps(body), JSON_TYPE)
    assert is_documented(answer), answer.text


@FUZZ
@given(raw=damaged() | st.binary(max_size=200))
def test_damaged_bytes_get_documented_answers(client, raw):
    """Bytes that are no JSON, or half of it, are refused as documented."""
    answer = post(client, raw, JSON_TYPE)
    assert is_documented(answer), answer.text


@FUZZ
@given(
    accept=st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=40)
    | st.lists(st.sampled_from([*TYPES, "image/*", "*/*", "application/tar", "image/png;q=0", "q=2"])).map(",".join),
    kind=st.sampled_from(["application/json", "application/json; charset=x", "multipart/form-data; boundary=a", "a/b"]),
    encoding=st.sampled_from(["", "gzip", "identity", "br"]),
)
def test_odd_headers_get_documented_answers(client, accept, kind, encoding):
    """Whatever the headers say, the answer is a documented one."""
    headers = {"Accept": accept.strip(), "Content-Type": kind, "Content-Encoding": encoding}
    answer = post(client, json.dumps(BODIES[0]), headers)
    assert is_documented(answer), answer.text


@FUZZ
@given(declared=WILD, returned=WILD, told=WILD)
def test_odd_scripts_get_documented_answers(client, declared, returned, told):
    """Whatever the script declares and returns, the answer is a documented one."""
    part = {key: json.dumps(value) for key, value in {"d": declared, "r": returned, "t": told}.items()}
    source = (
        f"//VERSION=3\nconst declared = {part['d']};\n"
        "function setup() { return {input: ['B02'], output: {bands: 1}, "
        "...(typeof declared === 'string' ? {mosaicking: declared} : {output: declared})}; }\n"
        f"function evaluatePixel() {{ return {part['r']}; }}\n"
        f"function updateOutputMetadata(s, i, o) {{ o.userData = {part['t']}; }}"
    )
    answer = post(client, json.dumps(make_body(evalscript=source)), JSON_TYPE)
    assert is_documented(answer), answer.text


def test_inspection_survives_every_body(client):
    """Bodies that cannot be written as JSON again are listed as text."""
    for_ever = b'{"a":' * 900 + b"1" + b"}" * 900
    statuses = [post(client, raw, JSON_TYPE).status_code for raw in (for_ever, b'"\\ud800"', b"[NaN]", b"\xff")]
    assert statuses == [400, 400, 400, 400]
    assert len(client.emulator.requests()) >= 4
