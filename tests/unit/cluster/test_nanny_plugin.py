"""A nanny that ends gives its worker time, but not to a frozen one."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, Self

import pytest

from shdask.cluster import nanny_plugin
from shdask.cluster.nanny_plugin import PatientNanny


class PlayedWorker:
    """The worker's side of the calls that its nanny makes."""

    def __init__(self, *, answers: bool = True) -> None:
        self.calls: list[str] = []
        self._answers = answers

    async def __aenter__(self) -> Self:
        """A connection."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Its end."""

    async def identity(self) -> None:
        """Says its name, or never does."""
        self.calls.append("identity")
        if not self._answers:
            await asyncio.Event().wait()

    async def terminate(self, **words: Any) -> None:
        """Takes its time, and then the nanny may go on."""
        await asyncio.sleep(0)
        self.calls.append(f"closed, nanny={words['nanny']}")


def end(worker: PlayedWorker, *, alive: bool = True) -> list[str]:
    nanny = SimpleNamespace(worker_address="tcp://here", is_alive=lambda: alive, rpc=lambda _address: worker)
    asyncio.run(PatientNanny().teardown(nanny))
    return worker.calls


def test_worker_has_closed_before_the_nanny_goes_on() -> None:
    """By itself the nanny would kill it after four to eight seconds, with tiles in flight."""
    assert end(PlayedWorker()) == ["identity", "closed, nanny=False"]


def test_no_time_is_given_to_a_frozen_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that does not even say its name is killed as ever."""
    monkeypatch.setattr(nanny_plugin, "ANSWER_S", 0.01)
    assert end(PlayedWorker(answers=False)) == ["identity"]


def test_dead_worker_is_not_called() -> None:
    """There is nothing to wait for."""
    assert end(PlayedWorker(), alive=False) == []
