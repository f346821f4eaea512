"""Which of sentinelhub-py's own tests for Process and Catalog pass against the emulator?

Needs a checkout of its repository, named by PEER_CHECKOUT; nothing of it is copied into this one.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

from shdask.emulator.launch import EmulatorProcess, start_emulator

TESTS = ("tests/api/test_process.py", "tests/api/test_catalog.py")
OUTCOME = re.compile(r"^(PASSED|FAILED|ERROR) (?:\S*/)?(test_\w+\.py::.*?)(?: - .*)?$", re.MULTILINE)
# its collections name their own deployments; here all are the emulator, under three names of this machine
POINTER = """
import os, sys, pytest, sentinelhub
from sentinelhub import testing_utils
from sentinelhub.constants import ServiceUrl
main = os.environ["SH_BASE_URL"]
west, cloud = main.replace("127.0.0.1", "localhost"), main.replace("127.0.0.1", "LOCALHOST")
hosts = {ServiceUrl.MAIN: main, ServiceUrl.USWEST: west, ServiceUrl.CREODIAS: cloud}
for collection in sentinelhub.DataCollection:
    if collection.value.service_url in hosts:
        object.__setattr__(collection.value, "service_url", hosts[collection.value.service_url])
ServiceUrl.MAIN, ServiceUrl.USWEST = hosts[ServiceUrl.MAIN], hosts[ServiceUrl.USWEST]
whole = testing_utils.assert_statistics_match
if sys.argv[1] == "shapes":
    testing_utils.assert_statistics_match = lambda data, exp_shape=None, **_: whole(data, exp_shape=exp_shape)
options = ["-q", "-rA", "-W", "ignore", "-p", "no:cacheprovider", "-c", os.devnull, "--rootdir=.", "--tb=line"]
sys.exit(pytest.main([*options, "--import-mode=importlib", *sys.argv[2:]]))
"""


def run() -> dict[str, Any]:
    """Its tests as they are, and once more with the statistics of real pixels left out but for their shape."""
    checkout = Path(os.environ["PEER_CHECKOUT"])
    with start_emulator() as emulator:
        whole = outcomes(emulator, checkout, "statistics")
        shapes = outcomes(emulator, checkout, "shapes")
    passed = [name for name, outcome in whole.items() if outcome == "PASSED"]
    of_shape = [name for name, outcome in shapes.items() if outcome == "PASSED" and name not in passed]
    return {
        "sentinelhub_py": version("sentinelhub"),
        "tests": len(whole),
        "passed": passed,
        "passed_but_for_statistics_of_real_pixels": of_shape,
        "need_the_real_archive": [name for name in whole if name not in {*passed, *of_shape}],
    }


def outcomes(emulator: EmulatorProcess, checkout: Path, mode: str) -> dict[str, str]:
    """Outcome by test; raises RuntimeError where none was run."""
    with tempfile.TemporaryDirectory() as home:
        place = {"HOME": home, "XDG_CONFIG_HOME": home, "OAUTHLIB_INSECURE_TRANSPORT": "1"}
        done = subprocess.run(
            [sys.executable, "-c", POINTER, mode, *TESTS],
            env={**os.environ, **place, **emulator.environment()},
            cwd=checkout,
            capture_output=True,
            text=True,
            check=False,
        )
    found = {name: outcome for outcome, name in OUTCOME.findall(done.stdout)}
    if not found:
        raise RuntimeError(done.stdout + done.stderr)
    return found
