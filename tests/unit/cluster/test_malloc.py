"""What freed memory costs a worker: counted in page faults, by the kernel."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

COUNT_FAULTS = """
import resource
from shdask.cluster.malloc import give_back_memory, keep_freed_memory

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(20):
        b"x" * (16 << 20)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

print(faults())
keep_freed_memory()
print(faults())
give_back_memory()
print(faults())
"""
PAGES = 20 * (16 << 20) // os.sysconf("SC_PAGE_SIZE")
"""Of all blocks together."""


def count_faults(trim_threshold: str | None) -> list[int]:
    """Page faults before, while and after freed memory is kept, in a process of its own."""
    environment = {name: value for name, value in os.environ.items() if name != "MALLOC_TRIM_THRESHOLD_"}
    asked = {} if trim_threshold is None else {"MALLOC_TRIM_THRESHOLD_": trim_threshold}
    command = [sys.executable, "-c", COUNT_FAULTS]
    out = subprocess.run(command, env={**environment, **asked}, capture_output=True, text=True, check=True).stdout
    return [int(line) for line in out.split()]


def test_blocks_are_used_again_while_a_build_runs():
    """As Dask's nanny starts a worker, each block is new; then the first one serves all; then it is as it was."""
    before, kept, after = count_faults("65536")
    assert before >= PAGES
    assert kept < PAGES / 5
    assert after >= PAGES


def test_a_process_whose_memory_nobody_has_restrained_is_left_alone(monkeypatch: pytest.MonkeyPatch):
    """The C library is not even asked."""
    from shdask.cluster.malloc import give_back_memory, keep_freed_memory

    monkeypatch.delenv("MALLOC_TRIM_THRESHOLD_", raising=False)
    monkeypatch.setattr("ctypes.CDLL", lambda _name: pytest.fail("asked"))
    keep_freed_memory()
    give_back_memory()
