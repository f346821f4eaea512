"""The whole story of a build: one plan from its first tile to the finished cube.

Refuses to know where tiles run (an Executor does), what becomes of one of them, or how Zarr is laid out.
"""

from __future__ import annotations

import logging
import secrets
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from shdask.about import log_about
from shdask.assemble.area_growth import CubeAreas, continue_area, find_reopened, widen_area
from shdask.assemble.clear_share import choose_clear, looked_at
from shdask.assemble.grow import as_it_stands, continue_timeline
from shdask.assemble.ledger import Ledger
from shdask.assemble.place import Place
from shdask.assemble.stop import forget_stop
from shdask.assemble.store import CubeStore, create_or_open, known_states
from shdask.errors import BudgetExceeded
from shdask.fetch.budget import fits
from shdask.jobs.adoption import revive
from shdask.jobs.closing import close_jobs
from shdask.jobs.deliveries import Deliveries
from shdask.jobs.lots import project_pu
from shdask.jobs.patience import JobPatience
from shdask.jobs.run import start_run
from shdask.model import TileEvent, TileState
from shdask.plan.group import GroupPlan
from shdask.report import BuildReport, Progress
from shdask.settings import Credentials
from shdask.tally import Tally, recover_rows

if TYPE_CHECKING:
    from shdask.assemble.job_rows import JobRecord, JobRow
    from shdask.fetch.client import ServiceClient

logger = logging.getLogger(__name__)

DRAIN_S = 25.0
"""How long an interrupted build waits for the tiles in flight."""
POLL_S = 0.2
DEARER = 1.01
"""Answers that are so much dearer than projected are worth a word."""


class JobBook(Protocol):
    """What the owner's ledger knows of jobs of Async Process, and takes of them. Called in the owner's thread."""

    @property
    def jobs(self) -> Mapping[str, JobRecord]:
        """The last that is known of each by its key, over all runs and this one."""

    def add_job(self, row: JobRow) -> None:
        """Make durable what was ordered, accepted, or became of a job. Raises StoreError."""

    def take_up(self, tiles: Sequence[int]) -> None:
        """Make durable that tiles may be written from now on whose pixels are paid for. Raises StoreError."""

    def tell(self, note: str) -> None:
        """Something that the user shall read in the report."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildJob:
    """What an executor is given: the plan, the cube it fills, and the credentials, which stay in the owner process."""

    plan: GroupPlan
    cube: CubeStore
    credentials: Credentials | None
    """None where those are used that the cluster's scheduler has itself."""
    give_out: Callable[[Sequence[int]], None] = lambda _tiles: None
    """Called in the owner's thread with the tiles that may be sent from now on, before they are."""
    max_pu: float | None = None
    """What requests may cost together: each is reserved before it is sent. None without a cap."""
    count_charged: Callable[[float], None] = lambda _pu: None
    """Called once, at the end, with what was reserved and not given back: more than the events say where workers were
    lost."""
    count_lost: Callable[[float], None] = lambda _pu: None
    """Called at the end, where there is no cap, with the price of what lost workers may have bought in vain."""
    deliveries: Deliveries = field(default_factory=Deliveries)
    """Tiles whose pixels lie in a bucket; the others are bought by Process."""
    book: JobBook | None = None
    """Of jobs; None where there can be none."""
    key: str = field(default_factory=lambda: secrets.token_hex(4))
    """Names the build to those who watch it."""
    states: NDArray[np.uint8] | None = None
    """(index,) `TileState` of each tile when the run begins; None where nothing is known of any."""


