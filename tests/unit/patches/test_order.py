"""In which order patches are read."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shdask.errors import PlanError
from shdask.patches.reading.order import ReadingOrder, Share, batches_of_worker
from tests.unit.assemble.conftest import small_plan
from tests.unit.patches.rows import make_patches


@st.composite
def orders(draw: st.DrawFn, **words: object) -> ReadingOrder:
    """Up to 60 patches in some shards and chunks."""
    shard = np.array(draw(st.lists(st.integers(0, 6), max_size=60)), np.int64)
    chunk = shard * 4 + np.arange(shard.size) % 3
    fields = {
        "shuffle": draw(st.booleans()),
        "seed": draw(st.integers(0, 9)),
        "shards_at_once": draw(st.integers(1, 4)),
    }
    return ReadingOrder(shard=shard, chunk=chunk, **{**fields, **words})


def shares(ranks: int, workers: int) -> list[Share]:
    return [
        Share(rank=rank, ranks=ranks, worker=worker, workers=workers)
        for rank in range(ranks)
        for worker in range(workers)
    ]


def grid_of(shards: int, per_shard: int, **words: object) -> ReadingOrder:
    """So many patches, four to a chunk, in so many shards."""
    numbers = np.arange(shards * per_shard)
    return ReadingOrder(shard=numbers // per_shard, chunk=numbers // 4, **words)


@given(orders(even="none"), st.integers(0, 5), st.integers(1, 5), st.integers(1, 4))
def test_every_patch_is_read_once_in_an_epoch(order: ReadingOrder, epoch: int, ranks: int, workers: int):
    """By all workers of all ranks together, without loss or repeat."""
    parts = [order.rows(epoch, share) for share in shares(ranks, workers)]
    assert sorted(np.concatenate(parts).tolist()) == list(range(order.shard.size))


@given(orders(even="pad"), st.integers(0, 5), st.integers(1, 5))
def test_padded_ranks_have_as_many_patches_each_and_lose_none(order: ReadingOrder, epoch: int, ranks: int):
    """Fewer than there are ranks are repeated."""
    parts = [order.rows(epoch, share) for share in shares(ranks, 1)]
    together = np.concatenate(parts)
    assert len({part.size for part in parts}) == 1
    assert set(together.tolist()) == set(range(order.shard.size))
    assert together.size - order.shard.size < ranks


@given(orders(even="drop"), st.integers(0, 5), st.integers(1, 5))
def test_cut_ranks_have_as_many_patches_each_and_repeat_none(order: ReadingOrder, epoch: int, ranks: int):
    """Fewer than there are ranks are left out."""
    parts = [order.rows(epoch, share) for share in shares(ranks, 1)]
    together = np.concatenate(parts)
    assert len({part.size for part in parts}) == 1
    assert len(set(together.tolist())) == together.size > order.shard.size - ranks


@given(orders(), st.integers(0, 5))
def test_an_order_is_decided_by_seed_and_epoch(order: ReadingOrder, epoch: int):
    """In every process and run."""
    np.testing.assert_array_equal(order.rows(epoch), order.rows(epoch))


def test_epochs_and_seeds_differ():
    """Shuffling is new each time."""
    order, other = grid_of(8, 16, seed=1), grid_of(8, 16, seed=2)
    assert order.rows(0).tolist() != order.rows(1).tolist()
    assert order.rows(0).tolist() != other.rows(0).tolist()


def test_without_shuffling_the_table_s_order_stays():
    """Cut in equal parts."""
    order = grid_of(4, 4, shuffle=False)
    assert order.rows(3, Share(worker=1, workers=3)).tolist() == [6, 7, 8, 9, 10]


def test_neighbours_come_from_different_shards():
    """Of a batch of 16 with 16 shards open, most are of shards of their own: 10 of 16 by chance (1 - 1/e)."""
    order = grid_of(64, 64)
    batches = (order.rows(0) // 64).reshape(-1, 16)
    differing = np.mean([len(set(batch)) for batch in batches.tolist()])
    assert 9 < differing < 12


def test_no_more_shards_are_open_than_may_be():
    """A window of so many shards is read to its end before the next."""
    rows = grid_of(12, 16, shards_at_once=4).rows(0)
    assert [len(set((part // 16).tolist())) for part in rows.reshape(3, -1)] == [4, 4, 4]


def test_patches_of_a_chunk_come_after_each_other_within_their_shard():
    """So that a chunk is decoded once."""
    rows = grid_of(6, 16, shards_at_once=3).rows(0)
    own = rows[rows // 16 == 2]
    assert [len(set((part // 4).tolist())) for part in own.reshape(4, 4)] == [1, 1, 1, 1]


def test_readers_share_few_shards():
    """Only those at the cuts: three cuts between four workers."""
    order = grid_of(40, 10)
    seen = [set((order.rows(0, share) // 10).tolist()) for share in shares(1, 4)]
    assert sum(map(len, seen)) <= 40 + 3


def test_shards_and_chunks_are_told_by_zone_and_corner():
    """Two zones have the same rows and columns."""
    grid = small_plan().grid
    here, there = (make_patches(grid, [(0, 0), (16, 0), (32, 0)], size_px=8, zone=zone) for zone in ("32633", "32634"))
    orders = [ReadingOrder.of(patches, shard_px=32, chunk_px=16) for patches in (here, there)]
    assert [len(set(order.shard.tolist())) for order in orders] == [2, 2]
    assert [len(set(order.chunk.tolist())) for order in orders] == [3, 3]


@given(st.integers(0, 40), st.integers(1, 5))
def test_batches_are_dealt_to_workers_in_turn(batches: int, workers: int):
    """As a DataLoader deals them."""
    dealt = [batches_of_worker(batches, Share(worker=worker, workers=workers)) for worker in range(workers)]
    assert dealt == [len(range(worker, batches, workers)) for worker in range(workers)]


def test_impossible_shares_are_refused():
    """Ranks and workers are counted from 0."""
    with pytest.raises(PlanError, match="count both from 0"):
        Share(rank=2, ranks=2)
    with pytest.raises(PlanError, match="one at least"):
        grid_of(1, 1, shards_at_once=0)
    with pytest.raises(PlanError, match="none of pad, drop, none"):
        grid_of(1, 1, even="maybe")
