"""A real cluster of two processes and an emulator that serves the synthetic Earth and the real scene."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from distributed import Client

from shdask.cluster.local import open_local_client
from shdask.emulator.launch import EmulatorProcess, start_emulator
from shdask.fetch.auth import ClientCredentials
from shdask.fetch.client import RequestsTransport, ServiceClient
from shdask.fetch.limiter import LimiterState, LocalRateGate
from shdask.fetch.process import fetch_tile
from shdask.model import Tile, TileData, Window
from shdask.plan.group import GroupPlan
from shdask.settings import Credentials

QUIETENING = ("deploy.spec", "nanny")


@pytest.fixture(scope="session")
def client() -> Iterator[Client]:
    """Of a cluster of two processes, for who asks for it: it is nobody's default, and keeps no other's log quiet."""
    with pytest.MonkeyPatch.context() as patch, ExitStack() as stack:
        patch.setattr("shdask.cluster.local.Client", partial(Client, set_as_default=False))
        # it would raise the level of pytest's own handlers for as long as the cluster lives
        [patch.setattr(f"distributed.{name}.silence_logging_cmgr", lambda **_: nullcontext()) for name in QUIETENING]
        client = stack.enter_context(open_local_client(2))
        patch.undo()
        yield client


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
        service.clear_faults()
        service.reset()
        return service

    return point


@pytest.fixture
def buy_whole():
    """Buys a plan's whole array with one request, around the engine: what the tiles must equal."""

    def buy(plan: GroupPlan) -> TileData:
        rows, columns = plan.grid.shape
        whole = Window(y0=0, y1=rows, x0=0, x1=columns)
        tile = Tile(index=0, row=0, column=0, extent=whole, windows=(whole,))
        transport = RequestsTransport(pool_size=1)
        tokens = ClientCredentials(transport, plan.deployment, Credentials.load())
        gate = LocalRateGate(LimiterState.for_deployment(plan.deployment))
        bought = fetch_tile(plan, tile, ServiceClient(plan.deployment, transport, gate, tokens))
        transport.close()
        return replace(bought, data_mask=bought.data_mask & plan.area_mask(whole))

    return buy
