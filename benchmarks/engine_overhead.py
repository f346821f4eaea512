"""What does the engine cost beside the same loop without one, and beside sentinelhub-py's client?

64 tiles of 2048 px and three bands, from a service without limits that answers after 0.2 s. All write the same arrays.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import requests
import zarr
from numpy.typing import NDArray
from rasterio.io import MemoryFile
from zarr.codecs import BloscCodec

import shdask
from benchmarks.canned_service import record_pictures, start_canned_service
from shdask.assemble.shard import encode_shard
from shdask.cluster.local import open_local_client
from shdask.emulator.launch import start_emulator
from shdask.fetch.process import tile_bodies
from shdask.model import Tile
from shdask.plan.group import GroupPlan

TILE_PX = 2048
CHUNK_PX = 512
TILES_PER_SIDE = 8
BANDS = ("B02", "B03", "B04")
ARRAYS = (*BANDS, "data_mask")
LATENCY_S = 0.2
FETCH_THREADS = 16
DECODE_THREADS = 2
PEER_BATCH = 32
"""Its client returns pictures all together: more at once would not fit into small memories."""
PICTURES = 4
"""Different ones, served in turn."""
REPEATS = 3


def make_spec(tiles_per_side: int = TILES_PER_SIDE) -> shdask.CubeSpec:
    """A square of tiles, all inside the area."""
    side = tiles_per_side * TILE_PX * 20
    return shdask.CubeSpec(
        aoi=[400_000, 5_000_000, 400_000 + side, 5_000_000 + side],
        aoi_crs="EPSG:32633",
        crs="EPSG:32633",
        resolution=20,
        time=["2024-06-01", "2024-06-30"],
        layers={"s2": {"collection": "sentinel-2-l2a", "bands": BANDS}},
        store={"chunk_px": CHUNK_PX, "tile_px": TILE_PX},
        service={"requests_per_minute": 1e6, "pu_per_minute": 1e6},
    )


def processes() -> list[psutil.Process]:
    """Client, scheduler and workers: the calling process and its living children, but not the service."""
    me = psutil.Process()
    return [me, *me.children(recursive=True)]


def cpu_s() -> float:
    """CPU seconds of all `processes`, since each of them began."""
    times = [process.cpu_times() for process in processes()]
    return sum(spent.user + spent.system for spent in times)


def peak_rss_mb() -> float:
    """The sum of the most that each of `processes` has held."""
    status = [Path(f"/proc/{process.pid}/status").read_text() for process in processes()]
    return sum(int(text.partition("VmHWM:")[2].split()[0]) for text in status) / 1024


def measure(work: Callable[[], object], plan: GroupPlan) -> dict[str, float]:
    """Wall and CPU of ``work`` alone, and the CPU of all that came before it as well."""
    cpu, started = cpu_s(), time.perf_counter()
    work()
    wall, whole = time.perf_counter() - started, cpu_s()
    return {
        "seconds": wall,
        "tiles_per_s": plan.tile_count / wall,
        "cpu_s_per_tile": (whole - cpu) / plan.tile_count,
        "cpu_s_with_start": whole,
        "peak_rss_mb": peak_rss_mb(),
    }


def run_engine(folder: Path) -> dict[str, float]:
    """The engine on two worker processes, which a small cube has warmed."""
    plan = shdask.make_plan(make_spec())
    with open_local_client(2) as client:
        shdask.build_cube(make_spec(2), folder / "warm", client=client).raise_for_failures()
        return measure(lambda: shdask.build_cube(plan, folder / "cube", client=client).raise_for_failures(), plan.only)


def run_serial(folder: Path) -> dict[str, float]:
    """The engine without a cluster, one tile after the other."""
    plan, executor = shdask.make_plan(make_spec()), shdask.SerialExecutor()
    shdask.build_cube(make_spec(2), folder / "warm", executor=executor).raise_for_failures()
    return measure(lambda: shdask.build_cube(plan, folder / "cube", executor=executor).raise_for_failures(), plan.only)


def create_arrays(plan: GroupPlan, folder: Path) -> list[zarr.Array[Any]]:
    """Arrays like the cube's own."""
    return [
        zarr.create_array(
            str(folder / name),
            shape=plan.grid.shape,
            dtype="uint8" if name == "data_mask" else "uint16",
            chunks=(CHUNK_PX, CHUNK_PX),
            shards=(TILE_PX, TILE_PX),
            compressors=BloscCodec(cname="zstd", clevel=1, shuffle="shuffle"),
            fill_value=0,
        ).with_config({"write_empty_chunks": True})
        for name in ARRAYS
    ]


