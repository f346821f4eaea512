"""What is accepted as a job: both paths, and every refusal before a job begins."""

from __future__ import annotations

import json

import jsonschema
import pytest
import requests

from tests.contract.emulator.async_process.conftest import BUCKET, WRITER, make_order

DIALECT = "https://json-schema.org/draft/2020-12/schema"
UNKNOWN = "00000000-0000-4000-8000-000000000000"
KEYS = {"accessKey": WRITER.key_id, "secretAccessKey": WRITER.secret}
PLACE = f"s3://{BUCKET}/x"


@pytest.mark.parametrize("path", ["/api/v1/async/process", "/async/v1/process"])
def test_a_job_is_accepted_and_told_of(submitter, prefix, path):
    """By either path: its id, and that it runs, while it does."""
    submitter.emulator.set_faults("slow=60")
    headers = {"Authorization": f"Bearer {submitter.token}"}
    url = submitter.emulator.base_url + path
    answer = requests.post(url, json=make_order(prefix), headers=headers, timeout=60)
    assert (answer.status_code, set(answer.json()), answer.json()["status"]) == (200, {"id", "status"}, "RUNNING")
    told = submitter.status(answer.json()["id"], path)
    assert (told.status_code, told.json()) == (200, answer.json())


@pytest.mark.parametrize("path", ["/api/v1/async/process", "/async/v1/process"])
def test_an_unknown_job_is_not_found(submitter, path):
    """404 with the service's wrapper."""
    answer = submitter.status(UNKNOWN, path)
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "COMMON_NOT_FOUND")


def test_a_finished_job_is_as_unknown_as_any(submitter, prefix):
    """Nothing tells it from one that never was."""
    job = submitter.run(make_order(prefix))
    texts = {submitter.status(job_id).text.replace(job_id, "") for job_id in (job["id"], UNKNOWN)}
    assert (job["state"], len(texts)) == ("delivered", 1)


@pytest.mark.parametrize(
    ("changes", "parameter"),
    [
        ({"output": None}, "output"),
        ({"output.delivery": None}, "output->delivery"),
        ({"output.delivery": {}}, "output->delivery->s3"),
        ({"output.delivery.s3": KEYS}, "output->delivery->s3->url"),
        ({"output.delivery.s3": {**KEYS, "url": "https://bucket/x"}}, "output->delivery->s3->url"),
        ({"output.delivery.s3": {"url": PLACE}}, "output->delivery->s3"),
        ({"output.delivery.s3": {"url": PLACE, "accessKey": "a"}}, "output->delivery->s3"),
        ({"output.width": 10_001}, "output->width"),
        ({"output.width": 0}, "output->width"),
        ({"output.height": None}, "output->height"),
        ({"output.width": None, "output.height": None}, "output->width"),
        ({"output.width": None, "output.height": None, "output.resx": 0.01, "output.resy": 10}, "output->resx"),
        ({"evalscript": None}, "evalscript"),
        ({"evalscriptReference": {"s3": {**KEYS, "url": PLACE}}}, "evalscript"),
        ({"evalscript": None, "evalscriptReference": {}}, "evalscriptReference->s3"),
        ({"input.data": []}, "input->data"),
    ],
)
def test_a_wrong_order_is_refused(submitter, changes, parameter):
    """At once, with the place that is to blame, and without a job."""
    answer = submitter.submit(make_order("x", **changes))
    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (400, "COMMON_BAD_PAYLOAD")
    assert [place["parameter"] for place in error["errors"]] == [parameter]
    assert submitter.emulator.stats()["calls"] == {"POST /api/v1/async/process 400": 1}


@pytest.mark.parametrize(
    "script",
    ["//VERSION=3\nfunction setup() { throw new Error('no') }", "//VERSION=3\nnot JavaScript", "//VERSION=2\n", " "],
)
def test_a_script_that_cannot_be_is_refused_at_once(submitter, script):
    """As by the Process API."""
    assert submitter.submit(make_order("x", evalscript=script)).status_code == 400


def test_what_the_process_api_refuses_is_refused(submitter):
    """Such as a band that does not exist."""
    script = make_order("x")["evalscript"].replace("B02", "B99")
    answer = submitter.submit(make_order("x", evalscript=script))
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "RENDERER_EXCEPTION")


