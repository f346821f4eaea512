"""The command line in this process, against an emulator in another."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import shdask
from shdask.emulator.launch import EmulatorProcess
from tests.unit.conftest import run, work, write_job

__all__ = ["run", "work", "write_job"]


@pytest.fixture
def service(one_emulator: EmulatorProcess, work: Path, monkeypatch) -> Iterator[EmulatorProcess]:
    """The emulator as new, in the environment, and builds that run in this process."""
    one_emulator.clear_faults()
    one_emulator.reset()
    for name, value in one_emulator.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("shdask.display.OnDemandExecutor", lambda *_: shdask.SerialExecutor())
    yield one_emulator
    one_emulator.clear_faults()  # the next file's cubes may be built without this fixture
