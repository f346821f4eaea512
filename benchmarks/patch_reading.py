"""How fast are samples read, beside xbatcher and beside zarr alone; and how should cubes for it be cut?

Cubes of four bands and three dates on this machine's disk, in the page cache. All read the same patches in turn, across
shards at random, in one process; and by two workers. Needs torch and xbatcher.
"""

from __future__ import annotations

import importlib.util
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import zarr
from numpy.typing import NDArray
from zarr.codecs import BloscCodec

import shdask
from shdask.assemble.store import create_or_open
from shdask.model import TileData
from shdask.patches.reading.order import ReadingOrder
from shdask.patches.reading.reader import PatchReader, open_reader
from shdask.patches.table import Patches
from shdask.plan.group import GroupPlan
from tests.unit.patches.rows import make_patches
from tests.unit.timed import along_days, everywhere

BANDS = ("B02", "B03", "B04", "B08")
ARRAYS = (*BANDS, "data_mask")
DATES = 3
SIDE_PX = 2048
TILE_PX = 1024
COMMAND = "make reading"
PATCH_PX = 256
COUNT = 48
"""Patches that are timed at once; of cubes with other chunks a third."""
REPEATS = 3
CHUNKS_PX = (128, 256, 512, 1024)
BATCH = 16
WORKERS = 2
EPOCHS = 4
CACHE_NBYTES = 16 * 2**20
"""Of the reader whose memory is watched."""
SERIES_DATES = 24
SERIES_PX = 1024
SERIES_PATCH_PX = 32
Read = Callable[[], None]
"""Reads all patches."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How fast a way is, and how dear."""

    samples_per_s: float
    cpu_ms: float
    """Of all threads, a sample: what a busy machine does not change."""


def run() -> dict[str, Any]:
    """Three kinds of patches, by workers and in little memory; chunks of other sizes; chunks of several dates."""
    lacking = [name for name in ("torch", "xbatcher") if importlib.util.find_spec(name) is None]
    if lacking:
        sys.exit(f"patch_reading needs {' and '.join(lacking)}: run it where they are installed, see `make torch`")
    with tempfile.TemporaryDirectory() as folder:
        stores = {chunk_px: make_cube(Path(folder) / f"{chunk_px}.zarr", chunk_px) for chunk_px in CHUNKS_PX}
        plan, store = stores[PATCH_PX]
        half = PATCH_PX // 2
        kinds = {
            "aligned_256_px": choose(plan, PATCH_PX, step_px=PATCH_PX),
            "quarters_of_a_chunk_128_px": choose(plan, half, step_px=half),
            "anywhere_256_px": choose(plan, PATCH_PX, step_px=1),
        }
        memory = watch_memory(store, kinds["aligned_256_px"])  # before others have left theirs to be used again
        return {
            "beside_others": {
                kind: compare(store, patches, on_grid=kind != "anywhere_256_px") for kind, patches in kinds.items()
            },
            f"aligned_256_px_by_{WORKERS}_workers": compare_workers(store, kinds["aligned_256_px"]),
            "memory": memory,
            "aligned_256_px_by_chunk_px": {
                chunk_px: compare_chunks(other, choose(made, PATCH_PX, step_px=PATCH_PX))
                for chunk_px, (made, other) in stores.items()
            },
            "anywhere_256_px_by_chunk_px": {
                chunk_px: compare_chunks(other, choose(made, PATCH_PX, step_px=1))
                for chunk_px, (made, other) in stores.items()
            },
            "series_and_maps_by_chunk_px": {
                chunk_px: compare_uses(Path(folder) / f"series-{chunk_px}.zarr", chunk_px)
                for chunk_px in (SERIES_PATCH_PX, 64, *CHUNKS_PX[:3])
            },
            "series_of_24_dates_32_px_by_dates_in_a_chunk": compare_dates(Path(folder)),
        }


def make_cube(
    store: Path, chunk_px: int, *, side_px: int = SIDE_PX, dates: int = DATES, bands: tuple[str, ...] = BANDS
) -> tuple[GroupPlan, Path]:
    """A square of whole tiles, all of it valid, its pixels a smooth field and noise."""
    side = side_px * 20
    spec = shdask.CubeSpec(
        aoi=[400_000, 5_000_000, 400_000 + side, 5_000_000 + side],
        aoi_crs="EPSG:32633",
        crs="EPSG:32633",
        resolution=20,
        time=["2024-06-01", "2024-06-30"],
        layers={"s2": {"collection": "sentinel-2-l2a", "bands": list(bands)}},
        store={"chunk_px": chunk_px, "tile_px": TILE_PX},
    )
    plan = shdask.make_plan(spec).only
    plan = along_days(plan, everywhere(plan, dates))
    cube = create_or_open(plan, store)
    pictures = [make_pixels(seed)[: len(bands)] for seed in range(dates)]
    for tile in plan.tiles():
        rows, columns = tile.extent.shape
        data_mask = np.ones((rows, columns), np.bool_)
        cube.write_tile(tile, TileData(values=pictures[tile.step or 0][:, :rows, :columns], data_mask=data_mask))
    cube.mark_complete(pu_spent=0.0)
    return plan, store


