"""How much of an account's rate is used, and how many requests are answered 429, by several worker processes?"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from distributed import Client

import shdask
from shdask.cluster.local import open_local_client
from shdask.cluster.scheduler_plugin import account_key
from shdask.emulator.launch import EmulatorProcess, start_emulator
from shdask.planning import deployment_of
from shdask.settings import Credentials

WORKERS = 2
LATENCY_S = 0.3
AT_ONCE = 3
"""Cases that run beside each other: they wait most of the time."""
CHEAP = {"tile_px": 64, "bands": ["B04"]}
DEAR = {"tile_px": 64, "bands": ["B02", "B03", "B04"]}
"""0.0156 PU a request, and quick to render: the emulator shall not be what binds."""
NO_LIMIT = 1e6


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One account, and what is bought there."""

    side: int
    """Tiles of the cube's edge; each is a request."""
    believed: dict[str, float]
    """What the client is told."""
    server: dict[str, float]
    """What the emulator allows."""
    bucket_s: float
    tile: dict[str, Any] = field(default_factory=lambda: CHEAP)
    builds: int = 1
    """That run at the same time, each of a client of its own, on one scheduler."""
    outside_per_s: float = 0.0
    """Requests of another program on the account."""
    rounds: int = 1
    """Builds one after the other on one cluster; the last is told. Between them the bucket fills up."""


def _by_requests(rate: float, side: int, bucket_s: float, **more: Any) -> Case:
    limits = {"requests_per_minute": rate, "pu_per_minute": NO_LIMIT}
    return Case(side=side, believed=limits, server={"requests_per_minute": rate}, bucket_s=bucket_s, **more)


def _by_pu(rate: float, side: int, bucket_s: float) -> Case:
    limits = {"requests_per_minute": NO_LIMIT, "pu_per_minute": rate}
    return Case(side=side, believed=limits, server={"pu_per_minute": rate}, bucket_s=bucket_s, tile=DEAR)


def _believed_double(side: int, bucket_s: float) -> Case:
    believed = {"requests_per_minute": 1200.0, "pu_per_minute": NO_LIMIT}
    return Case(side=side, believed=believed, server={"requests_per_minute": 600.0}, bucket_s=bucket_s)


CASES = {
    "600_requests_bucket_1s": _by_requests(600.0, 47, 1.0),
    "600_requests_bucket_60s": _by_requests(600.0, 50, 60.0),
    "1200_requests_bucket_1s": _by_requests(1200.0, 64, 1.0),
    "1200_requests_bucket_60s": _by_requests(1200.0, 61, 60.0),
    "10_pu_bucket_1s": _by_pu(10.0, 47, 1.0),
    "10_pu_bucket_60s": _by_pu(10.0, 50, 60.0),
    "1200_believed_600_granted_bucket_1s": _believed_double(40, 1.0),
    "1200_believed_600_granted_bucket_60s": _believed_double(45, 60.0),
    "another_program_uses_half": _by_requests(600.0, 40, 60.0, outside_per_s=5.0),
    "two_builds_of_two_clients": _by_requests(600.0, 32, 60.0, builds=2),
    "small_build_of_600_bucket_60s": _by_requests(600.0, 24, 60.0),
    "the_same_after_a_minute": _by_requests(600.0, 24, 60.0, rounds=2),
}


