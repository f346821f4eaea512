"""What does a cut, a short break, a slow cable or a worker behind another address cost a build on several hosts?"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import shdask
from benchmarks.faults import wrong_pixels
from benchmarks.namespaces import MACHINE, Cable, Host, is_possible, lay_cable, lay_slow_cable, open_host, relay
from shdask.assemble.status import read_status
from shdask.emulator.launch import EmulatorProcess, start_emulator

RECIPE = Path(__file__).parents[1] / "deploy" / "hosts"
SCHEDULER = "10.87.0.1"
ADDRESS = f"tls://{SCHEDULER}:8786"
DASHBOARD_PORT = 8787
TILES_BEFORE = 12
"""Tiles that are there when something happens."""
LATENCY_S = 5.0
"""With the rate below three or four requests are in flight."""
JOB = """
[cube]
aoi = [500000, 5100000, 508960, 5107680]
aoi_crs = "EPSG:32633"
crs = "EPSG:32633"
resolution = 10
time = ["2024-06-01", "2024-06-30"]
[layers.s2]
collection = "sentinel-2-l2a"
bands = ["B04"]
[store]
chunk_px = {tile_px}
tile_px = {tile_px}
[service]
requests_per_minute = {rate}
bucket_s = 1
"""
"""7 x 6 tiles of 128 px."""
RATE = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """What all builds share."""

    service: EmulatorProcess
    folder: Path
    tls: dict[str, str]
    """The variables that name certificates to Dask."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """Three hosts and the service, each reached by cables of its own."""

    owner: Host
    workers: tuple[Host, Host]
    lan: tuple[Cable, Cable]
    """From the owner's host, where the scheduler runs, to each worker."""
    wan: tuple[Cable, Cable]
    """From each worker to the service."""
    ground: Ground

    def environment(self, *, secret: bool = False) -> dict[str, str]:
        """Certificates for Dask, and the account for the owner alone."""
        clean = {name: value for name, value in os.environ.items() if not name.startswith("SH_")}
        return {
            **clean,
            **self.ground.tls,
            **(self.ground.service.environment() if secret else {}),
            "SHDASK_LEARN": "0",
        }


def run() -> dict[str, Any]:
    """Six builds of one cube on three hosts."""
    missing = is_possible()
    if missing is not None:
        sys.exit(f"not run: network namespaces need {missing}")
    with (
        tempfile.TemporaryDirectory(prefix="shdask-hosts-") as name,
        start_emulator(latency_s=LATENCY_S) as service,
    ):
        folder = Path(name)
        words = [sys.executable, str(RECIPE / "make_certificates.py"), str(folder / "tls")]
        told = subprocess.run(words, capture_output=True, text=True, check=True).stdout
        tls = dict(line.removeprefix("export ").split("=", 1) for line in told.splitlines())
        os.environ.update(service.environment(), SHDASK_LEARN="0")
        (folder / "whole.toml").write_text(JOB.format(rate=60_000, tile_px=1024))
        executor = shdask.SerialExecutor()
        shdask.build_cube(folder / "whole.toml", folder / "whole", executor=executor).raise_for_failures()
        ground = Ground(service=service, folder=folder, tls=tls)
        return {
            "tiles": 42,
            "requests_per_minute": RATE,
            **{scenario.__name__.strip("_"): scenario(ground) for scenario in SCENARIOS},
        }


def _undisturbed(ground: Ground) -> dict[str, Any]:
    """And what of it can be seen from where."""
    with _open_site(ground) as site, _cluster(site, "undisturbed") as add:
        add(0)
        # listens everywhere, and is known by the address at which the others reach it
        add(1, "--listen-address", "tls://0.0.0.0:9001", "--contact-address", "tls://10.87.2.2:9001")
        return _build(site, "undisturbed", lambda: {"dashboard": _dashboard(site)})