@cache
def make_pixels(seed: int) -> NDArray[np.uint16]:
    """(band, y, x) of a tile."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:TILE_PX, :TILE_PX] / 150
    field = 1500 + 700 * np.sin(x + seed) * np.cos(y) + 300 * np.sin(5 * x * y / 100)
    return np.stack([field * (1 + band / 4) + rng.normal(0, 40, field.shape) for band in range(len(BANDS))]).astype(
        np.uint16
    )


def choose(plan: GroupPlan, size_px: int, *, step_px: int) -> Patches:
    """So many different patches at random, their corners multiples of ``step_px``, in reading order."""
    rng = np.random.default_rng(7)
    across = (SIDE_PX - size_px) // step_px + 1
    if step_px == PATCH_PX // 2:  # all four of some chunks
        squares = rng.choice((across // 2) ** 2, COUNT // 4, replace=False)
        corners = [
            ((square // (across // 2) * 2 + down) * step_px, (square % (across // 2) * 2 + right) * step_px)
            for square in squares.tolist()
            for down in (0, 1)
            for right in (0, 1)
        ]
    else:
        places = rng.choice(across**2, COUNT, replace=False).tolist()
        corners = [(place // across * step_px, place % across * step_px) for place in places]
    patches = make_patches(plan.grid, corners, size_px=size_px)
    order = ReadingOrder.of(patches, shard_px=TILE_PX, chunk_px=PATCH_PX)
    return patches.take(order.rows(0))


def compare(store: Path, patches: Patches, *, on_grid: bool) -> dict[str, Any]:
    """The pace of each way, and ours beside the others."""
    ways: dict[str, Callable[[], Read]] = {
        "zarr_alone": lambda: partial(read_by_zarr, store, patches),
        "shdask_numpy": lambda: partial(read_by_us, open_warm(store, patches), patches),
        **open_torch(store, patches, on_grid=on_grid),
    }
    rates = race(ways, len(patches))
    ours, zarrs = rates["shdask_batches"], rates["zarr_alone"]
    xbatchers = [rate for name, rate in rates.items() if name.startswith("xbatcher")]
    found: dict[str, Any] = {
        **{name: asdict(rate) for name, rate in rates.items()},
        "ours_over_zarr_alone": round(ours.samples_per_s / zarrs.samples_per_s, 2),
        "cpu_of_zarr_alone_over_ours": round(zarrs.cpu_ms / ours.cpu_ms, 2),
    }
    if not xbatchers:
        return found
    return {
        **found,
        "ours_over_the_faster_xbatcher": round(ours.samples_per_s / max(each.samples_per_s for each in xbatchers), 2),
        "cpu_of_the_cheaper_xbatcher_over_ours": round(min(each.cpu_ms for each in xbatchers) / ours.cpu_ms, 2),
    }


def compare_chunks(store: Path, patches: Patches) -> dict[str, Any]:
    """The pace of ours, as numpy, and of zarr."""
    patches = patches.take(np.arange(COUNT // 3))
    ways: dict[str, Callable[[], Read]] = {
        "shdask": lambda: partial(read_by_us, open_warm(store, patches), patches),
        "zarr_alone": lambda: partial(read_by_zarr, store, patches),
    }
    return {name: asdict(pace) for name, pace in race(ways, len(patches)).items()}


def race(ways: dict[str, Callable[[], Read]], count: int) -> dict[str, Pace]:
    """Let them run in turn, each made anew, after a turn that warms; of each the medians of its turns."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    cpu_s: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(REPEATS + 1):
        for name, prepare in ways.items():
            read = prepare()
            started, used = time.perf_counter(), time.process_time()
            read()
            if turn:
                seconds[name].append(time.perf_counter() - started)
                cpu_s[name].append(time.process_time() - used)
    print({name: [round(each, 2) for each in turns] for name, turns in seconds.items()}, flush=True)
    return {
        name: Pace(
            samples_per_s=round(count / statistics.median(seconds[name]), 1),
            cpu_ms=round(statistics.median(cpu_s[name]) / count * 1000, 3),
        )
        for name in ways
    }


def open_warm(store: Path, patches: Patches) -> PatchReader:
    """A reader that knows the cube's metadata, as after its first sample, and holds no chunk but that one's."""
    reader = open_reader(store)
    reader.read(patches[0])
    return reader


def read_by_us(reader: PatchReader, patches: Patches) -> None:
    """As numpy."""
    for patch in patches:
        reader.read(patch)


