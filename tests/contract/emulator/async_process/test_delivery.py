"""What jobs leave in the bucket, and when they cannot."""

from __future__ import annotations

import io

import numpy as np
import pytest
import rasterio
from PIL import Image

from tests.contract.emulator.async_process.conftest import BUCKET, READER, ROLE, WRITER, make_order
from tests.contract.emulator.conftest import SCRIPT, make_body
from tests.seaweed import Keys

FIVE = """//VERSION=3
function setup() {
  return {input: [{bands: ["B02", "B03", "B04", "B08", "dataMask"], units: "DN"}],
          output: {bands: 2, sampleType: "UINT16"}};
}
function evaluatePixel(s) { return [s.B02 + s.B08, s.dataMask]; }
"""
TWO_OUTPUTS = """//VERSION=3
function setup() {
  return {input: ["B02", "B03", "B04"], output: [{id: "rgb", bands: 3, sampleType: "UINT8"}, {id: "ndvi", bands: 1,
          sampleType: "FLOAT32"}]};
}
function evaluatePixel(s) { return {rgb: [s.B02 * 255, s.B03 * 255, s.B04 * 255], ndvi: [s.B04]}; }
function updateOutputMetadata(scenes, input, output) { output.userData = {said: "so"}; }
"""
THROWS = """//VERSION=3
function setup() { return {input: ["B02"], output: {bands: 1}}; }
function evaluatePixel(s) { throw new Error("no luck"); }
"""
ONE = """//VERSION=3
function setup() { return {input: ["B02"], output: {bands: 1}}; }
function evaluatePixel(s) { return [s.B02]; }
"""
COUNTS = """//VERSION=3
let rows = 0;
function setup() { return {input: ["B02"], output: {bands: 1}}; }
function evaluatePixel(s) { rows += 1; return [0]; }
function updateOutputMetadata(scenes, input, output) { output.userData = {pixels: rows}; }
"""


def response(identifier: str, kind: str) -> dict[str, object]:
    """An element of output.responses."""
    return {"identifier": identifier, "format": {"type": kind}}


def test_a_file_lies_where_it_is_documented(submitter, bucket, prefix):
    """``<url>/<id>/<identifier>.<ext>``, with a copy of the request beside it."""
    job = submitter.run(make_order(prefix))
    assert bucket.names(prefix) == [f"{job['id']}/default.tif", f"{job['id']}/request.json"]


def test_the_file_is_the_answer_of_process(submitter, bucket, prefix):
    """The same pixels, place and type."""
    job = submitter.run(make_order(prefix))
    delivered, answered = bucket.read(f"{prefix}/{job['id']}/default.tif"), submitter.process(make_body()).content
    with rasterio.open(io.BytesIO(delivered)) as ours, rasterio.open(io.BytesIO(answered)) as theirs:
        np.testing.assert_array_equal(ours.read(), theirs.read())
        assert (ours.transform, ours.crs, ours.dtypes) == (theirs.transform, theirs.crs, theirs.dtypes)
        assert ours.read(1).any()


def test_a_large_picture_is_its_parts(submitter, bucket, prefix):
    """10,000 px drawn in several strips are what the Process API draws of its quarters, geometry included."""
    ring = [[500000, 5090000], [600000, 5091000], [560000, 5099000], [500000, 5098900], [500000, 5090000]]
    area = {"input.bounds.geometry": {"type": "Polygon", "coordinates": [ring]}, "evalscript": FIVE}
    size = {"output.width": 10_000, "output.height": 900, "input.bounds.bbox": [500000, 5090010, 600000, 5099010]}
    job = submitter.run(make_order(prefix, **area, **size))
    quarters = [
        submitter.process(
            make_body(
                **area,
                **{
                    "output.width": 2500,
                    "output.height": 900,
                    "input.bounds.bbox": [left, 5090010, left + 25_000, 5099010],
                },
            )
        )
        for left in (500000, 525000, 550000, 575000)
    ]
    images = [rasterio.open(io.BytesIO(quarter.content)).read() for quarter in quarters]
    with rasterio.open(io.BytesIO(bucket.read(f"{prefix}/{job['id']}/default.tif"))) as whole:
        np.testing.assert_array_equal(whole.read(), np.concatenate(images, axis=2))
        assert 0.1 < whole.read(2).mean() < 0.9


def test_a_tiff_is_plain_and_striped(submitter, bucket, prefix):
    """No tiles and no overviews."""
    job = submitter.run(make_order(prefix, **{"output.width": 1000, "output.height": 700}))
    with rasterio.open(io.BytesIO(bucket.read(f"{prefix}/{job['id']}/default.tif"))) as tiff:
        assert (tiff.profile["tiled"], tiff.block_shapes[0][1], tiff.overviews(1)) == (False, 1000, [])
        assert tiff.block_shapes[0][0] < 700


