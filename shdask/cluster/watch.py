"""The scheduler's watch on builds: hears what workers and owners say of them, and tells it as snapshots.

Refuses to know how a snapshot is shown, and never interferes.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from distributed import Scheduler
from distributed.diagnostics.plugin import SchedulerPlugin
from numpy.typing import NDArray

from shdask.cluster.build_desk import BuildDesk, plugin_name
from shdask.cluster.build_view import BuildView, Note, Opening
from shdask.cluster.scheduler_plugin import AccountDesk
from shdask.cluster.snapshot import BuildSnapshot, WorkerLoad
from shdask.cluster.telling import unpack_rows
from shdask.cluster.tile_map import TileMap, draw_map

logger = logging.getLogger(__name__)

KEPT_ENDED = 8
"""So many builds are shown after their end."""
TOPIC = plugin_name("")


@dataclass(slots=True, kw_only=True)
class _Watched:
    view: BuildView
    client: str
    openers: int = 0
    """Runs of it that have begun and not ended: a build by jobs has several."""
    builds: list[str] = field(default_factory=list)
    """What its runs on the cluster are called."""
    maps: dict[int | None, tuple[NDArray[np.uint8], TileMap]] = field(default_factory=dict)
    """By step, with the states that are drawn."""


class BuildWatch(SchedulerPlugin):
    """Keeps a view of each running build and of the last few that ended."""

    name = "shdask-watch"
    idempotent = True

    async def start(self, scheduler: Scheduler) -> None:
        """Register the handlers that owners call by name, and the page where there is a dashboard."""
        self._scheduler = scheduler
        self._watched: dict[str, _Watched] = {}
        self._by_build: dict[str, BuildView] = {}
        scheduler.handlers.update(
            shdask_watch_open=self.open_watch,
            shdask_watch_note=self.take_note,
            shdask_watch_close=self.close_watch,
        )
        self._add_page(scheduler)

    def _add_page(self, scheduler: Scheduler) -> None:
        if not scheduler.http_application.applications:  # no dashboard: bokeh would cost memory for nothing
            return
        try:
            from shdask.cluster.dashboard import add_page
        except ImportError as error:
            logger.info("the dashboard has no page of builds: %s", error)
            return
        add_page(scheduler, self)

    async def open_watch(self, opening: Mapping[str, Any], client: str, build: str | None = None) -> None:
        """Know a build; again with another of its runs. ``build`` is what that run is called on the cluster."""
        key = opening["key"]
        watched = self._watched.get(key)
        if watched is None:
            words = {**opening, "grid_shape": tuple(opening["grid_shape"]), "steps": tuple(opening["steps"])}
            view = await asyncio.to_thread(BuildView, Opening(**words), time.time())
            watched = self._watched.setdefault(key, _Watched(view=view, client=client))
        watched.openers += 1
        if build is not None:
            watched.builds.append(build)
            self._by_build[build] = watched.view

    async def take_note(
        self, key: str, note: Mapping[str, Any], told: bytes, explained: Sequence[tuple[int, str]] = ()
    ) -> list[int]:
        """The owner's word, packed events of tiles that no worker told, and answers to what it was asked.

        Returns the tiles that it is to explain.
        """
        watched = self._watched.get(key)
        if watched is None:
            return []
        watched.view.take_note(Note(**note), time.time())
        for row in unpack_rows(told):
            watched.view.hear(row)
        for tile, text in explained:
            watched.view.answer(tile, text)
        return watched.view.asked

    async def close_watch(self, key: str, end: str, build: str | None = None, told: bytes | None = None) -> None:
        """A run of the build has ended, and with the last one the build; ``told`` as `take_note` has it."""
        self._by_build.pop(build or "", None)
        watched = self._watched.get(key)
        if watched is None:
            return
        for row in unpack_rows(told) if told else ():
            watched.view.hear(row)
        watched.openers -= 1
        if not watched.openers:
            self._end(watched, end)

    def remove_client(self, scheduler: Scheduler, client: str) -> None:  # noqa: ARG002  # distributed's signature
        """An owner is gone, and its builds have ended."""
        for watched in [each for each in self._watched.values() if each.client == client and each.view.is_running]:
            self._end(watched, "its owner is gone; build again to go on")

    def _end(self, watched: _Watched, text: str) -> None:
        watched.view.end(text, time.time())
        for build in watched.builds:
            self._by_build.pop(build, None)
        ended = [key for key, each in self._watched.items() if not each.view.is_running]
        ended.sort(key=lambda key: self._watched[key].view.ended or 0.0)
        for key in ended[:-KEPT_ENDED]:
            del self._watched[key]

    def log_event(self, topic: str, msg: Any) -> None:
        """What a worker has told of tiles."""
        view = self._by_build.get(topic[len(TOPIC) :]) if topic.startswith(TOPIC) else None
        if view is not None:
            for row in unpack_rows(msg):
                view.hear(row)

    def snapshots(self) -> list[BuildSnapshot]:
        """Of every build that is known: those that run first, then the last that ended."""
        known = sorted(self._watched.values(), key=lambda each: each.view.ended or float("inf"), reverse=True)
        return [self._snapshot(watched) for watched in known]

    def snapshot(self, key: str) -> BuildSnapshot | None:
        """Of one build; None of one that is not known any more."""
        watched = self._watched.get(key)
        return None if watched is None else self._snapshot(watched)

    def map_of(self, snapshot: BuildSnapshot, step: int | None) -> TileMap:
        """The map of a snapshot at one step, or of all; drawn once, however many look at it."""
        watched = self._watched.get(snapshot.key)
        known = None if watched is None else watched.maps.get(step)
        if known is not None and known[0] is snapshot.states:
            return known[1]
        drawn = draw_map(snapshot.states, step)
        if watched is not None:
            old = [each for each, (states, _) in watched.maps.items() if states is not snapshot.states]
            for each in old:
                del watched.maps[each]
            watched.maps[step] = (snapshot.states, drawn)
        return drawn

    def ask(self, key: str, tile: int) -> None:
        """Let a build's owner explain a tile; its answer stands in a later snapshot."""
        watched = self._watched.get(key)
        if watched is not None:
            watched.view.ask(tile)

    def _snapshot(self, watched: _Watched) -> BuildSnapshot:
        held = self._held(watched)
        return watched.view.snapshot(
            time.time(),
            held=held,
            workers=list(self._loads(watched, Counter(held.values()))),
            limits=self._limits(watched.view.opening.account),
        )

    def _held(self, watched: _Watched) -> Mapping[int, str]:
        desk = self._scheduler.plugins.get(BuildDesk.name)
        if not isinstance(desk, BuildDesk):
            return {}
        return {tile: worker for build in watched.builds for tile, worker in desk.held(build).items()}

    def _loads(self, watched: _Watched, tiles: Mapping[str, int]) -> Iterator[WorkerLoad]:
        now = time.time()
        for address, worker in self._scheduler.workers.items():
            told = [worker.metrics[name] for name in map(plugin_name, watched.builds) if name in worker.metrics]
            if watched.view.is_running and (told or address in tiles):
                yield WorkerLoad(
                    address=address,
                    host=worker.host,
                    tiles=tiles.get(address, 0),
                    in_flight=sum(load["in_flight"] for load in told),
                    oldest_s=max((load["oldest_s"] for load in told), default=0.0),
                    spool_nbytes=max((load["spool_nbytes"] for load in told), default=0),
                    heard_s=max(0.0, now - worker.last_seen),
                )

    def _limits(self, account: str) -> Mapping[str, float]:
        desk = self._scheduler.plugins.get(AccountDesk.name)
        return desk.limits(account) if isinstance(desk, AccountDesk) else {}
