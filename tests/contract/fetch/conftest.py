"""An emulator to talk to, and everything of ours that talks to it.

Refuses to know how the emulator makes its answers.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from shdask.emulator.launch import EmulatorProcess
from shdask.fetch.auth import ClientCredentials
from shdask.fetch.client import ServiceClient
from shdask.fetch.limiter import LimiterState, LocalRateGate
from shdask.fetch.transport import RequestsTransport
from shdask.inputs import read_area
from shdask.plan.group import GroupPlan
from shdask.plan.placing import make_group
from shdask.plan.spec import CubeSpec
from shdask.settings import Credentials, Deployment

AREA = (500000.0, 5100000.0, 506000.0, 5105600.0)


@dataclass(frozen=True, kw_only=True)
class Room:
    """A client with its parts."""

    deployment: Deployment
    tokens: ClientCredentials
    gate: LocalRateGate
    client: ServiceClient


@pytest.fixture(scope="module")
def emulator(earth: EmulatorProcess) -> EmulatorProcess:
    """An emulator without limits; each test starts from zeroed counts."""
    return earth


@pytest.fixture
def open_room() -> Iterator[Callable[..., Room]]:
    """Makes a client of an emulator; its connections are closed after the test."""
    transports: list[RequestsTransport] = []

    def make(
        emulator: EmulatorProcess,
        *,
        threads: int = 8,
        secret: str | None = None,
        clock: Callable[[], float] = time.monotonic,
        limiter: LimiterState | None = None,
        **deployment: Any,
    ) -> Room:
        where = Deployment(
            name="custom",
            base_url=emulator.base_url,
            token_url=emulator.token_url,
            **{"requests_per_minute": 6e5, "pu_per_minute": 6e5, **deployment},
        )
        transport = RequestsTransport(threads)
        transports.append(transport)
        credentials = Credentials(client_id=emulator.client_id, client_secret=secret or emulator.client_secret)
        tokens = ClientCredentials(transport, where, credentials, clock=clock)
        gate = LocalRateGate(limiter or LimiterState.for_deployment(where))
        return Room(deployment=where, tokens=tokens, gate=gate, client=ServiceClient(where, transport, gate, tokens))

    yield make
    for transport in transports:
        transport.close()


@pytest.fixture
def plan_of() -> Callable[..., GroupPlan]:
    """Plans 280 x 300 pixels (y, x) of 20 m of Sentinel-2; fields add to the job or replace its own."""

    def plan(room: Room, **fields: Any) -> GroupPlan:
        job: dict[str, Any] = {
            "aoi": AREA,
            "aoi_crs": "EPSG:32633",
            "crs": "EPSG:32633",
            "resolution": 20,
            "time": ("2024-06-01", "2024-06-30"),
            "layers": {"s2": {"collection": "sentinel-2-l2a", "bands": ["B02", "B04", "SCL"]}},
            "store": {"chunk_px": 64, "tile_px": 128},
        }
        spec = CubeSpec(**{**job, **fields})
        area = read_area(spec.aoi, crs=spec.aoi_crs)
        return make_group(spec, area=area, like=None, deployment=room.deployment)

    return plan
