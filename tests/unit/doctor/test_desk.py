"""What is read of answers that cost nothing."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta

import pytest

from shdask.doctor.desk import read_date, read_object, user_of
from shdask.doctor.examine import check_clock
from shdask.errors import DecodeError
from shdask.fetch.auth import AccessToken
from shdask.fetch.transport import HttpAnswer

NOON = datetime(2024, 6, 1, 12, tzinfo=UTC)


def answer(body: bytes = b"{}", **headers: str) -> HttpAnswer:
    return HttpAnswer(status=200, headers=headers, body=body)


def token(claims: object) -> AccessToken:
    body = base64.urlsafe_b64encode(json.dumps(claims).encode()).rstrip(b"=").decode()
    return AccessToken(value=f"head.{body}.signature", expires_at=0.0)


def test_the_date_of_an_answer_is_its_servers_clock() -> None:
    """As HTTP writes it; another text is nothing."""
    assert read_date(answer(date="Sat, 01 Jun 2024 12:00:00 GMT")) == NOON
    assert read_date(answer(date="soon")) is None
    assert read_date(answer()) is None


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b"7", b"[" * 100_000])
def test_an_answer_that_is_no_object_is_refused(body: bytes) -> None:
    """With what came instead."""
    with pytest.raises(DecodeError, match=f"text/html of {len(body)} bytes"):
        read_object(answer(body, **{"content-type": "text/html"}))


def test_the_account_is_the_tokens_subject() -> None:
    """Whatever the length of the claims."""
    names = ["00000000-0000-4000-8000-91c477bfb062", "0", "01", "012"]
    assert [user_of(token({"sub": name})) for name in names] == names


@pytest.mark.parametrize("claims", [{}, [], {"sub": 7}, {"sub": "a/../b"}, {"sub": "a?x=1"}, {"sub": ""}])
def test_another_subject_is_no_part_of_a_path(claims: object) -> None:
    """The account is then not known."""
    assert user_of(token(claims)) is None


@pytest.mark.parametrize("value", ["opaque", "a.b.c", "..", "a.%%.c"])
def test_an_opaque_token_names_no_account(value: str) -> None:
    """It is as good for the service."""
    assert user_of(AccessToken(value=value, expires_at=0.0)) is None


@pytest.mark.parametrize(
    ("skew_s", "outcome", "found"),
    [
        (0, "ok", "0 s behind the service's"),
        (30, "ok", "30 s ahead of the service's"),
        (31, "warning", "31 s ahead of the service's"),
        (-31, "warning", "31 s behind the service's"),
    ],
)
def test_a_clock_may_be_half_a_minute_off(skew_s: int, outcome: str, found: str) -> None:
    """Either way."""
    clock = check_clock(NOON, NOON + timedelta(seconds=skew_s))
    assert (clock.outcome, clock.found) == (outcome, found)


def test_a_service_without_a_clock_is_a_note() -> None:
    """Nothing can be said."""
    assert check_clock(None, NOON).outcome == "note"
