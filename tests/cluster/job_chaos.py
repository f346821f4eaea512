"""A build by many jobs, some of which fail or vanish, whose owner is killed in the middle and begun again.

Refuses to judge; the tests and the benchmark of jobs do. ``python -m tests.cluster.job_chaos`` is the owner.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import shdask
from shdask.assemble.ledger import read_ledger
from shdask.cluster.local import open_local_client
from shdask.cluster.patience import Patience
from shdask.emulator.launch import EmulatorProcess
from shdask.plan.cube import CubePlan
from tests.cluster.killable import END_S, kill_tree, owner_environment
from tests.contract.async_bench import ADMIN, HASTE, Bench
from tests.seaweed import Server

MAX_RUNS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class ChaosOutcome:
    """What became of it."""

    jobs: int
    """That the plan needs."""
    orders: int
    """That the service accepted."""
    by_state: Mapping[str, int]
    """Of those, by the service's own account."""
    known_at_kill: int
    """Jobs whose ids were durable when the owner was killed."""
    exit_codes: tuple[int, ...]
    pu_needed: float
    pu_of_jobs: float
    """By the service's own account."""
    pu_of_process: float
    pu_in_ledger: float
    seconds: float
    told: str
    """By the last owner, on stderr."""

    @property
    def pu_spent_over_needed(self) -> float:
        """What it cost as a multiple of what it would have cost without trouble."""
        return (self.pu_of_jobs + self.pu_of_process) / self.pu_needed


def make_chaos_plan(bench: Bench, prefix: str, *, resolution: float, route: str = "async") -> CubePlan:
    """The bench's triangle at another resolution."""
    return bench.plan(prefix, route=route, resolution=resolution)


def strike(
    bench: Bench, store: Path, *, resolution: float, faults: str, kill_after: float, jobs: int | None = None
) -> ChaosOutcome:
    """Build, kill the owner once a share of the orders was accepted, and build again until it succeeds."""
    bench.service.set_faults(faults)
    environ = {**owner_environment(bench.service), **ADMIN.environ, "AWS_REGION": "us-east-1", "SHDASK_LEARN": "0"}
    words = {
        "service": bench.service.environment() | {"pid": bench.service.pid},
        "port": bench.server.port,
        "prefix": store.name,
        "resolution": resolution,
        "store": str(store),
    }
    plan = make_chaos_plan(bench, store.name, resolution=resolution)
    needed = plan.cost
    started = time.monotonic()
    owner = _start(words, environ)
    while owner.poll() is None and bench.submits() < kill_after * needed.jobs:
        time.sleep(0.02)
    kill_tree(owner.pid)
    known = sum(record.id is not None for record in read_ledger(store).jobs.values())
    _, told = owner.communicate(timeout=END_S)
    codes = [owner.returncode]
    while codes[-1] and len(codes) < MAX_RUNS:
        owner = _start(words, environ)
        _, told = owner.communicate(timeout=3 * END_S)
        codes.append(owner.returncode)
    stats, orders = bench.service.stats(), bench.service.jobs()
    pu_of_jobs = sum(job["pu"] for job in orders)
    return ChaosOutcome(
        jobs=needed.jobs,
        orders=len(orders),
        by_state={state: count for state, count in stats["jobs"].items() if count},
        known_at_kill=known,
        exit_codes=tuple(codes),
        pu_needed=needed.pu,
        pu_of_jobs=pu_of_jobs,
        pu_of_process=stats["pu_charged"] - pu_of_jobs,
        pu_in_ledger=read_ledger(store).pu_spent,
        seconds=time.monotonic() - started,
        told=told,
    )


def _start(words: Mapping[str, Any], environ: Mapping[str, str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "tests.cluster.job_chaos", json.dumps(words)],
        env=dict(environ),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def main() -> int:
    """Be the owner, with a cluster of two processes of its own."""
    words = json.loads(sys.argv[1])
    env = words["service"]
    service = EmulatorProcess(
        base_url=env["SH_BASE_URL"],
        token_url=env["SH_TOKEN_URL"],
        client_id=env["SH_CLIENT_ID"],
        client_secret=os.environ["SH_CLIENT_SECRET"],
        pid=env["pid"],
    )
    bench = Bench(service=service, server=Server(port=words["port"]))
    plan = make_chaos_plan(bench, words["prefix"], resolution=words["resolution"])
    with contextlib.ExitStack() as stack:
        client = stack.enter_context(open_local_client(2))
        executor = shdask.DaskExecutor(client, Patience(jobs=HASTE))
        report = shdask.build_cube(plan, words["store"], executor=executor)
    sys.stderr.write(f"{report}\n")
    return int(report.failed > 0)


if __name__ == "__main__":
    sys.exit(main())