class Run(Protocol):
    """Tiles being worked on somewhere."""

    def poll(self, timeout_s: float) -> Sequence[TileEvent]:
        """What became of tiles since the last call; waits up to ``timeout_s`` for the first.

        A tile has another event for each attempt: the work of a lost worker may be done again.
        """

    @property
    def finished(self) -> bool:
        """Whether nothing is in flight, nothing is left to start, and every event has been polled."""

    @property
    def fatal(self) -> Exception | None:
        """The error that makes going on pointless, once one was met; no further tile is started then."""

    def stop(self) -> None:
        """Start no further tile; those in flight go on, jobs at the service alone. Again: does nothing."""

    def spend_no_more(self) -> None:
        """Buy nothing more; what is paid for is brought home. Again: does nothing."""

    def waiting_for(self) -> str:
        """What progress hangs on just now, in a few words."""

    def show(self, make_progress: Callable[[], Progress]) -> None:
        """Let whoever watches know how far the build is, where anybody can; asks for it about once a second."""

    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Release what the run holds; tiles still in flight are abandoned."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """The account of a build in its owner's hands, and the executor that works under the same limiter and token."""

    service: ServiceClient
    """Without a cap."""
    executor: Executor
    patience: JobPatience = field(default_factory=JobPatience)
    show: Callable[[Callable[[], Progress]], None] = lambda _make_progress: None
    """As `Run.show`, for as long as the account is open."""


class Executor(Protocol):
    """Where tiles run: in this process, or on a cluster."""

    def start(self, job: BuildJob, tiles: NDArray[np.intp]) -> Run:
        """Begin to work on the tiles of these indices. Raises AuthError, SettingsError, StoreError."""

    def open_account(self, job: BuildJob) -> AbstractContextManager[Account]:
        """The account, for the length of the block, for what the owner itself asks. Raises as `start`."""


def run_build(
    plan: GroupPlan,
    store: str | Path | Place,
    executor: Executor,
    credentials: Credentials | None,
    *,
    max_pu: float | None = None,
    charged_pu: float = 0.0,
    only: Sequence[int] | None = None,
    update: bool = False,
    job: str | None = None,
    options: Sequence[str] = (),
    on_event: Callable[[TileEvent], None] | None = None,
    on_progress: Callable[[Progress], None] | None = None,
) -> BuildReport:
    """Fill the cube at ``store`` with what ``plan`` asks for and is not there yet; returns what happened.

    Creates or continues the cube, owns its ledger, and drains the tiles in flight for up to 25 s on
    KeyboardInterrupt, which is also how it ends where `assemble.stop` asks it to. ``on_event`` hears of each
    tile after its row is on disk, ``on_progress`` of the whole several times a second; both are called in this
    thread. ``max_pu`` None is the plan's own; ``charged_pu`` of it are gone with owners of the same build before this
    one, which begins whatever the rest costs, and stops at the cap. ``only`` limits the run to tiles of these
    indices, of the dates that stand in the cube. Else later dates of the plan are appended to the cube's; ``update``
    also buys what came late or was reprocessed of dates that stand in it, which the report's notes name with its
    price in any case. ``job`` (a path) and ``options`` (words of a command line) are kept in the ledger, so that
    `status` can say how to go on.

    Every request is reserved under ``max_pu`` before it is sent, on whatever worker, and settled from its answer; see
    `BudgetState` for how far answers that are dearer than projected can pass it.

    Raises:
        StoreError: the store belongs to another cube, or another process owns it.
        BudgetExceeded: what is left to buy is projected above ``max_pu``, and nothing was sent; or the next request
            would have passed it on the way. It says what the rest costs; what was paid for is kept.
        AuthError, QuotaExhausted, RequestRejected: the first tile that met it stopped the build.
        ServiceDown: the service has brought nothing for too long; BuildError: the cluster is lost. The same call
            continues.
        KeyboardInterrupt: after draining; the same call continues.

    """
    listeners = _Listeners(on_event=on_event, on_progress=on_progress)
    cap = _Cap(max_pu=plan.max_pu if max_pu is None else max_pu, charged_pu=charged_pu)
    cube = create_or_open(plan, store)
    with Ledger.open(cube.place) as ledger:
        forget_stop(cube.place)  # whoever was asked, it was not this build
        cube, notes = continue_cube(cube, ledger, update=update, grow=only is None, max_pu=cap.asked_pu)
        if plan.clear is not None:
            cube = choose_clear(cube)
            seen = looked_at(cube)
            only = (seen if only is None else np.intersect1d(seen, np.asarray(only, np.intp))).tolist()
        for note in notes:
            logger.info("%s: %s", cube.place.name, note)
        tally = Tally.begin(cube.plan, cube, ledger, only=only, job=job, options=options)
        key = secrets.token_hex(4)
        with log_about(build=key), tally.closing():
            todo = cube.plan.tile_set.in_order(tally.remaining)
            work = BuildJob(
                plan=cube.plan,
                cube=cube,
                credentials=credentials,
                give_out=tally.give_out,
                max_pu=cap.left_pu,
                count_charged=tally.count_charged,
                count_lost=tally.count_lost,
                book=tally,
                states=tally.states,
                key=key,
            )
            revived_pu = revive(work, todo)
            _check_budget(tally, cube.plan, cap.asked_pu)
            if todo.size:
                with start_run(executor, work, todo, spent_pu=revived_pu) as run:
                    try:
                        _record_until_finished(run, tally, cap, listeners, is_asked=lambda: ledger.stop_asked)
                    finally:
                        if run.finished:
                            tally.settle()
            close_jobs(work)
    return replace(tally.report(), notes=(*notes, *tally.notes))


