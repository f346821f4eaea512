"""Whom the scheduler takes for frozen."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from shdask.cluster import build_desk
from shdask.cluster.build_desk import BuildDesk

FROZEN_S = 45.0
LOOK_S = 4.5


@pytest.fixture
def watch(monkeypatch: pytest.MonkeyPatch) -> Any:
    """What the desk replaces of the worker "w" while its looks come so many seconds after each other."""

    def watch(nights: Sequence[float], *, beats: bool) -> list[str]:
        now, left, replaced = [0.0], iter(nights), list[str]()
        worker = SimpleNamespace(last_seen=0.0)
        over = asyncio.Event()

        async def sleep(_: float) -> None:
            worker.last_seen = now[0] if beats else worker.last_seen
            night = next(left, None)
            if night is None:
                over.set()
                await asyncio.Event().wait()
            now[0] += night or 0.0

        async def restart_workers(workers: list[str], **_: object) -> None:
            replaced.extend(workers)

        async def run() -> None:
            desk = BuildDesk()
            scheduler: Any = SimpleNamespace(handlers={}, workers={"w": worker}, restart_workers=restart_workers)
            await desk.start(scheduler)
            await desk.open_build(build="b", client="c", tile_count=4, frozen_s=FROZEN_S)
            await desk.take("b", "w", [0])
            await asyncio.wait_for(over.wait(), 10)
            await desk.close()

        clock = SimpleNamespace(time=lambda: now[0], monotonic=lambda: now[0])
        monkeypatch.setattr(build_desk, "time", clock)
        loop = SimpleNamespace(sleep=sleep, get_running_loop=asyncio.get_running_loop, Task=asyncio.Task)
        monkeypatch.setattr(build_desk, "asyncio", loop)
        asyncio.run(run())
        return replaced

    return watch


def test_a_stall_of_the_scheduler_costs_no_worker(watch) -> None:
    """It wakes to its timer before it reads what its workers have sent meanwhile."""
    assert watch([LOOK_S, 60.0, LOOK_S, LOOK_S], beats=True) == []


def test_a_worker_that_is_silent_is_replaced(watch) -> None:
    """After ten looks it has been silent for 45 s, with the eleventh for longer."""
    assert watch([LOOK_S] * 11, beats=False) == ["w"]


def test_a_worker_that_is_silent_after_a_stall_as_well_is_replaced(watch) -> None:
    """It had the time from one look to the next to be heard."""
    assert watch([60.0, LOOK_S], beats=False) == ["w"]
