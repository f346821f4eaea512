"""``python -m benchmarks [NAME ...]``: run the named benchmarks, or all of them, one after the other."""

from __future__ import annotations

import importlib
import os
import sys

from benchmarks.record import write_result

NAMES = (
    "imports",
    "million_tiles",
    "lazy_open",
    "slovenia",
    "windows",
    "patch_buying",
    "patch_sampling",
    "composites",
    "engine_overhead",
    "rate_limit",
    "dates_per_request",
    "faults",
    "seed_downloads",
    "oracle",
    "evalscripts",
    "emulator_earth",
    "ledger",
    "kill_points",
    "preemption",
    "async_rows",
    "async_jobs",
    "dashboard",
    "cog_export",
)


def main() -> None:
    """Run and record."""
    os.environ["SHDASK_LEARN"] = "0"  # each answer stands alone, and the user's own plans learn nothing of them
    for name in sys.argv[1:] or NAMES:
        module = importlib.import_module(f"benchmarks.{name}")
        question = (module.__doc__ or "").strip().splitlines()[0]
        print(f"{name}: {question}", flush=True)
        result = module.run()
        write_result(name, question, result, getattr(module, "COMMAND", ""))


if __name__ == "__main__":
    main()
