"""The emulator's limits and counts, over HTTP."""

from __future__ import annotations

import base64
import json
import subprocess
import sys

import psutil
import pytest
import requests

from .conftest import Client, make_body

# slow enough that no bucket refills by one within a test
SLOW = 0.1
BIG = {"output.width": 512, "output.height": 512}


def user_of(client: Client) -> str:
    """The account that the client's token names."""
    payload = client.token.split(".")[1]
    subject: str = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))["sub"]
    return subject


def ask(client: Client, path: str) -> requests.Response:
    """The answer to a question about the account's limits."""
    headers = {"Authorization": f"Bearer {client.token}"}
    return client.session.get(f"{client.emulator.base_url}/aux/ratelimit/{path}", headers=headers, timeout=10)


def test_empty_request_bucket_answers_429_with_milliseconds(launched):
    """The call over the limit is 429 with the milliseconds until the next token."""
    client = launched(requests_per_minute=SLOW, request_burst=1)
    statuses = [client.process(make_body()).status_code]
    answer = client.process(make_body())
    assert [*statuses, answer.status_code] == [200, 429]
    assert answer.json()["error"]["code"] == "RATE_LIMIT_EXCEEDED"
    assert answer.json()["error"]["message"] == "You have exceeded your rate limit"
    assert 500_000 < int(answer.headers["Retry-After"]) <= 600_000


def test_retry_after_may_count_seconds(launched):
    """The unit of Retry-After is a choice, since clients disagree."""
    client = launched(requests_per_minute=SLOW, request_burst=1, retry_after_unit="s")
    client.process(make_body())
    assert 500 < int(client.process(make_body()).headers["Retry-After"]) <= 600


def test_empty_pu_bucket_answers_429(launched):
    """Processing units are limited by what calls cost: 1/3 PU each, and 0.5 in the bucket."""
    client = launched(pu_per_minute=SLOW, pu_burst=0.5)
    answers = [client.process(make_body(**BIG)).status_code for _ in range(2)]
    assert answers == [200, 429]
    assert client.emulator.stats()["pu_charged"] == pytest.approx(1 / 3)


def test_failed_call_costs_no_pu(launched):
    """Only answers with 2xx are charged: the failed script leaves the bucket full."""
    client = launched(pu_per_minute=SLOW, pu_burst=0.4)
    thrown = make_body(**BIG)["evalscript"].replace("return [s", "throw 1; return [s")
    statuses = [
        client.process(make_body(**BIG, evalscript=thrown)).status_code,
        client.process(make_body(**BIG)).status_code,
    ]
    assert statuses == [400, 200]


def test_call_beyond_the_bucket_never_passes(launched):
    """A call that costs more than the bucket holds is 429 with a code of its own, and no advice to wait."""
    answer = launched(pu_per_minute=SLOW, pu_burst=0.2).process(make_body(**BIG))
    assert answer.status_code == 429
    assert answer.json()["error"]["code"] == "RATE_LIMIT_TOKEN_COUNT_EXCEEDS_CAPACITY"
    assert "Retry-After" not in answer.headers


def test_a_used_up_month_answers_403(launched):
    """The call beyond the month's units is 403 in the words that clients have met, and costs nothing."""
    client = launched(pu_per_month=0.5, pu_per_minute=1000)
    assert client.process(make_body(**BIG)).status_code == 200
    answer = client.process(make_body(**BIG))
    assert (answer.status_code, "Retry-After" in answer.headers) == (403, False)
    assert answer.json()["error"] == {
        "status": 403,
        "reason": "Forbidden",
        "message": "Insufficient processing units or requests available in your account.",
        "code": "ACCESS_INSUFFICIENT_PROCESSING_UNITS",
    }
    assert client.emulator.stats()["pu_charged"] == pytest.approx(1 / 3)


def test_failed_calls_may_cost_no_request(launched):
    """By choice one 200 and two 400s take one request of the month's 30,000."""
    client = launched(plan="trial", failed_takes_request=False)
    scripts = ("", make_body()["evalscript"], "")
    statuses = [client.process(make_body(evalscript=script)).status_code for script in scripts]
    counts = ask(client, f"statistics/tokenCounts/{user_of(client)}").json()["data"]["REQUESTS"]
    assert statuses == [400, 200, 400]
    assert counts["PT744H"] == pytest.approx(29_999, abs=0.1)


