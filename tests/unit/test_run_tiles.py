"""Tiles of a bundle: bought once, whatever the store says."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from shapely import box

from shdask.assemble.disk import DiskPlace
from shdask.assemble.spool import Spool
from shdask.assemble.store import create_or_open
from shdask.errors import BudgetExceeded, BuildError, StoreError, StoreUnavailable, TransportError
from shdask.fetch.client import Fetched, Spent
from shdask.fetch.process import run_here, tile_bodies
from shdask.model import Tile, TileState
from shdask.plan.area import make_area
from shdask.plan.group import GroupPlan
from shdask.plan.grown_area import Reopened
from shdask.request.digest import request_digest
from shdask.run_tiles import TileOutcome, TileWork, run_tile, run_tiles
from tests.unit.assemble.conftest import small_plan
from tests.unit.timed import along_days, everywhere


class Shop:
    """In the client's place: sells pictures of ones, one or several dates at once, and counts."""

    def __init__(self) -> None:
        self.sold = 0
        self.days: list[list[str]] = []
        self.value = 1
        self.error: Exception | None = None
        self.closes_after: int | None = None
        """So many requests are answered; None answers all."""
        self.asked: list[tuple[int, int]] = []

    def process(
        self, body: dict[str, Any], _pu: float, _decode: object, *, spent: Spent, **_: object
    ) -> Fetched[np.ndarray]:
        """What is asked for, for one PU."""
        spent.requests += 1
        if self.error is not None:
            raise self.error
        if self.closes_after is not None and self.sold >= self.closes_after:
            raise TransportError("closed")
        self.sold += 1
        spent.pu += 1.0
        spent.nbytes += 300
        self.days.append(re.findall(r'"(2024-06-..)"', body["evalscript"]))
        dates = max(1, len(self.days[-1]))
        height, width = body["output"]["height"], body["output"]["width"]
        self.asked.append((height, width))
        return Fetched(value=np.full((3 * dates, height, width), self.value, np.uint16), spent=spent)


@pytest.fixture
def shop() -> Shop:
    return Shop()


@pytest.fixture
def work(shop, tmp_path) -> TileWork:
    """A plan of eight tiles and a new cube."""
    plan = small_plan()
    cube = create_or_open(plan, tmp_path / "cube")
    spool = Spool(folder=tmp_path / "spool")
    return TileWork(plan=plan, cube=cube, client=shop, run_cpu=run_here, spool=spool, sleep=lambda _s: None)


@pytest.fixture
def full_disk(monkeypatch) -> Callable[[int], None]:
    """Lets the next so many writes of shards fail."""
    put, left = DiskPlace.put, [0]

    def refuse(*args: Any) -> None:
        if left[0] > 0:
            left[0] -= 1
            raise OSError(28, "No space left on device")
        put(*args)

    monkeypatch.setattr(DiskPlace, "put", refuse)
    return lambda count: left.__setitem__(0, count)


def spooled(work: TileWork) -> list[str]:
    return [file.name for file in work.spool.folder.glob("*")]


def test_a_tile_tells_its_request_and_checksum(work):
    """What was asked and what was stored."""
    event = run_tile(work, 3).event
    assert event.request == request_digest(tile_bodies(work.plan, work.plan.tile(3)))
    assert event.checksum is not None
    assert (event.state, event.requests, event.pu_spent) == (TileState.WRITTEN, 1, 1.0)


def test_requests_of_two_tiles_differ_and_of_one_do_not(work):
    """The digest tells questions apart."""
    digests = [run_tile(work, index).event.request for index in (0, 1, 0)]
    assert digests[0] == digests[2] != digests[1]


def test_a_durable_tile_is_not_bought(work, shop):
    """It is skipped."""
    run_tile(work, 3)
    assert run_tile(work, 3).event.skipped
    assert shop.sold == 1


def test_a_disk_that_is_full_for_a_moment_costs_no_second_purchase(work, shop, full_disk):
    """The pixels wait in memory."""
    full_disk(5)
    assert run_tile(work, 3).event.state is TileState.WRITTEN
    assert (shop.sold, spooled(work)) == (1, [])