@pytest.mark.parametrize(
    "kind", ["text/plain", "application/x-www-form-urlencoded", 'multipart/form-data; boundary="b"']
)
def test_a_job_is_json_alone(submitter, kind):
    """No form, and no other type."""
    answer = submitter.session.post(
        submitter.emulator.base_url + "/async/v1/process",
        data=json.dumps(make_order("x")),
        headers={"Authorization": f"Bearer {submitter.token}", "Content-Type": kind},
        timeout=60,
    )
    assert (answer.status_code, answer.json()["error"]["code"]) == (415, "COMMON_UNSUPPORTED_MEDIA_TYPE")


def test_a_token_is_needed(submitter):
    """To submit, and to ask."""
    answers = [submitter.submit(make_order("x"), Authorization="Bearer no"), submitter.status(UNKNOWN, token="no")]
    assert [answer.status_code for answer in answers] == [401, 401]


def test_other_methods_are_refused(submitter):
    """Nothing can be listed or cancelled."""
    url = submitter.emulator.base_url + "/api/v1/async/process"
    answers = [requests.get(url, timeout=60), requests.delete(f"{url}/{UNKNOWN}", timeout=60)]
    assert [(answer.status_code, answer.headers["allow"]) for answer in answers] == [
        (405, "OPTIONS, POST"),
        (405, "GET, HEAD, OPTIONS"),
    ]


def test_google_is_not_served(submitter):
    """The emulator says so in words of its own."""
    answer = submitter.submit(make_order("x", **{"output.delivery": {"gs": {"url": "gs://b", "credentials": "e30="}}}))
    assert "This emulator does not serve Google" in answer.json()["error"]["message"]


def test_collections_of_several_deployments_are_not_fused(submitter):
    """Only the Process API does that."""
    script = """//VERSION=3
function setup() {
  return {input: [{datasource: "a", bands: ["B02"]}, {datasource: "b", bands: ["DEM"]}], output: {bands: 1}};
}
function evaluatePixel(samples) { return [0]; }"""
    data = [{"id": "a", "type": "pattern"}, {"id": "b", "type": "dem"}]
    body = make_order("x", evalscript=script, **{"input.data": data})
    answer = submitter.submit(body)
    assert (answer.status_code, "Process API alone" in answer.json()["error"]["message"]) == (400, True)


def test_without_an_s3_there_are_no_jobs(client):
    """An emulator that has nowhere to deliver to says what it lacks."""
    answer = client.session.post(
        client.emulator.base_url + "/api/v1/async/process",
        json=make_order("x"),
        headers={"Authorization": f"Bearer {client.token}"},
        timeout=60,
    )
    assert (answer.status_code, "--s3-endpoint" in answer.json()["error"]["message"]) == (400, True)


def test_more_jobs_than_allowed_are_turned_away(launch, prefix):
    """429 in the documented words and without Retry-After, until one has ended."""
    submitter = launch(async_concurrency=2, faults="slow=1@1")
    first, _ = submitter.started(make_order(prefix)), submitter.started(make_order(prefix))
    full = submitter.submit(make_order(prefix))
    assert (full.status_code, full.json()["error"]["message"], "retry-after" in full.headers) == (
        429,
        "Maximum number of concurrent async requests reached.",
        False,
    )
    submitter.wait(first)
    assert submitter.submit(make_order(prefix)).status_code == 200


def test_the_wait_for_a_place_can_be_told(launch, prefix):
    """Where the switch is set, as other waits are."""
    submitter = launch(async_concurrency=1, async_retry_after_s=2.5, faults="slow=60")
    submitter.started(make_order(prefix))
    assert submitter.submit(make_order(prefix)).headers["retry-after"] == "2500"


def test_calls_take_requests(launch, prefix):
    """Submissions and questions alike, from the bucket of every other call; a refused one gives its request back."""
    submitter = launch(requests_per_minute=1, request_burst=3, async_concurrency=1, faults="slow=60")
    job_id = submitter.started(make_order(prefix))
    statuses = [
        submitter.submit(make_order(prefix)).status_code,
        submitter.status(job_id).status_code,
        submitter.status(UNKNOWN).status_code,
        submitter.status(job_id).status_code,
    ]
    assert statuses == [429, 200, 404, 429]


def test_a_body_of_the_description_is_accepted(submitter, prefix):
    """The published schema of orders holds for one."""
    told = requests.get(submitter.emulator.base_url + "/emulator/openapi.json", timeout=30).json()
    schema = {"$schema": DIALECT, "$ref": "#/components/schemas/AsyncBody", "components": told["components"]}
    validator = jsonschema.Draft202012Validator(schema)
    assert validator.is_valid(make_order(prefix))
    assert not validator.is_valid(make_order(prefix, **{"output.delivery": None}))
    assert not validator.is_valid(make_order(prefix, **{"output.width": 10_001}))