def write(arrays: Sequence[zarr.Array[Any]], tile: Tile, picture: Sequence[NDArray[Any]]) -> None:
    """Three bands and the mask, (band, y, x), as they come: no clipping, fill value, checksum, commit mark or fsync."""
    for array, band in zip(arrays, picture, strict=True):
        array[tile.extent.slices] = band.astype(array.dtype, copy=False)


@contextmanager
def login() -> Iterator[requests.Session]:
    """A session of kept connections with a token."""
    with requests.Session() as session:
        session.mount("http://", requests.adapters.HTTPAdapter(pool_maxsize=FETCH_THREADS))
        secret = {"client_id": os.environ["SH_CLIENT_ID"], "client_secret": os.environ["SH_CLIENT_SECRET"]}
        answer = session.post(
            os.environ["SH_TOKEN_URL"], data={"grant_type": "client_credentials", **secret}, timeout=9
        )
        session.headers.update({"Authorization": f"Bearer {answer.json()['access_token']}", "Accept": "image/tiff"})
        yield session


def run_loop(folder: Path) -> dict[str, float]:
    """16 threads that post, two that decode and write; no plan, limits, checks, retries or ledger."""
    plan = shdask.make_plan(make_spec()).only
    warm = shdask.make_plan(make_spec(2)).only

    def build(plan: GroupPlan, folder: Path, session: requests.Session) -> None:
        arrays = create_arrays(plan, folder)

        def store(body: bytes, tile: Tile) -> None:
            with MemoryFile(body) as file, file.open() as source:
                picture = source.read()
            write(arrays, tile, picture)

        def fetch(tile: Tile) -> None:
            (body,) = tile_bodies(plan, tile)
            url = os.environ["SH_BASE_URL"] + "/api/v1/process"
            with session.post(url, json=body, stream=True, timeout=120) as answer:
                answer.raise_for_status()
                received = answer.raw.read(decode_content=True)
            decoders.submit(store, received, tile).result()

        with ThreadPoolExecutor(FETCH_THREADS) as fetchers, ThreadPoolExecutor(DECODE_THREADS) as decoders:
            list(fetchers.map(fetch, plan.tiles()))

    with login() as session:
        build(warm, folder / "warm", session)
        return measure(lambda: build(plan, folder / "cube", session), plan)


def run_peer(folder: Path) -> dict[str, float]:
    """sentinelhub-py's client with 16 threads, which decodes; two threads write each batch of 32 once it is there."""
    import sentinelhub
    from sentinelhub.download import SentinelHubDownloadClient

    plan = shdask.make_plan(make_spec()).only
    warm = shdask.make_plan(make_spec(2)).only
    config = sentinelhub.SHConfig(
        use_defaults=True,
        sh_base_url=os.environ["SH_BASE_URL"],
        sh_token_url=os.environ["SH_TOKEN_URL"],
        sh_client_id=os.environ["SH_CLIENT_ID"],
        sh_client_secret=os.environ["SH_CLIENT_SECRET"],
    )
    client = SentinelHubDownloadClient(config=config)

    def ask(plan: GroupPlan, tile: Tile) -> sentinelhub.DownloadRequest:
        return sentinelhub.DownloadRequest(
            url=config.sh_base_url + "/api/v1/process",
            headers={"content-type": "application/json", "accept": "image/tiff"},
            request_type=sentinelhub.constants.RequestType.POST,
            post_values=tile_bodies(plan, tile)[0],
            data_type=sentinelhub.MimeType.TIFF,
            use_session=True,
        )

    def build(plan: GroupPlan, folder: Path) -> None:
        arrays, tiles = create_arrays(plan, folder), list(plan.tiles())
        for first in range(0, len(tiles), PEER_BATCH):
            batch = tiles[first : first + PEER_BATCH]
            pictures = client.download([ask(plan, tile) for tile in batch], max_threads=FETCH_THREADS)
            with ThreadPoolExecutor(DECODE_THREADS) as writers:
                list(
                    writers.map(lambda tile, picture: write(arrays, tile, np.moveaxis(picture, -1, 0)), batch, pictures)
                )

    build(warm, folder / "warm")
    return measure(lambda: build(plan, folder / "cube"), plan)