def test_a_disk_that_stays_full_stops_the_build_and_keeps_the_pixels(work, full_disk):
    """The error says where they are, and the row what they cost."""
    full_disk(10_000)
    outcome = run_tile(work, 3)
    assert isinstance(outcome.fatal, StoreUnavailable)
    assert (outcome.event.state, outcome.event.pu_spent) == (TileState.FAILED, 1.0)
    assert len(spooled(work)) == 1
    assert any(str(work.spool.folder) in note for note in outcome.fatal.__notes__)


def test_spooled_pixels_are_not_bought_again(work, shop, full_disk):
    """The next build writes them, the same ones, and clears the spool."""
    full_disk(10_000)
    run_tile(work, 3)
    full_disk(0)
    shop.value = 2
    outcome = run_tile(work, 3)
    assert (outcome.event.state, outcome.event.requests, outcome.event.pu_spent) == (TileState.WRITTEN, 0, 0.0)
    assert outcome.event.resumed
    assert shop.sold == 1
    assert spooled(work) == []
    rows, columns = work.plan.tile(3).extent.slices
    assert set(np.unique(work.cube.arrays["B04"][rows, columns])) == {1}


def test_spooled_pixels_that_are_refused_again_stay(work, shop, full_disk):
    """However often the disk is full."""
    full_disk(10_000)
    run_tile(work, 3)
    run_tile(work, 3)
    assert (shop.sold, len(spooled(work))) == (1, 1)


def test_a_build_that_ends_while_a_tile_waits_for_the_disk_keeps_it(work, full_disk, tmp_path):
    """Paid is paid."""

    def over(_seconds: float) -> None:
        raise BuildError("the build has ended without this tile")

    full_disk(10_000)
    outcome = run_tile(with_sleep(work, over), 3)
    assert "has ended" in str(outcome.event.error)
    assert len(spooled(work)) == 1


def with_sleep(work: TileWork, sleep: Callable[[float], None]) -> TileWork:
    return replace(work, sleep=sleep)


def test_pixels_that_no_cube_can_hold_are_not_kept(work, shop):
    """They would be refused for ever; the service may be asked again."""
    shop.value = 300
    outcome = run_tile(work, 3)
    assert "SCL is stored as uint8" in str(outcome.fatal)
    assert spooled(work) == []


def test_an_empty_tile_that_was_spooled_is_empty(work, shop, full_disk, monkeypatch):
    """What was paid for may be that there is nothing."""
    shop.value = 0

    def refuse(*_args: object) -> None:
        raise StoreUnavailable("no")

    monkeypatch.setattr(type(work.cube), "_remove_leftovers", refuse)
    run_tile(work, 3)
    monkeypatch.undo()
    assert run_tile(work, 3).event.state is TileState.EMPTY
    assert shop.sold == 1


def test_a_store_that_does_not_answer_costs_nothing(work, shop, monkeypatch):
    """Nothing is bought where it could not be stored."""

    def silent(*_args: object) -> bool:
        raise StoreUnavailable("no answer")

    monkeypatch.setattr(type(work.cube), "is_durable", silent)
    outcome = run_tile(work, 3)
    assert isinstance(outcome.fatal, StoreError)
    assert shop.sold == 0


def test_a_failure_of_the_service_is_none_of_the_store(work, shop):
    """Nothing was paid, nothing is kept."""
    shop.error = TransportError("cut")
    outcome = run_tile(work, 3)
    assert outcome == TileOutcome(event=outcome.event, fatal=None)
    assert (outcome.event.error, spooled(work)) == ("TransportError: cut", [])


# Tiles of several requests


@pytest.fixture
def in_stripes(monkeypatch) -> Callable[[int], None]:
    """Lets every tile be bought in so many stripes, side by side."""
    tile_of = GroupPlan.tile

    def cut(count: int) -> None:
        def tile(plan: GroupPlan, index: int) -> Tile:
            whole = tile_of(plan, index)
            extent = whole.extent
            edges = np.linspace(extent.x0, extent.x1, count + 1).astype(int).tolist()
            stripes = [replace(extent, x0=left, x1=right) for left, right in pairwise(edges)]
            return replace(whole, windows=tuple(stripes))

        monkeypatch.setattr(GroupPlan, "tile", tile)

    return cut


