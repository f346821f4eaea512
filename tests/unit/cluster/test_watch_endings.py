"""What the watch keeps of builds that ended, and what it is told of their end."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from shdask.cluster import executor, watch
from shdask.cluster.build_view import pack_states
from shdask.cluster.executor import DaskExecutor
from shdask.cluster.watch import BuildWatch
from shdask.errors import BuildError


def _opening(key: str) -> dict[str, Any]:
    return {
        "key": key,
        "store": key,
        "layer": "l",
        "account": "a",
        "grid_shape": (1, 1),
        "steps": (),
        "states": pack_states(np.zeros(1, np.uint8)),
        "max_pu": None,
    }


async def _outlive(others: list[str]) -> BuildWatch:
    kept = BuildWatch()
    application = SimpleNamespace(applications=[])
    scheduler: Any = SimpleNamespace(handlers={}, http_application=application, plugins={}, workers={})
    await kept.start(scheduler)
    await kept.open_watch(_opening("long"), "c")
    for key in others:
        await kept.open_watch(_opening(key), "c")
        await kept.close_watch(key, "done")
    await kept.close_watch("long", "done")
    return kept


def test_a_build_that_outlives_others_is_kept_at_its_end(monkeypatch) -> None:
    """The one forgotten is the first that ended, not the first that began."""
    ticks = itertools.count(1.0)
    monkeypatch.setattr(watch, "time", SimpleNamespace(time=lambda: next(ticks)))
    kept = asyncio.run(_outlive(list("abcdefgh")))
    assert [each.key for each in kept.snapshots()] == ["long", *"hgfedcb"]


class _Reporter:
    """Takes down what ended it, and fails itself."""

    ends: list[BaseException | None]

    def begin(self) -> None:
        self.ends = []

    def show(self, _make_progress: Any) -> None:
        raise AssertionError

    def end(self, error: BaseException | None = None) -> None:
        self.ends.append(error)
        raise ValueError("the scheduler fell apart")


@pytest.fixture
def reporter(monkeypatch) -> _Reporter:
    played = _Reporter()
    monkeypatch.setattr(executor, "log_in", lambda *_args: "account")
    monkeypatch.setattr(executor, "install", lambda *_args: None)
    monkeypatch.setattr(executor, "Reporter", lambda *_args: played)
    monkeypatch.setattr(executor, "_open_service", lambda *_args: contextlib.nullcontext())
    return played


def _job() -> Any:
    return SimpleNamespace(plan=SimpleNamespace(deployment=None), credentials=None)


def test_a_build_by_jobs_that_fails_says_why(reporter) -> None:
    """The watch hears its error, and no failure to say so takes its place."""
    client: Any = SimpleNamespace()
    error = BuildError("no room")
    with pytest.raises(BuildError, match="no room"), DaskExecutor(client).open_account(_job()):
        raise error
    assert reporter.ends == [error]


def test_a_build_by_jobs_that_ends_says_no_error(reporter) -> None:
    """And nobody hears that the watch did not take it."""
    client: Any = SimpleNamespace()
    with DaskExecutor(client).open_account(_job()):
        pass
    assert reporter.ends == [None]
