"""What do 40 jobs cost where 10 % fail, 5 % vanish and the owner is killed in the middle: PU spent over PU needed?"""

from __future__ import annotations

import os
import random
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import zarr

import shdask
from shdask.emulator.launch import start_emulator
from tests.cluster.job_chaos import make_chaos_plan, strike
from tests.contract.async_bench import ADMIN, BUCKET, Bench
from tests.seaweed import start_seaweed

SEEDS = (1, 2, 3)
RESOLUTION = 13.07
"""of which the bench's triangle takes 20 blocks of tiles, in two parts."""
JOBS, FAILING, VANISHING = 40, 4, 2
KILL_AFTER = 0.5


def run() -> dict[str, Any]:
    """Three times with other luck, on a cluster of two processes, against SeaweedFS on loopback."""
    with tempfile.TemporaryDirectory(prefix="shdask-bench-", dir=Path.cwd()) as folder:
        return _run(Path(folder))


def _run(folder: Path) -> dict[str, Any]:
    outcomes = []
    with start_seaweed(folder / "seaweed", [ADMIN]) as server:
        server.make_bucket(BUCKET, ADMIN)
        for seed in SEEDS:
            with start_emulator(s3_endpoint=server.endpoint, fault_seed=seed) as service:
                bench = Bench(service=service, server=server)
                keys = {**service.environment(), **ADMIN.environ, "AWS_REGION": "us-east-1"}
                with mock.patch.dict(os.environ, keys):
                    if seed == SEEDS[0]:
                        _build_right(bench, folder / "right")
                    service.reset()
                    store = folder / f"cube{seed}"
                    faults = deal_faults(seed)
                    outcome = strike(bench, store, resolution=RESOLUTION, faults=faults, kill_after=KILL_AFTER)
                    if outcome.jobs != JOBS:
                        raise SystemExit(f"the plan needs {outcome.jobs} jobs, not {JOBS}")
                    told = {"faults": faults, **asdict(outcome)}
                    told.pop("told")
                    told["pu_spent_over_needed"] = round(outcome.pu_spent_over_needed, 4)
                    told["is_right"] = read_pixels(store) == read_pixels(folder / "right")
                    print(told, flush=True)
                    outcomes.append(told)
    over = [told["pu_spent_over_needed"] for told in outcomes]
    return {
        "jobs": JOBS,
        "failing_share": FAILING / JOBS,
        "vanishing_share": VANISHING / JOBS,
        "killed_after_share_of_orders": KILL_AFTER,
        "pu_spent_over_needed": {"mean": round(sum(over) / len(over), 4), "least": min(over), "most": max(over)},
        "all_right": all(told["is_right"] for told in outcomes),
        "runs": outcomes,
    }


def deal_faults(seed: int) -> str:
    """Which of the first orders fail and vanish: as many as are asked for, at places that follow from the seed."""
    places = random.Random(seed).sample(range(1, JOBS + 1), FAILING + VANISHING)
    kinds = ["fail"] * FAILING + ["vanish"] * VANISHING
    return ",".join(["slow=1", *(f"{kind}@{place}" for kind, place in zip(kinds, places, strict=True))])


def _build_right(bench: Bench, store: Path) -> None:
    plan = make_chaos_plan(bench, "none", resolution=RESOLUTION, route="process")
    shdask.build_cube(plan, store, executor=shdask.SerialExecutor()).raise_for_failures()


def read_pixels(store: Path) -> dict[str, bytes]:
    """Every array's bytes."""
    return {name: np.asarray(array[...]).tobytes() for name, array in zarr.open_group(store, mode="r").arrays()}