def continue_cube(
    cube: CubeStore, ledger: Ledger, *, update: bool, grow: bool = True, max_pu: float | None = None
) -> tuple[CubeStore, tuple[str, ...]]:
    """The cube as wide and as long as its plan, where it may ``grow``, and notes on what has changed.

    Rows that an earlier run could not write come first: they are of the cube as it was. An area that is dearer than
    ``max_pu`` leaves no trace, for one that was given cannot be taken back. Raises as `run_build`.
    """
    recover_rows(cube.plan, cube, ledger)
    cube, areas = widen_area(cube, grow=grow)
    notes: tuple[str, ...] = ()
    if grow:
        cube, notes = continue_timeline(cube, update=update)
    else:
        cube = as_it_stands(cube)
    if areas.new is not None and cube.plan.clear is None:
        _check_growth(cube, areas, ledger, max_pu)
    cube, more = continue_area(cube, areas, ledger)
    return cube, (*more, *notes)


def _check_growth(cube: CubeStore, areas: CubeAreas, ledger: Ledger, max_pu: float | None) -> None:
    wide, opened = find_reopened(cube, areas, ledger.past)
    tiles, states = wide.plan.tile_set.indices(), known_states(wide.plan, wide, ledger)
    states[list(opened)] = TileState.UNTRIED
    left = tiles[np.isin(states[tiles], (TileState.UNTRIED, TileState.FAILED))]
    _check_price(left.size, project_pu(wide.plan, left, ledger.past.jobs), max_pu)


def _check_budget(tally: Tally, plan: GroupPlan, max_pu: float | None) -> None:
    if max_pu is not None and not fits(tally.pu_projected, max_pu):  # without jobs that have delivered after all
        tally.pu_projected = project_pu(plan, tally.remaining, tally.jobs)
    _check_price(tally.remaining.size, tally.pu_projected, max_pu)


