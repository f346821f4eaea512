"""The inspection page: what it shows of calls, and what it never shows."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
from collections.abc import Iterator

import numpy as np
import pytest
import requests
from PIL import Image

from shdask.testing import EmulatorProcess, emulator
from tests.contract.emulator.conftest import Client, make_body

HOSTILE = "<script>document.title = 'struck'</script><img src=x onerror=alert(1)>"
S3 = {"url": "s3://bucket/prefix", "accessKey": "AKIAIOSFODNN7EXAMPLE", "secretAccessKey": "wJalrXUtnFEMI/K7MDENG"}
PICTURE = """//VERSION=3
function setup() { return {input: ["B02"], output: {bands: 3, sampleType: "UINT8"}}; }
function evaluatePixel(s) { return [255, 128, 0]; }
"""


def look(client: Client, name: str) -> requests.Response:
    """What the page reads under this name; ``{latest}`` is the number of the newest exchange."""
    url = client.emulator.base_url + "/emulator/"
    newest = requests.get(url + "inspection.json", timeout=30).json()["exchanges"][:1]
    return requests.get(url + name.format(latest=newest[0]["number"] if newest else 0), timeout=30)


@pytest.fixture(scope="module")
def service() -> Iterator[EmulatorProcess]:
    """An emulator with a limit and a secret."""
    with emulator(client_secret="not-to-be-told", pu_per_minute=10, renderers=1) as running:
        yield running


@pytest.fixture
def client(service) -> Client:
    """A client that has just fetched a token, its only call so far."""
    service.clear_faults()
    service.reset()
    return Client(service)


def test_rows_are_newest_first_with_their_price(client):
    """Each call has its service, collection, size, status, price and error."""
    client.process(make_body())
    client.process(make_body(evalscript=""))
    rows = look(client, "inspection.json").json()["exchanges"]
    assert [row["number"] - rows[-1]["number"] for row in rows] == [2, 1, 0]
    assert [row["status"] for row in rows] == [400, 200, 200]
    assert [row["service"] for row in rows] == ["process", "process", "token"]
    assert (rows[1]["asked"], rows[1]["pu"]) == ("pattern · 20 x 10", pytest.approx(0.005))
    assert (rows[0]["error"], rows[0]["pu"]) == ("Missing or empty evalscript.", None)


def test_totals_and_buckets_stand_above(client):
    """What was charged is missing in the bucket."""
    client.process(make_body(**{"output.width": 512, "output.height": 512}))
    told = look(client, "inspection.json").json()
    (bucket,) = told["buckets"]
    assert (told["answered"], told["tokens_issued"]) == (2, 1)
    assert told["pu_charged"] == pytest.approx(1 / 3)
    assert (bucket["kind"], bucket["period"], bucket["capacity"]) == ("PU", "PT1M", 10)
    assert 9.6 < bucket["level"] <= 10


def test_looking_leaves_no_trace(client):
    """The page's own calls are neither counted nor listed."""
    client.process(make_body())
    before = client.emulator.stats()
    look(client, "")
    look(client, "exchanges/{latest}.png")
    assert client.emulator.stats() == before


def test_a_fault_is_named(client):
    """A call that was hit says by what."""
    client.emulator.set_faults("503:1x1")
    client.process(make_body())
    newest = look(client, "inspection.json").json()["exchanges"][0]
    assert (newest["status"], newest["fault"]) == (503, "503")


def test_a_detail_shows_request_and_script(client):
    """The body as it was sent, with the evalscript as lines."""
    client.process(make_body())
    told = look(client, "exchanges/{latest}.json").json()
    script = "\n".join(told["request"]["body"].pop("evalscript"))
    assert {**told["request"]["body"], "evalscript": script} == make_body()
    assert told["answer"]["headers"]["content-type"] == "image/tiff"


def test_no_secret_is_shown(client):
    """Neither token nor client secret nor a bucket's keys, wherever a client put them."""
    body = make_body(**{"output.delivery": {"s3": S3}})
    client.process(body)
    broken = json.dumps(body)[:-1].encode()
    requests.post(
        client.emulator.base_url + "/process/v1?access_token=" + client.token,
        data=broken,
        headers={"Authorization": f"Bearer {client.token}", "Cookie": "secret", "Content-Type": "application/json"},
        timeout=30,
    )
    numbers = [row["number"] for row in look(client, "inspection.json").json()["exchanges"]]
    names = ["", "inspection.json", *(f"exchanges/{number}.json" for number in numbers)]
    shown = "".join(look(client, name).text for name in names)
    secrets = [client.token, "not-to-be-told", S3["accessKey"], S3["secretAccessKey"], "Cookie: secret"]
    assert len(numbers) == 3
    assert [secret for secret in secrets if secret in shown] == []
    assert '"secretAccessKey":"***"' in shown