def test_what_was_bought_of_a_tile_is_not_bought_again(work, shop, in_stripes):
    """Three of four requests were answered: the next run sends the fourth, and the tile is whole."""
    in_stripes(4)
    shop.closes_after = 3
    failed = run_tile(work, 3).event
    shop.closes_after, shop.value = None, 2
    event = run_tile(work, 3).event
    rows, columns = work.plan.tile(3).extent.slices
    stripes = [work.cube.arrays[work.plan.layer.bands[0].name][each.slices] for each in work.plan.tile(3).windows]
    assert (failed.state, failed.pu_spent, event.state, event.pu_spent) == (TileState.FAILED, 3, TileState.WRITTEN, 1)
    assert (failed.resumed, event.resumed) == (False, True)
    assert [np.unique(stripe).tolist() for stripe in stripes] == [[1], [1], [1], [2]]
    assert np.unique(work.cube.arrays["data_mask"][rows, columns]).tolist() == [1]
    assert spooled(work) == []


def test_where_requests_are_cut_otherwise_only_what_lacks_is_bought(work, shop, in_stripes):
    """Half of the tile is there: of three stripes the first is not asked for, and no pixel is lost."""
    in_stripes(2)
    shop.closes_after = 1
    run_tile(work, 3)
    in_stripes(3)
    shop.closes_after, shop.asked = None, []
    event = run_tile(work, 3).event
    rows, columns = work.plan.tile(3).extent.slices
    assert (event.state, event.requests) == (TileState.WRITTEN, 2)
    assert np.unique(work.cube.arrays["data_mask"][rows, columns]).tolist() == [1]


def test_a_tile_that_fails_again_keeps_what_it_has(work, shop, in_stripes):
    """Each run gets a request further."""
    in_stripes(3)
    shop.closes_after = 1
    run_tile(work, 3)
    shop.closes_after = 2
    run_tile(work, 3)
    run_tile(work, 3)
    shop.closes_after = None
    assert run_tile(work, 3).event.state is TileState.WRITTEN
    assert shop.sold == 3


def test_what_was_bought_of_a_tile_is_told(work, shop, in_stripes, caplog):
    """Where it waits stands with the error."""
    in_stripes(2)
    shop.closes_after = 1
    outcome = run_tile(work, 3)
    assert outcome.event.error == "TransportError: closed"
    assert [name.endswith(".npz.part") for name in spooled(work)] == [True]


def test_a_tile_that_the_cap_refuses_is_no_warning(work, shop, caplog):
    """It is what it was before."""
    shop.error = BudgetExceeded("the next request costs 1 PU")
    assert run_tile(work, 3).fatal is shop.error
    assert caplog.records == []


# Several tiles

CELL = [3, 12, 21]
"""One cell of nine, on 3, 8 and 13 June."""


@pytest.fixture
def dated(work, tmp_path) -> TileWork:
    """A plan of three days that come with one request, and a new cube."""
    plan = along_days(work.plan, everywhere(work.plan, 3), (0, 0, 0))
    return replace(work, plan=plan, cube=create_or_open(plan, tmp_path / "dated"))


def events_of(outcomes: list[TileOutcome]) -> list[tuple[int, TileState]]:
    return [(outcome.event.tile, outcome.event.state) for outcome in outcomes]


def refuse(work: TileWork, monkeypatch: pytest.MonkeyPatch, tile: int, error: StoreError) -> None:
    """Let the cube refuse this tile."""
    write = type(work.cube).write_tile

    def write_or_not(cube: object, what: object, data: object) -> object:
        if what.index == tile:
            raise error
        return write(cube, what, data)

    monkeypatch.setattr(type(work.cube), "write_tile", write_or_not)


def test_tiles_of_a_bundle_are_bought_with_one_request(dated, shop):
    """Each is written at its step."""
    outcomes = run_tiles(dated, CELL)
    assert events_of(outcomes) == [(tile, TileState.WRITTEN) for tile in CELL]
    assert shop.days == [["2024-06-03", "2024-06-08", "2024-06-13"]]
    rows, columns = dated.plan.tile(3).extent.slices
    assert set(np.unique(dated.cube.arrays["data_mask"][:, rows, columns])) == {1}