def _check_price(tiles: int, pu: float, max_pu: float | None) -> None:
    if tiles and max_pu is not None and not fits(pu, max_pu):
        raise BudgetExceeded(
            f"{tiles} tiles are left to buy for {pu:.2f} PU, and max_pu is {max_pu:g}; "
            f"nothing was sent. Raise max_pu, or make the area smaller or the resolution coarser"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Cap:
    max_pu: float | None
    charged_pu: float = 0.0
    """What owners of the same build before this one have spent of it, or may have."""

    @property
    def left_pu(self) -> float | None:
        """What this run may spend; None without a cap."""
        return None if self.max_pu is None else max(0.0, self.max_pu - self.charged_pu)

    @property
    def asked_pu(self) -> float | None:
        """What the rest must fit before any of it is bought; None for one that goes on."""
        return None if self.charged_pu else self.max_pu


@dataclass(frozen=True, slots=True, kw_only=True)
class _Listeners:
    on_event: Callable[[TileEvent], None] | None
    on_progress: Callable[[Progress], None] | None

    def hear(self, events: Sequence[TileEvent], make_progress: Callable[[], Progress]) -> None:
        if self.on_event is not None:
            for event in events:
                self.on_event(event)
        if self.on_progress is not None:
            self.on_progress(make_progress())


def _record_until_finished(
    run: Run, tally: Tally, cap: _Cap, listeners: _Listeners, *, is_asked: Callable[[], bool]
) -> None:
    max_pu = cap.left_pu

    def record(waiting_for: Callable[[], str]) -> None:
        events = run.poll(POLL_S)
        tally.add(events)

        def make_progress() -> Progress:
            return tally.progress(waiting_for(), max_pu)

        listeners.hear(events, make_progress)
        tally.say_progress(make_progress)
        run.show(make_progress)

    over_budget = False
    with _interrupts_between_records() as interrupted:
        try:
            while not run.finished:
                record(run.waiting_for)
                if interrupted() or is_asked():
                    raise KeyboardInterrupt  # noqa: TRY301  # one way out for all kinds of interrupt
                if max_pu is not None and not over_budget and tally.pu_charged >= max_pu:
                    over_budget = True
                    run.spend_no_more()
        except KeyboardInterrupt:
            run.stop()
            deadline = time.monotonic() + DRAIN_S
            while not run.finished and time.monotonic() < deadline:
                record(lambda: "the tiles in flight, and then stops")
            raise
    is_refused = isinstance(run.fatal, BudgetExceeded)
    if max_pu is not None and (is_refused or (run.fatal is None and over_budget and tally.remaining.size)):
        raise BudgetExceeded(_stopped_text(tally, cap, run.fatal)) from run.fatal
    if run.fatal is not None:
        raise run.fatal


def _stopped_text(tally: Tally, cap: _Cap, refusal: Exception | None) -> str:
    """That the cap stopped a run, and what the rest costs."""
    rest, dearer = tally.pu_left, tally.dearness
    spent = cap.charged_pu + tally.pu_charged
    rather = f" ({rest * dearer:.2f} at {dearer:.3g} times the projection, as so far)" if dearer > DEARER else ""
    # its figures are of what was left of the cap
    why = f"; {refusal}" if refusal is not None and not cap.charged_pu else ""
    return (
        f"stopped at {spent:.2f} PU spent of max_pu {cap.max_pu:g} with {tally.remaining.size} tiles left, "
        f"which cost {rest:.2f} PU{rather}; what was paid for is kept{why}. Run it again with a higher max_pu to go on"
    )


@contextmanager
def _interrupts_between_records() -> Iterator[Callable[[], bool]]:
    """Let the first Ctrl-C only be noted, for the yielded function to tell; the second raises at once.

    Raised just anywhere, it would tear what was heard of a tile from its row in the ledger, and with it what
    the tile has cost. SIGTERM is taken likewise where it is handled as Ctrl-C is. Other handlers stay, and
    only the main thread has any.
    """
    noted = False

    def note(number: int, frame: FrameType | None) -> None:
        nonlocal noted
        if noted:
            signal.default_int_handler(number, frame)
        noted = True

    in_main_thread = threading.current_thread() is threading.main_thread()
    taken = [
        number
        for number in (signal.SIGINT, signal.SIGTERM)
        if in_main_thread and signal.getsignal(number) is signal.default_int_handler
    ]
    for number in taken:
        signal.signal(number, note)
    try:
        yield lambda: noted
    finally:
        for number in taken:
            signal.signal(number, signal.default_int_handler)
