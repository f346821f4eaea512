"""The scheduler's desk of running builds: whose tile is whose, what may be spent, who is frozen, if the owner lives.

Refuses to know plans, stores and accounts; it sees numbers of tiles, addresses of workers and the names of clients.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import pickle
import time
from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from distributed import Scheduler
from distributed.diagnostics.plugin import SchedulerPlugin

from shdask.cluster.frames import mend_current_frames
from shdask.cluster.holds import Holds
from shdask.cluster.telling import unpack_tiles
from shdask.errors import BudgetExceeded, BuildError
from shdask.fetch.budget import BudgetState

logger = logging.getLogger(__name__)

FROZEN = "shdask-frozen"
KEPT_MESSAGES = 16
"""The scheduler remembers so many messages of a build; Dask's own bound is a hundred thousand."""
SETTLE_S = 60.0
"""Workers and owners that leave end within half a minute."""


def plugin_name(build: str) -> str:
    """The name of a build's worker plugin, which is also the topic its events are published under. Pure."""
    return f"shdask-{build}"


def is_dead(stimulus_id: str) -> bool:
    """Whether a worker that was removed for this reason is dead; others leave, and may still end what they have. Pure.

    The first is what Dask says when a connection has broken, the second what we say. Whatever else Dask should call
    it in another release, the worker counts as one that leaves: its tiles are given to others half a minute later.
    """
    return stimulus_id.startswith(("handle-worker-cleanup", FROZEN))


@dataclass(slots=True, kw_only=True)
class _Build:
    client: str
    holds: Holds
    frozen_s: float
    budget: BudgetState | None
    of: str | None = None
    messages: int = 0


