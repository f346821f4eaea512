"""A build in processes of its own, killed at some moment and begun again, and the evidence of what that cost.

Refuses to judge; the tests and the benchmark of the same name do.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import shdask
from shdask.assemble.place import Place, open_place
from shdask.assemble.rows import read_rows
from shdask.assemble.template import DATA_MASK, make_layout
from shdask.emulator.launch import EmulatorProcess
from shdask.plan.group import GroupPlan
from tests.cluster.killable import END_S, DaskProcesses, kill_tree, owner_environment, worker_environment
from tests.cluster.specs import L_SHAPE

JOB = """
[cube]
aoi = "area.geojson"
crs = "EPSG:32633"
resolution = {resolution}
time = ["2024-06-01", "2024-06-30"]

[layers.s2]
collection = "sentinel-2-l2a"
bands = ["B02", "B08"]

[store]
chunk_px = {tile_px}
tile_px = {tile_px}

[service]
requests_per_minute = 600
"""
TARGETS = ("owner", "one worker", "all workers", "scheduler", "everything", "everything, on a cluster of its own")
MAX_RUNS = 5
LAG_S = 1.0
"""A busy service may take up a call so long after its sender has died."""


def write_job(folder: Path, *, resolution: int, tile_px: int) -> Path:
    """A job over the L-shaped area."""
    (folder / "area.geojson").write_text(json.dumps(L_SHAPE))
    path = folder / "job.toml"
    path.write_text(JOB.format(resolution=resolution, tile_px=tile_px))
    return path


@dataclass(frozen=True, slots=True, kw_only=True)
class Purchase:
    """A Process call that was charged."""

    tile: int
    began: float
    """POSIX time."""
    pu: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of one kill point."""

    target: str
    share: float
    """When it was killed, as a share of an undisturbed build's length."""
    at_s: float
    """Seconds from the start of the command to the kill."""
    exit_codes: tuple[int, ...]
    """Of each run of the command; the first may be the signal's."""
    seconds: float
    pu_charged: float
    """By the service's own account, over all runs."""
    durable_at_kill: int
    again_in_flight: tuple[int, ...]
    """Tiles that were paid for twice, and had been sent and not been durable at the kill."""
    again_without_need: tuple[int, ...]
    """Tiles that were paid for twice though they had been durable at the kill, or had not been sent before it, or had
    been bought by one who lived on."""
    skipped: int | None
    """By the last run's report; None where there was one run only."""
    durable_before_last: int | None
    """Tiles that were durable when the last run began."""
    bought_by_last: int | None
    """Tiles that the last run paid for."""
    differing: tuple[str, ...]
    """Objects that an undisturbed build has not, or has otherwise; the ledger apart."""
    told: str
    """What the commands said on stderr, where one ended otherwise than by the kill or well."""

    def skips_are_right(self, tile_count: int) -> bool:
        """Whether the last run skipped what was durable: that and nothing else was not bought."""
        told = None not in {self.skipped, self.bought_by_last, self.durable_before_last}
        return told and self.skipped + self.bought_by_last == tile_count and self.skipped >= self.durable_before_last


@dataclass(frozen=True, slots=True, kw_only=True)
class _Run:
    exit_code: int
    report: Mapping[str, Any]
    told: str


