"""What becomes of lots at an executor that does as it is told."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
import pytest

from shdask.build import BuildJob
from shdask.errors import BudgetExceeded, StoreError
from shdask.fetch.bucket import Bucket
from shdask.jobs.collecting import Collecting
from shdask.jobs.deliveries import Delivery
from shdask.jobs.lots import Lot, make_lots
from shdask.model import TileEvent, TileState
from shdask.plan.group import GroupPlan
from shdask.settings import Credentials


@dataclass
class _Desk:
    """An executor whose runs say what they are told to, and what they were given."""

    steps: list[list[TileEvent]] = field(default_factory=list)
    started: list[tuple[BuildJob, list[int]]] = field(default_factory=list)
    fatal: Exception | None = None
    heard: list[str] = field(default_factory=list)

    def start(self, job: BuildJob, tiles: np.ndarray) -> Self:
        self.started.append((job, tiles.tolist()))
        return self

    def poll(self, _timeout_s: float) -> Sequence[TileEvent]:
        return self.steps.pop(0)

    @property
    def finished(self) -> bool:
        return not self.steps

    def stop(self) -> None:
        self.heard.append("stop")

    def spend_no_more(self) -> None:
        self.heard.append("spend no more")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.heard.append("closed")


def written(tile: int, **fields: Any) -> TileEvent:
    """A tile that is durable."""
    return TileEvent(**{"tile": tile, "state": TileState.WRITTEN, "checksum": tile, "finished": 1.0, **fields})


def failed(tile: int, error: str) -> TileEvent:
    """A tile that is not."""
    return TileEvent(tile=tile, state=TileState.FAILED, error=error, finished=1.0)


@pytest.fixture
def lots(plan: GroupPlan) -> list[Lot]:
    """Of all tiles."""
    return make_lots(plan, plan.tile_set.indices(), {})


@pytest.fixture
def desk() -> _Desk:
    """Told nothing yet."""
    return _Desk()


@pytest.fixture
def given() -> list[list[int]]:
    """Tiles that are told to be on their way, and cost something."""
    return []


@pytest.fixture
def collecting(plan: GroupPlan, desk: _Desk, given: list[list[int]]) -> Collecting:
    """Under a cap of 100 PU."""
    job = BuildJob(
        plan=plan,
        cube=None,  # type: ignore[arg-type]  # nothing looks at it
        credentials=Credentials(client_id="a", client_secret="b"),
        give_out=lambda tiles: given.append(list(tiles)),
        max_pu=100.0,
    )
    return Collecting(job, desk)  # type: ignore[arg-type]  # as much of an executor as is needed


def deliver(collecting: Collecting, lot: Lot, *, is_whole: bool = True) -> None:
    """Hand a lot over."""
    bucket = Bucket.from_url("s3://bucket/cubes")
    files = ({"default": "a"}, {"default": "b"} if is_whole else {})
    collecting.collect(lot, Delivery(bucket=bucket, window=lot.window, files=files, first_tile=lot.tiles[0]))


def test_lots_that_wait_go_together(collecting: Collecting, desk: _Desk, lots: list[Lot]) -> None:
    """What has come while a run was on goes with the next, and what is bought stands behind it, under what is left."""
    deliver(collecting, lots[0])
    desk.steps = [[written(tile) for tile in lots[0].tiles], []]
    collecting.start(left_pu=70.0)
    deliver(collecting, lots[1])
    collecting.buy(np.array([90, 80]))
    collecting.start(left_pu=70.0)
    collecting.poll(0.0)
    collecting.poll(0.0)
    desk.steps = [[]]
    collecting.start(left_pu=70.0)
    (first, some), (second, more) = desk.started
    assert (some, first.max_pu) == (list(lots[0].tiles), None)
    assert (more, second.max_pu) == ([*lots[1].tiles, 80, 90], 70.0)


def test_lot_ends_with_its_last_tile(collecting: Collecting, desk: _Desk, lots: list[Lot]) -> None:
    """It is told at once, with what to verify it by, though other lots are not done."""
    deliver(collecting, lots[0])
    deliver(collecting, lots[1])
    desk.steps = [[written(tile) for tile in lots[0].tiles], [], []]
    collecting.start(left_pu=None)
    collecting.poll(0.0)
    (ended,) = collecting.take_ended()
    assert (ended.lot, ended.spoilt) == (lots[0], {})
    assert ended.checksums == {tile: tile for tile in lots[0].tiles}
    assert list(collecting.take_ended()) == []


def test_files_that_cannot_be_read_are_replaced(collecting: Collecting, desk: _Desk, lots: list[Lot]) -> None:
    """Tiles whose files are no picture are bought by Process, and the lot is told to be of no use."""
    first, *others = lots[0].tiles
    deliver(collecting, lots[0])
    desk.steps = [[failed(first, "SpoiltDelivery: no"), *map(written, others)]]
    collecting.start(left_pu=None)
    collecting.poll(0.0)
    (ended,) = collecting.take_ended()
    assert ended.spoilt == {first: "SpoiltDelivery: no"}
    desk.steps = [[]]
    collecting.start(left_pu=100.0)
    assert desk.started[1][1] == [first]


def test_tiles_that_failed_otherwise_are_left(collecting: Collecting, desk: _Desk, lots: list[Lot]) -> None:
    """The next build takes them up: their files are good."""
    first, *others = lots[0].tiles
    deliver(collecting, lots[0])
    desk.steps = [[failed(first, "StoreError: no"), *map(written, others)]]
    collecting.start(left_pu=None)
    collecting.poll(0.0)
    assert list(collecting.take_ended()) == []
    assert not collecting.has_work


def test_spoilt_tile_takes_no_file_from_one_that_failed_otherwise(
    collecting: Collecting, desk: _Desk, lots: list[Lot]
) -> None:
    """The spoilt one is bought; the job stays open for the one that the store refused."""
    first, second, *others = lots[0].tiles
    deliver(collecting, lots[0])
    desk.steps = [[failed(first, "SpoiltDelivery: no"), failed(second, "StoreError: no"), *map(written, others)]]
    collecting.start(left_pu=None)
    collecting.poll(0.0)
    assert list(collecting.take_ended()) == []
    desk.steps = [[]]
    collecting.start(left_pu=100.0)
    assert desk.started[1][1] == [first]


def test_tiles_never_heard_of_are_read_though_another_is_spoilt(
    collecting: Collecting, desk: _Desk, lots: list[Lot]
) -> None:
    """Where the cap ended a run the rest of a lot goes with the next, then the lot ends with what is known of all."""
    first, second, *others = lots[0].tiles
    deliver(collecting, lots[0])
    desk.steps, desk.fatal = [[failed(first, "SpoiltDelivery: no"), written(second)]], BudgetExceeded("no")
    collecting.start(left_pu=1.0)
    collecting.poll(0.0)
    assert list(collecting.take_ended()) == []
    collecting.spend_no_more()
    desk.steps = [[written(tile) for tile in others]]
    collecting.start(left_pu=0.0)
    collecting.poll(0.0)
    (ended,) = collecting.take_ended()
    assert desk.started[1][1] == others
    assert (ended.spoilt, set(ended.checksums)) == ({first: "SpoiltDelivery: no"}, {second, *others})


def test_bad_answer_of_process_is_no_fault_of_files(collecting: Collecting, desk: _Desk, lots: list[Lot]) -> None:
    """A part that lacked came broken from Process: the job that brought the other part stays open."""
    first, *others = lots[0].tiles
    deliver(collecting, lots[0], is_whole=False)
    desk.steps = [[failed(first, "DecodeError: no"), *map(written, others)]]
    collecting.start(left_pu=30.0)
    collecting.poll(0.0)
    assert list(collecting.take_ended()) == []
    assert not collecting.has_work


def test_delivered_tiles_are_given_out_for_nothing(
    collecting: Collecting, desk: _Desk, lots: list[Lot], given: list[list[int]]
) -> None:
    """Only what is bought counts as in flight with its price."""
    deliver(collecting, lots[0])
    collecting.buy(np.array([90]))
    desk.steps = [[]]
    collecting.start(left_pu=100.0)
    desk.started[0][0].give_out([*lots[0].tiles, 90])
    assert given == [[90]]


def test_what_a_run_spent_is_told_at_its_end(collecting: Collecting, desk: _Desk) -> None:
    """More where its cap's keeper counted more."""
    collecting.buy(np.array([90]))
    desk.steps = [[written(90, pu_spent=2.0, pu_unknown=1.0)], []]
    collecting.start(left_pu=100.0)
    collecting.poll(0.0)
    assert (collecting.buys_under_cap, collecting.take_spent()) == (True, 0.0)
    desk.started[0][0].count_charged(5.0)
    collecting.poll(0.0)
    assert (collecting.buys_under_cap, collecting.take_spent(), collecting.take_spent()) == (False, 5.0, 0.0)


