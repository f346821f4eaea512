"""What answers without data mean: one row per status and body that the service is known to send."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shdask.errors import (
    AuthError,
    QuotaExhausted,
    RateLimited,
    RequestRejected,
    ServiceUnavailable,
    TokenRejected,
)
from shdask.fetch.answers import read_complaint, retry_after_s, service_error, without_secrets
from shdask.fetch.transport import HttpAnswer


def answer(status: int, body: object = b"", **headers: str) -> HttpAnswer:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return HttpAnswer(status=status, headers={k.replace("_", "-"): v for k, v in headers.items()}, body=content)


def wrapped(status: int, code: str, message: str, **more: object) -> HttpAnswer:
    return answer(status, {"error": {"status": status, "reason": "r", "message": message, "code": code, **more}})


@pytest.mark.parametrize(
    "told",
    [
        b'a/b+c"d&e=f\xc3\xbcg12345',
        b'a/b+c\\"d&e=f\\u00fcg12345',
        b"a\\/b\\u002bc\\u0022d\\u0026e\\u003Df\\u00FCg12345",
        b'a\\\\/b\\\\u002bc\\\\\\"d&e=f\\\\u00fcg12345',
        b"a%2Fb%2bc%22d%26e%3Df%C3%BCg12345",
        b"a%252Fb%252bc%2522d%2526e%253Df%25C3%25BCg12345",
        b"a/b+c&quot;d&amp;e=f\xc3\xbcg12345",
        b"a&#x2F;b&#43;c&#34;d&#38;e&#061;f&#xFC;g12345",
        b'a/b+c"d&e',
        b'a/b+c"d&',
    ],
    ids=[
        "as-it-is",
        "json",
        "json-escaped",
        "json-twice",
        "url",
        "url-twice",
        "html",
        "html-numbers",
        "clipped",
        "head",
    ],
)
def test_a_secret_is_masked_in_any_form(told: bytes):
    """Before the answer is read, and what stands around it stays."""
    masked = without_secrets(b"the key <" + told + b"> is bad", ['a/b+c"d&e=f\u00fcg12345'])
    assert masked == b"the key <***> is bad"


def test_an_answer_without_secrets_is_left_as_it_is():
    """Nothing that only begins as one does, and nothing at all where there is none."""
    assert without_secrets(b"abcdefg-1", ["abcdefgh-2", ""]) == b"abcdefg-1"


@pytest.mark.parametrize("status", [200, 201, 204])
def test_a_2xx_is_no_error(deploy: Any, status: int):
    """Whether its body is what was asked for, the decoder says."""
    assert service_error(answer(status), deploy()) is None


@pytest.mark.parametrize(
    ("given_answer", "kind"),
    [
        (wrapped(400, "COMMON_BAD_PAYLOAD", "no"), RequestRejected),
        (wrapped(400, "COMMON_BAD_PAYLOAD", "Request body should be non-empty."), ServiceUnavailable),
        (wrapped(400, "RENDERER_EXCEPTION", "CUSTOM has no band SMA"), RequestRejected),
        (wrapped(401, "COMMON_UNAUTHORIZED", "no"), TokenRejected),
        (wrapped(403, "ACCESS_INSUFFICIENT_PROCESSING_UNITS", "no"), QuotaExhausted),
        (wrapped(403, "COMMON_INSUFFICIENT_PERMISSIONS", "no"), RequestRejected),
        (wrapped(403, "COMMON_SENTINEL_ACCOUNT_EXPIRED", "no"), AuthError),
        (answer(403, b"<html><title>Forbidden</title></html>"), RequestRejected),
        (wrapped(404, "COMMON_NOT_FOUND", "no"), RequestRejected),
        (answer(405, b"HTTP 405 Method Not Allowed"), RequestRejected),
        (answer(408), ServiceUnavailable),
        (answer(413), RequestRejected),
        (wrapped(429, "RATE_LIMIT_EXCEEDED", "no"), RateLimited),
        (answer(429), RateLimited),
        (wrapped(429, "RATE_LIMIT_TOKEN_COUNT_EXCEEDS_CAPACITY", "no"), RequestRejected),
        (wrapped(500, "RENDERER_EXCEPTION", "java.util.concurrent.ExecutionException"), ServiceUnavailable),
        (answer(502, b"<html>Bad gateway</html>"), ServiceUnavailable),
        (answer(503), ServiceUnavailable),
        (answer(504), ServiceUnavailable),
        (answer(307, b"", location="https://elsewhere/"), RequestRejected),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else str(value.status),
)
def test_each_answer_is_one_class_of_error(deploy: Any, given_answer: HttpAnswer, kind: type):
    """The class decides on retries, on stopping the build and on the exit code."""
    error = service_error(given_answer, deploy())
    assert type(error) is kind
    assert error.status == given_answer.status


@pytest.mark.parametrize(
    ("given_answer", "message", "code"),
    [
        (wrapped(400, "COMMON_BAD_PAYLOAD", "Too large.\n"), "400 COMMON_BAD_PAYLOAD Too large.", "COMMON_BAD_PAYLOAD"),
        (
            wrapped(400, "C", "Bad.", errors=[{"parameter": "output->resx", "violation": "too big"}, {"x": 1}]),
            "400 C Bad. [output->resx: too big]",
            "C",
        ),
        (
            wrapped(400, "C", "Bad.", errors={"parameter": "p", "invalidValue": 1, "description": "wrong"}),
            "400 C Bad. [p: wrong]",
            "C",
        ),
        (answer(429, {"status": 429, "message": "Slow down", "code": "R"}), "429 R Slow down", "R"),
        (answer(400, {"code": "IllegalCollection", "description": "none"}), "400 IllegalCollection none", None),
        (answer(401, {"error": "invalid_client", "error_description": "Bad"}), "401 invalid_client Bad", None),
        (answer(502, b"<html><head><title>502 Bad\n Gateway &amp; co</title>"), "502 502 Bad Gateway & co", None),
        (answer(503, b"<!doctype html><HTML>busy"), "503 an HTML page of 25 bytes", None),
        (answer(503, b"try \x00\x1b[31mlater"), "503 try [31mlater", None),
        (answer(503, b"\xff\xfe"), "503 \ufffd\ufffd", None),
        (answer(500, [1]), "500 (no message)", None),
        (answer(500, {"error": 7}), "500 (no message)", None),
        (answer(500), "500 (no message)", None),
        (answer(500, b"[" * 600), "500 " + "[" * 500 + "...", None),
        (answer(500, b"[" * 200_000), "500 " + "[" * 500 + "...", None),
    ],
)
def test_every_shape_of_complaint_becomes_one_line(given_answer: HttpAnswer, message: str, code: str | None):
    """Wrapped, bare, Keycloak's, Catalog's, HTML, text, bytes and nothing: status, code and message."""
    complaint = read_complaint(given_answer)
    assert complaint.text == message
    assert code is None or complaint.code == code


def test_a_complaint_of_megabytes_is_cut():
    """A log line stays a line."""
    assert len(read_complaint(answer(500, b"x" * 5_000_000)).text) < 600


@given(st.integers(300, 599), st.binary(max_size=300))
def test_no_body_is_too_strange_to_be_read(status: int, body: bytes):
    """Whatever comes with an error status, its reading is a printable line."""
    assert read_complaint(answer(status, body)).text.isprintable()


@given(
    st.recursive(
        st.none() | st.integers() | st.text(),
        lambda inner: (
            st.lists(inner)
            | st.dictionaries(st.sampled_from(["error", "errors", "code", "message", "parameter"]), inner)
        ),
    )
)
def test_no_json_is_too_strange_to_be_read(body: object):
    """Members of unexpected types are passed over."""
    assert read_complaint(answer(500, body)).text.startswith("500 ")


@pytest.mark.parametrize(
    ("code", "cure"),
    [
        ("COMMON_INSUFFICIENT_PERMISSIONS", "may not use this collection"),
        ("ACCESS_INSUFFICIENT_PROCESSING_UNITS", "quota resets"),
        ("RATE_LIMIT_TOKEN_COUNT_EXCEEDS_CAPACITY", "smaller tile_px"),
    ],
)
def test_a_refusal_comes_with_its_cure(deploy: Any, code: str, cure: str):
    """What to do stands in the message."""
    assert cure in str(service_error(wrapped(403, code, "no"), deploy()))


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("3398", 3.398),
        ("3.5", 0.0035),
        ("0", 0.0),
        ("999999999", 60.0),
        ("-5", None),
        ("nan", None),
        ("inf", None),
        ("", None),
        ("Sun, 22 Nov 2026 15:00:00 GMT", None),
    ],
)
def test_advice_is_read_in_milliseconds_and_cut_at_a_minute(deploy: Any, value: str, seconds: float | None):
    """A date or nonsense is no advice; a wrong unit cannot stop a build for days."""
    assert retry_after_s({"retry-after": value}, deploy()) == seconds


def test_no_advice_is_none(deploy: Any):
    """The retry loop then backs off by itself."""
    assert retry_after_s({}, deploy()) is None


def test_a_deployment_may_advise_in_seconds(deploy: Any):
    """The unit is the deployment's, since the sources contradict each other."""
    error = service_error(answer(429, retry_after="30"), deploy(retry_after_unit_s=1.0))
    assert error.retry_after_s == 30.0


