"""An emulator, and jobs over its Earth."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import dask
import pytest

import shdask
from shdask.emulator.launch import EmulatorProcess

AREA = [(500000, 5100000), (505000, 5100000), (505000, 5103000), (502000, 5105000), (500000, 5105000)]
"""250 x 250 pixels of 20 m, two by two tiles, with a corner cut off."""


@pytest.fixture
def service(one_emulator: EmulatorProcess, monkeypatch: pytest.MonkeyPatch) -> Iterator[EmulatorProcess]:
    """The emulator as new, in the environment; Dask computes on threads, whatever clusters other tests have."""
    one_emulator.clear_faults()
    one_emulator.reset()
    monkeypatch.delenv("SH_PROFILE", raising=False)
    for name, value in one_emulator.environment().items():
        monkeypatch.setenv(name, value)
    with dask.config.set(scheduler="threads"):
        yield one_emulator


@pytest.fixture
def make_spec(service: EmulatorProcess) -> Callable[..., shdask.CubeSpec]:
    """A job of four tiles; words are fields of its layer, ``layers`` replaces all of them."""

    def make(*, layers: dict[str, Any] | None = None, **layer: Any) -> shdask.CubeSpec:
        own = {"collection": "sentinel-2-l2a", "bands": ["B02", "B04", "B08", "SCL"], **layer}
        return shdask.CubeSpec(
            aoi={"type": "Polygon", "coordinates": [[*AREA, AREA[0]]]},
            aoi_crs="EPSG:32633",
            crs="EPSG:32633",
            resolution=20,
            time=("2024-06-01", "2024-06-20"),
            layers=layers or {"s2": own},
            store={"chunk_px": 64, "tile_px": 128},
            service={"requests_per_minute": 60000, "pu_per_minute": 60000},
        )

    return make


@pytest.fixture
def count(service: EmulatorProcess) -> Callable[[], int]:
    """How many Process requests the emulator has had so far."""

    def process_requests() -> int:
        calls: dict[str, int] = service.stats()["calls"]
        return sum(number for call, number in calls.items() if call.startswith("POST /api/v1/process "))

    return process_requests