def run() -> dict[str, Any]:
    """Every case in a process of its own with two worker processes; a few of them beside each other."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        return dict(zip(CASES, pool.map(_run_apart, CASES), strict=True))


def _run_apart(name: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.rate_limit", name]
    told = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
    result: dict[str, Any] = json.loads(told.splitlines()[-1])
    return result


def run_case(case: Case) -> dict[str, Any]:
    """Build, and say how long it took beside the least time the rate allows once the burst is used."""
    bursts = {
        f"{kind.removesuffix('s_per_minute').removesuffix('_per_minute')}_burst": rate * case.bucket_s / 60
        for kind, rate in case.server.items()
    }
    with (
        tempfile.TemporaryDirectory() as folder,
        start_emulator(latency_s=LATENCY_S, **case.server, **bursts) as service,
        open_local_client(WORKERS) as client,
    ):
        os.environ.update(service.environment(), SHDASK_LEARN="0")
        with _other_program(service, case.outside_per_s) as outside:
            for number in range(case.rounds - 1):
                _build(case, Path(folder) / f"earlier{number}", client)
                time.sleep(65)
            reports, seconds = _build_all(case, Path(folder), client)
        account = account_key(deployment_of(_spec(case)), Credentials.load())
        limiter = client.sync(client.scheduler.shdask_snapshot, account=account)
        calls = service.stats()["calls"]
    return _tell(case, reports, seconds, limiter) | ({"outside": outside} if outside else {}) | {"calls": calls}


def _build_all(case: Case, folder: Path, client: Client) -> tuple[list[Any], float]:
    if case.builds == 1:
        report = _build(case, folder / "cube", client)
        return [report], report.seconds
    started = time.monotonic()
    with ExitStack() as stack, ThreadPoolExecutor(case.builds) as pool:
        others = [
            stack.enter_context(Client(client.scheduler.address, set_as_default=False)) for _ in range(case.builds)
        ]
        reports = list(
            pool.map(lambda number: _build(case, folder / f"cube{number}", others[number]), range(case.builds))
        )
    return reports, time.monotonic() - started


def _build(case: Case, store: Path, client: Client) -> Any:
    return shdask.build_cube(_spec(case), store, client=client)


def _spec(case: Case) -> shdask.CubeSpec:
    layer = {"collection": "sentinel-2-l2a"} | {name: value for name, value in case.tile.items() if name != "tile_px"}
    side, tile_px = case.side * case.tile["tile_px"] * 10, case.tile["tile_px"]
    return shdask.CubeSpec(
        aoi=[500_000, 5_100_000, 500_000 + side, 5_100_000 + side],
        aoi_crs="EPSG:32633",
        crs="EPSG:32633",
        resolution=10,
        time=["2024-06-01", "2024-06-30"],
        layers={"s2": layer},
        store={"chunk_px": tile_px, "tile_px": tile_px},
        service=case.believed,
    )


def _tell(case: Case, reports: list[Any], seconds: float, limiter: dict[str, float]) -> dict[str, Any]:
    sent, rejected = sum(each.requests for each in reports), sum(each.rejected for each in reports)
    pu_each = sum(each.pu_spent for each in reports) / (sent - rejected)
    is_pu = "pu_per_minute" in case.server
    rate_per_s = case.server["pu_per_minute"] / 60 / pu_each if is_pu else case.server["requests_per_minute"] / 60
    burst_s = min(limiter["pu_burst"] / case.believed["pu_per_minute"],
                  limiter["requests_burst"] / case.believed["requests_per_minute"]) * 60  # fmt: skip
    bought = sent - rejected
    least_s = bought / rate_per_s - burst_s
    return {
        "requests": sent,
        "answered_429": rejected,
        "answered_429_per_1000": round(1000 * rejected / sent, 2),
        "pu_each": round(pu_each, 4),
        "seconds": round(seconds, 1),
        "burst_s": round(burst_s, 2),
        "least_seconds_with_our_burst": round(least_s, 1),
        "ratio": round(seconds / least_s, 4) if least_s > 0 else None,
        "least_seconds_with_the_whole_bucket": round(bought / rate_per_s - case.bucket_s, 1),
        "share_of_full_bucket_used": round((bought - rate_per_s * seconds) / (rate_per_s * case.bucket_s), 3),
        "requests_per_s": round(bought / seconds, 2),
    }


@contextmanager
def _other_program(service: EmulatorProcess, per_s: float) -> Iterator[dict[str, int]]:
    """Plain requests of the account with a token of their own, one after another, that count what they are answered."""
    told: dict[str, int] = {}
    ended = threading.Event()
    if not per_s:
        yield told
        return
    words = {"grant_type": "client_credentials", "client_id": service.client_id, "client_secret": service.client_secret}
    with urllib.request.urlopen(service.token_url, urllib.parse.urlencode(words).encode()) as answer:  # noqa: S310  # loopback
        token = json.load(answer)["access_token"]

    def ask() -> None:
        request = urllib.request.Request(  # noqa: S310  # loopback
            service.base_url + "/api/v1/process",
            json.dumps(_plain_body()).encode(),
            {"Authorization": f"Bearer {token}", "Content-Type": "application/json", "Accept": "image/tiff"},
        )
        try:
            with urllib.request.urlopen(request) as answer:  # noqa: S310  # loopback
                status = str(answer.status)
        except urllib.error.HTTPError as error:
            status = str(error.code)
        told[status] = told.get(status, 0) + 1

    def loop() -> None:
        with ThreadPoolExecutor(16) as pool:
            while not ended.wait(1 / per_s):
                pool.submit(ask)

    thread = threading.Thread(target=loop)
    thread.start()
    try:
        yield told
    finally:
        ended.set()
        thread.join()


def _plain_body() -> dict[str, Any]:
    days = {"from": "2024-06-01T00:00:00Z", "to": "2024-06-30T00:00:00Z"}
    return {
        "input": {
            "bounds": {"bbox": [14.4, 46.0, 14.41, 46.01]},
            "data": [{"type": "sentinel-2-l2a", "dataFilter": {"timeRange": days}}],
        },
        "output": {
            "width": 16,
            "height": 16,
            "responses": [{"identifier": "default", "format": {"type": "image/tiff"}}],
        },
        "evalscript": '//VERSION=3\nfunction setup() { return { input: ["B04"], output: { bands: 1 } } }\n'
        "function evaluatePixel(sample) { return [sample.B04] }",
    }


if __name__ == "__main__":
    print(json.dumps(run_case(CASES[sys.argv[1]])), flush=True)
