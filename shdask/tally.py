"""What a build counts while it runs: rows into the ledger, states and sums, and the report made of them.

Refuses to know where tiles run or how they are fetched. Lives in the owner process only.
"""

from __future__ import annotations

import contextlib
import json
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shdask.about import get_logger, log_about
from shdask.assemble.job_rows import JobAccepted, JobEnd, JobFold, JobIntent, JobRecord, JobRow, job_line
from shdask.assemble.ledger import Ledger
from shdask.assemble.rows import event_line
from shdask.assemble.spool import Spool, spool_prefix
from shdask.assemble.store import CubeStore, known_states
from shdask.errors import BuildError, ShdaskError, StoreError
from shdask.fetch.budget import SLACK
from shdask.fetch.retry import RetryPolicy, call_with_retries
from shdask.jobs.lots import project_pu
from shdask.learned import Learned
from shdask.meter import JobMeter, RunMeter, project_s
from shdask.model import TileEvent, TileState
from shdask.plan.group import GroupPlan
from shdask.report import INTERRUPTED, BuildReport, Progress

logger = get_logger(__name__)

NOTE_S = 5.0
STORE_RETRIES = RetryPolicy(max_retries=30, base_wait_s=1.0, growth=2.0, max_wait_s=10.0, total_s=120.0)
"""How long a store that refuses is waited for, with what was paid for in memory."""


