"""What is kept of calls, and for how long."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shdask.emulator.inspection.journal import Exchange, Journal


def make_exchange(number: int = 1, *, path: str = "/process/v1", nbytes: int = 0, status: int = 200) -> Exchange:
    """An exchange whose contents take so many bytes."""
    return Exchange(
        number=number,
        time=datetime(2024, 6, 1, tzinfo=UTC),
        method="POST",
        path=path,
        query="",
        request_headers={},
        request_body=b"",
        status=status,
        answer_headers={"x-processingunits-spent": "0.5"},
        answer=bytes(nbytes),
        answer_nbytes=nbytes,
        duration_s=0.0,
        fault=None,
    )


@pytest.mark.parametrize(
    ("path", "service"),
    [
        ("/api/v1/process", "process"),
        ("/process/v1", "process"),
        ("/api/v1/async/process", "async"),
        ("/async/v1/process/7", "async"),
        ("/catalog/v1/collections/async/items/process", "catalog"),
        ("/oauth/token", "token"),
        ("/aux/ratelimit/contract", "account"),
        ("/favicon.ico", "other"),
    ],
)
def test_a_path_tells_its_service(path, service):
    """Asynchronous paths end in "process", and a catalogue's ids may be any word."""
    assert make_exchange(path=path).service == service


def keep(sizes, kept, kept_nbytes):
    """What a journal of these bounds holds after exchanges of these sizes."""
    journal = Journal(kept, kept_nbytes)
    for number, nbytes in enumerate(sizes):
        journal.answer(make_exchange(number, nbytes=nbytes))
    return journal.exchanges()


@given(st.lists(st.integers(0, 50), max_size=30), st.integers(1, 10), st.integers(0, 100))
def test_what_is_held_stays_within_its_bounds(sizes, kept, kept_nbytes):
    """The latest so many exchanges, newest first, and contents of so many bytes, the oldest let go first."""
    held = keep(sizes, kept, kept_nbytes)
    numbers = [exchange.number for exchange in held]
    full = [exchange.answer is not None for exchange in held]
    assert numbers == list(range(len(sizes)))[::-1][:kept]
    assert sum(exchange.nbytes_held for exchange in held) <= kept_nbytes
    assert full == sorted(full, reverse=True)


def test_a_reset_makes_room():
    """Forgotten contents take none."""
    journal = Journal(10, 100)
    journal.answer(make_exchange(nbytes=100))
    journal.reset()
    journal.answer(make_exchange(nbytes=100))
    assert [exchange.nbytes_held for exchange in journal.exchanges()] == [100]


def test_counts_are_by_method_path_and_status():
    """One more for every answer; those turned away also apart."""
    journal = Journal(1, 0)
    journal.answer(make_exchange(nbytes=3))
    journal.answer(make_exchange(status=429))
    stats = journal.stats()
    assert stats["calls"] == {"POST /process/v1 200": 1, "POST /process/v1 429": 1}
    assert (stats["answered"], stats["rate_limited"], stats["nbytes_sent"]) == (2, 1, 3)