def test_shares_of_what_a_bundle_cost_add_up(dated):
    """Units by tile; requests and bytes, which cannot be divided, in the first row."""
    events = [outcome.event for outcome in run_tiles(dated, CELL)]
    assert [event.pu_spent for event in events] == [pytest.approx(1 / 3)] * 3
    assert [(event.requests, event.nbytes) for event in events] == [(1, 300), (0, 0), (0, 0)]


def test_what_was_bought_together_does_not_show_in_a_row(dated, work, tmp_path):
    """The digest of each tile's request, and the checksum of its pixels, are those of the tile bought alone."""
    together = [outcome.event for outcome in run_tiles(dated, CELL)]
    other = replace(dated, cube=create_or_open(dated.plan, tmp_path / "other"))
    alone = [run_tile(other, tile).event for tile in CELL]
    assert [(event.request, event.checksum) for event in together] == [(e.request, e.checksum) for e in alone]
    assert len({event.request for event in alone}) == 3


def test_a_durable_tile_of_a_bundle_is_not_bought(dated, shop):
    """The other two share what their request cost; what is there costs nothing."""
    run_tile(dated, 12)
    outcomes = run_tiles(dated, CELL)
    assert [outcome.event.skipped for outcome in outcomes] == [False, True, False]
    assert [outcome.event.pu_spent for outcome in outcomes] == [0.5, 0.0, 0.5]
    assert [outcome.event.requests for outcome in outcomes] == [1, 0, 0]
    assert shop.days[-1] == ["2024-06-03", "2024-06-13"]


def test_requests_stand_in_the_first_row_that_was_bought(dated):
    """Not in that of a tile that was there."""
    run_tile(dated, 3)
    outcomes = run_tiles(dated, CELL)
    assert [outcome.event.requests for outcome in outcomes] == [0, 1, 0]


def test_a_bundle_that_is_durable_asks_for_nothing(dated, shop):
    """A second build buys nothing."""
    run_tiles(dated, CELL)
    assert [outcome.event.skipped for outcome in run_tiles(dated, CELL)] == [True] * 3
    assert shop.sold == 1


def test_a_failed_request_fails_all_its_tiles(dated, shop):
    """Each says why; the request is counted once."""
    shop.error = TransportError("cut")
    outcomes = run_tiles(dated, CELL)
    assert [(outcome.event.state, outcome.event.error) for outcome in outcomes] == [
        (TileState.FAILED, "TransportError: cut")
    ] * 3
    assert [outcome.event.requests for outcome in outcomes] == [1, 0, 0]
    assert [outcome.fatal for outcome in outcomes] == [None] * 3


def test_what_was_bought_of_a_bundle_is_not_bought_again(dated, shop, in_stripes):
    """Of all its dates at once, as they were bought."""
    in_stripes(2)
    shop.closes_after = 1
    run_tiles(dated, CELL)
    shop.closes_after = None
    outcomes = run_tiles(dated, CELL)
    assert events_of(outcomes) == [(tile, TileState.WRITTEN) for tile in CELL]
    assert (shop.sold, spooled(dated)) == (2, [])


def test_a_tile_that_lacks_more_than_the_others_is_bought_apart(dated, shop, in_stripes):
    """What two of three tiles have is not bought for them again."""
    in_stripes(2)
    shop.closes_after = 1
    run_tiles(dated, CELL[:2])
    shop.closes_after = None
    outcomes = run_tiles(dated, CELL)
    assert events_of(outcomes) == [(tile, TileState.WRITTEN) for tile in CELL]
    assert [len(days) for days in shop.days] == [2, 2, 0, 0]


def test_a_failed_request_fails_no_tile_that_is_there(dated, shop):
    """It was not asked for."""
    run_tile(dated, 12)
    shop.error = TransportError("cut")
    assert events_of(run_tiles(dated, CELL)) == [
        (3, TileState.FAILED),
        (12, TileState.WRITTEN),
        (21, TileState.FAILED),
    ]


