"""What is counted when the work of a lost worker is done again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import pytest

import shdask
from shdask import tally as tally_module
from shdask.assemble.job_rows import JobAccepted, JobEnd, JobIntent
from shdask.assemble.ledger import Ledger, read_ledger
from shdask.assemble.store import create_or_open
from shdask.errors import StoreError
from shdask.model import TileData, TileEvent, TileState, Window
from shdask.tally import Tally
from tests.cluster.specs import earth_spec


@pytest.fixture
def tally(tmp_path) -> Iterator[Tally]:
    """The tally of a build of seven tiles that has just begun."""
    plan = shdask.make_plan(earth_spec()).only
    cube = create_or_open(plan, tmp_path / "cube")
    with Ledger.open(cube.place) as ledger:
        yield Tally.begin(plan, cube, ledger)


def test_tile_bought_twice_counts_once_and_costs_twice(tally) -> None:
    """Both attempts of a tile are paid, and it is one tile."""
    tally.add([TileEvent(tile=0, state=TileState.EMPTY, requests=1, pu_spent=0.5, finished=1.0)])
    tally.add([TileEvent(tile=0, state=TileState.EMPTY, requests=1, pu_spent=0.5, finished=2.0)])
    report = tally.report()
    assert (report.empty, report.requests, report.pu_spent) == (1, 2, 1.0)


def test_last_attempt_says_what_became_of_a_tile(tally) -> None:
    """A tile that failed on a lost worker and was written by another is written."""
    tally.add([TileEvent(tile=3, state=TileState.FAILED, error="TransportError: cut", finished=1.0)])
    tally.add([TileEvent(tile=3, state=TileState.WRITTEN, finished=2.0)])
    report = tally.report()
    assert (report.written, report.failed, report.failures, tally.remaining.size) == (1, 0, {}, 6)


def test_tile_of_this_run_that_is_found_durable_again_is_not_skipped(tally) -> None:
    """A second attempt that finds the first one's tile written does not make it one of an earlier run."""
    tally.add([TileEvent(tile=3, state=TileState.WRITTEN, finished=1.0)])
    tally.add([TileEvent(tile=3, state=TileState.WRITTEN, skipped=True, finished=2.0)])
    report = tally.report()
    assert (report.written, report.skipped, tally.progress("").done) == (1, 0, 1)


def test_tile_that_was_written_after_all_gets_a_row(tmp_path) -> None:
    """A tile that was given up and is there when the next run begins is no failure any more."""
    plan = shdask.make_plan(earth_spec()).only
    cube, tile = create_or_open(plan, tmp_path / "cube"), plan.tile(4)
    with Ledger.open(cube.place) as ledger:
        Tally.begin(plan, cube, ledger).add([TileEvent(tile=4, state=TileState.FAILED, error="lost", finished=1.0)])
    pixels = np.ones((2, *tile.extent.shape), np.uint16)
    cube.write_tile(tile, TileData(values=pixels, data_mask=pixels[0] > 0))
    with Ledger.open(cube.place) as ledger:
        Tally.begin(plan, cube, ledger)
    ledger_now = read_ledger(cube.place)
    assert (ledger_now.states[4], ledger_now.errors) == (TileState.WRITTEN, {})


def test_tiles_in_flight_when_a_run_was_killed_are_counted_with_what_they_may_have_cost(tmp_path) -> None:
    """The next run says how many there were, and their projected PU, shared evenly by those that were given out."""
    plan = shdask.make_plan(earth_spec()).only
    cube = create_or_open(plan, tmp_path / "cube")
    with Ledger.open(cube.place) as ledger:
        tally = Tally.begin(plan, cube, ledger)
        tally.give_out([0, 3, 4])
        tally.add([TileEvent(tile=3, state=TileState.EMPTY, pu_spent=0.1, finished=1.0)])
    with Ledger.open(cube.place) as ledger:
        report = Tally.begin(plan, cube, ledger).report()
    price = sum(map(plan.tile_pu, (0, 3, 4))) * 2 / 3
    assert report.unrecorded == 2
    assert report.pu_unrecorded == pytest.approx(price)
    assert f"up to {price:.2f} more for 2 tiles in flight when a run was killed" in str(report)


def test_a_run_that_ended_leaves_nothing_unrecorded(tmp_path) -> None:
    """Tiles that were handed out and never started cost nothing."""
    plan = shdask.make_plan(earth_spec()).only
    cube = create_or_open(plan, tmp_path / "cube")
    with Ledger.open(cube.place) as ledger:
        tally = Tally.begin(plan, cube, ledger)
        tally.give_out([0, 3, 4])
        tally.settle()
    assert read_ledger(cube.place).in_flight == {}


