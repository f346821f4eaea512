"""The loop around a run: interrupts, caps and errors, with a run that says what it is told to."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Sequence
from typing import Any, Self

import numpy as np
import pytest

import shdask
from shdask import account, build, serial
from shdask.assemble.ledger import read_ledger
from shdask.assemble.store import read_cube_attributes
from shdask.build import BuildJob, run_build
from shdask.errors import BudgetExceeded, StoreError
from shdask.model import TileEvent, TileState
from shdask.plan.group import GroupPlan
from shdask.report import Progress
from shdask.run_tiles import TileOutcome
from shdask.settings import Credentials
from tests.cluster.specs import earth_spec
from tests.unit.timed import along_days, everywhere

CREDENTIALS = Credentials(client_id="id", client_secret="secret")


class _ScriptedRun:
    """Both a run and its executor: each poll takes the next step of a script."""

    fatal = None

    def __init__(self, *steps: Callable[[], Sequence[TileEvent]]) -> None:
        self.steps = list(steps)
        self.stops = 0
        self.shown: list[Progress] = []

    def start(self, _job: object, _tiles: object) -> _ScriptedRun:
        return self

    def poll(self, _timeout_s: float) -> Sequence[TileEvent]:
        return self.steps.pop(0)()

    @property
    def finished(self) -> bool:
        return not self.steps

    def stop(self) -> None:
        self.stops += 1

    def spend_no_more(self) -> None:
        self.stop()

    def waiting_for(self) -> str:
        return "nothing"

    def show(self, make_progress: Callable[[], Progress]) -> None:
        self.shown.append(make_progress())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        pass


def empty(tile: int, **fields: Any) -> TileEvent:
    return TileEvent(**{"tile": tile, "state": TileState.EMPTY, "pu_spent": 0.1, "finished": 1.0 + tile, **fields})


def interrupted(*events: TileEvent) -> Callable[[], Sequence[TileEvent]]:
    """Events that a poll has in hand when Ctrl-C comes."""

    def step() -> Sequence[TileEvent]:
        signal.raise_signal(signal.SIGINT)
        return events

    return step


@pytest.fixture
def plan() -> GroupPlan:
    """Seven tiles: 0 and 3 to 8 of nine."""
    return shdask.make_plan(earth_spec()).only


def test_interrupt_tears_no_event_from_its_row(plan, tmp_path) -> None:
    """Ctrl-C while an event is on its way to the ledger is heard after its row is written, and then drains."""
    run = _ScriptedRun(interrupted(empty(0)), lambda: [empty(3)])
    with pytest.raises(KeyboardInterrupt):
        run_build(plan, tmp_path / "cube", run, CREDENTIALS)
    assert np.flatnonzero(read_ledger(tmp_path / "cube").states == TileState.EMPTY).tolist() == [0, 3]
    assert run.stops == 1


def test_second_interrupt_ends_draining(plan, tmp_path) -> None:
    """Who presses Ctrl-C twice waits for no tile."""
    run = _ScriptedRun(interrupted(empty(0)), interrupted(), lambda: [empty(3)])
    with pytest.raises(KeyboardInterrupt):
        run_build(plan, tmp_path / "cube", run, CREDENTIALS)
    assert len(run.steps) == 1


def test_draining_says_what_it_waits_for(plan, tmp_path) -> None:
    """After Ctrl-C the display tells why the command has not ended yet."""
    run, heard = _ScriptedRun(interrupted(empty(0)), lambda: [empty(3)]), []
    with pytest.raises(KeyboardInterrupt):
        run_build(plan, tmp_path / "cube", run, CREDENTIALS, on_progress=lambda now: heard.append(now.waiting_for))
    assert heard == ["nothing", "the tiles in flight, and then stops"]


def test_interrupt_handler_is_put_back(plan, tmp_path) -> None:
    """After a build Ctrl-C means what it meant before."""
    run_build(plan, tmp_path / "cube", _ScriptedRun(lambda: [empty(0)]), CREDENTIALS)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_reached_cap_stops_the_run_once(plan, tmp_path) -> None:
    """A run over its cap is told so once, however long its tiles in flight take."""
    run = _ScriptedRun(lambda: [empty(0, pu_spent=5.0)], lambda: [empty(3)], lambda: [empty(4)])
    with pytest.raises(BudgetExceeded, match="4 tiles left"):
        run_build(plan, tmp_path / "cube", run, CREDENTIALS, max_pu=1.0)
    assert run.stops == 1


def test_owner_that_goes_on_begins_below_the_price_and_stops_at_the_cap(plan, tmp_path) -> None:
    """What owners before it have spent is gone, and its rest buys what it can."""
    run = _ScriptedRun(lambda: [empty(0, pu_spent=0.1)], lambda: [empty(3)], lambda: [empty(4)])
    with pytest.raises(BudgetExceeded, match=r"stopped at 5\.30 PU spent of max_pu 5\.05 with 4 tiles left"):
        run_build(plan, tmp_path / "cube", run, CREDENTIALS, max_pu=5.05, charged_pu=5.0)


def test_cap_that_is_no_number_buys_nothing(plan, tmp_path) -> None:
    """A cap of NaN is refused as too small, not taken for none."""
    with pytest.raises(BudgetExceeded):
        run_build(plan, tmp_path / "cube", _ScriptedRun(), CREDENTIALS, max_pu=float("nan"))


def test_serial_tile_does_not_hold_up_the_end_of_the_process(plan, tmp_path, monkeypatch) -> None:
    """A tile that outlives the draining of a serial build is left behind when Python ends."""
    daemons: list[bool] = []

    def run_tiles(_work: object, indices: Sequence[int]) -> list[TileOutcome]:
        daemons.append(threading.current_thread().daemon)
        return [TileOutcome(event=empty(index)) for index in indices]

    monkeypatch.setattr(serial, "run_tiles", run_tiles)
    monkeypatch.setattr(account.ClientCredentials, "token", lambda _self: None)
    run_build(plan, tmp_path / "cube", shdask.SerialExecutor(), CREDENTIALS)
    assert daemons == [True] * 7


def test_the_heartbeat_says_what_is_waited_for(plan, tmp_path, monkeypatch) -> None:
    """With what was spent and may be spent, for `status` to show."""
    said: list[dict[str, Any]] = []
    monkeypatch.setattr("shdask.assemble.lease.Lease.say", lambda _self, note: said.append(note))
    run_build(plan, tmp_path / "cube", _ScriptedRun(lambda: [empty(0)]), CREDENTIALS, max_pu=5.0)
    assert (said[0]["waiting_for"], said[0]["pu_spent"], said[0]["max_pu"]) == ("nothing", 0.1, 5.0)


def test_a_run_is_shown_the_progress(plan, tmp_path) -> None:
    """After each poll, with what was told by then, for whoever watches the cluster."""
    run = _ScriptedRun(lambda: [empty(0)], lambda: [empty(1)])
    run_build(plan, tmp_path / "cube", run, CREDENTIALS, max_pu=5.0)
    assert [(shown.done, shown.pu_spent, shown.max_pu) for shown in run.shown] == [(1, 0.1, 5.0), (2, 0.2, 5.0)]


def test_a_run_knows_what_is_done_already(plan, tmp_path, monkeypatch) -> None:
    """The states that store and ledger tell of when it begins."""
    run_build(plan, tmp_path / "cube", _ScriptedRun(lambda: [empty(0)]), CREDENTIALS)
    jobs: list[BuildJob] = []
    run = _ScriptedRun()
    monkeypatch.setattr(run, "start", lambda job, _tiles: jobs.append(job) or run)
    run_build(plan, tmp_path / "cube", run, CREDENTIALS)
    assert jobs[0].states is not None
    assert np.flatnonzero(jobs[0].states == TileState.EMPTY).tolist() == [0]


def test_a_run_can_be_limited_to_some_tiles(plan, tmp_path, monkeypatch) -> None:
    """Only these are handed out and priced, and the cube is not complete after them."""
    handed: list[list[int]] = []
    run = _ScriptedRun(lambda: [empty(4)])
    monkeypatch.setattr(run, "start", lambda _job, tiles: handed.append(tiles.tolist()) or run)
    report = run_build(plan, tmp_path / "cube", run, CREDENTIALS, only=[4])
    assert handed == [[4]]
    assert report.pu_projected == pytest.approx(plan.window_pu(plan.tile(4).windows[0]))
    assert not read_cube_attributes(tmp_path / "cube")["complete"]


def test_how_a_run_ended_stands_in_the_ledger(plan, tmp_path) -> None:
    """With its error and exit code, and the job that was asked for."""
    with pytest.raises(BudgetExceeded):
        run_build(plan, tmp_path / "cube", _ScriptedRun(), CREDENTIALS, max_pu=0.0, job="/j.toml", options=("-x",))
    ledger = read_ledger(tmp_path / "cube")
    assert (ledger.end.exit_code, ledger.end.error[:16]) == (4, "BudgetExceeded: ")
    assert (ledger.runs[-1].job, ledger.runs[-1].options) == ("/j.toml", ("-x",))


def test_a_run_that_did_all_ends_with_0(plan, tmp_path) -> None:
    """And without an error."""
    run_build(plan, tmp_path / "cube", _ScriptedRun(lambda: [empty(0)]), CREDENTIALS)
    assert (read_ledger(tmp_path / "cube").end.exit_code, read_ledger(tmp_path / "cube").end.error) == (0, None)


@pytest.fixture
def dated(plan, monkeypatch) -> GroupPlan:
    """Three days, the first and the last bought together: 21 tiles in 14 bundles."""
    monkeypatch.setattr(build, "continue_timeline", lambda cube, **_: (cube, ()))  # it would choose its own bundles
    monkeypatch.setattr(build, "as_it_stands", lambda cube: cube)
    return along_days(plan, everywhere(plan, 3), (0, 1, 0))


def test_a_run_is_given_bundles_side_by_side(dated, tmp_path, monkeypatch) -> None:
    """Cell by cell, though numbers go by day."""
    handed: list[list[int]] = []
    run = _ScriptedRun(list)
    monkeypatch.setattr(run, "start", lambda _job, tiles: handed.append(tiles.tolist()) or run)
    run_build(dated, tmp_path / "cube", run, CREDENTIALS)
    first, second = [0, 3, 4, 5, 6, 7, 8], [9, 12, 13, 14, 15, 16, 17]
    assert handed == [[tile for cell in first for tile in (cell, cell + 18)] + second]


def test_serial_build_runs_bundle_by_bundle(dated, tmp_path, monkeypatch) -> None:
    """The tiles of one are handed out together, before they are sent, and each has its row."""
    ran: list[list[int]] = []

    def run_tiles(_work: object, indices: Sequence[int]) -> list[TileOutcome]:
        ran.append(list(indices))
        return [TileOutcome(event=empty(index)) for index in indices]

    monkeypatch.setattr(serial, "run_tiles", run_tiles)
    monkeypatch.setattr(account.ClientCredentials, "token", lambda _self: None)
    report = run_build(dated, tmp_path / "cube", shdask.SerialExecutor(), CREDENTIALS, only=[0, 18, 9, 3])
    assert ran == [[0, 18], [3], [9]]
    assert (report.empty, report.requests) == (4, 0)
    assert np.flatnonzero(read_ledger(tmp_path / "cube").states).tolist() == [0, 3, 9, 18]


def test_serial_build_stops_at_an_error_of_any_tile_of_a_bundle(dated, tmp_path, monkeypatch) -> None:
    """All events of the bundle are kept, and no further one is begun."""
    refused = StoreError("full")

    def run_tiles(_work: object, indices: Sequence[int]) -> list[TileOutcome]:
        good, bad = indices
        failed = TileEvent(tile=bad, state=TileState.FAILED, error="StoreError: full", finished=1.0)
        return [TileOutcome(event=empty(good)), TileOutcome(event=failed, fatal=refused)]

    monkeypatch.setattr(serial, "run_tiles", run_tiles)
    monkeypatch.setattr(account.ClientCredentials, "token", lambda _self: None)
    with pytest.raises(StoreError, match="full"):
        run_build(dated, tmp_path / "cube", shdask.SerialExecutor(), CREDENTIALS)
    ledger = read_ledger(tmp_path / "cube")
    assert (np.flatnonzero(ledger.states).tolist(), ledger.errors) == ([0, 18], {18: "StoreError: full"})
