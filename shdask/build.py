"""The whole story of a build: one tile from request to shard, and one plan from first tile to finished cube.

Refuses to know where tiles run (an Executor does), how HTTP is spoken, or how Zarr is laid out.
"""

from __future__ import annotations

import logging
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, wait
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from types import FrameType, TracebackType
from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray

from shdask.assemble.ledger import Ledger
from shdask.assemble.spool import Spool, spool_name
from shdask.assemble.store import CubeStore, StoredTile, create_or_open
from shdask.assemble.write import UnfitPixels
from shdask.errors import BudgetExceeded, ShdaskError
from shdask.fetch.auth import ClientCredentials
from shdask.fetch.client import RequestsTransport, ServiceClient, Spent
from shdask.fetch.limiter import LimiterState, LocalRateGate
from shdask.fetch.process import RunCpu, fetch_tile, run_here, window_body
from shdask.fetch.retry import call_with_retries
from shdask.model import Tile, TileData, TileEvent, TileState
from shdask.plan.group import GroupPlan
from shdask.report import STORE_RETRIES, BuildReport, Progress, Tally
from shdask.request.digest import request_digest
from shdask.settings import Credentials

logger = logging.getLogger(__name__)

DRAIN_S = 25.0
"""How long an interrupted build waits for the tiles in flight."""
POLL_S = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class TileWork:
    """What any tile of a plan needs: the plan, the open cube, a client, a way onto the decode pool, and a spool."""

    plan: GroupPlan
    cube: CubeStore
    client: ServiceClient
    run_cpu: RunCpu
    spool: Spool = field(default_factory=Spool.of_this_user)
    """Where pixels that the store refuses wait on this machine."""
    sleep: Callable[[float], object] = time.sleep
    """Between tries to write; may raise a ShdaskError where the build is over."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TileOutcome:
    """A tile's event, and the error that makes going on pointless, if that is what it met."""

    event: TileEvent
    fatal: ShdaskError | None = None


def run_tile(work: TileWork, index: int) -> TileOutcome:
    """One tile: ask whether it is durable, fetch it, clip it to the area, write it, say what became of it.

    Pixels that are spooled on this machine are not bought again. Never raises a ShdaskError: a failed tile is an
    outcome. Anything else is a fault of ours and propagates.
    """
    started = time.monotonic()
    tile = work.plan.tile(index)
    spent = Spent()
    error: ShdaskError | None = None
    skipped = False
    stored = StoredTile(state=TileState.FAILED)
    request = request_digest(window_body(work.plan, window) for window in tile.windows)
    try:
        skipped = call_with_retries(lambda: work.cube.is_durable(tile), STORE_RETRIES, sleep=work.sleep)
        stored = StoredTile(state=TileState.WRITTEN) if skipped else _fetch_and_write(work, tile, request, spent)
    except ShdaskError as failure:
        error = failure
        logger.warning("tile %d failed: %s: %s", index, type(failure).__name__, failure)
    event = TileEvent(
        tile=index,
        state=stored.state,
        requests=spent.requests,
        rejected=spent.rejected,
        pu_spent=spent.pu,
        pu_unknown=spent.pu_unknown,
        nbytes=spent.nbytes,
        seconds=time.monotonic() - started,
        finished=time.time(),
        skipped=skipped,
        error=None if error is None else f"{type(error).__name__}: {error}",
        request=request,
        checksum=stored.checksum,
    )
    return TileOutcome(event=event, fatal=error if error is not None and error.stops_build else None)


def _fetch_and_write(work: TileWork, tile: Tile, request: str, spent: Spent) -> StoredTile:
    name = spool_name(work.cube, tile, request)
    data = work.spool.take(name, shape=(len(work.plan.layer.bands), *tile.extent.shape))
    if data is None:
        fetched = fetch_tile(work.plan, tile, work.client, run_cpu=work.run_cpu, spent=spent)
        data = work.run_cpu(partial(_inside_area, work, tile, fetched))
    try:
        stored = call_with_retries(
            lambda: work.run_cpu(partial(work.cube.write_tile, tile, data)), STORE_RETRIES, sleep=work.sleep
        )
    except UnfitPixels:  # it would hold for the same pixels tomorrow
        raise
    except ShdaskError as error:
        error.add_note(work.spool.keep(name, data))
        raise
    work.spool.drop(name)
    return stored