def test_a_tile_written_by_a_killed_run_gets_its_row(tmp_path) -> None:
    """Its shard is there, and its row was not yet written."""
    plan = shdask.make_plan(earth_spec()).only
    cube, tile = create_or_open(plan, tmp_path / "cube"), plan.tile(4)
    with Ledger.open(cube.place) as ledger:
        Tally.begin(plan, cube, ledger).give_out([4])
    pixels = np.ones((2, *tile.extent.shape), np.uint16)
    cube.write_tile(tile, TileData(values=pixels, data_mask=pixels[0] > 0))
    with Ledger.open(cube.place) as ledger:
        assert Tally.begin(plan, cube, ledger).remaining.size == 6
    assert (read_ledger(cube.place).states[4], read_ledger(cube.place).in_flight) == (TileState.WRITTEN, {})


def test_a_run_that_lost_its_lease_writes_no_state(tmp_path) -> None:
    """Another process owns the cube now."""
    plan = shdask.make_plan(earth_spec()).only
    cube = create_or_open(plan, tmp_path / "cube")
    with Ledger.open(cube.place) as ledger:
        tally = Tally.begin(plan, cube, ledger)
        tally.add([TileEvent(tile=0, state=TileState.EMPTY, finished=1.0)])
        cube.place.write(".shdask/owner.json", b'{"host": "elsewhere", "pid": 1}')
        ledger.lease.beat()
        with pytest.raises(StoreError, match="taken over by process 1 on elsewhere"):
            tally.add([])
        before = cube.place.read("zarr.json"), cube.place.read("tile_state/c/0/0")
        tally.close()
        assert (cube.place.read("zarr.json"), cube.place.read("tile_state/c/0/0")) == before
    assert cube.place.exists(".shdask/owner.json")


def test_rows_that_a_full_disk_refused_are_taken_by_the_next_run(tmp_path, monkeypatch) -> None:
    """A tile that was paid for and found empty is not bought again, and its cost is not forgotten."""
    monkeypatch.setenv("SHDASK_SPOOL", str(tmp_path / "spool"))
    monkeypatch.setattr(tally_module, "STORE_RETRIES", replace(tally_module.STORE_RETRIES, max_retries=0))
    plan = shdask.make_plan(earth_spec()).only
    cube = create_or_open(plan, tmp_path / "cube")
    with Ledger.open(cube.place) as ledger:
        tally = Tally.begin(plan, cube, ledger)
        with monkeypatch.context() as full:
            full.setattr("os.fsync", fail_once_with_full_disk(full))
            with pytest.raises(StoreError, match="the disk is full") as refusal:
                tally.add([TileEvent(tile=4, state=TileState.EMPTY, requests=1, pu_spent=0.5, finished=1.0)])
        assert str(tmp_path / "spool") in refusal.value.__notes__[-1]
    with Ledger.open(cube.place) as ledger:
        assert 4 not in Tally.begin(plan, cube, ledger).remaining
        assert ledger.pu_spent == 0.5
    assert list((tmp_path / "spool").iterdir()) == []
    assert read_ledger(cube.place).requests == 1


def fail_once_with_full_disk(patch: pytest.MonkeyPatch) -> Callable[[int], None]:
    def fail(_fd: int) -> None:
        patch.undo()
        raise OSError(28, "No space left on device")

    return fail


def test_what_was_lost_with_a_worker_may_have_been_charged(tmp_path) -> None:
    """The cap's keeper has counted it; no row does."""
    plan = shdask.make_plan(earth_spec()).only
    cube = create_or_open(plan, tmp_path / "cube")
    with Ledger.open(cube.place) as ledger:
        tally = Tally.begin(plan, cube, ledger)
        tally.add([TileEvent(tile=3, state=TileState.EMPTY, pu_spent=0.1, pu_unknown=0.2, finished=1.0)])
        tally.count_charged(1.0)
    assert (tally.pu_charged, tally.report().pu_unknown) == pytest.approx((0.3, 0.9))


def test_a_keeper_of_the_cap_that_agrees_adds_nothing(tmp_path) -> None:
    """Sums of prices differ by a rounding."""
    plan = shdask.make_plan(earth_spec()).only
    cube = create_or_open(plan, tmp_path / "cube")
    with Ledger.open(cube.place) as ledger:
        tally = Tally.begin(plan, cube, ledger)
        tally.add([TileEvent(tile=3, state=TileState.EMPTY, pu_spent=0.1, finished=1.0)])
        tally.count_charged(0.1 + 1e-9)
    assert tally.report().pu_unknown == 0


@pytest.mark.parametrize(("found", "spent", "unknown"), [(False, 0.0, 10.0), (True, 10.0, 0.0)])
def test_order_that_was_lost_is_spent_once_it_is_found(tally, found, spent, unknown) -> None:
    """Until then it may have been charged; after that nobody counts it twice."""
    job = JobIntent(
        key="a",
        attempt=1,
        url="s3://b/c",
        window=Window(y0=0, y1=1, x0=0, x1=1),
        tiles=(0,),
        pu=10.0,
        digest="",
        at=0.0,
    )
    accepted = JobAccepted(key="a", attempt=1, id="x", pu=10.0, at=2.0)
    [tally.add_job(row) for row in (job, JobEnd(key="a", attempt=1, end="lost", at=1.0), *[accepted] * found)]
    report = tally.report()
    assert (report.pu_spent, report.pu_unknown) == (spent, unknown)
