"""An order of a job against a loopback server that follows a script: repeated where it was refused, and only there."""

from __future__ import annotations

import json
import logging
import pickle
import re
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from shdask.errors import (
    BudgetExceeded,
    DecodeError,
    JobQueueFull,
    JobSubmitLost,
    QuotaExhausted,
    RequestRejected,
    ServiceUnavailable,
    ShdaskError,
    TransportError,
)
from shdask.fetch.async_process import poll_job, submit_job
from shdask.fetch.budget import BudgetState, LocalBudget
from shdask.fetch.client import ServiceClient, Spent
from shdask.fetch.retry import RetryPolicy
from shdask.fetch.transport import RequestsTransport, Timeouts
from shdask.request.delivery import s3_json
from tests.unit.fetch.test_client import Diary

CANARY = "canary-of-the-bucket"
BODY = {
    "input": {},
    "output": {"delivery": s3_json("s3://bucket/a", access_key="key", secret_access_key=CANARY)},
}
RUNNING = json.dumps({"id": "8ea4f0b2", "status": "RUNNING"}).encode()
FULL = json.dumps(
    {"error": {"code": "RATE_LIMIT_EXCEEDED", "message": "Maximum number of concurrent async requests reached."}}
).encode()
WORDS = json.dumps({"error": {"code": "RENDERER_EXCEPTION", "message": "the storage did not answer"}}).encode()


@pytest.fixture
def diary() -> Diary:
    """A gate, token source and budget that write down what they were asked."""
    return Diary()


@pytest.fixture
def client_of(deploy: Any, diary: Diary, clock: Any) -> Iterator[Callable[..., ServiceClient]]:
    """A client of a scripted server, by the fake clock, with short time-outs on the wire."""
    transport = RequestsTransport(2)

    def make(server: Any, budget: Any = None) -> ServiceClient:
        return ServiceClient(
            deploy(server.url),
            transport,
            diary,
            diary,
            RetryPolicy(max_retries=3),
            timeouts=Timeouts(connect_s=1, read_s=0.4, total_s=0.4),
            budget=budget or diary,
            clock=clock,
            sleep=clock.sleep,
        )

    yield make
    transport.close()


@pytest.fixture
def spent() -> Spent:
    """What the order has cost."""
    return Spent()


def test_an_accepted_job_is_known_by_its_id(client_of: Any, serve: Any, reply: Any, spent: Spent, diary: Diary):
    """One request to the path of Async Process; its price is what the answer states, or else the projection."""
    server = serve(reply(body=RUNNING))
    assert submit_job(client_of(server), BODY, 12.5, spent) == "8ea4f0b2"
    (seen,) = server.seen
    assert (seen.method, seen.path, json.loads(seen.body)) == ("POST", "/api/v1/async/process", BODY)
    assert spent == Spent(requests=1, pu=12.5, nbytes=len(RUNNING))
    assert diary.entries == [("permit", 0.0), "token"]
    assert diary.account == [12.5, -12.5]


@pytest.mark.parametrize(
    "refusals",
    [
        [{"status": 503}, {"status": 503, "body": b"<html>"}],
        [{"status": 500, "body": WORDS}],
        [{"status": 429, "headers": {"Retry-After": "500"}}] * 9,
        [{"status": 401}],
        [{"status": 408}],
        [{"status": 400, "body": b'{"error": {"message": "Request body should be non-empty"}}'}],
    ],
)
def test_an_order_that_was_refused_for_now_is_repeated(
    client_of: Any, serve: Any, reply: Any, spent: Spent, refusals: list[dict[str, Any]]
):
    """No job exists, and nothing was charged; the job is ordered once in the end."""
    server = serve(*(reply(**refusal) for refusal in refusals), reply(body=RUNNING))
    assert submit_job(client_of(server), BODY, 12.5, spent) == "8ea4f0b2"
    assert (len(server.seen), spent.requests) == (len(refusals) + 1, len(refusals) + 1)
    assert (spent.pu, spent.pu_unknown) == (12.5, 0.0)


