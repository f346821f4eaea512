"""How long answers take, apart from what a request waits for before it is sent and between tries."""

from __future__ import annotations

from typing import Any

import pytest

from shdask.errors import RequestRejected
from shdask.fetch.auth import AccessToken
from shdask.fetch.client import ServiceClient, Spent
from shdask.fetch.transport import HttpAnswer

BODY = {"output": {"width": 1, "height": 1}, "input": {}}
PERMIT_S = 60.0
GOOD, DOWN = HttpAnswer(status=200, headers={}, body=b"tiff"), HttpAnswer(status=503, headers={}, body=b"")
CUT = HttpAnswer(status=200, headers={}, body=b"ti", cut="the body ended early")


class Service:
    """Transport, gate and token source in one: a permit takes a minute, an answer what the script says."""

    def __init__(self, clock: Any, script: list[tuple[float, HttpAnswer]]) -> None:
        self.clock, self.script = clock, script

    def send(self, *_: object, **__: object) -> HttpAnswer:
        """The script's next answer."""
        seconds, answer = self.script.pop(0)
        self.clock.now += seconds
        return answer

    def acquire(self, pu: float) -> float:  # noqa: ARG002  # the seam's signature
        """A permit, late."""
        self.clock.now += PERMIT_S
        return PERMIT_S

    def answered(self) -> None:
        """Hears nothing."""

    def failed(self, text: str) -> None:
        """Hears nothing."""

    def token(self) -> AccessToken:
        """At once."""
        return AccessToken(value="t", expires_at=0.0)


@pytest.fixture
def buy(deploy: Any, clock: Any):
    """Buys one picture by a script; gives what it has spent."""

    def buy(*script: tuple[float, HttpAnswer], spent: Spent | None = None) -> Spent:
        service: Any = Service(clock, list(script))
        client = ServiceClient(deploy(), service, service, service, clock=clock, sleep=clock.sleep)
        return client.process(BODY, 1.0, bytes.decode, spent=spent).spent

    return buy


def test_an_answer_is_timed_from_sending_to_its_end(buy) -> None:
    """What the permit takes is the limiter's."""
    spent = buy((1.5, GOOD))
    assert (spent.answers, spent.answers_s) == (1, 1.5)


def test_tries_that_bring_no_whole_picture_are_not_timed(buy) -> None:
    """A refusal is quick, and a cut answer as long as it was."""
    spent = buy((0.1, DOWN), (9.0, CUT), (2.0, GOOD))
    assert (spent.requests, spent.answers, spent.answers_s) == (3, 1, 2.0)


def test_times_of_several_requests_add_up(buy) -> None:
    """A tile of several windows is one account."""
    spent = buy((1.0, GOOD), spent=buy((3.0, GOOD)))
    assert (spent.answers, spent.answers_s) == (2, 4.0)


def test_a_request_that_is_refused_has_no_time(buy) -> None:
    """Nothing came."""
    spent = Spent()
    with pytest.raises(RequestRejected):
        buy((1.0, HttpAnswer(status=400, headers={}, body=b"{}")), spent=spent)
    assert (spent.answers, spent.answers_s) == (0, 0.0)