@pytest.mark.parametrize(
    ("headers", "resume_at"),
    [
        ({"date": "Sun, 22 Nov 2026 15:00:00 GMT"}, "2026-12-01T00:00:00Z"),
        ({"date": "Thu, 31 Dec 2026 23:59:59 GMT"}, "2027-01-01T00:00:00Z"),
        ({"date": "Fri, 31 Jul 2026 23:30:00 -0100"}, "2026-09-01T00:00:00Z"),
        ({"date": "soon"}, "2028-03-01T00:00:00Z"),
        ({}, "2028-03-01T00:00:00Z"),
        (
            {"date": "Sun, 22 Nov 2026 15:00:00 GMT", "retry-after": "Wed, 25 Nov 2026 06:30:00 GMT"},
            "2026-11-25T06:30:00Z",
        ),
        (
            {"date": "Sun, 22 Nov 2026 15:00:00 GMT", "retry-after": "Sat, 21 Nov 2026 00:00:00 GMT"},
            "2026-12-01T00:00:00Z",
        ),
        ({"date": "Sun, 22 Nov 2026 15:00:00 GMT", "retry-after": "1000"}, "2026-12-01T00:00:00Z"),
    ],
)
def test_a_used_up_month_says_when_to_go_on(deploy: Any, headers: dict[str, str], resume_at: str):
    """The first of the month after the service's own date, in UTC, or the date it names; as a field and in the text."""
    refusal = wrapped(403, "ACCESS_INSUFFICIENT_PROCESSING_UNITS", "no")
    refusal = HttpAnswer(status=403, headers=headers, body=refusal.body)
    error = service_error(refusal, deploy(), now=lambda: datetime(2028, 2, 29, tzinfo=UTC))
    assert error.resume_at == resume_at
    assert str(error).endswith(f"run again after the quota resets at {resume_at}")
