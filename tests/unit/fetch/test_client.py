"""A request through permit, token, POST and decoding, against a loopback server that follows a script."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import pytest

from shdask.errors import (
    AuthError,
    BudgetExceeded,
    DecodeError,
    QuotaExhausted,
    RateLimited,
    RequestRejected,
    ServiceUnavailable,
    ShdaskError,
    TokenRejected,
    TransportError,
)
from shdask.fetch.auth import AccessToken
from shdask.fetch.client import ServiceClient, Spent
from shdask.fetch.retry import RetryPolicy
from shdask.fetch.transport import RequestsTransport, Timeouts

BODY = {"output": {"width": 1, "height": 1}, "input": {}}
PU_HEADER = "x-processingunits-spent"


@dataclass
class Diary:
    """A gate and a token source that write down what they were asked."""

    entries: list[object] = field(default_factory=list)
    health: list[str] = field(default_factory=list)
    tokens: int = 1
    promises: list[int | None] = field(default_factory=list)
    """What the budget answers next; a promise where nothing is said."""
    refusal: BudgetExceeded | None = None
    account: list[float] = field(default_factory=list)
    """What was reserved, and below nothing what it was settled with."""

    def reserve(self, pu: float) -> int | None:
        """A promise, or what was said."""
        self.account.append(pu)
        if self.refusal is not None:
            raise self.refusal
        return self.promises.pop(0) if self.promises else 1

    def settle(self, promise: int, spent: float) -> None:  # noqa: ARG002  # the seam's signature
        """Heard what a promise has come to."""
        self.account.append(-spent)

    def acquire(self, pu: float) -> float:
        """A permit at once."""
        self.entries.append(("permit", pu))
        return 0.0

    def answered(self) -> None:
        """Heard that the service works."""
        self.health.append("answered")

    def failed(self, text: str) -> None:
        """Heard of a request that brought nothing."""
        self.health.append(text)

    def rejected(self, retry_after_s: float | None) -> None:
        """Heard of a 429."""
        self.entries.append(("rejected", retry_after_s))

    def token(self) -> AccessToken:
        """The current token."""
        self.entries.append("token")
        return AccessToken(value=f"token-{self.tokens}", expires_at=0.0)

    def refused(self, token: AccessToken) -> None:
        """The next token is another."""
        self.entries.append(("refused", token.value))
        self.tokens += 1


@pytest.fixture
def diary() -> Diary:
    """The gate and token source of the client."""
    return Diary()


@pytest.fixture
def make_client(deploy: Any, diary: Diary, clock: Any) -> Iterator[Callable[..., ServiceClient]]:
    """A client of a scripted server, by the fake clock, with short time-outs on the wire."""
    transport = RequestsTransport(2)

    def make(server: Any) -> ServiceClient:
        return ServiceClient(
            deploy(server.url),
            transport,
            diary,
            diary,
            RetryPolicy(max_retries=3),
            timeouts=Timeouts(connect_s=1, read_s=0.4, total_s=0.4),
            budget=diary,
            clock=clock,
            sleep=clock.sleep,
        )

    yield make
    transport.close()


def refuse(body: bytes) -> str:
    raise DecodeError(f"{len(body)} bytes are no picture")


def test_a_request_carries_permit_token_and_json(make_client: Any, serve: Any, reply: Any, diary: Diary):
    """Permit first, then the token, then canonical JSON to the deployment's path."""
    server = serve(reply(body=b"tiff"))
    make_client(server).process(BODY, 1.5, bytes.decode)
    seen = server.seen[0]
    assert diary.entries == [("permit", 1.5), "token"]
    assert seen.path == "/api/v1/process"
    assert seen.headers["authorization"] == "Bearer token-1"
    assert (seen.headers["content-type"], seen.headers["accept"]) == ("application/json", "image/tiff")
    assert seen.body == b'{"input":{},"output":{"height":1,"width":1}}'
    assert json.loads(seen.body) == BODY


def test_the_answer_comes_decoded_with_what_it_cost(make_client: Any, serve: Any, reply: Any):
    """The value, one request, the stated units and the bytes."""
    server = serve(reply(headers={PU_HEADER: "2.5202064514160156"}, body=b"tiff"))
    fetched = make_client(server).process(BODY, 1.0, bytes.decode)
    assert fetched.value == "tiff"
    assert fetched.spent == Spent(requests=1, rejected=0, pu=2.5202064514160156, nbytes=4)


