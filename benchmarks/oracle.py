"""How many argument sets do sentinelhub-py and we write alike, and how many not?"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

LAWS = Path(__file__).parents[1] / "tests" / "unit" / "sentinelhub" / "test_oracle.py"
EXAMPLES = 4000
SEED = 20240629
PROCESSES = 2
_PASSING = re.compile(r"(\d+) passing, (\d+) failing, and \d+ invalid test cases")
_REFUSED = re.compile(r"([\d.]+)%, refused")


def names_of_laws() -> list[str]:
    """The tests of the module, by name."""
    return re.findall(r"^def (test_\w+)", LAWS.read_text(), flags=re.MULTILINE)


def compare(law: str) -> dict[str, Any]:
    """One law in a process of its own: argument sets drawn, those that came out different, and the share of errors."""
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as home:
        command = [
            *(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"{LAWS}::{law}"),
            *("--hypothesis-show-statistics", f"--hypothesis-seed={SEED}", "--timeout=600"),
        ]
        environment = {**os.environ, "HOME": home, "ORACLE_EXAMPLES": str(EXAMPLES)}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    # 1 is a test that failed; any other says that nothing was compared
    if done.returncode not in {pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED}:
        raise RuntimeError(done.stdout + done.stderr)
    counts = [tuple(map(int, found)) for found in _PASSING.findall(done.stdout)]
    if not counts:
        raise RuntimeError(f"{law} tells of no examples: {done.stdout}")
    return {
        "compared": sum(passing + failing for passing, failing in counts),
        "different": sum(failing for _, failing in counts),
        "percent_refused_by_both": max(map(float, _REFUSED.findall(done.stdout)), default=0.0),
        "seconds": round(time.perf_counter() - began, 1),
    }


def run() -> dict[str, Any]:
    """Every law, two at a time. Equal is: JSON with its order, URL, headers, formats and file names, or the error."""
    laws = names_of_laws()
    with ThreadPoolExecutor(PROCESSES) as threads:
        found = dict(zip(laws, threads.map(compare, laws), strict=True))
    return {
        "sentinelhub_py": version("sentinelhub"),
        "seed": SEED,
        "argument_sets_compared": sum(law["compared"] for law in found.values()),
        "differences": sum(law["different"] for law in found.values()),
        "laws": found,
    }
