"""The watch from a scheduler's start on."""

from __future__ import annotations

import subprocess
import sys

CODE = """
import asyncio
from distributed import Scheduler
async def start():
    words = {"host": "127.0.0.1", "port": 0, "dashboard_address": "127.0.0.1:0"}
    async with Scheduler(preload=["shdask.cluster.preload"], **words) as scheduler:
        print(scheduler.plugins["shdask-watch"].snapshots())
asyncio.run(start())
"""


def test_a_preloaded_scheduler_watches() -> None:
    """Before any build has begun on it."""
    found = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True)
    assert found.stdout.splitlines()[-1] == "[]"