def test_spending_no_more_brings_home_what_is_paid(collecting: Collecting, desk: _Desk, lots: list[Lot]) -> None:
    """A run that buys is told to stop; delivered tiles that it left go with the next, and nothing is bought."""
    deliver(collecting, lots[0])
    collecting.buy(np.array([90]))
    desk.steps = [[]]
    collecting.start(left_pu=100.0)
    collecting.spend_no_more()
    collecting.poll(0.0)
    assert "spend no more" in desk.heard
    desk.steps = [[]]
    collecting.start(left_pu=0.0)
    assert desk.started[1][1] == list(lots[0].tiles)


def test_error_of_a_run_is_told(collecting: Collecting, desk: _Desk, lots: list[Lot]) -> None:
    """What makes going on pointless is the build's to judge; the lot is left for the next one."""
    deliver(collecting, lots[0])
    desk.steps, desk.fatal = [[]], StoreError("no")
    collecting.start(left_pu=None)
    collecting.poll(0.0)
    assert collecting.fatal is desk.fatal
    assert not collecting.has_work


def test_cap_that_a_run_meets_brings_home_what_is_paid(collecting: Collecting, desk: _Desk, lots: list[Lot]) -> None:
    """Delivered tiles that a run left when its purchases met the cap go with the next."""
    deliver(collecting, lots[0])
    collecting.buy(np.array([90]))
    desk.steps, desk.fatal = [[]], BudgetExceeded("no")
    collecting.start(left_pu=1.0)
    collecting.poll(0.0)
    assert collecting.fatal is desk.fatal
    collecting.spend_no_more()
    collecting.start(left_pu=0.0)
    assert desk.started[1][1] == list(lots[0].tiles)