def read_by_zarr(store: Path, patches: Patches) -> None:
    """Every band and the mask, all dates in one call each, into nothing: what zarr itself needs."""
    root = zarr.open_group(store, mode="r")
    arrays = [root[name] for name in ARRAYS]
    for patch in patches:
        rows, columns = patch.window.slices
        for array in arrays:
            array[:, rows, columns]  # type: ignore[index]  # arrays all


def open_torch(store: Path, patches: Patches, *, on_grid: bool) -> dict[str, Callable[[], Read]]:
    """Ways that end in batches of torch's DataLoader, in this process: whole ones of ours, and collated ones.

    xbatcher has patches of a grid only.
    """
    import torch

    torch.set_num_threads(1)  # as a DataLoader's worker has; more only wait for each other
    ours: dict[str, Callable[[], Read]] = {
        "shdask_batches": lambda: partial(drain, load_batches(open_warm(store, patches), patches)),
        "shdask_collated": lambda: partial(drain, load_collated(open_warm(store, patches), patches)),
    }
    if not on_grid:
        return ours
    eager, on_dask = make_xbatcher(store, patches, None), make_xbatcher(store, patches, {})
    return {**ours, "xbatcher": lambda: partial(drain, eager()), "xbatcher_on_dask": lambda: partial(drain, on_dask())}


def drain(loader: Any) -> None:
    """Take every batch."""
    for _ in loader:
        pass


def load_batches(reader: PatchReader, patches: Patches, **workers: Any) -> Any:
    """Whole batches, read straight into their tensors."""
    from torch.utils.data import DataLoader

    from shdask.patches.reading.torch_datasets import PatchIterable

    order = ReadingOrder.of(patches, shard_px=TILE_PX, chunk_px=PATCH_PX)
    return DataLoader(PatchIterable(reader, patches, order, batch_size=BATCH), batch_size=None, **workers)


def load_collated(reader: PatchReader, patches: Patches) -> Any:
    """Samples that torch collates."""
    from torch.utils.data import DataLoader

    from shdask.patches.reading.torch_datasets import PatchDataset

    return DataLoader(PatchDataset(reader, patches), batch_size=BATCH)


