"""Tokens: asked for once by many threads, renewed in time, and no secret where it does not belong."""

from __future__ import annotations

import json
import pickle
import threading
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import parse_qs

import pytest

from shdask.errors import AuthError, RateLimited, ServiceUnavailable, ShdaskError, TransportError
from shdask.fetch.auth import AccessToken, ClientCredentials, renewal_margin_s, request_token
from shdask.fetch.transport import HttpAnswer, RequestsTransport, Timeouts

SECRET = "s3cr3t&+/="


class TokenServer:
    """A Transport that answers token requests from memory: token-1, token-2, ... or the given answers first."""

    def __init__(self, *answers: HttpAnswer, lifetime_s: float = 100.0) -> None:
        self.answers = list(answers)
        self.lifetime_s = lifetime_s
        self.calls: list[dict[str, Any]] = []
        self.lock = threading.Lock()

    def post(self, url: str, **request: Any) -> HttpAnswer:
        """One answer; slow enough for other threads to arrive meanwhile."""
        with self.lock:
            self.calls.append({"url": url, **request})
            number = len(self.calls)
        if self.answers:
            return self.answers.pop(0)
        return token_answer(f"token-{number}", self.lifetime_s)


def token_answer(value: object, lifetime_s: object) -> HttpAnswer:
    body = {"access_token": value, "expires_in": lifetime_s, "token_type": "Bearer"}
    return HttpAnswer(status=200, headers={}, body=json.dumps(body).encode())


def refusal(status: int, body: object = None, **headers: str) -> HttpAnswer:
    return HttpAnswer(status=status, headers=headers, body=json.dumps(body or {}).encode())


@pytest.fixture
def make_source(deploy: Any, credentials: Any, clock: Any) -> Callable[[TokenServer], ClientCredentials]:
    """A token source over a token server in memory, by the fake clock."""
    return lambda server: ClientCredentials(server, deploy(), credentials, clock=clock)


def test_the_form_travels_in_the_body_and_quotes_the_secret(deploy: Any, credentials: Any):
    """As the service documents it: client credentials in the body, special characters encoded."""
    server = TokenServer()
    assert request_token(server, deploy(), credentials) == ("token-1", 100.0)
    assert server.calls[0]["url"] == "http://127.0.0.1:9/token"
    assert server.calls[0]["headers"]["Content-Type"] == "application/x-www-form-urlencoded"
    assert parse_qs(server.calls[0]["body"].decode()) == {
        "grant_type": ["client_credentials"],
        "client_id": ["cid"],
        "client_secret": [SECRET],
    }


@pytest.mark.parametrize(
    ("answer", "kind", "words"),
    [
        (refusal(401, {"error": "invalid_client", "error_description": "Bad"}), AuthError, "SH_CLIENT_ID"),
        (refusal(400, {"error": "unauthorized_client"}), AuthError, "SH_CLIENT_SECRET"),
        (refusal(403), AuthError, "the credentials were refused"),
        (refusal(404), AuthError, "check SH_TOKEN_URL"),
        (refusal(301), AuthError, "check SH_TOKEN_URL"),
        (refusal(408), ServiceUnavailable, "408"),
        (refusal(503), ServiceUnavailable, "503"),
        (refusal(429, None, **{"retry-after": "1500"}), RateLimited, "429"),
        (HttpAnswer(status=200, headers={}, body=b"", cut="the answer was cut"), TransportError, "was cut"),
        (HttpAnswer(status=200, headers={"content-type": "text/html"}, body=b"<html>"), AuthError, "text/html"),
        (refusal(200, {"error": "x"}), AuthError, "without a token"),
        (refusal(200, ["x"]), AuthError, "without a token"),
        (token_answer("", 60), AuthError, "without a token"),
        (token_answer("with space", 60), AuthError, "without a token"),
        (token_answer("line\nbreak", 60), AuthError, "without a token"),
        (token_answer(7, 60), AuthError, "without a token"),
        (token_answer("t", 0), AuthError, "without a token"),
        (token_answer("t", "soon"), AuthError, "without a token"),
        (token_answer("t", None), AuthError, "without a token"),
    ],
)
def test_each_answer_without_a_token_is_one_class_of_error(
    deploy: Any, credentials: Any, answer: HttpAnswer, kind: type[ShdaskError], words: str
):
    """Wrong credentials end a build with the cure; a busy token server does not."""
    with pytest.raises(ShdaskError, match=words) as caught:
        request_token(TokenServer(answer), deploy(), credentials)
    assert type(caught.value) is kind


def test_a_busy_token_servers_advice_is_kept(deploy: Any, credentials: Any):
    """Token requests are limited too."""
    with pytest.raises(RateLimited) as caught:
        request_token(TokenServer(refusal(429, None, **{"retry-after": "1500"})), deploy(), credentials)
    assert caught.value.retry_after_s == 1.5


def test_a_server_that_echoes_the_secret_does_not_bring_it_into_a_log(deploy: Any, credentials: Any):
    """Its message is quoted without it."""
    echo = refusal(400, {"error": "invalid_request", "error_description": f"no client {SECRET}"})
    with pytest.raises(AuthError, match=r"no client \*\*\*") as caught:
        request_token(TokenServer(echo), deploy(), credentials)
    assert SECRET not in "".join(traceback.format_exception(caught.value))


