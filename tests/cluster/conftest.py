"""A real cluster of two processes and an emulator that serves the synthetic Earth and the real scene."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from distributed import Client

from shdask.cluster.local import open_local_client
from shdask.emulator.launch import EmulatorProcess, start_emulator


@pytest.fixture(scope="session")
def client() -> Iterator[Client]:
    with open_local_client(2) as client:
        yield client


@pytest.fixture(scope="session")
def earth() -> Iterator[EmulatorProcess]:
    """An emulator of the synthetic Earth with no limits."""
    with start_emulator() as service:
        yield service


@pytest.fixture(scope="session")
def scene(shared_data: Path) -> Iterator[EmulatorProcess]:
    """An emulator of the real Sentinel-2 L1C scene."""
    folder = shared_data / "sentinel-2-l1c_T18SVG_2016-01-12"
    with start_emulator(archives={"sentinel-2-l1c": str(folder)}) as service:
        yield service


@pytest.fixture
def point_at(monkeypatch: pytest.MonkeyPatch):
    """Points this process's environment at an emulator."""

    def point(service: EmulatorProcess) -> EmulatorProcess:
        for name, value in service.environment().items():
            monkeypatch.setenv(name, value)
        service.reset()
        return service

    return point