def make_xbatcher(store: Path, patches: Patches, chunks: dict[str, int] | None) -> Callable[..., Any]:
    """What makes a loader of xbatcher's samples, bands as float32 and no masks, in the order of ``patches``."""
    import xarray as xr
    from torch.utils.data import DataLoader
    from xbatcher import BatchGenerator
    from xbatcher.loaders.torch import MapDataset

    cube = xr.open_zarr(store, chunks=chunks)[list(ARRAYS)]
    size = patches.size_px
    generator = BatchGenerator(cube, {"time": DATES, "y": size, "x": size}, preload_batch=False)
    numbers = (patches.y0 // size * (SIDE_PX // size) + patches.x0 // size).tolist()

    return partial(DataLoader, MapDataset(generator, transform=stack_bands), batch_size=BATCH, sampler=numbers)


def stack_bands(batch: Any) -> Any:
    """The tensor of an xarray.Dataset's bands."""
    from shdask.patches.reading.torch_datasets import to_tensors

    return to_tensors({"image": batch[list(BANDS)].to_array().to_numpy().astype(np.float32)})["image"]


def compare_workers(store: Path, patches: Patches) -> dict[str, Any]:
    """The pace of an epoch by workers that have started and read an epoch; of ours without a cache."""
    workers = {"num_workers": WORKERS, "persistent_workers": True, "multiprocessing_context": "spawn"}
    loaders = {
        "shdask_batches": load_batches(open_reader(store, cache_nbytes=0), patches, **workers),
        "xbatcher": make_xbatcher(store, patches, None)(**workers),
    }
    paces: dict[str, Pace] = {}
    for name in list(loaders):
        turns = [time_workers(loaders[name]) for _ in range(REPEATS + 1)]
        seconds, cpu_s = (statistics.median(each) for each in zip(*turns[1:], strict=True))
        samples_per_s, cpu_ms = round(len(patches) / seconds, 1), round(cpu_s / len(patches) * 1000, 3)
        paces[name] = Pace(samples_per_s=samples_per_s, cpu_ms=cpu_ms)
        del loaders[name]  # its workers end
    ours, xbatchers = paces["shdask_batches"], paces["xbatcher"]
    return {
        **{name: asdict(pace) for name, pace in paces.items()},
        "ours_over_xbatcher": round(ours.samples_per_s / xbatchers.samples_per_s, 2),
        "cpu_of_xbatcher_over_ours": round(xbatchers.cpu_ms / ours.cpu_ms, 2),
    }


def time_workers(loader: Any) -> tuple[float, float]:
    """Seconds, and seconds of CPU of this process and its workers."""
    started, used = time.perf_counter(), count_cpu()
    drain(loader)
    return time.perf_counter() - started, count_cpu() - used


def count_cpu() -> float:
    """Seconds of CPU of this process and its children."""
    this = psutil.Process()
    times = [each.cpu_times() for each in (this, *this.children(recursive=True))]
    return sum(each.user + each.system for each in times)


def watch_memory(store: Path, patches: Patches) -> dict[str, Any]:
    """Memory after each epoch, in MB above that of the process before the first; an epoch's chunks are not all held."""
    process = psutil.Process()
    reader = open_reader(store, cache_nbytes=CACHE_NBYTES)
    loader = load_batches(reader, patches)  # which imports torch
    before = process.memory_info().rss
    above = []
    for _ in range(EPOCHS):
        drain(loader)
        above.append(round((process.memory_info().rss - before) / 2**20, 1))
    return {
        "cache_mb": CACHE_NBYTES / 2**20,
        "held_mb": round(reader.cache.held_nbytes / 2**20, 1),
        "chunks_of_an_epoch_mb": round(len(patches) * DATES * PATCH_PX**2 * (2 * len(BANDS) + 1) / 2**20, 1),
        "batch_mb": round(BATCH * DATES * PATCH_PX**2 * (4 * len(BANDS) + 2) / 2**20, 1),
        "mb_after_each_epoch": above,
    }


def compare_uses(store: Path, chunk_px: int) -> dict[str, Any]:
    """The pace of series of 24 dates of small patches far apart, by ours; and of whole dates, by zarr.

    A cube of one band. Nothing is held: patches that are far apart share no chunk.
    """
    plan, _ = make_cube(store, chunk_px, side_px=SERIES_PX, dates=SERIES_DATES, bands=BANDS[:1])
    rng = np.random.default_rng(3)
    anywhere = rng.integers(0, SERIES_PX - SERIES_PATCH_PX, (COUNT // 2, 2))
    on_grid = rng.integers(0, SERIES_PX // SERIES_PATCH_PX, (COUNT // 2, 2)) * SERIES_PATCH_PX
    kinds = {"series_anywhere": anywhere, "series_on_grid": on_grid}
    tables = {name: make_patches(plan.grid, at.tolist(), size_px=SERIES_PATCH_PX) for name, at in kinds.items()}
    array = zarr.open_array(store, path=BANDS[0], mode="r")
    ways: dict[str, Callable[[], Read]] = {
        **{name: partial(read_fresh, store, table) for name, table in tables.items()},
        "whole_dates": lambda: partial(read_windows, array, [(step,) for step in range(COUNT // 2)]),
    }
    paces = {name: asdict(pace) for name, pace in race(ways, COUNT // 2).items()}
    nbytes = sum(file.stat().st_size for file in (store / BANDS[0]).rglob("*") if file.is_file())
    return {**paces, "stored_mb": round(nbytes / 2**20, 1)}


def read_fresh(store: Path, patches: Patches) -> Read:
    """Reading by ours, that holds nothing."""
    reader = open_reader(store, cache_nbytes=0)
    reader.read(patches[0])
    return partial(read_by_us, reader, patches)


def compare_dates(folder: Path) -> dict[int, Any]:
    """The pace of zarr with long series of small patches, and with single dates of large ones."""
    found: dict[int, Any] = {}
    rng = np.random.default_rng(3)
    values = np.stack([make_pixels(seed)[0, :SERIES_PX, :SERIES_PX] for seed in range(SERIES_DATES)])
    series = rng.integers(0, SERIES_PX - SERIES_PATCH_PX, (COUNT, 2)).tolist()
    maps = rng.integers(0, SERIES_PX // PATCH_PX, (COUNT, 2)) * PATCH_PX
    for dates in (1, 4, 12, 24):
        array = zarr.create_array(
            folder / f"series-{dates}",
            shape=values.shape,
            dtype=values.dtype,
            chunks=(dates, PATCH_PX, PATCH_PX),
            shards=(dates, SERIES_PX, SERIES_PX),
            compressors=BloscCodec(cname="zstd", clevel=1, shuffle="shuffle"),
        )
        array[...] = values
        series_of = [(slice(None), slice(y, y + SERIES_PATCH_PX), slice(x, x + SERIES_PATCH_PX)) for y, x in series]
        one_date_of = [(7, slice(y, y + PATCH_PX), slice(x, x + PATCH_PX)) for y, x in maps.tolist()]
        ways: dict[str, Callable[[], Read]] = {
            "series": partial(partial, read_windows, array, series_of),
            "one_date": partial(partial, read_windows, array, one_date_of),
        }
        found[dates] = {name: asdict(pace) for name, pace in race(ways, COUNT).items()}
    return found


def read_windows(array: zarr.Array[Any], windows: list[Any]) -> None:
    """One after the other, into nothing."""
    for window in windows:
        array[window]