@dataclass(slots=True, kw_only=True)
class Bench:
    """One job on one emulator that records, and the cluster that builds it."""

    job: Path
    plan: GroupPlan
    service: EmulatorProcess
    record: Path
    environ: Mapping[str, str]
    """Of the owner."""
    cluster: DaskProcesses
    undisturbed: Mapping[str, bytes] = field(default_factory=dict)
    start_s: float = 0.0
    """Of an undisturbed build, until the first answer."""
    length_s: float = 0.0
    """Of all of it."""

    def measure(self, store: str, *, times: int = 2) -> None:
        """Build undisturbed into ``store`` + a number; remember the bytes and the last one's length."""
        for number in range(times):
            self.service.reset()
            started = time.monotonic()
            owner = self.start_owner(f"{store}{number}", of_its_own=False)
            self._wait_for_answers(owner, 1)
            self.start_s = time.monotonic() - started
            _, told = owner.communicate(timeout=END_S)
            self.length_s = time.monotonic() - started
            if owner.returncode:
                raise RuntimeError(f"the undisturbed build ended with {owner.returncode}: {told}")
        self.undisturbed = read_objects(open_place(f"{store}0"))

    def _wait_for_answers(self, owner: subprocess.Popen[str], count: float) -> None:
        while owner.poll() is None and self._answers() < count:
            time.sleep(0.02)

    def _answers(self) -> int:
        return sum(number for call, number in self.service.stats()["calls"].items() if "/process" in call)

    def wait_for_moment(self, owner: subprocess.Popen[str], share: float) -> None:
        """Wait until a build has gone so far: by the clock until the first answer, then by answers, and some more.

        By the clock alone, a machine that is busier or less busy than when the length was measured would shift it.
        """
        begun = self.start_s / self.length_s
        if share < begun:
            with contextlib.suppress(subprocess.TimeoutExpired):
                owner.wait(share * self.length_s)
            return
        answers = (share - begun) / (1 - begun) * self.plan.tile_count
        self._wait_for_answers(owner, int(answers))
        with contextlib.suppress(subprocess.TimeoutExpired):  # anywhere between two waves of answers
            owner.wait(answers % 1)

    def start_owner(self, store: str, *, of_its_own: bool) -> subprocess.Popen[str]:
        """``shdask build``, on the cluster, or on one ``of_its_own``."""
        where = ["--workers", "2"] if of_its_own else ["--scheduler", self.cluster.address]
        return subprocess.Popen(
            [sys.executable, "-m", "shdask", "build", str(self.job), store, "--json", *where],
            env=dict(self.environ),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def strike(self, store: str, target: str, share: float, luck: int) -> Outcome:
        """Build, kill ``target`` at a moment, start again what a supervisor would, and build to the end."""
        for file in self.record.iterdir():
            file.unlink()
        self.service.reset()
        place, started = open_place(store), time.monotonic()
        of_its_own = target.endswith("of its own")
        owner = self.start_owner(store, of_its_own=of_its_own)
        self.wait_for_moment(owner, share)
        at_s = time.monotonic() - started
        if target.startswith(("owner", "everything")):
            kill_tree(owner.pid)
        self.cluster.kill(target, luck)
        killed, at_kill = time.time(), self.durable(place)
        self.cluster.start_missing()
        runs = [self._end(owner)]
        before: set[int] | None = None
        last = killed
        while runs[-1].exit_code and len(runs) < MAX_RUNS:
            self.cluster.start_missing()
            before, last = self.durable(place), time.time()
            runs.append(self._end(self.start_owner(store, of_its_own=of_its_own)))
        seconds = time.monotonic() - started
        self.cluster.start_missing()
        self.cluster.wait()
        bought = list(self.purchases())
        in_flight, without_need = _bought_again(bought, killed + LAG_S, at_kill | _told_twice(place))
        return Outcome(
            target=target,
            share=round(share, 4),
            at_s=round(at_s, 2),
            exit_codes=tuple(run.exit_code for run in runs),
            seconds=round(seconds, 1),
            pu_charged=self.service.stats()["pu_charged"],
            durable_at_kill=len(at_kill),
            again_in_flight=in_flight,
            again_without_need=without_need,
            skipped=None if before is None else runs[-1].report.get("skipped"),
            durable_before_last=None if before is None else len(before),
            bought_by_last=None if before is None else len({one.tile for one in bought if one.began >= last}),
            differing=differences(self.undisturbed, read_objects(place)),
            told="".join(run.told for run in runs if run.exit_code not in {0, -signal.SIGKILL})[-2000:],
        )

    def _end(self, owner: subprocess.Popen[str]) -> _Run:
        deadline = time.monotonic() + END_S
        while True:
            try:
                out, told = owner.communicate(timeout=0.5)
                break
            except subprocess.TimeoutExpired:
                self.cluster.start_missing()
                if time.monotonic() > deadline:
                    kill_tree(owner.pid)
                    out, told = owner.communicate()
                    break
        report = json.loads(out) if owner.returncode == 0 else {}
        return _Run(exit_code=owner.returncode, report=report, told=told)

    def durable(self, place: Place) -> set[int]:
        """The tiles whose commit marks stand."""
        found = set(map(tuple, place.list_objects(DATA_MASK).tolist()))
        layout = make_layout(self.plan)
        return {tile.index for tile in self.plan.tiles() if layout.mark(tile) in found}

    def purchases(self) -> Iterator[Purchase]:
        """The charged calls since the kill point began, oldest first."""
        tiles = {_corner(self.plan.grid.bounds(w)): t.index for t in self.plan.tiles() for w in t.windows}
        for file in sorted(self.record.glob("*-process-*.json")):
            told = json.loads(file.read_text())
            if told["answer"]["pu"]:
                began = datetime.fromisoformat(told["time"]).timestamp()
                box = told["request"]["body"]["input"]["bounds"]["bbox"]
                yield Purchase(tile=tiles[_corner(box)], began=began, pu=told["answer"]["pu"])


def _told_twice(place: Place) -> set[int]:
    """Tiles that two workers bought and lived to tell."""
    rows = [row for row in read_rows(place.read_journal()) if row is not None and row.get("requests")]
    return {tile for tile, count in Counter(row["tile"] for row in rows).items() if count > 1}


def _bought_again(
    bought: Sequence[Purchase], sent_before: float, not_in_flight: set[int]
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Tiles that were paid for twice: those in flight at the kill, and the others."""
    twice = sorted(tile for tile, count in Counter(one.tile for one in bought).items() if count > 1)
    first = {one.tile: one.began for one in reversed(bought)}
    in_flight = tuple(tile for tile in twice if first[tile] <= sent_before and tile not in not_in_flight)
    return in_flight, tuple(tile for tile in twice if tile not in in_flight)


def _corner(box: Sequence[float]) -> tuple[int, int]:
    return round(box[0]), round(box[1])


def read_objects(place: Place) -> dict[str, bytes]:
    """Every object of a cube but its ledger; of the root's attributes those that hold what was paid are left out."""
    found = {key: place.read(key) or b"" for key in asyncio.run(_keys(place)) if not key.startswith(".shdask/")}
    root = json.loads(found["zarr.json"])
    root["attributes"].pop("pu_spent")
    return {**found, "zarr.json": json.dumps(root, sort_keys=True).encode()}


async def _keys(place: Place) -> list[str]:
    return [key async for key in place.zarr_store(read_only=True).list()]


def differences(one: Mapping[str, bytes], other: Mapping[str, bytes]) -> tuple[str, ...]:
    """Keys of objects that are not the same in both. Pure."""
    return tuple(sorted(key for key in one.keys() | other.keys() if one.get(key) != other.get(key)))


@contextlib.contextmanager
def open_bench(folder: Path, service: EmulatorProcess, record: Path, *, tile_px: int) -> Iterator[Bench]:
    """A bench whose cluster ends with the block; ``record`` is where the service records."""
    job = write_job(folder, resolution=20, tile_px=tile_px)
    cluster = DaskProcesses(folder=folder, environ=worker_environment())
    try:
        cluster.wait()
        yield Bench(
            job=job,
            plan=shdask.make_plan(job).only,
            service=service,
            record=record,
            environ=owner_environment(service),
            cluster=cluster,
        )
    finally:
        cluster.end()