class Tally:
    """Counts what a run does; `add` makes an event durable before it counts."""

    def __init__(
        self,
        plan: GroupPlan,
        cube: CubeStore,
        ledger: Ledger,
        states: NDArray[np.uint8],
        only: Sequence[int] | None = None,
    ) -> None:
        self.pu_spent = 0.0
        self._plan = plan
        self._cube = cube
        self._ledger = ledger
        self._states = states
        tiles = plan.tile_set.indices()
        self._count_of_tiles = tiles.size
        self._planned = np.zeros(plan.tile_set.index_count, np.bool_)
        self._planned[tiles] = True
        self._wanted = self._planned
        if only is not None:
            self._wanted = np.zeros_like(self._planned)
            self._wanted[np.intersect1d(tiles, np.asarray(only, np.intp))] = True
        self._started = time.monotonic()
        self._counts = dict.fromkeys(TileState, 0)
        self._here = np.zeros(self._wanted.size, np.uint8)
        self._skipped = int(np.count_nonzero(self._planned & self._is_done()))
        self._tried = self.remaining.size
        self._done_here = 0
        self._requests = self._rejected = self._nbytes = 0
        self._pu_unknown = self._pu_lost = 0.0
        self._jobs = JobFold(ledger.past.jobs)
        self._job_count = 0
        self._lost_orders = dict[tuple[str, int], float]()
        self.notes: tuple[str, ...] = ()
        self._failures: dict[int, str] = {}
        self._meter, self._job_meter = RunMeter(plan), JobMeter(plan)
        self._note: Mapping[str, object] = {}
        self._say_next = float("-inf")
        self.pu_projected = project_pu(plan, self.remaining, ledger.past.jobs)

    @classmethod
    def begin(
        cls,
        plan: GroupPlan,
        cube: CubeStore,
        ledger: Ledger,
        *,
        only: Sequence[int] | None = None,
        job: str | None = None,
        options: Sequence[str] = (),
        is_timed: bool = True,
    ) -> Tally:
        """The tally of a run that starts now, with what store and ledger say of each tile.

        ``only`` limits the run to these tiles. ``job`` and ``options`` are kept for `status`; see `RunHeader`. A run
        that is not ``is_timed`` says nothing of how long a build takes.
        """
        recover_rows(plan, cube, ledger)
        states = known_states(plan, cube, ledger)
        tally = cls(plan, cube, ledger, states, only)
        tally._meter.is_timed = is_timed
        ledger.begin_run(pu_projected=tally.pu_projected, job=job, options=options)
        failed = np.flatnonzero(ledger.states[: states.size] == TileState.FAILED)
        unheard = np.fromiter((tile for tile in ledger.past.in_flight if tile < states.size), np.intp)
        untold = np.union1d(failed, unheard)
        written = untold[states[untold] == TileState.WRITTEN]  # after its owner was killed, or had given it up
        ledger.append([TileEvent(tile=int(tile), state=TileState.WRITTEN, finished=time.time()) for tile in written])
        return tally

    def give_out(self, tiles: Sequence[int]) -> None:
        """Make durable that these tiles may be sent from now on; executors call it before they submit a batch."""
        pu = float(self._plan.prices(np.asarray(tiles, np.intp)).sum())
        call_with_retries(lambda: self._ledger.give_out(tiles, pu_projected=pu), STORE_RETRIES)

    @property
    def jobs(self) -> Mapping[str, JobRecord]:
        """As `JobBook.jobs`."""
        return self._jobs.records

    def add_job(self, row: JobRow) -> None:
        """As `JobBook.add_job`; what a job has cost counts from when it was accepted."""
        call_with_retries(lambda: self._ledger.add_job(row), STORE_RETRIES, on_error=self._say_wait)
        logger.info("job %s, attempt %d: %s", row.key, row.attempt, _job_text(row))
        self._job_meter.add(row)
        self.pu_spent += self._jobs.add(json.loads(job_line(row)))
        if isinstance(row, JobAccepted):
            self._job_count += 1
            self._pu_unknown -= self._lost_orders.pop((row.key, row.attempt), 0.0)  # one that was found after all
        elif isinstance(row, JobEnd) and row.end == "lost":
            self._lost_orders[row.key, row.attempt] = pu = self._jobs.records[row.key].intent.pu
            self._pu_unknown += pu

    def take_up(self, tiles: Sequence[int]) -> None:
        """As `JobBook.take_up`."""
        call_with_retries(lambda: self._ledger.give_out(tiles, pu_projected=0.0), STORE_RETRIES)

    def tell(self, note: str) -> None:
        """As `JobBook.tell`."""
        logger.warning("%s: %s", self._cube.place.name, note)
        self.notes += (note,)

    @property
    def pu_charged(self) -> float:
        """What this run has spent, with the price of answers that never came."""
        return self.pu_spent + self._pu_unknown

    @property
    def pu_left(self) -> float:
        """What the remaining tiles are projected to cost."""
        return project_pu(self._plan, self.remaining, self._jobs.records)

    @property
    def dearness(self) -> float:
        """What was spent on the tiles that were done in this run, as a multiple of their projection; 1 without any."""
        return self._meter.dearness

    def count_charged(self, pu: float) -> None:
        """Take over what the cap's keeper counted: the rows lack the requests that were lost with their worker."""
        lost = pu - self.pu_charged
        self._pu_lost = lost if lost > SLACK * pu else 0.0

    def count_lost(self, pu: float) -> None:
        """Count what may have been charged for requests that were lost with their worker, where nobody keeps a cap."""
        self._pu_lost += pu

    def settle(self) -> None:
        """Say that nothing is in flight any more, once the run has ended by itself."""
        with contextlib.suppress(StoreError):  # then the next run counts rather too much as in flight
            self._ledger.settle()

    def say(self, note: Mapping[str, object]) -> None:
        """Let the owner's heartbeat carry ``note`` (small JSON) for `status` to show."""
        self._note = note
        self._ledger.say(note)

    def say_progress(self, make_progress: Callable[[], Progress]) -> None:
        """Let the heartbeat carry the progress; asks for it every few seconds only."""
        now = time.monotonic()
        if now >= self._say_next:
            self._say_next = now + NOTE_S
            self.say(make_progress().note())

    @property
    def states(self) -> NDArray[np.uint8]:
        """(index,) `TileState` of each tile as it is now; a copy."""
        return self._states.copy()

    @property
    def remaining(self) -> NDArray[np.intp]:
        """Indices of the run's tiles that are neither written nor empty."""
        return np.flatnonzero(self._wanted & ~self._is_done())

    def _is_done(self) -> NDArray[np.bool_]:
        return np.asarray((self._states == TileState.WRITTEN) | (self._states == TileState.EMPTY))

    def add(self, events: Sequence[TileEvent]) -> None:
        """Append the events' rows to the ledger, then count them. Raises StoreError, also where the lease was lost."""
        try:
            call_with_retries(lambda: self._ledger.append(events), STORE_RETRIES, on_error=self._say_wait)
        except StoreError as error:  # nothing but its row tells that a tile is empty
            lines = b"".join(event_line(event) for event in events if not event.skipped)
            if lines:
                error.add_note(Spool.of_this_user().keep_rows(_rows_name(self._plan, self._cube), lines))
            raise
        for event in events:
            _log_tile(event)
            self._meter.add(event)
            self._requests += event.requests
            self._rejected += event.rejected
            self.pu_spent += event.pu_spent
            self._pu_unknown += event.pu_unknown
            self._nbytes += event.nbytes
            self._count(event)

    def _say_wait(self, error: ShdaskError, wait_s: float) -> None:
        logger.warning("waiting %.0f s for the store: %s", wait_s, error)
        self._ledger.say({**self._note, "waiting_for": f"the store: {error}"})

    def _count(self, event: TileEvent) -> None:
        """Let a tile count once, by its last attempt; an attempt that finds this run's own work done says nothing."""
        before = TileState(self._here[event.tile])
        if event.skipped and before is TileState.WRITTEN:
            return
        if before is TileState.UNTRIED:
            self._done_here += 1
        else:
            self._counts[before] -= 1
        if event.skipped:
            self._skipped += 1
        else:
            self._counts[event.state] += 1
        self._here[event.tile] = self._states[event.tile] = event.state
        self._failures.pop(event.tile, None)
        if event.error is not None:
            self._failures[event.tile] = event.error

    def progress(self, waiting_for: str, max_pu: float | None = None) -> Progress:
        """A snapshot for displays."""
        seconds = time.monotonic() - self._started
        left = self._tried - sum(self._counts.values())
        return Progress(
            tiles=self._count_of_tiles,
            done=self._skipped + self._counts[TileState.WRITTEN] + self._counts[TileState.EMPTY],
            failed=self._counts[TileState.FAILED],
            requests=self._requests,
            rejected=self._rejected,
            pu_spent=self.pu_spent,
            pu_projected=self.pu_projected,
            seconds=seconds,
            requests_per_minute=self._requests / seconds * 60 if seconds else 0.0,
            remaining_s=left * seconds / self._done_here if self._done_here else None,
            waiting_for=waiting_for,
            max_pu=max_pu,
            dearness=self.dearness,
        )

    def report(self) -> BuildReport:
        """The report of this run."""
        seconds = time.monotonic() - self._started
        figures = self._meter.figures(seconds)
        return BuildReport(
            tiles=self._count_of_tiles,
            written=self._counts[TileState.WRITTEN],
            empty=self._counts[TileState.EMPTY],
            failed=self._counts[TileState.FAILED],
            skipped=self._skipped,
            requests=self._requests,
            rejected=self._rejected,
            jobs=self._job_count,
            pu_spent=self.pu_spent,
            pu_unknown=self._pu_unknown + self._pu_lost,
            pu_projected=self.pu_projected,
            nbytes=self._nbytes,
            nbytes_projected=figures.nbytes_projected + self._meter.nbytes_delivered,
            answers=figures.answers,
            answers_s=figures.answers_s,
            seconds=seconds,
            seconds_projected=project_s(self._plan, self.pu_projected),
            store=self._cube.place.name,
            unrecorded=len(self._ledger.past.in_flight),
            pu_unrecorded=math.fsum(self._ledger.past.in_flight.values()),
            failures=self._failures,
        )

    def close(self) -> None:
        """Write the tile states, and whether the cube is complete, into the store, unless another owns it now."""
        if self._ledger.lost:
            return
        self._cube.write_states(self._states)
        self._cube.mark_complete(complete=bool(self._is_done()[self._planned].all()), pu_spent=self._ledger.pu_spent)

    @contextlib.contextmanager
    def closing(self) -> Iterator[None]:
        """`close` at the end of the block, and let the ledger say how the run ended, for whoever asks later."""
        end: dict[str, Any] = {"exit_code": 0}
        try:
            yield
            if self._counts[TileState.FAILED]:
                end = {"exit_code": BuildError.exit_code, "error": f"{self._counts[TileState.FAILED]} tiles failed"}
        except KeyboardInterrupt:
            end = {"exit_code": INTERRUPTED, "error": "interrupted"}
            raise
        except BaseException as error:
            end = {
                "exit_code": getattr(error, "exit_code", 1),
                "error": f"{type(error).__name__}: {error}",
                "resume_at": getattr(error, "resume_at", None),
            }
            raise
        finally:
            figures = self._meter.figures(time.monotonic() - self._started)
            for measured in (figures, self._job_meter.figures(figures.seconds)):
                Learned.of_this_user().add(measured)
            with contextlib.suppress(StoreError):  # the next line tells the same trouble, or another owns the cube
                self._ledger.end_run(**end, figures=figures)
            self.close()


def _job_text(row: JobRow) -> str:
    if isinstance(row, JobIntent):
        return f"is sent, to deliver to {row.url}"
    return f"runs as {row.id}" if isinstance(row, JobAccepted) else ": ".join(filter(None, (row.end, row.text)))


def tile_text(event: TileEvent) -> str:
    """What became of a tile, in a few words. Pure."""
    return event.error or ("found done" if event.skipped else event.state.name.lower())


def _log_tile(event: TileEvent) -> None:
    with log_about(tiles=(event.tile,), request=event.request or "-"):
        logger.info("%s", tile_text(event))


def _rows_name(plan: GroupPlan, cube: CubeStore) -> str:
    return f"{spool_prefix(cube.place.name, plan.identity())}rows.jsonl"


def recover_rows(plan: GroupPlan, cube: CubeStore, ledger: Ledger) -> None:
    """Give the ledger the rows that an earlier run on this machine could not write."""
    spool, name = Spool.of_this_user(), _rows_name(plan, cube)
    lines = spool.take_rows(name)
    if lines:
        ledger.recover(lines)
        spool.drop(name)