@pytest.mark.parametrize(
    ("fault", "known", "unknown"),
    [
        ({"reset": True}, 0.0, 12.5),
        ({"delay_s": 2.0}, 0.0, 12.5),
        ({"status": 502}, 0.0, 12.5),
        ({"status": 504, "body": WORDS}, 0.0, 12.5),
        ({"status": 500, "body": b"<html>"}, 0.0, 12.5),
        ({"body": RUNNING, "sent_nbytes": 10}, 12.5, 0.0),
        ({"body": RUNNING, "sent_nbytes": 10, "headers": {"x-processingunits-spent": "0"}}, 0.0, 12.5),
        ({"body": b"<html>"}, 12.5, 0.0),
        ({"body": b"{}"}, 12.5, 0.0),
        ({"body": b"[" * 100_000}, 12.5, 0.0),
    ],
    ids=["reset", "silent", "502", "504", "gateway-500", "cut", "cut-for-nothing", "html", "no-id", "brackets"],
)
def test_an_order_whose_answer_is_lost_is_never_repeated(
    client_of: Any,
    serve: Any,
    reply: Any,
    spent: Spent,
    diary: Diary,
    fault: dict[str, Any],
    known: float,
    unknown: float,
):
    """The job may exist: one request, an error at once, and its price is counted once, in the budget as well."""
    server = serve(reply(**fault), reply(body=RUNNING))
    with pytest.raises(JobSubmitLost, match="the answer to the order of a job was lost") as caught:
        submit_job(client_of(server), BODY, 12.5, spent)
    assert caught.value.may_be_charged
    assert len(server.seen) == 1
    assert (spent.pu, spent.pu_unknown) == (known, unknown)
    assert diary.account == [12.5, -12.5]


def test_an_order_that_did_not_arrive_is_repeated(client_of: Any, serve: Any, reply: Any, spent: Spent, clock: Any):
    """Nothing listens: no job can exist."""
    server = serve(reply())
    server.shutdown()
    server.server_close()
    with pytest.raises(TransportError):
        submit_job(client_of(server), BODY, 12.5, spent)
    assert spent == Spent(requests=4)
    assert len(clock.slept) == 3


def test_a_full_queue_is_told_at_once_and_slows_nobody(
    client_of: Any, serve: Any, reply: Any, spent: Spent, diary: Diary, clock: Any
):
    """It says nothing of rates: the limiter does not hear of it, and it is not counted as rejected."""
    server = serve(reply(status=429, body=FULL, headers={"Retry-After": "5000"}))
    with pytest.raises(JobQueueFull, match="Maximum number of concurrent async requests") as caught:
        submit_job(client_of(server), BODY, 12.5, spent)
    assert (caught.value.status, caught.value.retry_after_s) == (429, 5.0)
    assert spent == Spent(requests=1, nbytes=len(FULL))
    assert diary.entries == [("permit", 0.0), "token"]
    assert diary.health == ["answered"]
    assert clock.slept == []


@pytest.mark.parametrize(
    ("refusal", "kind"),
    [
        ({"status": 400, "body": b'{"error": {"message": "no such band"}}'}, RequestRejected),
        ({"status": 403, "body": b'{"error": {"code": "ACCESS_INSUFFICIENT_PROCESSING_UNITS"}}'}, QuotaExhausted),
    ],
)
def test_a_refusal_for_good_is_told_at_once(
    client_of: Any, serve: Any, reply: Any, spent: Spent, refusal: dict[str, Any], kind: type[Exception]
):
    """As of any request; nothing is charged."""
    server = serve(reply(**refusal))
    with pytest.raises(kind):
        submit_job(client_of(server), BODY, 12.5, spent)
    assert (len(server.seen), spent.pu, spent.pu_unknown) == (1, 0.0, 0.0)


def test_an_order_beyond_the_cap_is_not_sent(client_of: Any, serve: Any, reply: Any, spent: Spent):
    """A job is reserved in the budget as a request is."""
    server = serve(reply(body=RUNNING))
    with pytest.raises(BudgetExceeded):
        submit_job(client_of(server, LocalBudget(BudgetState(max_pu=10.0))), BODY, 12.5, spent)
    assert server.seen == []