def test_the_largest_job_needs_little_memory(launch, bucket, prefix):
    """A renderer that may not grow beyond 600 MB draws 10,000 x 10,000 pixels, of which it reads 800 MB."""
    submitter = launch(script_memory_mb=600)
    bounds = [500000, 5000000, 600000, 5100000]
    body = make_order(
        prefix, **{"output.width": 10_000, "output.height": 10_000, "input.bounds.bbox": bounds, "evalscript": SCRIPT}
    )
    job = submitter.run(body)
    assert (job["state"], job["message"]) == ("delivered", None)
    assert bucket.names(prefix) == [f"{job['id']}/default.tif", f"{job['id']}/request.json"]


def test_every_output_is_a_file(submitter, bucket, prefix):
    """Of the format it was asked for in, and userdata as JSON."""
    responses = [
        response("rgb", "image/png"),
        response("ndvi", "image/tiff"),
        response("userdata", "application/json"),
    ]
    job = submitter.run(make_order(prefix, evalscript=TWO_OUTPUTS, **{"output.responses": responses}))
    folder = f"{prefix}/{job['id']}"
    assert bucket.names(folder) == ["ndvi.tif", "request.json", "rgb.png", "userdata.json"]
    assert bucket.json(f"{folder}/userdata.json") == {"said": "so"}
    assert Image.open(io.BytesIO(bucket.read(f"{folder}/rgb.png"))).size == (20, 10)
    with rasterio.open(io.BytesIO(bucket.read(f"{folder}/ndvi.tif"))) as tiff:
        assert tiff.dtypes == ("float32",)


@pytest.mark.parametrize(("kind", "extension"), [("image/png", "png"), ("image/jpeg", "jpg")])
def test_a_picture_is_the_answer_of_process(submitter, bucket, prefix, kind, extension):
    """PNG and JPEG of jobs hold the same pixels."""
    changes = {"evalscript": TWO_OUTPUTS, "output.responses": [response("rgb", kind)]}
    job = submitter.run(make_order(prefix, **changes))
    delivered = Image.open(io.BytesIO(bucket.read(f"{prefix}/{job['id']}/rgb.{extension}")))
    answered = Image.open(io.BytesIO(submitter.process(make_body(**changes)).content))
    np.testing.assert_array_equal(np.asarray(delivered), np.asarray(answered))


def test_without_responses_it_is_a_png(submitter, bucket, prefix):
    """Named default."""
    job = submitter.run(make_order(prefix, evalscript=ONE, **{"output.responses": None}))
    assert bucket.names(f"{prefix}/{job['id']}") == ["default.png", "request.json"]


@pytest.mark.parametrize(
    ("template", "keys"),
    [
        ("<REQUEST_ID>/<OUTPUT>", ["{}/default.tif", "{}/request.json"]),
        ("<OUTPUT>-of-<REQUEST_ID>", ["default-of-{}.tif", "request-of-{}.json"]),
        ("here/<OUTPUT>", ["here/default.tif", "here/request.json"]),
        ("there-<REQUEST_ID>", ["there-{}/default.tif", "there-{}/request.json"]),
        ("a/b/", ["a/b/{}/default.tif", "a/b/{}/request.json"]),
    ],
)
def test_a_url_may_be_a_template(submitter, bucket, prefix, template, keys):
    """Its placeholders are filled in; without any it is a folder of folders."""
    job = submitter.run(make_order(f"{prefix}/{template}"))
    assert bucket.names(prefix) == [key.format(job["id"]) for key in keys]


def test_a_script_may_be_in_a_bucket(submitter, bucket, prefix):
    """Read with the keys that stand with it, and priced like any other."""
    url = bucket.put(f"{prefix}-scripts/a.js", FIVE.encode())
    s3 = {"url": url, "accessKey": READER.key_id, "secretAccessKey": READER.secret}
    job = submitter.run(make_order(prefix, evalscript=None, evalscriptReference={"s3": s3}))
    assert (job["state"], job["pu"]) == ("delivered", 10.0)
    with rasterio.open(io.BytesIO(bucket.read(f"{prefix}/{job['id']}/default.tif"))) as tiff:
        answered = rasterio.open(io.BytesIO(submitter.process(make_body(evalscript=FIVE)).content))
        np.testing.assert_array_equal(tiff.read(), answered.read())


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("b.js", b"//VERSION=3\nnot JavaScript", "Failed to evaluate script!"),
        ("b.js", b"//VERSION=1\n", "other versions than 3"),
        ("else.js", b"//VERSION=3", "NoSuchKey"),
    ],
)
def test_a_script_in_a_bucket_that_cannot_be_fails_the_job(submitter, bucket, prefix, name, content, message):
    """It was accepted unseen."""
    bucket.put(f"{prefix}-scripts/{name}", content)
    url = f"s3://{BUCKET}/{prefix}-scripts/b.js"
    s3 = {"url": url, "accessKey": WRITER.key_id, "secretAccessKey": WRITER.secret}
    job = submitter.run(make_order(prefix, evalscript=None, evalscriptReference={"s3": s3}))
    assert job["state"] == "failed"
    assert message in bucket.json(f"{prefix}/{job['id']}/error.json")["message"]
    assert submitter.emulator.stats()["pu_charged"] == 0


