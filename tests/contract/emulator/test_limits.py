"""The emulator's limits and counts, over HTTP."""

from __future__ import annotations

import subprocess
import sys

import psutil
import pytest

from .conftest import make_body

# slow enough that no bucket refills by one within a test
SLOW = 0.1
BIG = {"output.width": 512, "output.height": 512}


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
    """Killing the program that started an emulator ends the emulator and its renderers."""
    program = (
        "from shdask.emulator.launch import start_emulator\n"
        "with start_emulator(renderers=1) as e:\n    print(e.pid, flush=True)\n    input()\n"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdin=-1, stdout=-1, text=True) as parent:
        emulator = psutil.Process(int(parent.stdout.readline()))
        family = [emulator, *emulator.children()]
        parent.kill()
        _, alive = psutil.wait_procs(family, timeout=10)
    assert len(family) == 2
    assert alive == []
