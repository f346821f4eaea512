"""What the scheduler's desk remembers of builds that follow each other as one."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any

from shdask.cluster import build_desk
from shdask.cluster.build_desk import BuildDesk


def play(act: Callable[[BuildDesk], Awaitable[Any]], *, removal_s: float = 0.0) -> Any:
    """What ``act`` returns of a desk on a scheduler whose workers take ``removal_s`` to let go of a build."""

    async def unregister(**_: object) -> None:
        await asyncio.sleep(removal_s)

    async def run() -> Any:
        desk = BuildDesk()
        plugins = {"shdask-one": object()}
        scheduler: Any = SimpleNamespace(
            handlers={},
            workers={"w": object()},
            worker_plugins=plugins,
            unregister_worker_plugin=unregister,
            _broker=SimpleNamespace(truncate=lambda _topic: None),
        )
        await desk.start(scheduler)
        await desk.open_build(build="one", client="first", tile_count=4, frozen_s=60.0, max_pu=10.0, of="job")
        try:
            return await act(desk)
        finally:
            await desk.close()

    return asyncio.run(run())


def test_what_a_lost_owner_spent_and_had_promised_is_gone() -> None:
    """Two requests were answered with 3 PU in all, one of 2 PU was on its way."""

    async def act(desk: BuildDesk) -> float:
        first = await desk.reserve("one", "w", 1.0)
        assert isinstance(first, int)
        await desk.settle("one", first, 1.0)
        second = await desk.reserve("one", "w", 2.0)
        assert isinstance(second, int)
        await desk.settle("one", second, 2.0)
        await desk.reserve("one", "w", 2.0)
        desk.remove_client(desk._scheduler, "first")
        return await desk.settle_past("job")

    assert play(act) == 5.0


def test_groups_that_were_done_before_count_as_well() -> None:
    """A build of several groups opens one after the other, under one cap."""

    async def act(desk: BuildDesk) -> float:
        promise = await desk.reserve("one", "w", 1.0)
        assert isinstance(promise, int)
        await desk.settle("one", promise, 1.5)
        await desk.close_build("one")
        await desk.open_build(build="two", client="first", tile_count=4, frozen_s=60.0, max_pu=8.5, of="job")
        promise = await desk.reserve("two", "w", 1.0)
        assert isinstance(promise, int)
        await desk.settle("two", promise, 1.0)
        desk.remove_client(desk._scheduler, "first")
        return await desk.settle_past("job")

    assert play(act) == 2.5


def test_other_builds_do_not_count() -> None:
    """Each order has a cap of its own."""

    async def act(desk: BuildDesk) -> float:
        await desk.reserve("one", "w", 1.0)
        desk.remove_client(desk._scheduler, "first")
        return await desk.settle_past("another")

    assert play(act) == 0.0


def test_workers_are_waited_for_that_write_what_they_had_in_flight() -> None:
    """Else their tiles would be bought a second time."""

    async def act(desk: BuildDesk) -> bool:
        desk.remove_client(desk._scheduler, "first")
        waiting = asyncio.create_task(desk.settle_past("job"))
        done, _ = await asyncio.wait([waiting], timeout=0.1)
        await asyncio.wait([waiting], timeout=10)
        return not done and waiting.done()

    assert play(act, removal_s=0.3)


def test_an_owner_that_never_ends_is_not_waited_for_for_ever(monkeypatch) -> None:
    """What it has spent so far counts; that it still owns the cube is found out next."""
    monkeypatch.setattr(build_desk, "SETTLE_S", 0.1)

    async def act(desk: BuildDesk) -> float:
        await desk.reserve("one", "w", 1.0)
        return await asyncio.wait_for(desk.settle_past("job"), 10)

    assert play(act) == 1.0