@pytest.mark.parametrize(
    ("headers", "pu"),
    [
        ({"X-ProcessingUnits-Spent": "2.5"}, 2.5),
        ({"x-processunits": "2.5"}, 2.5),
        ({"x-processingunits-spent": "0"}, 0.0),
        ({}, 0.75),
        ({"x-processingunits-spent": "much"}, 0.75),
        ({"x-processingunits-spent": "nan"}, 0.75),
        ({"x-processingunits-spent": "-1"}, 0.75),
    ],
)
def test_units_are_the_stated_ones_or_else_the_projected(
    make_client: Any, serve: Any, reply: Any, headers: dict[str, str], pu: float
):
    """Either of the header's two names; without a number the price is assumed, so that a budget still holds."""
    assert make_client(serve(reply(headers=headers))).process(BODY, 0.75, bytes.decode).spent.pu == pu


def test_a_429_is_reported_waited_out_and_counted(make_client: Any, serve: Any, reply: Any, diary: Diary, clock: Any):
    """The gate hears the advice, the request waits for it and asks for another permit."""
    busy = reply(status=429, headers={"Retry-After": "3398"})
    spent = make_client(serve(busy, busy, reply(body=b"ok"))).process(BODY, 1.0, bytes.decode).spent
    assert diary.entries == [("permit", 1.0), "token", ("rejected", 3.398)] * 2 + [("permit", 1.0), "token"]
    assert clock.slept == [3.398, 3.398]
    assert (spent.requests, spent.rejected) == (3, 2)
    assert spent.pu == 1.0


def test_a_401_renews_the_token_once_and_goes_on(make_client: Any, serve: Any, reply: Any, diary: Diary):
    """The refused token is told of before anything is waited for, so that nobody else sends it."""
    server = serve(reply(status=401), reply(body=b"ok"))
    assert make_client(server).process(BODY, 1.0, bytes.decode).value == "ok"
    assert [seen.headers["authorization"] for seen in server.seen] == ["Bearer token-1", "Bearer token-2"]
    assert diary.entries == [("permit", 1.0), "token", ("refused", "token-1"), ("permit", 1.0), "token"]


def test_the_sixth_401_ends_it(make_client: Any, serve: Any, reply: Any, diary: Diary, clock: Any):
    """A fresh token may be revoked as well, but five of them in a row are a matter of rights."""
    server = serve(reply(status=401))
    with pytest.raises(TokenRejected):
        make_client(server).process(BODY, 1.0, bytes.decode)
    assert len({seen.headers["authorization"] for seen in server.seen}) == 6
    assert (clock.slept[0], len(clock.slept)) == (0.0, 5)


@pytest.mark.parametrize(
    ("faults", "nbytes", "unknown"),
    [
        ([{"status": 503}], 2, 0.0),
        ([{"status": 500, "body": b"<html>"}], 8, 0.0),
        ([{"reset": True}], 2, 2.0),
        ([{"reset": True}, {"status": 502}, {"status": 504}], 2, 2.0),
    ],
)
def test_trouble_is_outlived(
    make_client: Any, serve: Any, reply: Any, faults: list[dict[str, Any]], nbytes: int, unknown: float
):
    """5xx cost requests and no units; a request whose answer never came may have cost its price, counted apart."""
    server = serve(*(reply(**fault) for fault in faults), reply(headers={PU_HEADER: "2"}, body=b"ok"))
    fetched = make_client(server).process(BODY, 2.0, bytes.decode)
    assert fetched.value == "ok"
    assert fetched.spent == Spent(requests=len(faults) + 1, rejected=0, pu=2.0, pu_unknown=unknown, nbytes=nbytes)


def test_a_cut_answer_is_bought_again_and_both_are_counted(make_client: Any, serve: Any, reply: Any):
    """Its head had named the price: the account has paid it."""
    cut = reply(headers={PU_HEADER: "2"}, body=bytes(1000), sent_nbytes=10)
    spent = make_client(serve(cut, reply(headers={PU_HEADER: "2"}, body=b"ok"))).process(BODY, 2.0, len).spent
    assert (spent.requests, spent.pu) == (2, 4.0)


def test_an_unreadable_answer_is_bought_again_and_both_are_counted(make_client: Any, serve: Any, reply: Any):
    """A page of HTML with status 200 is no picture, but it was charged."""
    decode = Mock(side_effect=[DecodeError("no picture"), "picture"])
    page = reply(headers={PU_HEADER: "2"}, body=b"<html>maintenance</html>")
    server = serve(page, reply(headers={PU_HEADER: "2"}, body=b"ok"))
    fetched = make_client(server).process(BODY, 2.0, decode)
    assert fetched.value == "picture"
    assert fetched.spent.pu == 4.0