def test_hostile_text_stays_text(client):
    """It is told as JSON, never as HTML, and no part of the page makes markup of it."""
    client.process(make_body(evalscript=HOSTILE, **{"input.data.0.type": HOSTILE}))
    told = look(client, "exchanges/{latest}.json")
    page = look(client, "").text
    assert told.headers["content-type"] == "application/json"
    assert told.json()["request"]["body"]["evalscript"] == [HOSTILE]
    assert HOSTILE not in page
    assert re.findall(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(| on\w+=[\"']", page) == []


@pytest.mark.parametrize(
    "raw",
    [
        b'{"input": {"data": [{"type": "\\ud800"}]}}',
        b'{"output": {"width": NaN, "height": 1e999}}',
        b'{"\\udfff": -Infinity}',
    ],
    ids=["half a character", "no number", "both"],
)
@pytest.mark.parametrize("name", ["inspection.json", "exchanges/{latest}.json"])
def test_what_json_cannot_say_is_shown_all_the_same(client, raw, name):
    """Half a character and a number beyond all bounds do not take the page away."""
    url = client.emulator.base_url + "/api/v1/process"
    client.session.post(url, raw, headers={"Authorization": f"Bearer {client.token}"}, timeout=30)
    assert look(client, name).json()


def test_the_page_forbids_itself_anything_foreign(client):
    """Its policy admits its own script by hash, and nothing that was injected or lies elsewhere."""
    page = look(client, "")
    policy = page.headers["content-security-policy"]
    (script,) = re.findall(r"<script>(.*?)</script>", page.text, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert policy.startswith("default-src 'none';")
    assert f"script-src 'sha256-{digest}'" in policy
    assert "unsafe" not in policy
    assert re.findall(r"(?:src|href)=\"(?!data:,)", page.text) == []


@pytest.mark.parametrize("kind", ["image/png", "image/tiff", "image/jpeg"])
def test_a_thumbnail_shows_the_picture(client, kind):
    """It is small, keeps the sides' ratio, and has the picture's colours."""
    changes = {"output.width": 400, "output.height": 200, "output.responses.0.format.type": kind}
    client.process(make_body(evalscript=PICTURE, **changes))
    small = Image.open(io.BytesIO(look(client, "exchanges/{latest}.png").content))
    assert (small.format, small.size) == ("PNG", (96, 48))
    np.testing.assert_allclose(np.asarray(small.convert("RGB"))[24, 48], [255, 128, 0], atol=3)


def test_the_picture_of_a_tar_is_found(client):
    """The first image among its members."""
    client.process(make_body(evalscript=PICTURE), accept="application/x-tar")
    small = Image.open(io.BytesIO(look(client, "exchanges/{latest}.png").content))
    assert small.size == (20, 10)


def test_a_garbled_answer_has_no_thumbnail(client):
    """What cannot be decoded is no failure of the page."""
    client.emulator.set_faults([{"kind": "html"}])
    client.process(make_body())
    assert look(client, "exchanges/{latest}.png").status_code == 404
    assert look(client, "exchanges/99.png").status_code == 404


def test_old_contents_make_room(launched):
    """Beyond the bytes that are kept, the rows stay and their contents go."""
    client = launched(recorded_nbytes=2000)
    client.process(make_body())
    client.process(make_body(**{"output.width": 30}))
    rows = look(client, "inspection.json").json()["exchanges"]
    assert [row["picture"] for row in rows] == [True, False, False]
    assert look(client, "exchanges/2.png").status_code == 404
    assert look(client, "exchanges/3.png").status_code == 200


def test_only_the_latest_are_listed(launched):
    """As many as are configured."""
    client = launched(recorded_requests=2)
    answers = [client.process({}) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [400, 400, 400]
    assert [row["number"] for row in look(client, "inspection.json").json()["exchanges"]] == [4, 3]
