"""Tiles that are got when they are asked for."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
import pytest

from shdask.demand import tiles as module
from shdask.demand.tiles import OPEN, Pixels, TilesOnDemand, name_tile
from shdask.errors import BuildError
from shdask.model import Tile
from shdask.plan.group import GroupPlan
from tests.unit.assemble.conftest import small_plan

TILE_NBYTES = 32 * 32 * (2 + 1 + 1)


@dataclass
class Source:
    """Tiles of ones; remembers which it was asked for."""

    asked: list[int] = field(default_factory=list)
    before: Callable[[], object] = bool

    def get(self, tile: Tile) -> Pixels | None:
        """As `TileSource.get`."""
        self.asked.append(tile.index)
        self.before()
        return tuple(np.ones(tile.extent.shape, dtype) for dtype in ("uint16", "uint8", "uint8"))


@pytest.fixture(scope="module")
def plan() -> GroupPlan:
    return small_plan()


def test_a_tile_is_got_once(plan: GroupPlan):
    """However often it is read."""
    source = Source()
    tiles = TilesOnDemand(plan, source)
    first, second = tiles.read(4), tiles.read(4)
    assert source.asked == [4]
    assert first is second


def test_threads_that_ask_at_once_share_one(plan: GroupPlan):
    """The second waits for what the first is getting."""
    both = threading.Barrier(2)
    source = Source(before=lambda: both.wait(10))
    tiles = TilesOnDemand(plan, source)
    with ThreadPoolExecutor(2) as pool:
        asked = [pool.submit(tiles.read, 4) for _ in range(2)]
        both.wait(10)
        assert asked[0].result(10) is asked[1].result(10)
    assert source.asked == [4]


def test_a_failed_tile_is_tried_again(plan: GroupPlan):
    """A failure is not kept."""
    left = [BuildError("the first time")]
    source = Source(before=lambda: raise_one(left))
    tiles = TilesOnDemand(plan, source)
    with pytest.raises(BuildError, match="the first time"):
        tiles.read(4)
    assert tiles.read(4)[0].all()


def raise_one(left: list[BuildError]) -> None:
    if left:
        raise left.pop()


def test_memory_is_bounded(plan: GroupPlan):
    """The tile that was read longest ago makes room, and is got again when it is read again."""
    source = Source()
    tiles = TilesOnDemand(plan, source, cache_nbytes=2 * TILE_NBYTES)
    [tiles.read(index) for index in (0, 1, 0, 3, 0, 1)]
    assert source.asked == [0, 1, 3, 1]


def test_without_room_nothing_is_kept(plan: GroupPlan):
    """Zero bytes are no tile."""
    source = Source()
    tiles = TilesOnDemand(plan, source, cache_nbytes=0)
    [tiles.read(4) for _ in range(2)]
    assert source.asked == [4, 4]


def test_what_the_plan_does_not_hold_is_fill_and_never_asked_for(plan: GroupPlan):
    """Tile 2 has no pixel of the area."""
    source = Source()
    b04, scl, mask = TilesOnDemand(plan, source).read(2)
    assert source.asked == []
    assert (b04.dtype, scl.dtype, mask.dtype) == ("uint16", "uint8", "uint8")
    assert b04.shape == mask.shape == (32, 16)
    assert not np.stack([b04, scl, mask]).any()


def test_what_is_kept_cannot_be_written_to(plan: GroupPlan):
    """One reader's arithmetic in place would be the next reader's pixels."""
    pixels = TilesOnDemand(plan, Source()).read(4)
    with pytest.raises(ValueError, match="read-only"):
        pixels[0][0, 0] = 7


def test_open_layers_are_found_as_long_as_they_live(plan: GroupPlan):
    """The registry keeps nothing alive."""
    tiles = TilesOnDemand(plan, Source())
    OPEN.add(tiles)
    token = tiles.token
    assert OPEN.find(token) is tiles
    del tiles
    with pytest.raises(BuildError, match=r"scheduler='threads'"):
        OPEN.find(token)


def test_another_process_than_the_one_that_opened_is_refused(plan: GroupPlan, monkeypatch: pytest.MonkeyPatch):
    """A fork shares sockets, limiter and token without knowing of it."""
    tiles = TilesOnDemand(plan, Source())
    monkeypatch.setattr(module.os, "getpid", lambda: -1)
    with pytest.raises(BuildError, match="was carried to where it was not opened for"):
        tiles.read(4)


def test_a_tile_is_named_by_number_and_place(plan: GroupPlan):
    """As people find it on a map, and in the ledger."""
    assert name_tile(plan, plan.tile(7)) == "tile 7 of s2 (row 2, column 1)"