def test_a_role_that_is_known_has_its_keys(submitter, bucket, prefix):
    """Keys of the emulator's configuration stand for the role."""
    s3 = {"url": f"s3://{BUCKET}/{prefix}", "iamRoleARN": ROLE}
    job = submitter.run(make_order(prefix, **{"output.delivery.s3": s3}))
    assert bucket.names(prefix) == [f"{job['id']}/default.tif", f"{job['id']}/request.json"]


def test_a_role_that_is_unknown_delivers_nothing(submitter, bucket, prefix):
    """Not even an error, and the job is over all the same."""
    s3 = {"url": f"s3://{BUCKET}/{prefix}", "iamRoleARN": "arn:aws:iam::1:role/else"}
    job = submitter.run(make_order(prefix, **{"output.delivery.s3": s3}))
    assert (job["state"], submitter.status(job["id"]).status_code) == ("undeliverable", 404)
    assert bucket.names(prefix) == []


@pytest.mark.parametrize("keys", [READER, Keys(key_id="nobody", secret="nothing")])
def test_a_bucket_that_cannot_be_written_gets_nothing(submitter, bucket, prefix, keys):
    """The job is accepted, ends, and leaves no trace."""
    job = submitter.run(make_order(prefix, keys))
    assert (job["state"], submitter.status(job["id"]).status_code) == ("undeliverable", 404)
    assert bucket.names(prefix) == []


def test_a_script_that_throws_leaves_an_error(submitter, bucket, prefix):
    """In a file with a message, beside the copy of the request."""
    job = submitter.run(make_order(prefix, evalscript=THROWS))
    folder = f"{prefix}/{job['id']}"
    assert bucket.names(folder) == ["error.json", "request.json"]
    assert "Error: no luck" in bucket.json(f"{folder}/error.json")["message"]
    assert bucket.json(f"{folder}/request.json")["status"] == "FAILED"


def test_an_error_may_be_wrapped(launch, bucket, prefix):
    """As other errors, where the switch is set."""
    job = launch(async_error_body="wrapped").run(make_order(prefix, evalscript=THROWS))
    assert "no luck" in bucket.json(f"{prefix}/{job['id']}/error.json")["error"]["message"]


def test_a_script_sees_every_pixel_in_one_life(submitter, bucket, prefix):
    """What it gathers is gathered over all strips."""
    size = {"output.width": 3000, "output.height": 3000, "input.bounds.bbox": [500000, 5000000, 530000, 5030000]}
    responses = [response("default", "image/tiff"), response("userdata", "application/json")]
    job = submitter.run(make_order(prefix, evalscript=COUNTS, **size, **{"output.responses": responses}))
    assert bucket.json(f"{prefix}/{job['id']}/userdata.json") == {"pixels": 9_000_000}


def test_the_copy_of_the_request_has_its_cost_at_the_end(submitter, bucket, prefix):
    """It is there while the job runs, without a cost."""
    submitter.emulator.set_faults("slow=1")
    job_id = submitter.started(make_order(prefix))
    submitter.wait(job_id, lambda job: job["state"] == "running")
    before = bucket.json(f"{prefix}/{job_id}/request.json")
    submitter.wait(job_id)
    after = bucket.json(f"{prefix}/{job_id}/request.json")
    assert (before["status"], "costPU" in before) == ("RUNNING", False)
    assert (after["status"], after["costPU"]) == ("DONE", 10.0)
    assert after["request"]["output"]["delivery"]["s3"] == {"url": f"s3://{BUCKET}/{prefix}"}


def test_no_copy_is_left_where_none_is_wanted(launch, bucket, prefix):
    """Then a job shows in the bucket only by what it delivers."""
    job = launch(async_copies_request=False).run(make_order(prefix))
    assert bucket.names(prefix) == [f"{job['id']}/default.tif"]