def test_part_that_lacks_is_bought_under_what_is_left(
    collecting: Collecting, desk: _Desk, lots: list[Lot], given: list[list[int]]
) -> None:
    """Tiles of which a part has been delivered cost something; they are told to be on their way as such."""
    deliver(collecting, lots[0], is_whole=False)
    desk.steps = [[]]
    collecting.start(left_pu=30.0)
    assert (desk.started[0][0].max_pu, collecting.buys_under_cap) == (30.0, True)
    desk.started[0][0].give_out(lots[0].tiles)
    assert given == [list(lots[0].tiles)]


def test_part_that_lacks_is_not_bought_once_nothing_is(collecting: Collecting, desk: _Desk, lots: list[Lot]) -> None:
    """What is paid for whole is brought home; the rest is left to the next build."""
    deliver(collecting, lots[0], is_whole=False)
    deliver(collecting, lots[1])
    collecting.spend_no_more()
    desk.steps = [[]]
    collecting.start(left_pu=0.0)
    assert [tiles for _, tiles in desk.started] == [list(lots[1].tiles)]
    assert not collecting.has_work


def test_run_that_is_abandoned_has_cost_what_its_keeper_says(collecting: Collecting, desk: _Desk) -> None:
    """Also where it is closed before it has ended."""
    collecting.buy(np.array([90]))
    desk.steps = [[], []]
    collecting.start(left_pu=100.0)
    desk.started[0][0].count_charged(5.0)
    collecting.close()
    assert collecting.take_spent() == 5.0