def test_a_failed_write_fails_one_tile(dated, shop, monkeypatch):
    """It bears its share, its pixels are kept, and only the write is done again."""
    refuse(dated, monkeypatch, 12, StoreUnavailable("no"))
    outcomes = run_tiles(dated, CELL)
    assert [outcome.event.state for outcome in outcomes] == [TileState.WRITTEN, TileState.FAILED, TileState.WRITTEN]
    assert [outcome.fatal is None for outcome in outcomes] == [True, False, True]
    assert sum(outcome.event.pu_spent for outcome in outcomes) == pytest.approx(1.0)
    assert len(spooled(dated)) == 1
    monkeypatch.undo()
    again = run_tiles(dated, CELL)
    assert [outcome.event.skipped for outcome in again] == [True, False, True]
    assert (events_of(again)[1], again[1].event.pu_spent) == ((12, TileState.WRITTEN), 0.0)
    assert (shop.sold, spooled(dated)) == (1, [])


def test_spooled_pixels_of_one_tile_leave_the_others_to_be_bought(dated, shop, monkeypatch):
    """What waits on this machine is written as it is, for nothing."""
    refuse(dated, monkeypatch, 12, StoreUnavailable("no"))
    run_tile(dated, 12)
    monkeypatch.undo()
    outcomes = run_tiles(dated, CELL)
    assert events_of(outcomes) == [(tile, TileState.WRITTEN) for tile in CELL]
    assert [outcome.event.pu_spent for outcome in outcomes] == [0.5, 0.0, 0.5]
    assert [outcome.event.resumed for outcome in outcomes] == [False, True, False]
    assert shop.days[-1] == ["2024-06-03", "2024-06-13"]
    assert spooled(dated) == []


def test_a_store_that_does_not_know_of_one_tile_lets_the_others_be_bought(dated, shop, monkeypatch):
    """That one is neither bought nor written."""
    ask = type(dated.cube).is_durable

    def answer(cube: object, tile: object) -> bool:
        if tile.index == 12:
            raise StoreUnavailable("no answer")
        return ask(cube, tile)

    monkeypatch.setattr(type(dated.cube), "is_durable", answer)
    assert events_of(run_tiles(dated, CELL)) == [
        (3, TileState.WRITTEN),
        (12, TileState.FAILED),
        (21, TileState.WRITTEN),
    ]
    assert shop.days == [["2024-06-03", "2024-06-13"]]


def test_a_day_without_data_is_empty(dated, shop):
    """The others are written."""
    sell = shop.process

    def sell_with_a_gap(*words: object, **options: object) -> Fetched[np.ndarray]:
        fetched = sell(*words, **options)
        fetched.value[3:6] = 0
        return fetched

    shop.process = sell_with_a_gap
    states = [outcome.event.state for outcome in run_tiles(dated, CELL)]
    assert states == [TileState.WRITTEN, TileState.EMPTY, TileState.WRITTEN]


def test_dates_that_lack_other_pixels_are_bought_apart(shop, tmp_path) -> None:
    """Each with the request for what it lacks, and a share of its price; what does not stand is not made up."""
    plan = small_plan(cadence="day")
    plan = along_days(plan, everywhere(plan, 3), (0, 0, 0))
    west = make_area(box(500000, 4999300, 500160, 5000000), plan.grid)
    plan = replace(plan, reopened=Reopened(parts=(west, plan.area), levels={0: 1, 9: 1}))
    cube = create_or_open(plan, tmp_path / "cube")
    work = TileWork(plan=plan, cube=cube, client=shop, run_cpu=run_here, spool=Spool(folder=tmp_path / "spool"))
    outcomes = run_tiles(work, [0, 9, 18])
    assert shop.days == [["2024-06-03", "2024-06-08"], []]
    assert [outcome.event.pu_spent for outcome in outcomes] == [0.5, 0.5, 1.0]
    columns = cube.arrays["data_mask"][:, 0, :32].tolist()
    assert columns == [[0] * 16 + [1] * 16, [0] * 16 + [1] * 16, [1] * 32]