def _cut_for_20_s(ground: Ground) -> dict[str, Any]:
    """The scheduler does not reach a worker; the service still does."""
    return _with_cut_lan(ground, "cut-20", 20)


def _cut_for_90_s(ground: Ground) -> dict[str, Any]:
    """Longer than anybody is waited for."""
    return _with_cut_lan(ground, "cut-90", 90)


def _cut_for_ever(ground: Ground) -> dict[str, Any]:
    return _with_cut_lan(ground, "cut-for-ever", None)


def _service_out_of_reach_of_one(ground: Ground) -> dict[str, Any]:
    """A worker loses the service for 20 s, not the scheduler."""
    with _open_site(ground) as site, _cluster(site, "no-service") as add:
        add(0)
        add(1)
        return _build(site, "no-service", lambda: _cut(site.wan[0], 20))


def _slow_cable(ground: Ground) -> dict[str, Any]:
    """Half a second of round trip and a Mbit/s between scheduler and a worker."""
    with _open_site(ground, slow=True) as site, _cluster(site, "slow") as add:
        add(0)
        add(1)
        return _build(site, "slow", dict)


SCENARIOS: tuple[Callable[[Ground], dict[str, Any]], ...] = (
    _undisturbed,
    _cut_for_20_s,
    _cut_for_90_s,
    _cut_for_ever,
    _service_out_of_reach_of_one,
    _slow_cable,
)


def _with_cut_lan(ground: Ground, name: str, seconds: float | None) -> dict[str, Any]:
    with _open_site(ground) as site, _cluster(site, name) as add:
        add(0)
        add(1)
        return _build(site, name, lambda: _cut(site.lan[0], seconds))


def _cut(cable: Cable, seconds: float | None) -> dict[str, Any]:
    cable.cut()
    cut_at = time.time()
    if seconds is not None:
        time.sleep(seconds)
        cable.mend()
    return {"cut_at": cut_at}


@contextmanager
def _open_site(ground: Ground, *, slow: bool = False) -> Iterator[Site]:
    port = urlsplit(ground.service.base_url).port or 0
    with ExitStack() as stack:
        owner, *workers = (stack.enter_context(open_host(f"shd{name}")) for name in ("own", "w1", "w2"))
        owner.ip("address", "add", f"{SCHEDULER}/32", "dev", "lo")
        wan = [
            stack.enter_context(lay_cable(host, MACHINE, f"shdn{number}", f"10.88.{number}"))
            for number, host in enumerate((owner, *workers))
        ]
        lan = []
        for number, host in enumerate(workers, 1):
            ends = owner, host, f"shdl{number}", f"10.87.{number}"
            is_slow = slow and number == 1
            lay = lay_slow_cable(*ends, delay_s=0.25, nbytes_per_s=125_000) if is_slow else lay_cable(*ends)
            lan.append(stack.enter_context(lay))
            host.ip("route", "add", SCHEDULER, "via", f"10.87.{number}.1")
        for number, host in enumerate((owner, *workers)):
            stack.enter_context(relay(host, port, f"10.88.{number}.2"))
        yield Site(
            owner=owner,
            workers=(workers[0], workers[1]),
            lan=(lan[0], lan[1]),
            wan=(wan[1], wan[2]),
            ground=ground,
        )