@pytest.mark.parametrize(
    ("fault", "outcome"),
    [
        ({"status": 400, "body": b'{"error":{"code":"C","message":"no such band"}}'}, (RequestRejected, 1, 0.0)),
        ({"status": 403, "body": b'{"code":"ACCESS_INSUFFICIENT_PROCESSING_UNITS"}'}, (QuotaExhausted, 1, 0.0)),
        ({"status": 503}, (ServiceUnavailable, 4, 0.0)),
        ({"reset": True}, (TransportError, 4, 0.0)),
        ({"status": 429, "headers": {"Retry-After": "60000"}}, (RateLimited, 16, 0.0)),
        ({"headers": {PU_HEADER: "2"}, "body": b"<html>"}, (DecodeError, 3, 6.0)),
        ({"headers": {PU_HEADER: "2"}, "body": bytes(99), "sent_nbytes": 1}, (TransportError, 3, 6.0)),
        ({"headers": {PU_HEADER: "2"}, "body": bytes(500), "drip_s": 0.1}, (TransportError, 3, 6.0)),
    ],
    ids=["400", "quota", "503", "reset", "429", "html", "cut", "drip"],
)
def test_what_was_spent_survives_the_failure(
    make_client: Any, serve: Any, reply: Any, fault: dict[str, Any], outcome: tuple[type[ShdaskError], int, float]
):
    """Whoever passes an account in finds every request and unit on it when the request is given up."""
    spent = Spent()
    with pytest.raises(ShdaskError) as caught:
        make_client(serve(reply(**fault))).process(BODY, 2.0, refuse, spent=spent)
    assert (type(caught.value), spent.requests, spent.pu) == outcome


def test_one_account_adds_up_many_requests(make_client: Any, serve: Any, reply: Any):
    """A tile of several windows is one account."""
    client, spent = make_client(serve(reply(body=b"ok"))), Spent()
    client.process(BODY, 1.0, bytes.decode, spent=spent)
    client.process(BODY, 1.0, bytes.decode, spent=spent)
    assert spent == Spent(requests=2, rejected=0, pu=2.0, nbytes=4)


def test_a_refused_login_is_not_tried_again(make_client: Any, serve: Any, reply: Any, diary: Diary):
    """Nothing is sent without a token, and nothing counts as sent."""
    spent, server = Spent(), serve(reply())

    def no_token() -> AccessToken:
        raise AuthError("the credentials were refused")

    diary.token = no_token  # type: ignore[method-assign]  # the script of this test
    with pytest.raises(AuthError, match="refused"):
        make_client(server).process(BODY, 1.0, bytes.decode, spent=spent)
    assert server.seen == []
    assert spent == Spent()


