"""Samples in torch's own DataLoader: collated, split over workers and ranks, continued after a stop."""

from __future__ import annotations

import subprocess
import sys
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import BatchSampler, DataLoader, default_collate

from shdask.assemble.store import create_or_open
from shdask.errors import PlanError
from shdask.patches.reading.order import ReadingOrder
from shdask.patches.reading.reader import open_reader
from shdask.patches.reading.sample_dict import stack_samples
from shdask.patches.reading.torch_datasets import PatchDataset, PatchIterable, PatchSampler, to_tensors
from shdask.patches.table import Patch, Patches
from tests.unit.assemble.conftest import Pixels, small_plan
from tests.unit.patches.rows import make_patches

CORNERS = [(row, column) for row in range(0, 64, 8) for column in range(0, 64, 8)]
PATCHES = make_patches(small_plan().grid, CORNERS, size_px=8)
"""64 patches in four shards of 32 px."""
SHAPES = {
    "image": (torch.float32, (2, 1, 1, 8, 8)),
    "valid": (torch.bool, (2, 1, 8, 8)),
    "clear": (torch.bool, (2, 1, 8, 8)),
    "present": (torch.bool, (2, 1)),
    "dates": (torch.int64, (2, 1)),
    "doy": (torch.int64, (2, 1)),
    "mask": (torch.int64, (2, 8, 8)),
    "latlon": (torch.float32, (2, 2)),
    "bounds": (torch.float64, (2, 4)),
    "transform": (torch.float64, (2, 6)),
    "epsg": (torch.int64, (2,)),
    "label": (torch.int64, (2,)),
}


def all_zeros(patch: Patch) -> np.ndarray:
    return np.zeros((patch.size_px, patch.size_px), np.int64)


def read_key(patch: Patch) -> dict[str, Any]:
    return {"key": patch.key, "y0": np.int64(patch.y0)}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A mosaic of 70 x 80 px."""
    plan = small_plan()
    pixels = Pixels.random(plan)
    cube = create_or_open(plan, tmp_path_factory.mktemp("torch") / "cube.zarr")
    [cube.write_tile(tile, pixels.of(tile)) for tile in plan.tiles()]
    cube.mark_complete(pu_spent=1.0)
    return cube.place.path


def order(**words: Any) -> ReadingOrder:
    return ReadingOrder.of(PATCHES, shard_px=32, chunk_px=16, **{"seed": 3, "shards_at_once": 2, **words})


def stream(patches: Patches = PATCHES, **words: Any) -> PatchIterable:
    return PatchIterable(read_key, patches, order(), **words)


def keys(batches) -> list[str]:
    return [key for batch in batches for key in batch["key"]]


def test_samples_collate_by_default(store: Path):
    """Every key a tensor of its promised type, but the keys themselves."""
    batch = next(iter(DataLoader(PatchDataset(open_reader(store, mask=all_zeros), PATCHES), batch_size=2)))
    assert {name: (item.dtype, tuple(item.shape)) for name, item in batch.items() if name != "key"} == SHAPES
    assert batch["key"] == PATCHES.key[:2].tolist()


def test_numpy_collates_as_torch_does(store: Path):
    """The same numbers and types."""
    reader = open_reader(store)
    samples = [reader.read(patch) for patch in PATCHES.take(np.arange(3))]
    ours, torchs = stack_samples(samples), default_collate([to_tensors(sample) for sample in samples])
    assert ours.keys() == torchs.keys()
    numbers = [name for name in ours if name != "key"]
    assert all(np.array_equal(ours[name], torchs[name].numpy()) for name in numbers)
    assert all(ours[name].dtype == torchs[name].numpy().dtype for name in numbers)


@pytest.mark.parametrize("workers", [0, 1])
def test_batches_are_what_torch_collates(store: Path, workers: int):
    """Every key of the same type and the same numbers, read straight into memory that workers share."""
    reader = open_reader(store, mask=all_zeros)
    (collated,) = DataLoader(PatchDataset(reader, PATCHES), batch_size=64)
    by_rows = BatchSampler(range(64), 64, drop_last=False)
    (batch,) = DataLoader(PatchDataset(reader, PATCHES), sampler=by_rows, batch_size=None, num_workers=workers)
    assert batch["key"] == collated["key"]
    numbers = [name for name in collated if name != "key"]
    assert list(batch) == list(collated)
    assert all(torch.equal(batch[name], collated[name]) for name in numbers)
    assert all(batch[name].dtype == collated[name].dtype for name in numbers)


@pytest.mark.parametrize("workers", [0, 2])
def test_an_iterable_gives_batches(store: Path, workers: int):
    """Whole ones of each worker, every patch once; and what is left behind those that the loop was given."""
    samples = PatchIterable(open_reader(store), PATCHES, order(), batch_size=5)
    loader = DataLoader(samples, batch_size=None, num_workers=workers)
    whole = keys(loader)
    samples.load_state_dict({"epoch": 0, "batches": 4, "batch_size": 5})
    assert sorted(keys(loader)) == sorted(whole[20:])
    assert sorted(whole) == sorted(PATCHES.key.tolist())
    assert len(samples) == 13


@pytest.mark.filterwarnings("ignore:This DataLoader will create 3 worker")
@pytest.mark.parametrize("workers", [0, 1, 3])
@pytest.mark.parametrize("size", [5, 7, None])
def test_as_many_come_as_were_told(workers: int, size: int | None):
    """Each worker ends with a batch of its own; 32 patches of a rank of two."""
    samples = stream(rank=0, ranks=2, batch_size=size, workers=workers)
    loader = DataLoader(samples, batch_size=None, num_workers=workers)
    assert len(loader) == len(samples) == len(list(loader))


def test_workers_that_were_not_told_are_refused():
    """Else fewer batches would be told than come."""
    with pytest.raises(PlanError, match="workers=2, but the DataLoader has num_workers=1"):
        list(DataLoader(stream(batch_size=5, workers=2), batch_size=None, num_workers=1))


@pytest.mark.parametrize("workers", [0, 2])
def test_ranks_and_workers_share_an_epoch_of_which_they_gave_a_part(workers: int):
    """Before and after a stop together every patch comes once: 64 patches of four ranks."""
    stopped = [stream(rank=rank, ranks=4) for rank in range(4)]
    before = [keys(islice(DataLoader(each, batch_size=4, num_workers=workers), 2)) for each in stopped]
    resumed = [stream(rank=rank, ranks=4) for rank in range(4)]
    [each.load_state_dict({"epoch": 0, "batches": 2, "batch_size": 4}) for each in resumed]
    after = [keys(DataLoader(each, batch_size=4, num_workers=workers)) for each in resumed]
    assert sorted(chain(*before, *after)) == sorted(PATCHES.key.tolist())


def test_a_worker_imports_nothing_to_send_its_first_batch():
    """A thread of it would, and loses the batch where it was forked in the midst of an import."""
    code = """