@contextmanager
def _cluster(site: Site, name: str) -> Iterator[Callable[..., None]]:
    """A scheduler on the owner's host, and what adds a worker on another."""
    logs = site.ground.folder / "logs" / name
    logs.mkdir(parents=True)
    started: list[subprocess.Popen[bytes]] = []

    def start(host: Host, *words: object) -> None:
        with (logs / f"{len(started)}.log").open("wb") as log:
            command = host.command(sys.executable, "-m", "dask", *words)
            started.append(
                subprocess.Popen(command, env=site.environment(), stdout=log, stderr=log, start_new_session=True)
            )

    def add_worker(number: int, *words: str) -> None:
        place = words or ("--host", f"tls://10.87.{number + 1}.2")
        start(
            site.workers[number], "worker", ADDRESS, *place, "--nthreads", "2", "--name", f"w{number + 1}",
            "--local-directory", logs, "--no-dashboard", "--no-nanny" if words else "--nanny",
        )  # fmt: skip  # one command

    try:
        start(
            site.owner, "scheduler", "--protocol", "tls", "--host", SCHEDULER, "--port", "8786",
            "--dashboard-address", f"127.0.0.1:{DASHBOARD_PORT}",
        )  # fmt: skip  # one command
        yield add_worker
    finally:
        for process in reversed(started):
            process.terminate()
        for process in started:
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:  # it cannot tell its scheduler that it ends
                process.kill()
                process.wait()


def _build(site: Site, name: str, act: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Build on the cluster, act once there are tiles, and say what the cube is and what it has cost."""
    job, store, events = (
        site.ground.folder / f"{name}.toml",
        site.ground.folder / name,
        site.ground.folder / f"{name}.jsonl",
    )
    job.write_text(JOB.format(rate=RATE, tile_px=128))
    site.ground.service.reset()
    words = ["build", job, store, "--scheduler", ADDRESS, "--events", events, "--json"]
    command = site.owner.command(sys.executable, "-m", "shdask", *words)
    began = time.monotonic()
    with subprocess.Popen(
        command, env=site.environment(secret=True), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        start_new_session=True,
    ) as owner:  # fmt: skip  # one command
        while owner.poll() is None and _written(store) < TILES_BEFORE:
            time.sleep(0.2)
        acted = act()
        out, err = owner.communicate(timeout=600)
    print(out, err[-1000:], flush=True)
    told = [json.loads(line) for line in events.read_text().splitlines()]
    tiles = [line for line in told if line["event"] == "tile"]
    requests = sum(count for call, count in site.ground.service.stats()["calls"].items() if "/process" in call)
    result = {
        "exit_code": owner.returncode,
        "seconds": round(time.monotonic() - began, 1),
        "build_s": json.loads(out)["seconds"] if out.strip() else None,
        "tiles_by_worker": dict(Counter(urlsplit(line["worker"]).hostname for line in tiles)),
        "failed": sum(line["state"] == "failed" for line in tiles),
        "requests_more_than_tiles": requests - _tile_count(job),
        "wrong_pixels": wrong_pixels(store, site.ground.folder / "whole"),
        **_after_cut(tiles, acted),
    }
    print(name, json.dumps(result), flush=True)
    return result


def _after_cut(tiles: list[dict[str, Any]], acted: dict[str, Any]) -> dict[str, Any]:
    """How long no tile came to be after the cable was cut."""
    cut_at = acted.pop("cut_at", None)
    if cut_at is None:
        return acted
    times = sorted(line["finished"] for line in tiles if line["finished"] > cut_at)
    gaps = [later - earlier for earlier, later in zip([cut_at, *times], times, strict=False)]
    return {**acted, "longest_silence_s": round(max(gaps, default=0.0), 1)}


def _tile_count(job: Path) -> int:
    return sum(group.tile_count for group in shdask.make_plan(job).groups.values())


def _dashboard(site: Site) -> dict[str, bool]:
    """From which host the dashboard answers: it listens on the scheduler's loopback."""
    seen = {}
    for name, host, address in (
        ("on the scheduler's host", site.owner, "127.0.0.1"),
        ("from a worker's host", site.workers[0], SCHEDULER),
    ):
        ask = f"import urllib.request as u; u.urlopen('http://{address}:{DASHBOARD_PORT}/health', timeout=5)"
        told = subprocess.run(host.command(sys.executable, "-c", ask), capture_output=True, check=False)
        seen[name] = told.returncode == 0
    return seen


def _written(store: Path) -> int:
    try:
        return read_status(store).written
    except shdask.ShdaskError:  # not created yet
        return 0
