"""Writes a benchmark's answer with what is needed to doubt or repeat it."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).with_name("results")
LIBRARIES = ("dask", "distributed", "numpy", "rasterio", "requests", "urllib3", "zarr", "mini-racer")


def write_result(name: str, question: str, result: dict[str, Any], command: str = "") -> None:
    """Write ``results/NAME.json`` and print it."""
    record = {
        "question": question,
        "command": command or f"make bench ONLY={name}",
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": _commit(),
        "machine": {"cpus": os.cpu_count(), "python": platform.python_version(), "load": os.getloadavg()[0]},
        "versions": {library: version(library) for library in LIBRARIES},
        "result": result,
    }
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.json").write_text(json.dumps(record, indent=2) + "\n")
    print(json.dumps(result, indent=2), flush=True)


def _commit() -> str:
    """The commit that was run; ``-dirty`` when anything but results differs from it."""
    found = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    command = ["git", "status", "--porcelain", "--", ".", ":!benchmarks/results", ":!docs/*.png"]
    changed = subprocess.run(command, capture_output=True, text=True, check=False)
    return found.stdout.strip() + ("-dirty" if changed.stdout.strip() else "")