class BuildDesk(SchedulerPlugin):
    """Knows each running build of the cluster, and forgets it at its end or with its owner."""

    name = "shdask-builds"
    idempotent = True

    async def start(self, scheduler: Scheduler) -> None:
        """Register the handlers that owners and workers call by name."""
        mend_current_frames()
        self._scheduler = scheduler
        self._builds: dict[str, _Build] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._watch: asyncio.Task[None] | None = None
        self._removals: set[asyncio.Task[None]] = set()
        """Of orphans, whose workers end what they have in flight."""
        self._charged: dict[str, float] = {}
        """What builds of a name that are over have spent, or may have."""
        scheduler.handlers.update(
            shdask_open_build=self.open_build,
            shdask_close_build=self.close_build,
            shdask_count_held=self.count_held,
            shdask_settle_past=self.settle_past,
            shdask_take=self.take,
            shdask_give_back=self.give_back,
            shdask_leave=self.leave,
            shdask_reserve_pu=self.reserve,
            shdask_settle_pu=self.settle,
        )

    async def close(self) -> None:
        """Let go of all builds with the scheduler."""
        self._builds.clear()
        for task in self._tasks:
            task.cancel()

    async def open_build(
        self,
        *,
        build: str,
        client: str,
        tile_count: int,
        frozen_s: float,
        max_pu: float | None = None,
        of: str | None = None,
    ) -> None:
        """Know a build from now on, until `close_build` or the end of ``client``; it spends no more than ``max_pu``.

        Its workers that were not heard of for ``frozen_s`` seconds are taken for frozen: restarted by their nannies,
        else removed, so that their tiles go elsewhere. ``of`` is what builds have in common that follow each other as
        one; see `settle_past`.
        """
        budget = None if max_pu is None else BudgetState(max_pu=max_pu)
        self._builds[build] = _Build(
            client=client, holds=Holds(tile_count=tile_count), frozen_s=frozen_s, budget=budget, of=of
        )
        if self._watch is None or self._watch.done():
            self._watch = self._begin(self._watch_workers())

    async def close_build(self, build: str) -> dict[str, Any] | None:
        """Forget everything of a build. Again: does nothing, and returns None.

        Returns as ``charged`` what it has spent or may have: what is promised yet, and what was to workers that are
        lost, counts; None without a cap. And as ``lost`` the tiles that each lost worker had in its hands.
        """
        known = self._builds.pop(build, None)
        if known is None:
            return None
        self._forget_events(build)
        return {"charged": self._count_charged(known), "lost": known.holds.lost}

    async def settle_past(self, of: str) -> float:
        """Wait, for a minute at most, until orphans are off their workers and builds ``of`` this name have ended.

        Returns what those that had a cap have spent or may have.
        """
        until = time.monotonic() + SETTLE_S
        while (self._removals or self._builds_of(of)) and time.monotonic() < until:  # noqa: ASYNC110  # ends in many ways
            await asyncio.sleep(SETTLE_S / 300)
        left = [build.budget for build in self._builds_of(of) if build.budget is not None]
        return self._charged.get(of, 0.0) + sum(budget.spent + budget.reserved for budget in left)

    def _builds_of(self, of: str) -> list[_Build]:
        return [build for build in self._builds.values() if build.of == of]

    def _count_charged(self, build: _Build) -> float | None:
        if build.budget is None:
            return None
        charged = build.budget.spent + build.budget.reserved
        if build.of is not None:
            self._charged[build.of] = self._charged.get(build.of, 0.0) + charged
        return charged

    async def take(self, build: str, worker: str, tiles: Sequence[int]) -> dict[str, Any] | None:
        """`Holds.take` with the number of workers that share the rate; None where the build is over."""
        known = self._builds.get(build)
        if known is None:
            return None
        taken = known.holds.take(worker, tiles, time.monotonic())
        return {"run": taken.run, "wait": taken.wait, "workers": len(self._scheduler.workers)}

    async def give_back(self, build: str, worker: str, tiles: Sequence[int]) -> None:
        """A worker will not work on these tiles any more."""
        if build in self._builds:
            self._builds[build].holds.give_back(worker, tiles)

    async def leave(self, build: str, worker: str, tiles: Sequence[int]) -> None:
        """A worker ends these tiles, which are in flight, and takes no more."""
        if build in self._builds:
            self._builds[build].holds.keep_only(worker, tiles)

    async def count_held(self, build: str) -> int | None:
        """How many tiles of a build are in work, on workers that leave too; None where it is over."""
        return len(self._builds[build].holds.held) if build in self._builds else None

    async def reserve(self, build: str, worker: str, pu: float, promise: int | None = None) -> int | bytes | None:
        """`BudgetState.reserve` of a build that has a cap: the promise, None for "ask again", or a pickled ShdaskError.

        ``promise`` is the worker's own number for it: so it can settle one whose answer it never got.
        """
        known = self._builds.get(build)
        if known is None or known.budget is None:
            return pickle.dumps(BuildError("the build has ended without this tile"))
        try:
            promise = known.budget.reserve(pu, worker, promise)
        except BudgetExceeded as error:
            return pickle.dumps(error)
        if worker not in self._scheduler.workers:  # it leaves, and may end without another word
            known.budget.lose(worker)
        return promise

    async def settle(self, build: str, promise: int, spent: float) -> None:
        """`Budget.settle` of a build that has a cap."""
        known = self._builds.get(build)
        if known is not None and known.budget is not None:
            known.budget.settle(promise, spent)

    def held(self, build: str) -> Mapping[int, str]:
        """The tiles of a build in work, and whose they are; none of a build that is over."""
        known = self._builds.get(build)
        return {} if known is None else known.holds.held

    def log_event(self, topic: str, msg: Any) -> None:
        """Remember of which tiles the owner was told."""
        if not self._builds or not topic.startswith("shdask-"):
            return
        build = topic.removeprefix("shdask-")
        known = self._builds.get(build)
        if known is None:
            return
        known.holds.hear(unpack_tiles(msg))
        known.messages += 1
        if known.messages % KEPT_MESSAGES == 0:
            self._forget_events(build)

    def remove_worker(self, scheduler: Scheduler, worker: str, *, stimulus_id: str, **_: Any) -> None:  # noqa: ARG002  # distributed's signature
        """Free the tiles of a dead worker; one that leaves may end those it has in flight.

        What it had sent counts as spent, until it says otherwise.
        """
        for build in self._builds.values():
            if build.budget is not None:
                build.budget.lose(worker)
            if is_dead(stimulus_id):
                build.holds.drop(worker)
            else:
                build.holds.leave(worker, time.monotonic())

    def remove_client(self, scheduler: Scheduler, client: str) -> None:  # noqa: ARG002  # distributed's signature
        """An owner is gone: take its builds off the workers, so that no orphan goes on buying."""
        for name in [name for name, build in self._builds.items() if build.client == client]:
            self._count_charged(self._builds.pop(name))
            self._forget_events(name)
            if plugin_name(name) in self._scheduler.worker_plugins:
                logger.warning("the owner of build %s is gone; its workers stop", name)
                removal = self._begin(self._remove_from_workers(plugin_name(name)))
                self._removals.add(removal)
                removal.add_done_callback(self._removals.discard)

    async def _remove_from_workers(self, plugin: str) -> None:
        with contextlib.suppress(OSError, ValueError):  # a worker or the plugin went away meanwhile
            await self._scheduler.unregister_worker_plugin(comm=None, name=plugin)

    async def _watch_workers(self) -> None:
        """While there are builds, replace their workers that are not heard of any more.

        After a stall of its own, or of the whole machine, the scheduler first hears what has waited for it.
        """
        while self._builds:
            frozen_s = min(build.frozen_s for build in self._builds.values())
            asleep = time.time()
            await asyncio.sleep(frozen_s / 10)
            if time.time() - asleep > frozen_s / 2:
                continue
            frozen = self._frozen_workers(time.time() - frozen_s)
            if frozen:
                logger.warning("not heard of for %.0f s, and replaced: %s", frozen_s, ", ".join(frozen))
                await self._scheduler.restart_workers(
                    frozen, wait_for_workers=False, on_error="return", stimulus_id=f"{FROZEN}-{time.time()}"
                )

    def _frozen_workers(self, since: float) -> list[str]:
        holders = set().union(*(build.holds.holders for build in self._builds.values()))
        workers = self._scheduler.workers
        return [name for name in holders if name in workers and workers[name].last_seen < since]

    def _forget_events(self, build: str) -> None:
        # there is no public way, and none of the memory comes back by itself
        self._scheduler._broker.truncate(plugin_name(build))  # noqa: SLF001  # see above

    def _begin(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task
