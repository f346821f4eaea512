"""The owner's word to the scheduler's watch: what it builds, how far it is, and why a tile is bought as it is.

Never waits for an answer while the build goes on. Refuses to know what is shown of it.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import Future, wait
from dataclasses import asdict
from datetime import datetime

import numpy as np
from distributed import Client
from numpy.typing import NDArray

from shdask.build import BuildJob
from shdask.cluster.build_view import Note, Opening, pack_states
from shdask.cluster.snapshot import TileMark
from shdask.cluster.telling import pack_events
from shdask.errors import ShdaskError
from shdask.model import TileEvent, TileState
from shdask.plan.group import GroupPlan
from shdask.report import Progress

NOTE_S = 1.0


class Reporter:
    """Tells of one run of a build on a cluster; a build by jobs has several runs, which the watch takes for one."""

    def __init__(self, client: Client, job: BuildJob, account: str, build: str | None = None) -> None:
        """``build`` is what the run's tiles are known by on the cluster, where it has any."""
        self._client = client
        self._job = job
        self._account = account
        self._build = build
        self._make_progress: Callable[[], Progress] | None = None
        self._said = float("-inf")
        self._unsaid: list[TileEvent] = []
        self._asked: list[int] = []
        self._answer: Future[list[int]] | None = None
        """Of the note that is on its way."""

    def begin(self) -> None:
        """Let the watch know of the run. Raises OSError where the scheduler is lost."""
        self._client.sync(
            self._client.scheduler.shdask_watch_open,
            opening=asdict(make_opening(self._job, self._account)),
            client=self._client.id,
            build=self._build,
        )

    def tell(self, events: Sequence[TileEvent]) -> None:
        """What became of tiles of which no worker tells."""
        self._unsaid += events

    def show(self, make_progress: Callable[[], Progress]) -> None:
        """As `Run.show`: send it about once a second, unless the last is still on its way."""
        self._make_progress = make_progress
        if self._answer is not None:
            if not self._answer.done():
                return
            self._asked = [] if self._answer.exception() else list(self._answer.result())
            self._answer = None
        now = time.monotonic()
        if now - self._said < NOTE_S and not self._asked:
            return
        self._said = now
        sending = self._send(make_progress(), self._take(), self._explain(self._asked))
        self._answer = asyncio.run_coroutine_threadsafe(sending, self._client.loop.asyncio_loop)

    def _explain(self, tiles: Sequence[int]) -> list[tuple[int, str]]:
        return [(tile, explain(self._job.plan, tile)) for tile in tiles]

    def _take(self) -> bytes:
        told, self._unsaid = pack_events(self._unsaid), []
        return told

    async def _send(self, progress: Progress, told: bytes, explained: Sequence[tuple[int, str]] = ()) -> list[int]:
        asked: list[int] = await self._client.scheduler.shdask_watch_note(
            key=self._job.key, note=asdict(note_of(progress)), told=told, explained=explained
        )
        return asked

    def end(self, error: BaseException | None = None) -> None:
        """Let the watch know that the run has ended, and of the last that was to be said. Raises OSError."""
        if self._answer is not None:
            wait([self._answer], NOTE_S)
        progress = None if self._make_progress is None else self._make_progress()
        if progress is not None:
            asked = self._client.sync(self._send, progress, self._take())
            if asked:
                self._client.sync(self._send, progress, self._take(), self._explain(asked))
        self._client.sync(
            self._client.scheduler.shdask_watch_close,
            key=self._job.key,
            end=_end_text(error, progress),
            build=self._build,
            told=self._take(),
        )


def make_opening(job: BuildJob, account: str) -> Opening:
    """What is said of a build at its beginning. Pure."""
    plan, layer = job.plan, job.plan.layer
    steps = () if plan.timeline is None else label_steps([(step.time, step.revision) for step in plan.timeline.steps])
    bands = ", ".join(band.name for band in layer.bands)
    return Opening(
        key=job.key,
        store=job.cube.place.name,
        layer=f"{layer.collection}: {bands}",
        account=account,
        grid_shape=plan.tile_set.grid_shape,
        steps=steps,
        states=pack_states(mark_tiles(plan, job.states)),
        max_pu=job.max_pu,
    )


def label_steps(steps: Sequence[tuple[datetime, int]]) -> tuple[str, ...]:
    """A label of each (time, revision), no two alike: the date, and as much more as tells it from others. Pure."""
    labels = [f"{time:%Y-%m-%d}" for time, _ in steps]
    for more in (" %H:%M", ":%S", ".%f"):
        pairs = [(time, label) for (time, _), label in zip(steps, labels, strict=True)]
        alike = Counter(label for _, label in set(pairs))
        labels = [f"{label}{time:{more}}" if alike[label] > 1 else label for time, label in pairs]
    return tuple(
        f"{label} #{revision}" if revision else label for (_, revision), label in zip(steps, labels, strict=True)
    )


def mark_tiles(plan: GroupPlan, states: NDArray[np.uint8] | None) -> NDArray[np.uint8]:
    """(index,) `TileMark` of every index of the plan; a tile that failed in an earlier run is to be tried. Pure."""
    marks: NDArray[np.uint8] = np.full(plan.tile_set.index_count, TileMark.OUTSIDE, np.uint8)
    tiles = plan.tile_set.indices()
    marks[tiles] = TileMark.UNTRIED if states is None else states[tiles]
    marks[marks == TileState.FAILED] = TileMark.UNTRIED
    return marks


def note_of(progress: Progress) -> Note:
    """Of a progress what the watch does not count itself. Pure."""
    return Note(
        pu_spent=progress.pu_spent,
        pu_projected=progress.pu_projected,
        max_pu=progress.max_pu,
        requests=progress.requests,
        rejected=progress.rejected,
        seconds=progress.seconds,
        remaining_s=progress.remaining_s,
        waiting_for=progress.waiting_for,
        dearness=progress.dearness,
        jobs=progress.jobs,
    )


def explain(plan: GroupPlan, tile: int) -> str:
    """Why a tile is bought as it is, in lines, or that this cannot be said. Pure."""
    try:
        return "\n".join(plan.explain(tile).lines())
    except (IndexError, ShdaskError) as error:
        return f"tile {tile} cannot be explained: {error}"


def _end_text(error: BaseException | None, progress: Progress | None) -> str:
    if isinstance(error, KeyboardInterrupt):
        return "interrupted; build again to go on"
    if error is not None:
        return f"{type(error).__name__}: {error}"
    return "done" if progress is not None and progress.done == progress.tiles else "ended"