def test_half_a_token_answer_is_not_quoted(deploy: Any, credentials: Any):
    """It may hold the token."""
    with pytest.raises(AuthError) as caught:
        request_token(TokenServer(token_answer("t0ken-v4lue", -1)), deploy(), credentials)
    assert "t0ken" not in str(caught.value)


@pytest.mark.parametrize(("lifetime_s", "margin_s"), [(3600.0, 60.0), (600.0, 60.0), (100.0, 10.0), (3.0, 0.3)])
def test_a_token_is_renewed_a_tenth_but_at_most_a_minute_early(lifetime_s: float, margin_s: float):
    """Long enough to finish what is in flight, short enough not to waste tokens."""
    assert renewal_margin_s(lifetime_s) == pytest.approx(margin_s)


def test_a_token_serves_until_shortly_before_it_expires(make_source: Any, clock: Any):
    """100 s of life: the same token at 89 s, another at 90 s."""
    source = make_source(TokenServer())
    assert source.token() == AccessToken(value="token-1", expires_at=1100.0)
    clock.now += 89.0
    assert source.token().value == "token-1"
    clock.now += 1.0
    assert source.token() == AccessToken(value="token-2", expires_at=1190.0)


def test_a_refused_token_is_renewed_once_for_all_who_held_it(make_source: Any):
    """Thirty-two threads get a 401 on one token: one token request follows."""
    server = TokenServer()
    source = make_source(server)
    held = source.token()

    def renewed(_: int) -> str:
        source.refused(held)
        return source.token().value

    with ThreadPoolExecutor(32) as threads:
        renewals = set(threads.map(renewed, range(200)))
    assert renewals == {"token-2"}
    assert len(server.calls) == 2


def test_the_first_token_is_asked_for_once(make_source: Any):
    """However many threads start together."""
    server = TokenServer()
    source = make_source(server)
    with ThreadPoolExecutor(32) as threads:
        values = list(threads.map(lambda _: source.token().value, range(200)))
    assert set(values) == {"token-1"}
    assert len(server.calls) == 1


def test_a_failure_is_not_repeated_by_every_thread(make_source: Any, clock: Any):
    """For a second, all who wait are told what the first was told; then the server is asked again."""
    server = TokenServer(refusal(503))
    source = make_source(server)
    with ThreadPoolExecutor(8) as threads:
        futures = [threads.submit(source.token) for _ in range(8)]
    assert {type(future.exception()) for future in futures} == {ServiceUnavailable}
    assert len({id(future.exception()) for future in futures}) == 8
    assert len(server.calls) == 1
    clock.now += 1.0
    assert source.token().value == "token-2"


def test_a_busy_token_server_is_left_alone_as_long_as_it_asks(make_source: Any, clock: Any):
    """The advice of 5 s holds for every thread."""
    server = TokenServer(refusal(429, None, **{"retry-after": "5000"}))
    source = make_source(server)
    with pytest.raises(RateLimited):
        source.token()
    clock.now += 4.9
    with pytest.raises(RateLimited):
        source.token()
    clock.now += 0.1
    assert source.token().value == "token-2"


def test_a_failed_renewal_does_not_bring_the_refused_token_back(make_source: Any, clock: Any):
    """It would only be refused again."""
    server = TokenServer(token_answer("token-1", 100.0), refusal(503))
    source = make_source(server)
    source.refused(source.token())
    with pytest.raises(ServiceUnavailable):
        source.token()
    clock.now += 1.0
    assert source.token().value == "token-3"


@pytest.mark.parametrize("show", [repr, str, "{!r}".format])
def test_no_secret_is_in_any_repr(make_source: Any, show: Callable[[object], str]):
    """Neither the secret nor a token."""
    source = make_source(TokenServer())
    assert "token-1" not in show(source.token())
    assert SECRET not in show(source)
    assert "token-1" not in show(source)


@pytest.mark.parametrize("pick", [lambda s: s, lambda s: s.token()], ids=["source", "token"])
def test_neither_source_nor_token_is_pickled(make_source: Any, pick: Callable[[ClientCredentials], object]):
    """Not even inside something else that travels."""
    with pytest.raises(TypeError, match="travel"):
        pickle.dumps({"deep": [pick(make_source(TokenServer()))]})


def test_a_token_server_that_hangs_up_leaves_no_trace_of_the_secret(
    deploy: Any, credentials: Any, serve: Any, reply: Any
):
    """The error that comes out leads nowhere near the form that was sent."""
    transport = RequestsTransport(1)
    with pytest.raises(TransportError) as caught:
        request_token(transport, deploy(serve(reply(reset=True)).url), credentials)
    transport.close()
    assert caught.value.__context__ is None
    assert "s3cr3t" not in "".join(traceback.format_exception(caught.value))


def test_a_token_request_has_short_timeouts(deploy: Any, credentials: Any):
    """All threads wait for it."""
    server = TokenServer()
    request_token(server, deploy(), credentials)
    assert server.calls[0]["timeouts"] == Timeouts(connect_s=10, read_s=30, total_s=60)
