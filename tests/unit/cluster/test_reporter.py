"""The owner's word to the scheduler's watch."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from datetime import datetime
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import shdask
from shdask.build import BuildJob
from shdask.cluster.reporter import Reporter, explain, label_steps, mark_tiles, note_of
from shdask.cluster.snapshot import TileMark
from shdask.cluster.telling import pack_events, unpack_tiles
from shdask.model import TileEvent, TileState
from shdask.plan.group import GroupPlan
from shdask.report import Progress
from tests.cluster.specs import earth_spec
from tests.unit.timed import along_days, everywhere

PROGRESS = Progress(
    tiles=7,
    done=7,
    failed=0,
    requests=9,
    rejected=1,
    pu_spent=2.5,
    pu_projected=3.0,
    seconds=60.0,
    requests_per_minute=9.0,
    remaining_s=4.0,
    waiting_for="answers",
    max_pu=5.0,
    jobs={"runs": 1},
)


class _PlayedScheduler:
    """Takes down what it is told, and asks for tiles."""

    def __init__(self) -> None:
        self.notes: list[dict[str, Any]] = []
        self.closed: list[dict[str, Any]] = []
        self.asks: list[list[int]] = []
        self.gate = threading.Event()
        self.gate.set()

    async def shdask_watch_note(self, **words: Any) -> list[int]:
        await asyncio.to_thread(self.gate.wait, 10)
        self.notes.append(words)
        return self.asks.pop(0) if self.asks else []

    async def shdask_watch_close(self, **words: Any) -> None:
        self.closed.append(words)


@pytest.fixture(scope="module")
def plan() -> GroupPlan:
    """Seven tiles of a grid of nine."""
    return shdask.make_plan(earth_spec()).only


@pytest.fixture
def scheduler() -> _PlayedScheduler:
    return _PlayedScheduler()


@pytest.fixture
def reporter(plan, scheduler) -> Iterator[Reporter]:
    """Of a client whose loop runs in a thread, as Dask's does."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    def sync(call: Any, *args: Any, **words: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(call(*args, **words), loop).result(10)

    client = SimpleNamespace(id="c", scheduler=scheduler, loop=SimpleNamespace(asyncio_loop=loop), sync=sync)
    job = BuildJob(plan=plan, cube=None, credentials=None, key="k")  # type: ignore[arg-type]  # no cube is needed
    yield Reporter(client, job, "account", "b")
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


def test_what_is_no_tile_is_outside(plan) -> None:
    """Else a tile is what is known of it; one that failed before is to be tried again."""
    states = np.zeros(plan.tile_set.index_count, np.uint8)
    first, second, third = plan.tile_set.indices()[:3].tolist()
    states[[first, second, third]] = [TileState.WRITTEN, TileState.EMPTY, TileState.FAILED]
    marks = mark_tiles(plan, states)
    assert [TileMark(mark) for mark in marks[[first, second, third]]] == [
        TileMark.WRITTEN,
        TileMark.EMPTY,
        TileMark.UNTRIED,
    ]
    assert np.flatnonzero(marks != TileMark.OUTSIDE).tolist() == plan.tile_set.indices().tolist()


def test_nothing_known_is_untried(plan) -> None:
    """A run that is begun by hand tells no states."""
    assert np.bincount(mark_tiles(plan, None), minlength=6).tolist() == [7, 0, 0, 0, 0, 2]


def test_unreached_dates_are_outside(plan) -> None:
    """What no acquisition reaches is no tile of its date."""
    reached = everywhere(plan, 2)
    reached[1] = False
    marks = mark_tiles(along_days(plan, reached), None)
    assert np.flatnonzero(marks == TileMark.UNTRIED).tolist() == plan.tile_set.indices().tolist()
    assert marks.size == 18


def test_a_note_tells_what_the_watch_does_not_count(scheduler) -> None:
    """Money, requests and jobs as they are."""
    note = note_of(PROGRESS)
    assert (note.pu_spent, note.pu_projected, note.max_pu, note.requests, note.rejected) == (2.5, 3.0, 5.0, 9, 1)
    assert (note.seconds, note.remaining_s, note.waiting_for, note.jobs) == (60.0, 4.0, "answers", {"runs": 1})


def test_progress_is_told_about_once_a_second(reporter, scheduler) -> None:
    """However often it is shown."""
    reporter.show(lambda: PROGRESS)
    reporter.show(lambda: PROGRESS)
    reporter.end()
    assert len(scheduler.notes) == 2  # the first, and the last word


def test_a_scheduler_that_does_not_answer_holds_up_nobody(reporter, scheduler) -> None:
    """The next word waits until the last has been heard."""
    scheduler.gate.clear()
    reporter.show(lambda: PROGRESS)
    reporter.show(lambda: PROGRESS)
    assert scheduler.notes == []
    scheduler.gate.set()
    reporter.end()
    assert len(scheduler.notes) == 2


def test_the_last_word_says_how_it_ended(reporter, scheduler) -> None:
    """With the progress as it is then, and tiles of which no worker told."""
    reporter.show(lambda: PROGRESS)
    reporter.tell([TileEvent(tile=3, state=TileState.FAILED, error="BuildError: lost")])
    reporter.end()
    assert unpack_tiles(scheduler.notes[-1]["told"]) == [3]
    assert scheduler.closed == [{"key": "k", "end": "done", "build": "b", "told": pack_events([])}]


def test_a_run_that_shows_nothing_tells_its_tiles_at_its_end(reporter, scheduler) -> None:
    """One of several of a build by jobs, whose progress another tells."""
    reporter.tell([TileEvent(tile=3, state=TileState.WRITTEN)])
    reporter.end()
    assert unpack_tiles(scheduler.closed[-1]["told"]) == [3]


@pytest.mark.parametrize(
    ("error", "text"),
    [(ValueError("x"), "ValueError: x"), (KeyboardInterrupt(), "interrupted; build again to go on"), (None, "ended")],
)
def test_an_end_without_a_progress_says_why(reporter, scheduler, error, text) -> None:
    """An error, Ctrl-C, or nothing at all."""
    reporter.end(error)
    assert (scheduler.notes, scheduler.closed[0]["end"]) == ([], text)


def test_what_is_asked_at_the_end_is_answered(reporter, scheduler, plan) -> None:
    """In the plan's words."""
    scheduler.asks = [[], [1]]
    reporter.show(lambda: PROGRESS)
    reporter.end()
    assert [note["explained"] for note in scheduler.notes] == [[], (), [(1, "\n".join(plan.explain(1).lines()))]]


def test_a_tile_that_is_none_is_said_to_be_none(plan) -> None:
    """Nothing is raised in a build for what somebody clicks on."""
    assert "cannot be explained" in explain(plan, 9)


def test_no_two_steps_have_one_label() -> None:
    """Two passes of a day differ by their time, and a correction by its revision."""
    early, late = datetime(2024, 6, 1, 5, 30), datetime(2024, 6, 1, 17, 30)  # noqa: DTZ001  # as the labels need
    next_day = datetime(2024, 6, 2, 5, 30)  # noqa: DTZ001  # as the labels need
    assert label_steps([(early, 0), (late, 0), (next_day, 0), (next_day, 1)]) == (
        "2024-06-01 05:30",
        "2024-06-01 17:30",
        "2024-06-02",
        "2024-06-02 #1",
    )
