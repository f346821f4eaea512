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


def write_result(name: str, question: str, result: dict[str, Any]) -> None:
    """Write ``results/NAME.json`` and print it."""
    commit = subprocess.run(["git", "describe", "--always", "--dirty"], capture_output=True, text=True, check=False)
    record = {
        "question": question,
        "command": f"make bench ONLY={name}",
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": commit.stdout.strip(),
        "machine": {"cpus": os.cpu_count(), "python": platform.python_version(), "load": os.getloadavg()[0]},
        "versions": {library: version(library) for library in LIBRARIES},
        "result": result,
    }
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.json").write_text(json.dumps(record, indent=2) + "\n")
    print(json.dumps(result, indent=2), flush=True)
