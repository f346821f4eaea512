"""What does ``import shdask`` load, and how long does it take?"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

CODE = """
import json, sys, time
before = set(sys.modules)
started = time.perf_counter()
{statement}
seconds = time.perf_counter() - started
new = sorted({{name.split(".")[0] for name in set(sys.modules) - before}})
print(json.dumps({{"seconds": round(seconds, 4), "packages": new}}))
"""
STATEMENTS = {
    "import shdask": "import shdask",
    "shdask.make_plan": "import shdask; shdask.make_plan",
    "shdask.build_cube": "import shdask; shdask.build_cube",
    "shdask.open_cube": "import shdask; shdask.open_cube",
}


def run() -> dict[str, Any]:
    """Each statement in a fresh interpreter: seconds, and the top-level packages it brought in."""
    standard = set(sys.stdlib_module_names)
    found = {}
    for label, statement in STATEMENTS.items():
        code = CODE.format(statement=statement)
        out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
        measured = json.loads(out)
        packages = [name for name in measured["packages"] if name not in standard and not name.startswith("_")]
        found[label] = {"seconds": measured["seconds"], "packages": packages}
    return found