def test_units_may_be_taken_when_the_work_is_done(launched):
    """By choice a third of a unit is gone only when the answer is there; and then it is."""
    client = launched(pu_per_month=10, pu_taken="after")
    client.process(make_body(**BIG))
    counts = ask(client, f"statistics/tokenCounts/{user_of(client)}").json()
    assert counts["data"]["PROCESSING_UNITS"]["PT744H"] == pytest.approx(10 - 1 / 3, abs=1e-3)


def test_an_account_can_ask_for_its_contract(launched):
    """A plan's policies are told as the service tells them, to the user whom the token names."""
    client = launched(plan="enterprise-s")
    contract = ask(client, f"contract?userId=eq%3A{user_of(client)}").json()
    policies = {entry["type"]["name"]: entry["policies"] for entry in contract["data"]}
    assert {entry["userId"] for entry in contract["data"]} == {user_of(client)}
    assert policies["PROCESSING_UNITS"] == [
        {"capacity": 1000, "samplingPeriod": "PT1M", "nanosBetweenRefills": 60000000, "niceSamplindPeriod": "1 minute"},
        {
            "capacity": 400000,
            "samplingPeriod": "PT744H",
            "nanosBetweenRefills": 6696000000,
            "niceSamplindPeriod": "31 days",
        },
    ]
    assert [policy["capacity"] for policy in policies["REQUESTS"]] == [600, 8_000_000]


def test_an_account_can_ask_what_is_left(launched):
    """A fresh account has all of its plan, by kind and sampling period; asking costs nothing."""
    client = launched(plan="cdse-general")
    counts = [ask(client, f"statistics/tokenCounts/{user_of(client)}").json() for _ in range(2)]
    full = {"PT1M": 300.0, "PT744H": 10_000.0}
    assert counts == [{"data": {"REQUESTS": full, "PROCESSING_UNITS": full}}] * 2


@pytest.mark.parametrize("path", ["contract?userId=eq:someone", "statistics/tokenCounts/someone"])
def test_nobody_can_ask_about_others(client, path):
    """Another user's limits are 403, and nobody's without a token 401."""
    answers = [ask(client, path), requests.get(f"{client.emulator.base_url}/aux/ratelimit/{path}", timeout=10)]
    assert [answer.status_code for answer in answers] == [403, 401]
    assert answers[0].json()["error"]["code"] == "COMMON_INSUFFICIENT_PERMISSIONS"


def test_stats_count_calls_and_reset_forgets(launched):
    """Counts hold calls by path and status, tokens and PU; reset zeroes them and keeps tokens valid."""
    client = launched()
    client.process(make_body())
    client.process(make_body(evalscript=""))
    before = client.emulator.stats()
    bodies = client.emulator.requests()
    client.emulator.reset()
    assert before["calls"]["POST /api/v1/process 200"] == 1
    assert before["calls"]["POST /api/v1/process 400"] == 1
    assert before["tokens_issued"] == 1
    assert before["connections_seen"] == 1
    assert bodies == [make_body(), make_body(evalscript="")]
    assert client.emulator.stats()["answered"] == 0
    assert client.process(make_body()).status_code == 200


def test_latency_is_waited_before_every_answer(launched):
    """A configured latency passes before an answer, good or bad."""
    client = launched(latency_s=0.2)
    answers = [client.process(make_body()), client.process(make_body(evalscript=""))]
    assert min(answer.elapsed.total_seconds() for answer in answers) >= 0.2


def test_emulator_ends_with_its_parent():
    """Killing the program that started an emulator ends the emulator and its renderer, one until two are needed."""
    program = (
        "from shdask.emulator.launch import start_emulator\n"
        "with start_emulator(renderers=2) as e:\n    print(e.pid, flush=True)\n    input()\n"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdin=-1, stdout=-1, text=True) as parent:
        emulator = psutil.Process(int(parent.stdout.readline()))
        family = [emulator, *emulator.children()]
        parent.kill()
        _, alive = psutil.wait_procs(family, timeout=10)
    assert len(family) == 2
    assert alive == []