@pytest.mark.parametrize(
    "fault",
    [
        {"status": 400, "body": json.dumps({"error": {"message": f"bad secretAccessKey {CANARY}"}}).encode()},
        {"reset": True},
        {"status": 503},
    ],
)
def test_the_keys_of_the_bucket_are_in_no_error(
    client_of: Any, serve: Any, reply: Any, spent: Spent, caplog: pytest.LogCaptureFixture, fault: dict[str, Any]
):
    """Nor in its traceback with all locals, its log or its pickle, even where the service repeats what it was sent."""
    caplog.set_level(logging.DEBUG)
    with pytest.raises(ShdaskError) as caught:
        submit_job(client_of(serve(reply(**fault))), BODY, 12.5, spent)
    shown = traceback.TracebackException.from_exception(caught.value, capture_locals=True)
    ours = [(frame.name, frame.locals) for frame in shown.stack if "tests" not in Path(frame.filename).parts]
    assert [name for name, _ in ours] == ["submit_job"]
    assert CANARY not in f"{ours} {caught.value}"
    assert CANARY not in caplog.text
    assert CANARY.encode() not in pickle.dumps(caught.value)


@pytest.mark.parametrize(
    "fault",
    [
        {"status": 502, "body": json.dumps({"error": {"message": f"bad secretAccessKey {CANARY}"}}).encode()},
        {"status": 503, "body": json.dumps({"error": {"message": f"bad secretAccessKey {CANARY}"}}).encode()},
        {"status": 502, "body": b"x" * 480 + CANARY.encode()},
        {"body": json.dumps({"secretAccessKey": CANARY}).encode()},
        {"body": b'{"secretAccessKey": "' + b" " * 30 + CANARY.encode()},
    ],
    ids=["lost", "refused", "lost-and-clipped", "no-id", "no-id-and-clipped"],
)
def test_what_is_told_of_an_order_holds_no_part_of_the_keys(
    client_of: Any,
    serve: Any,
    reply: Any,
    spent: Spent,
    diary: Diary,
    caplog: pytest.LogCaptureFixture,
    fault: dict[str, Any],
):
    """Neither the error nor the log nor the limiter, wherever the service repeats the order and is cut short."""
    caplog.set_level(logging.DEBUG)
    with pytest.raises(ShdaskError, match=re.escape("***")) as caught:
        submit_job(client_of(serve(reply(**fault))), BODY, 12.5, spent)
    assert CANARY[:8] not in f"{caught.value} {caplog.text} {diary.health}"
    assert "***" in diary.health[0]


def test_an_id_is_read_as_it_is_told(client_of: Any, serve: Any, reply: Any, spent: Spent):
    """Even where a short secret happens to be a part of it."""
    body = {"output": {"delivery": s3_json("s3://bucket/a", access_key="key", secret_access_key="ea4f")}}
    assert submit_job(client_of(serve(reply(body=RUNNING))), body, 12.5, spent) == "8ea4f0b2"


def test_a_job_runs_as_long_as_its_status_is_told(client_of: Any, serve: Any, reply: Any, diary: Diary):
    """Asked for by its id, for no processing units."""
    server = serve(reply(body=RUNNING))
    assert poll_job(client_of(server), "8e/a4") is True
    assert (server.seen[0].method, server.seen[0].path) == ("GET", "/api/v1/async/process/8e%2Fa4")
    assert diary.entries == [("permit", 0.0), "token"]


def test_a_job_that_is_not_found_runs_no_more(client_of: Any, serve: Any, reply: Any):
    """Whatever became of it."""
    gone = json.dumps({"error": {"status": 404, "code": "COMMON_NOT_FOUND", "message": "Request not found."}}).encode()
    assert poll_job(client_of(serve(reply(status=404, body=gone))), "8ea4f0b2") is False


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        ({"status": 403}, RequestRejected),
        ({"status": 500}, ServiceUnavailable),
        ({"body": b"<html>log in</html>"}, DecodeError),
    ],
)
def test_any_other_answer_says_nothing_of_a_job(
    client_of: Any, serve: Any, reply: Any, answer: dict[str, Any], kind: type[Exception]
):
    """It must not be taken for its end."""
    with pytest.raises(kind):
        poll_job(client_of(serve(reply(**answer))), "8ea4f0b2")


def test_no_refusal_of_a_poll_tells_a_key(client_of: Any, serve: Any, reply: Any, monkeypatch: pytest.MonkeyPatch):
    """A service may repeat the order it was asked about, and with it the keys of this process."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIA0123456789")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", CANARY)
    told = json.dumps({"error": {"status": 400, "message": f"delivery with {CANARY}"}}).encode()
    with pytest.raises(RequestRejected, match=re.escape("delivery with ***")) as caught:
        poll_job(client_of(serve(reply(status=400, body=told))), "8ea4f0b2")
    assert CANARY[:8] not in str(caught.value)
