"""One tile: bought once, whatever the store says."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from shdask.assemble.spool import Spool
from shdask.assemble.store import create_or_open
from shdask.errors import BuildError, StoreError, StoreUnavailable, TransportError
from shdask.fetch.client import Fetched, Spent
from shdask.fetch.process import run_here, window_body
from shdask.model import TileState
from shdask.request.digest import request_digest
from shdask.run_tiles import TileOutcome, TileWork, run_tile
from tests.unit.assemble.conftest import small_plan


class Shop:
    """In the client's place: sells a picture of ones, and counts."""

    def __init__(self) -> None:
        self.sold = 0
        self.value = 1
        self.error: Exception | None = None

    def process(self, body: dict[str, Any], _pu: float, _decode: object, *, spent: Spent) -> Fetched[np.ndarray]:
        """A picture, for one PU."""
        spent.requests += 1
        if self.error is not None:
            raise self.error
        self.sold += 1
        spent.pu += 1.0
        height, width = body["output"]["height"], body["output"]["width"]
        return Fetched(value=np.full((3, height, width), self.value, np.uint16), spent=spent)


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
    from zarr.storage import _local

    put, left = _local._put, [0]

    def refuse(*args: object, **options: object) -> object:
        if left[0] > 0:
            left[0] -= 1
            raise OSError(28, "No space left on device")
        return put(*args, **options)

    monkeypatch.setattr(_local, "_put", refuse)
    return lambda count: left.__setitem__(0, count)


def spooled(work: TileWork) -> list[str]:
    return [file.name for file in work.spool.folder.glob("*")]


def test_a_tile_tells_its_request_and_checksum(work):
    """What was asked and what was stored."""
    event = run_tile(work, 3).event
    [window] = work.plan.tile(3).windows
    assert event.request == request_digest([window_body(work.plan, window)])
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
    return TileWork(
        plan=work.plan, cube=work.cube, client=work.client, run_cpu=work.run_cpu, spool=work.spool, sleep=sleep
    )


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