def compare_shards(folder: Path) -> dict[str, float]:
    """CPU ms of encoding one tile's four shards, as zarr does it with its write, and in one step."""
    plan = shdask.make_plan(make_spec(1)).only
    tile = plan.tile(0)
    arrays = create_arrays(plan, folder)
    with login() as session:
        answer = session.post(os.environ["SH_BASE_URL"] + "/api/v1/process", json=tile_bodies(plan, tile)[0], timeout=9)
    with MemoryFile(answer.content) as file, file.open() as source:
        picture = [band.astype(array.dtype) for array, band in zip(arrays, source.read(), strict=True)]

    def in_one_step() -> None:
        for name, band in zip(ARRAYS, picture, strict=True):
            (folder / name / "c" / "0" / "0").write_bytes(encode_shard(band, CHUNK_PX))

    def cpu_ms(work: Callable[[], None]) -> float:
        started = time.process_time()
        work()
        return (time.process_time() - started) * 1e3

    ways = {"by_zarr": lambda: write(arrays, tile, picture), "in_one_step": in_one_step}
    times = {name: [cpu_ms(way) for _ in range(10)] for name, way in ways.items()}
    return {name: round(float(np.median(taken)), 1) for name, taken in times.items()}


def digest(cube: Path) -> int:
    """CRC-32 of the first and the last tile of each array."""
    ends = (slice(None, TILE_PX), slice(-TILE_PX, None))
    parts = [np.asarray(zarr.open_array(str(cube / name))[end, end]) for name in ARRAYS for end in ends]
    return zlib.crc32(b"".join(part.tobytes() for part in parts))


SHARDS = "shards"
VARIANTS = {"engine": run_engine, "loop": run_loop, "sentinelhub_py": run_peer, "serial": run_serial}


def run_variant(name: str) -> dict[str, Any]:
    """One variant, in this process, with what it wrote; or the comparison of shards."""
    with tempfile.TemporaryDirectory() as folder:
        if name == SHARDS:
            return compare_shards(Path(folder))
        return {**VARIANTS[name](Path(folder)), "digest": digest(Path(folder, "cube"))}


@contextmanager
def service() -> Iterator[dict[str, str]]:
    """The environment of a client of the canned service; the emulator makes its pictures, and has ended by then."""
    with tempfile.TemporaryDirectory() as pictures:
        with start_emulator() as emulator:
            plan = shdask.make_plan(make_spec()).only
            diagonal = [plan.tile(index * (TILES_PER_SIDE + 1)) for index in range(PICTURES)]
            record_pictures([tile_bodies(plan, tile)[0] for tile in diagonal], emulator, Path(pictures))
        with start_canned_service(Path(pictures), LATENCY_S) as variables:
            yield {**os.environ, **variables}


def run() -> dict[str, Any]:
    """Each variant in a process of its own, in turn, three times over; medians, and ratios of one round."""
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in VARIANTS}
    with service() as environment, tempfile.TemporaryDirectory() as home:
        own = {"HOME": home, "XDG_CONFIG_HOME": home, "OAUTHLIB_INSECURE_TRANSPORT": "1"}

        def run_alone(name: str) -> dict[str, Any]:
            command = [sys.executable, "-m", "benchmarks.engine_overhead", name]
            out = subprocess.run(command, env={**environment, **own}, capture_output=True, text=True, check=True).stdout
            told: dict[str, Any] = json.loads(out.splitlines()[-1])
            return told

        for name in [*VARIANTS] * REPEATS:
            runs[name].append(run_alone(name))
        shards = run_alone(SHARDS)
    if len({one.pop("digest") for measured in runs.values() for one in measured}) != 1:
        raise RuntimeError("not all wrote the same pixels")

    def ratio(name: str, other: str, figure: str) -> float:
        pairs = zip(runs[name], runs[other], strict=True)
        return round(float(np.median([one[figure] / two[figure] for one, two in pairs])), 2)

    return {
        "tiles": TILES_PER_SIDE**2,
        "tile_px": TILE_PX,
        "bands": len(BANDS),
        "latency_s": LATENCY_S,
        "median_of": REPEATS,
        **{
            name: {figure: round(float(np.median([one[figure] for one in measured])), 3) for figure in measured[0]}
            for name, measured in runs.items()
        },
        "shards_of_a_tile_cpu_ms": shards,
        "engine_over_loop_throughput": ratio("engine", "loop", "tiles_per_s"),
        "engine_over_loop_cpu": ratio("engine", "loop", "cpu_s_per_tile"),
        "engine_over_sentinelhub_py_throughput": ratio("engine", "sentinelhub_py", "tiles_per_s"),
        "engine_over_sentinelhub_py_cpu": ratio("engine", "sentinelhub_py", "cpu_s_per_tile"),
    }


if __name__ == "__main__":
    print(json.dumps(run_variant(sys.argv[1])))