def _inside_area(work: TileWork, tile: Tile, fetched: TileData) -> TileData:
    return replace(fetched, data_mask=fetched.data_mask & work.plan.area_mask(tile.extent))


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildJob:
    """What an executor is given: the plan, the cube it fills, and the credentials, which stay in the owner process."""

    plan: GroupPlan
    cube: CubeStore
    credentials: Credentials
    give_out: Callable[[Sequence[int]], None] = lambda _tiles: None
    """Called in the owner's thread with the tiles that may be sent from now on, before they are."""


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
        """Start no further tile; those in flight go on. Again: does nothing."""

    def waiting_for(self) -> str:
        """What progress hangs on just now, in a few words."""

    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Release what the run holds; tiles still in flight are abandoned."""


class Executor(Protocol):
    """Where tiles run: in this process, or on a cluster."""

    def start(self, job: BuildJob, tiles: NDArray[np.intp]) -> Run:
        """Begin to work on the tiles of these indices. Raises AuthError, SettingsError, StoreError."""


def run_build(
    plan: GroupPlan,
    store: str | Path,
    executor: Executor,
    credentials: Credentials,
    *,
    max_pu: float | None = None,
    only: Sequence[int] | None = None,
    job: str | None = None,
    options: Sequence[str] = (),
    on_event: Callable[[TileEvent], None] | None = None,
    on_progress: Callable[[Progress], None] | None = None,
) -> BuildReport:
    """Fill the cube at ``store`` with what ``plan`` asks for and is not there yet; returns what happened.

    Creates or continues the cube, owns its ledger, and drains the tiles in flight for up to 25 s on
    KeyboardInterrupt. ``on_event`` hears of each tile after its row is on disk, ``on_progress`` of the
    whole several times a second; both are called in this thread. ``max_pu`` None is the plan's own. ``only``
    limits the run to tiles of these indices. ``job`` (a path) and ``options`` (words of a command line) are kept
    in the ledger, so that `status` can say how to go on.

    Raises:
        StoreError: the store belongs to another cube, or another process owns it.
        BudgetExceeded: what is left to buy is projected above ``max_pu``, or the cap was reached on the way.
        AuthError, QuotaExhausted, RequestRejected: the first tile that met it stopped the build.
        ServiceDown: the service has brought nothing for too long; BuildError: the cluster is lost. The same call
            continues.
        KeyboardInterrupt: after draining; the same call continues.

    """
    listeners = _Listeners(on_event=on_event, on_progress=on_progress)
    max_pu = plan.max_pu if max_pu is None else max_pu
    cube = create_or_open(plan, store)
    with Ledger.open(cube.place) as ledger:
        tally = Tally.begin(plan, cube, ledger, only=only, job=job, options=options)
        with tally.closing():
            _check_budget(tally, max_pu)
            todo = tally.remaining
            if todo.size:
                work = BuildJob(plan=plan, cube=cube, credentials=credentials, give_out=tally.give_out)
                with executor.start(work, todo) as run:
                    try:
                        _record_until_finished(run, tally, max_pu, listeners)
                    finally:
                        if run.finished:
                            tally.settle()
    return tally.report()


def _check_budget(tally: Tally, max_pu: float | None) -> None:
    if max_pu is not None and not tally.pu_projected <= max_pu:  # nothing fits under NaN
        raise BudgetExceeded(
            f"{tally.remaining.size} tiles are left to buy for {tally.pu_projected:.2f} PU, and max_pu is {max_pu:g}; "
            f"nothing was sent. Raise max_pu, or make the area smaller or the resolution coarser"
        )


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


def _record_until_finished(run: Run, tally: Tally, max_pu: float | None, listeners: _Listeners) -> None:
    def record(waiting_for: Callable[[], str]) -> None:
        events = run.poll(POLL_S)
        tally.add(events)
        # the answer may cost a call to the scheduler
        listeners.hear(events, lambda: tally.progress(waiting_for(), max_pu))
        tally.say_progress(lambda: tally.progress(waiting_for(), max_pu))

    over_budget = False
    with _interrupts_between_records() as interrupted:
        try:
            while not run.finished:
                record(run.waiting_for)
                if interrupted():
                    raise KeyboardInterrupt  # noqa: TRY301  # one way out for both kinds of interrupt
                if max_pu is not None and not over_budget and tally.pu_spent >= max_pu:
                    over_budget = True
                    run.stop()
        except KeyboardInterrupt:
            run.stop()
            deadline = time.monotonic() + DRAIN_S
            while not run.finished and time.monotonic() < deadline:
                record(lambda: "the tiles in flight, and then stops")
            raise
    if run.fatal is not None:
        raise run.fatal
    if over_budget and tally.remaining.size:
        raise BudgetExceeded(
            f"stopped at {tally.pu_spent:.2f} PU spent of max_pu {max_pu:g} with {tally.remaining.size} tiles left; "
            f"what was paid for is kept. Run it again with a higher max_pu to go on"
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


class SerialExecutor:
    """One tile after the other in this process: the same story with no cluster, for small areas and debuggers."""

    def start(self, job: BuildJob, tiles: NDArray[np.intp]) -> Run:
        """Log in, and begin with the first tile. Raises AuthError when the credentials are refused."""
        state = LimiterState.for_deployment(job.plan.deployment)
        transport = RequestsTransport(pool_size=1)
        tokens = ClientCredentials(transport, job.plan.deployment, job.credentials)
        try:
            tokens.token()
        except BaseException:
            transport.close()
            raise
        client = ServiceClient(job.plan.deployment, transport, LocalRateGate(state), tokens)
        work = TileWork(plan=job.plan, cube=job.cube, client=client, run_cpu=run_here)
        return _SerialRun(work, tiles, transport, job.give_out)


class _SerialRun:
    """One thread works, so that an interrupt of the main thread can let the tile in flight end.

    A daemon: a tile given up after draining must not hold up the end of the process.
    """

    def __init__(
        self,
        work: TileWork,
        tiles: NDArray[np.intp],
        transport: RequestsTransport,
        give_out: Callable[[Sequence[int]], None],
    ) -> None:
        self.fatal: ShdaskError | None = None
        self._work = work
        self._transport = transport
        self._give_out = give_out
        self._left = iter(tiles)
        self._current: Future[TileOutcome] | None = None
        self._start_next()

    def _start_next(self) -> None:
        index = next(self._left, None)
        self._current = None
        if index is not None:
            self._give_out([int(index)])
            self._current = Future()
            threading.Thread(
                target=_run_tile_into, args=(self._current, self._work, int(index)), name="shdask-tile", daemon=True
            ).start()

    def poll(self, timeout_s: float) -> Sequence[TileEvent]:
        if self._current is None or not wait([self._current], timeout_s).done:
            return []
        outcome = self._current.result()
        if outcome.fatal is not None:
            self.fatal = outcome.fatal
            self.stop()
        self._start_next()
        return [outcome.event]

    @property
    def finished(self) -> bool:
        return self._current is None

    def stop(self) -> None:
        self._left = iter(())

    def waiting_for(self) -> str:
        return "the answer to one request"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._transport.close()


def _run_tile_into(future: Future[TileOutcome], work: TileWork, index: int) -> None:
    try:
        future.set_result(run_tile(work, index))
    except BaseException as error:  # noqa: BLE001  # raised again where the future is read
        future.set_exception(error)