import sys
import shdask.patches.reading.torch_datasets, torch
from multiprocessing.reduction import ForkingPickler
before = set(sys.modules)
ForkingPickler.dumps(torch.ones(3))
print(sorted(set(sys.modules) - before))
"""
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


@pytest.mark.parametrize("context", ["fork", "spawn"])
def test_pixels_are_the_same_in_a_worker(store: Path, context: str):
    """Whether it was forked after threads had read, or spawned."""
    reader = open_reader(store, threads=2)
    here = torch.stack([to_tensors(reader.read(patch))["image"] for patch in PATCHES])
    loader = DataLoader(PatchDataset(reader, PATCHES), batch_size=64, num_workers=1, multiprocessing_context=context)
    assert torch.equal(next(iter(loader))["image"], here)


@pytest.mark.filterwarnings("ignore:This DataLoader will create 3 worker")
@pytest.mark.parametrize("workers", [0, 1, 3])
def test_every_patch_comes_once_whatever_the_workers(workers: int):
    """Of an iterable and of a sampled table."""
    iterable = DataLoader(stream(), batch_size=5, num_workers=workers)
    sampled = DataLoader(PatchDataset(read_key, PATCHES), sampler=PatchSampler(order()), batch_size=5)
    assert sorted(keys(iterable)) == sorted(keys(sampled)) == sorted(PATCHES.key.tolist())


@pytest.mark.parametrize("workers", [0, 2])
def test_ranks_share_an_epoch(workers: int):
    """64 patches on three ranks: 22 each, two of them twice."""
    loaders = [DataLoader(stream(rank=rank, ranks=3), batch_size=4, num_workers=workers) for rank in range(3)]
    found = [keys(loader) for loader in loaders]
    assert [len(part) for part in found] == [22, 22, 22]
    assert set().union(*found) == set(PATCHES.key.tolist())
    assert len(stream(rank=1, ranks=3)) == 22


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("batches", [0, 1, 5, 12])
def test_a_loop_goes_on_behind_the_batches_it_was_given(workers: int, batches: int):
    """However far workers had read ahead of it."""
    loader = DataLoader(stream(), batch_size=4, num_workers=workers)
    whole = keys(loader)
    samples = stream()
    samples.load_state_dict({"epoch": 0, "batches": batches, "batch_size": 4})
    rest = keys(DataLoader(samples, batch_size=4, num_workers=workers))
    assert sorted(rest) == sorted(whole[batches * 4 :])


def test_without_workers_the_state_is_the_dataset_s():
    """As it stands."""
    samples = stream()
    running = iter(DataLoader(samples, batch_size=None))
    before = [next(running)["key"] for _ in range(10)]
    state = samples.state_dict()
    resumed = stream()
    resumed.load_state_dict(state)
    assert before + [sample["key"] for sample in resumed] == [sample["key"] for sample in stream()]


def test_a_sampler_goes_on_where_it_stopped():
    """Behind the samples that the loop was given."""
    whole, resumed = PatchSampler(order()), PatchSampler(order())
    resumed.load_state_dict({"epoch": 0, "position": 10})
    assert list(resumed) == list(whole)[10:]
    assert whole.state_dict() == {"epoch": 1, "position": 0}
    assert len(whole) == 64


def test_epochs_differ_and_can_be_set():
    """In copies too, that workers are."""
    samples = stream()
    loader = DataLoader(samples, batch_size=64, num_workers=1)
    first = keys(loader)
    samples.set_epoch(1)
    second = keys(loader)
    samples.set_epoch(0)
    assert first != second
    assert keys(loader) == first


def test_workers_that_stay_go_on_to_the_next_epoch():
    """By themselves."""
    loader = DataLoader(stream(), batch_size=8, num_workers=2, persistent_workers=True)
    first, second = keys(loader), keys(loader)
    assert sorted(first) == sorted(second)
    assert first != second


def test_ranks_are_those_of_torch_distributed(monkeypatch: pytest.MonkeyPatch):
    """Unless they are given."""
    monkeypatch.setattr("torch.distributed.is_initialized", lambda: True)
    monkeypatch.setattr("torch.distributed.get_rank", lambda: 2)
    monkeypatch.setattr("torch.distributed.get_world_size", lambda: 4)
    assert len(stream()) == len(PatchSampler(order())) == 16
    assert len(stream(rank=0, ranks=1)) == 64


def test_rows_are_had_by_number():
    """And none beyond the last."""
    samples = PatchDataset(read_key, PATCHES)
    assert len(samples) == 64
    assert samples[3]["key"] == PATCHES[3].key
    with pytest.raises(IndexError):
        samples[64]
