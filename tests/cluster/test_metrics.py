"""The scheduler's page of metrics while a real cluster builds: what is told is what the build reports."""

from __future__ import annotations

import urllib.request
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from distributed import Client
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

import shdask
from shdask.emulator.launch import EmulatorProcess
from tests.cluster.specs import earth_spec

Page = list[Sample]


@pytest.fixture
def read_page(client: Client) -> Callable[[], Page]:
    """Reads what of the page is ours."""
    page = f"http://{urlsplit(client.dashboard_link).netloc}/metrics"
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def read() -> Page:
        with opener.open(page, timeout=60) as answer:
            families = text_string_to_metric_families(answer.read().decode())
            return [sample for family in families for sample in family.samples if sample.name.startswith("shdask_")]

    return read


def find(page: Page, name: str, **labels: str) -> list[float]:
    """The values of a metric that have these labels, and maybe more."""
    return [sample.value for sample in page if sample.name == name and labels.items() <= sample.labels.items()]


def test_the_page_tells_what_the_build_reports(
    client: Client,
    earth: EmulatorProcess,
    point_at: Callable[[EmulatorProcess], object],
    read_page: Callable[[], Page],
    tmp_path: Path,
) -> None:
    """Tiles, units and requests of a build stand on Dask's page of metrics under its store, and the account's token."""
    point_at(earth)
    pages: list[Page] = []
    store = str(tmp_path / "cube.zarr")
    report = shdask.build_cube(earth_spec(), store, client=client, on_event=lambda _event: pages.append(read_page()))
    after = read_page()
    assert find(pages[0], "shdask_build_running", store=store) == [1.0]
    assert find(after, "shdask_build_running", store=store) == [0.0]
    assert find(after, "shdask_tiles", store=store, state="written") == [report.written]
    assert sum(find(after, "shdask_tiles", store=store)) == report.tiles
    assert find(after, "shdask_requests_total", store=store) == [report.requests]
    assert find(after, "shdask_pu_spent_total", store=store) == [pytest.approx(report.pu_spent)]
    assert min(find(after, "shdask_token_left_seconds")) > 0
