"""How many PU are paid twice, and is a byte wrong, when a build is killed at 50 random moments and begun again?"""

from __future__ import annotations

import random
import signal
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.seaweed import BUCKET, open_bucket
from shdask.emulator.launch import start_emulator
from tests.cluster.kill_points import TARGETS, Bench, Outcome, open_bench

POINTS = 50
S3_POINTS = 6
SEED = 2_026
TILE_PX = 64
LATENCY_S = 0.5


def run() -> dict[str, Any]:
    """50 kill points on disk and 6 in SeaweedFS on loopback, each target in turn, moments and workers by the seed."""
    with tempfile.TemporaryDirectory(prefix="shdask-bench-", dir=Path.cwd()) as folder:
        with open_bucket(Path(folder)), _open(Path(folder, "s3")) as bench:
            s3 = _strike_all(bench, f"s3://{BUCKET}/cube", S3_POINTS)
        with _open(Path(folder, "disk")) as bench:
            disk = _strike_all(bench, f"{folder}/disk/cube", POINTS)
    return {"seed": SEED, "disk": disk, "s3": s3}


@contextmanager
def _open(folder: Path) -> Iterator[Bench]:
    record = folder / "record"
    record.mkdir(parents=True)
    with (
        start_emulator(latency_s=LATENCY_S, record=str(record)) as service,
        open_bench(folder, service, record, tile_px=TILE_PX) as bench,
    ):
        yield bench


def _strike_all(bench: Bench, store: str, points: int) -> dict[str, Any]:
    bench.measure(f"{store}-undisturbed")
    rng = random.Random(SEED)
    outcomes = []
    for number in range(points):
        target = TARGETS[number % len(TARGETS)]
        share, luck = rng.random(), rng.getrandbits(8)
        outcomes.append(bench.strike(f"{store}-{number}", target, share, luck))
        print(outcomes[-1], flush=True)
    return {
        "tiles": bench.plan.tile_count,
        "pu_needed_each": round(bench.plan.cost.pu, 4),
        "undisturbed_s": round(bench.length_s, 1),
        "of_which_until_the_first_answer_s": round(bench.start_s, 1),
        **_sums(bench, outcomes),
        "by_target": {
            target: _sums(bench, [one for one in outcomes if one.target == target])
            for target in TARGETS[: len(outcomes)]
        },
        "points": [_told(one) for one in outcomes],
    }


def _sums(bench: Bench, outcomes: Sequence[Outcome]) -> dict[str, Any]:
    needed = bench.plan.cost.pu * len(outcomes)
    charged = sum(one.pu_charged for one in outcomes)
    again = [one for one in outcomes if one.skipped is not None]
    return {
        "kill_points": len(outcomes),
        "ended_well": sum(one.exit_codes[-1] == 0 for one in outcomes),
        "other_exit_codes": sorted({code for one in outcomes for code in one.exit_codes} - {0, 5, -signal.SIGKILL}),
        "pu_charged_over_needed": round(charged / needed, 4),
        "tiles_paid_twice_in_flight": sum(len(one.again_in_flight) for one in outcomes),
        "tiles_paid_twice_without_need": sum(len(one.again_without_need) for one in outcomes),
        "kills_that_cost_nothing": sum(not one.again_in_flight and not one.again_without_need for one in outcomes),
        "objects_that_differ": sum(len(one.differing) for one in outcomes),
        "run_again": len(again),
        "skipped_what_was_durable": sum(one.skips_are_right(bench.plan.tile_count) for one in again),
    }


def _told(outcome: Outcome) -> dict[str, Any]:
    return {name: value for name, value in asdict(outcome).items() if name != "told"}