def test_a_fault_of_the_decoder_is_not_retried(make_client: Any, serve: Any, reply: Any):
    """A bug of ours must not buy the same picture seven times."""
    server = serve(reply(body=b"ok"))
    with pytest.raises(ZeroDivisionError):
        make_client(server).process(BODY, 1.0, lambda _: 1 // 0)
    assert len(server.seen) == 1


def test_no_error_shows_the_token(make_client: Any, serve: Any, reply: Any, caplog: pytest.LogCaptureFixture):
    """Neither the error that comes out nor what was logged on the way."""
    caplog.set_level("DEBUG", logger="shdask")
    with pytest.raises(TransportError) as caught:
        make_client(serve(reply(reset=True))).process(BODY, 1.0, bytes.decode)
    assert "token-1" not in repr(caught.value) + caplog.text
    assert "trying again in" in caplog.text


def test_a_request_of_another_kind_is_sent_under_limiter_and_token(
    make_client: Any, serve: Any, reply: Any, diary: Diary
):
    """A GET takes a permit that costs no units, carries the token, and gives the answer whole."""
    server = serve(reply(headers={"X-Kind": "status"}, body=b"{}"))
    answer = make_client(server).send("GET", f"{server.url}/job/7", headers={"Accept": "*/*"})
    seen = server.seen[0]
    assert diary.entries == [("permit", 0.0), "token"]
    assert (seen.method, seen.path, seen.body) == ("GET", "/job/7", b"")
    assert seen.headers["authorization"] == "Bearer token-1"
    assert (answer.status, answer.headers["x-kind"], answer.body) == (200, "status", b"{}")


def test_no_token_goes_where_none_is_wanted(make_client: Any, serve: Any, reply: Any, diary: Diary):
    """Without a token the request still takes a permit."""
    server = serve(reply())
    make_client(server).send("GET", server.url, headers={}, with_token=False)
    assert diary.entries == [("permit", 0.0)]
    assert "authorization" not in server.seen[0].headers


def test_an_authorization_of_the_callers_own_is_kept(make_client: Any, serve: Any, reply: Any, diary: Diary):
    """A header in any case replaces the token, which is then not asked for."""
    server = serve(reply())
    make_client(server).send("GET", server.url, headers={"authorization": "Basic eA=="})
    assert server.seen[0].headers["authorization"] == "Basic eA=="
    assert diary.entries == [("permit", 0.0)]


def test_a_request_that_was_never_sent_is_not_charged(make_client: Any):
    """Where no connection was made, nothing can have been worked on."""
    nobody, spent = SimpleNamespace(url="http://127.0.0.1:9"), Spent()
    with pytest.raises(TransportError):
        make_client(nobody).process(BODY, 2.0, bytes.decode, spent=spent)
    assert (spent.requests, spent.pu, spent.pu_unknown) == (4, 0.0, 0.0)


@pytest.mark.parametrize(
    ("fault", "health"),
    [
        ({"status": 503, "body": b"{}"}, ["ServiceUnavailable: 503 (no message)", "answered"]),
        ({"status": 429}, ["answered", "answered"]),
        ({"status": 401}, ["answered", "answered"]),
        ({"body": b"<html>"}, ["DecodeError: 6 bytes are no picture", "answered"]),
    ],
    ids=["503", "429", "401", "html"],
)
def test_the_gate_hears_whether_the_service_works(
    make_client: Any, serve: Any, reply: Any, diary: Diary, fault: dict[str, Any], health: list[str]
):
    """No picture is a failure, whatever its status; a refusal shows that somebody is there."""
    decode = Mock(side_effect=lambda body: refuse(body) if body.startswith(b"<") else body)
    make_client(serve(reply(**fault), reply(body=b"ok"))).process(BODY, 1.0, decode)
    assert diary.health == health


def test_a_refused_request_shows_that_the_service_works(make_client: Any, serve: Any, reply: Any, diary: Diary):
    """A request that is wrong ends with its first answer, and is nobody else's trouble."""
    with pytest.raises(RequestRejected):
        make_client(serve(reply(status=400))).process(BODY, 1.0, bytes.decode)
    assert diary.health == ["answered"]


@pytest.mark.parametrize(
    ("faults", "account"),
    [
        ([], [2.0, -2.5]),
        ([{"status": 503}], [2.0, 0.0, 2.0, -2.5]),
        ([{"status": 429}], [2.0, 0.0, 2.0, -2.5]),
        ([{"status": 401}], [2.0, 0.0, 2.0, -2.5]),
        ([{"reset": True}], [2.0, -2.0, 2.0, -2.5]),
        ([{"headers": {PU_HEADER: "3"}, "body": bytes(99), "sent_nbytes": 1}], [2.0, -3.0, 2.0, -2.5]),
    ],
    ids=["answered", "503", "429", "401", "reset", "cut"],
)
def test_every_attempt_is_reserved_and_settled(
    make_client: Any, serve: Any, reply: Any, diary: Diary, faults: list[dict[str, Any]], account: list[float]
):
    """From the answer's header; at its price where none came; with nothing where it was refused."""
    server = serve(*(reply(**fault) for fault in faults), reply(headers={PU_HEADER: "2.5"}, body=b"ok"))
    make_client(server).process(BODY, 2.0, bytes.decode)
    assert diary.account == account


def test_an_unreadable_answer_is_settled_too(make_client: Any, serve: Any, reply: Any, diary: Diary):
    """It was charged."""
    page = reply(headers={PU_HEADER: "3"}, body=b"<html>")
    with pytest.raises(DecodeError):
        make_client(serve(page)).process(BODY, 2.0, refuse)
    assert diary.account == [2.0, -3.0] * 3


def test_what_passes_the_budget_is_not_sent(make_client: Any, serve: Any, reply: Any, diary: Diary):
    """Nor is a token asked for; the error says why."""
    server, diary.refusal = serve(reply()), BudgetExceeded("the next request costs 2 PU")
    with pytest.raises(BudgetExceeded, match="costs 2 PU"):
        make_client(server).process(BODY, 2.0, bytes.decode)
    assert (server.seen, diary.entries, diary.account) == ([], [("permit", 2.0)], [2.0])


def test_what_others_were_promised_is_waited_for(make_client: Any, serve: Any, reply: Any, diary: Diary, clock: Any):
    """A second at a time, with the permit in hand: those who wait do not use up the rate."""
    diary.promises = [None, None, 7]
    make_client(serve(reply(body=b"ok"))).process(BODY, 2.0, bytes.decode)
    assert clock.slept == [1.0, 1.0]
    assert diary.entries == [("permit", 2.0), "token"]


def test_a_refused_login_gives_its_promise_back(make_client: Any, serve: Any, reply: Any, diary: Diary):
    """Nothing was sent."""
    diary.token = Mock(side_effect=AuthError("refused"))  # type: ignore[method-assign]  # the script of this test
    with pytest.raises(AuthError):
        make_client(serve(reply())).process(BODY, 2.0, bytes.decode)
    assert diary.account == [2.0, 0.0]
