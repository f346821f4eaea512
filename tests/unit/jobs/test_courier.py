"""One thread that asks in order."""

from __future__ import annotations

import threading

from shdask.jobs.courier import Answer, Courier

LONG_S = 30.0


def take(courier: Courier[str], count: int) -> list[Answer[str]]:
    """So many answers."""
    found: list[Answer[str]] = []
    while len(found) < count:
        found += courier.take(LONG_S)
    return found


def test_calls_are_made_in_their_order() -> None:
    """Answers come with their tags, first asked first, and then nothing is out."""
    courier: Courier[str] = Courier()
    courier.send("a", lambda: 1)
    courier.send("b", lambda: 2)
    assert not courier.is_idle
    assert take(courier, 2) == [Answer("a", value=1), Answer("b", value=2)]
    assert courier.is_idle


def test_errors_are_answers() -> None:
    """What a call raises is told where answers are taken, and the next call is made."""
    courier: Courier[str] = Courier()
    error = ValueError("no")

    def fail() -> None:
        raise error

    courier.send("a", fail)
    courier.send("b", lambda: 2)
    assert take(courier, 2) == [Answer("a", error=error), Answer("b", value=2)]


def test_closed_courier_makes_no_further_call() -> None:
    """The call that is being made ends; those behind it are never made."""
    courier: Courier[str] = Courier()
    begun, go_on, made = threading.Event(), threading.Event(), []

    def slow() -> None:
        begun.set()
        go_on.wait(LONG_S)

    courier.send("a", slow)
    courier.send("b", lambda: made.append("b"))
    begun.wait(LONG_S)
    courier.close()
    go_on.set()
    assert [answer.tag for answer in take(courier, 1)] == ["a"]
    assert made == []


def test_nothing_to_take_is_no_error() -> None:
    """Without an answer there is none."""
    assert Courier[str]().take() == []
