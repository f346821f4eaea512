"""Samples one after the other, by number, and as a bag."""

from __future__ import annotations

from functools import partial
from itertools import islice
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shdask.errors import PlanError
from shdask.patches.reading.datasets import PatchList, PatchStream, make_bag, read_batch
from shdask.patches.reading.order import ReadingOrder, Share
from shdask.patches.table import Patch
from tests.unit.assemble.conftest import small_plan
from tests.unit.patches.rows import make_patches

PATCHES = make_patches(
    small_plan().grid, [(row, column) for row in range(0, 64, 8) for column in range(0, 64, 8)], size_px=8
)
"""64 patches in four shards of 32 px."""


def read(patch: Patch) -> dict[str, Any]:
    return {"key": patch.key, "corner": np.array([patch.y0, patch.x0])}


def order(**words: Any) -> ReadingOrder:
    return ReadingOrder.of(PATCHES, shard_px=32, chunk_px=16, **{"seed": 3, "shards_at_once": 2, **words})


def stream(**words: Any) -> PatchStream:
    return PatchStream(read, PATCHES, order(), **words)


def keys(samples) -> list[str]:
    return [sample["key"] for sample in samples]


def test_samples_are_had_by_number():
    """As the table has them."""
    samples = PatchList(read, PATCHES)
    assert len(samples) == 64
    assert samples[5]["key"] == PATCHES[5].key
    with pytest.raises(IndexError):
        samples[64]


def test_each_pass_is_an_epoch_of_all_patches():
    """In an order of its own."""
    samples = stream()
    first, second = keys(samples), keys(samples)
    assert sorted(first) == sorted(second) == sorted(PATCHES.key.tolist())
    assert first != second
    assert len(samples) == 64


def test_an_epoch_can_be_chosen():
    """And is the same again."""
    samples = stream()
    third = [keys(samples) for _ in range(3)][2]
    samples.set_epoch(2)
    assert keys(samples) == third


@given(st.integers(0, 64), st.integers(0, 3))
def test_a_stream_goes_on_where_it_stopped(given_already: int, epoch: int):
    """What was given and what comes after are the whole epoch."""
    whole, stopped, resumed = stream(), stream(), stream()
    whole.set_epoch(epoch)
    stopped.set_epoch(epoch)
    before = keys(sample for sample, _ in zip(stopped, range(given_already), strict=False))
    resumed.load_state_dict({**stopped.state_dict(), "position": given_already})
    assert before + keys(resumed) == keys(whole)


def test_batches_are_the_same_samples():
    """So many at a time, fewer at the end, and counted alike."""
    samples = stream()
    batches = list(samples.in_batches(30, partial(read_batch, read)))
    assert [len(batch["key"]) for batch in batches] == [30, 30, 4]
    assert [key for batch in batches for key in batch["key"]] == keys(stream())
    np.testing.assert_array_equal(batches[0]["corner"], [sample["corner"] for sample in islice(stream(), 30)])
    assert samples.state_dict() == {"epoch": 1, "position": 0}
    with pytest.raises(PlanError, match="one at least"):
        next(samples.in_batches(0, len))


def test_a_stream_of_batches_goes_on_behind_the_last():
    """Those that have not come count as well."""
    here = np.arange(64) % 4 != 0
    samples = stream(arrived=lambda _: here)
    first = next(samples.in_batches(20, partial(read_batch, read)))
    rest = stream(arrived=lambda _: here)
    rest.load_state_dict(samples.state_dict())
    assert first["key"] + keys(rest) == keys(stream(arrived=lambda _: here))


def test_a_state_is_what_was_given():
    """Ten samples into the epoch; nothing of it at the next one's beginning."""
    samples = stream()
    running = iter(samples)
    [next(running) for _ in range(10)]
    assert samples.state_dict() == {"epoch": 0, "position": 10}
    list(running)
    assert samples.state_dict() == {"epoch": 1, "position": 0}


@given(st.integers(0, 9), st.integers(1, 3), st.integers(1, 9))
def test_streams_of_workers_go_on_behind_the_batches_that_were_given(batches: int, workers: int, size: int):
    """As a DataLoader deals them: whole batches of each worker in turn."""
    shares = [Share(worker=worker, workers=workers) for worker in range(workers)]
    rest = [stream(share=share) for share in shares]
    [each.load_state_dict({"epoch": 0, "batches": batches, "batch_size": size}) for each in rest]
    whole = [keys(stream(share=share)) for share in shares]
    expected = [part[size * len(range(worker, batches, workers)) :] for worker, part in enumerate(whole)]
    assert [keys(each) for each in rest] == expected


def test_a_patch_that_cannot_be_read_is_tried_again():
    """The state stands before it."""
    fails = {"now": True}

    def fragile(patch: Patch) -> dict[str, Any]:
        if fails["now"] and patch.key == there:
            raise OSError(patch.key)
        return read(patch)

    there = keys(stream())[7]
    samples = PatchStream(fragile, PATCHES, order())
    with pytest.raises(OSError, match=there):
        keys(samples)
    fails["now"] = False
    assert keys(samples) == keys(stream())[7:]


def test_patches_that_have_not_come_are_left_out():
    """Until an epoch begins at which they have."""
    here = np.zeros(64, np.bool_)
    samples = stream(arrived=lambda _: here)
    here[:20] = True
    assert sorted(keys(samples)) == sorted(PATCHES.key[:20].tolist())
    here[:] = True
    assert sorted(keys(samples)) == sorted(PATCHES.key.tolist())


def test_an_order_of_another_table_is_refused():
    """It would miss patches."""
    with pytest.raises(PlanError, match="the order is of 64 patches, not of these 3"):
        PatchStream(read, PATCHES.take(np.arange(3)), order())


def test_a_state_of_something_else_is_refused():
    """With the two that are known."""
    with pytest.raises(PlanError, match="epoch and position, or epoch, batches and batch_size"):
        stream().load_state_dict({"step": 3})


def test_a_bag_has_every_sample_once():
    """In tasks of neighbouring patches."""
    bag = make_bag(read, PATCHES, order(), partitions=3)
    assert bag.npartitions == 3
    assert sorted(bag.pluck("key").compute(scheduler="sync")) == sorted(PATCHES.key.tolist())


def test_a_bag_has_a_partition_at_least():
    """None is refused."""
    with pytest.raises(PlanError, match="one at least"):
        make_bag(read, PATCHES, order(), partitions=0)


def test_batches_do_not_tell_where_a_stream_of_what_has_arrived_stands():
    """Patches that were left out count in no batch; the position does."""
    samples = stream(arrived=lambda patches: np.ones(len(patches), np.bool_))
    with pytest.raises(PlanError, match="give epoch and position"):
        samples.load_state_dict({"epoch": 0, "batches": 2, "batch_size": 4})
    samples.load_state_dict({"epoch": 0, "position": 60})
    assert len(keys(samples)) == 4
