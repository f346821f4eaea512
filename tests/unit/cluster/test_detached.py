"""Handing a build over: what is looked at on the workers before anything is bought."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import CancelledError
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import pytest
from distributed.scheduler import KilledWorker

import shdask
from shdask.assemble.lease import Lease
from shdask.assemble.place import open_place
from shdask.assemble.stop import ask_to_stop, is_asked_to_stop
from shdask.cluster import detached
from shdask.cluster.detached import look_for_sign, prepare_store, sees_sign, start_build
from shdask.cluster.driver import JobsCost
from shdask.errors import BudgetExceeded, BuildError, CubeOwned, SchedulerLost, WrongStore
from shdask.plan.cube import CubePlan
from tests.cluster.specs import earth_spec


@pytest.fixture(scope="module")
def plan() -> CubePlan:
    """Seven tiles."""
    return shdask.make_plan(earth_spec())


def test_a_worker_of_the_same_store_sees_the_sign(plan, tmp_path: Path) -> None:
    """What one of them has put there the others read."""
    spent = prepare_store(plan, str(tmp_path / "cube"), "sign", None, False)
    assert (spent, sees_sign(open_place(tmp_path / "cube"), "sign")) == (JobsCost(), True)


def test_a_worker_of_another_disk_does_not(plan, tmp_path: Path, monkeypatch) -> None:
    """A cube of an earlier try under the same path does not deceive it."""
    monkeypatch.setattr(detached, "SEE_S", 0.0)
    prepare_store(plan, str(tmp_path / "cube"), "an earlier one", None, False)
    assert not sees_sign(open_place(tmp_path / "cube"), "sign")


def test_a_cube_that_is_being_built_is_refused(plan, tmp_path: Path) -> None:
    """Its owner is not stopped by the order of another build."""
    prepare_store(plan, str(tmp_path / "cube"), "sign", None, False)
    with Lease.acquire(open_place(tmp_path / "cube")), pytest.raises(CubeOwned, match="shdask status"):
        prepare_store(plan, str(tmp_path / "cube"), "sign", None, False)


def test_an_order_forgets_who_was_asked_to_stop_before(plan, tmp_path: Path) -> None:
    """The driver reads the word before it begins, since it may go on for one that was asked."""
    prepare_store(plan, str(tmp_path / "cube"), "sign", None, False)
    ask_to_stop(tmp_path / "cube")
    prepare_store(plan, str(tmp_path / "cube"), "sign", None, False)
    assert not is_asked_to_stop(tmp_path / "cube")


def test_a_cap_below_the_price_is_refused_by_the_order(plan, tmp_path: Path) -> None:
    """Whoever orders the build is told at once, and not by a ledger later on."""
    with pytest.raises(BudgetExceeded, match="nothing was sent"):
        prepare_store(plan, str(tmp_path / "cube"), "sign", 0.01, False)


class _PlayedWorkers:
    """A cluster whose workers answer, once each, as they are told to; some of them have gone by the end."""

    def __init__(self, answers: dict[str, Any], here: set[str]) -> None:
        self._answers = answers
        self._here = here
        self._asked = False
        self.removed = threading.Event()

    def sync(self, call: Any, *words: Any) -> Any:
        self._asked = True
        return asyncio.run(call(*words))

    def nthreads(self) -> set[str]:
        return set(self._answers) if not self._asked else self._here

    async def run(self, _call: Any, *_words: Any, workers: list[str], **_: Any) -> dict[str, Any]:
        answer = self._answers[workers[0]]
        return {workers[0]: await asyncio.Event().wait() if answer == "frozen" else answer}

    def submit(self, *_words: Any, **_: Any) -> Any:
        self.removed.set()
        return SimpleNamespace(result=lambda: None)


def test_worker_that_sees_another_folder_is_named(tmp_path: Path) -> None:
    """It would build into a disk of its own; the sign is taken away all the same."""
    client = _PlayedWorkers({"a": True, "b": False}, here={"a", "b"})
    with pytest.raises(WrongStore, match="workers: b did not see"):
        detached._check_workers(client, open_place(tmp_path), "sign")
    assert client.removed.is_set()


@pytest.mark.parametrize(("answer", "here"), [("frozen", {"a", "b"}), (OSError("gone"), {"a"}), (False, {"a"})])
def test_worker_that_is_dying_or_frozen_is_not_judged(tmp_path: Path, monkeypatch, answer, here) -> None:
    """Workers come and go; one that cannot answer refuses no build."""
    monkeypatch.setattr(detached, "SEE_S", 0.0)
    monkeypatch.setattr(detached, "ANSWER_S", 0.01)
    client = _PlayedWorkers({"a": True, "b": answer}, here=here)
    detached._check_workers(client, open_place(tmp_path), "sign")
    assert client.removed.is_set()


def test_worker_looks_beside_all_else(tmp_path: Path, monkeypatch) -> None:
    """A shared disk may take ten seconds, and a worker's loop must answer meanwhile."""
    seen = []
    monkeypatch.setattr(detached, "sees_sign", lambda *_: seen.append(threading.current_thread()) is None)
    assert asyncio.run(look_for_sign(open_place(tmp_path), "sign"))
    assert seen != [threading.current_thread()]


@pytest.mark.parametrize(
    ("met", "told"),
    [(TimeoutError("silent"), SchedulerLost), (CancelledError(), SchedulerLost),
     (KilledWorker("prepare", SimpleNamespace(address="tcp://gone"), 3), BuildError)],
)  # fmt: skip  # a list
def test_cluster_that_falls_apart_is_an_error_of_ours(plan, monkeypatch, met, told) -> None:
    """Whoever orders the build is told what to do, and by no traceback."""
    monkeypatch.setattr(detached, "log_in", Mock(side_effect=met))
    with pytest.raises(told, match="again"):
        start_build(plan, "cube", Mock())
