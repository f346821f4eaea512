"""Cubes that are bought by jobs of Async Process, delivered to a real S3, beside the same by Process."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import zarr

import shdask
from shdask.emulator.launch import EmulatorProcess, start_emulator
from tests.contract.async_bench import ADMIN, BUCKET, HASTE, READER, Bench
from tests.seaweed import Server, start_seaweed

SERIAL = shdask.SerialExecutor(patience=HASTE)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A bucket of SeaweedFS."""
    with start_seaweed(tmp_path_factory.mktemp("seaweed"), [ADMIN, READER]) as running:
        running.make_bucket(BUCKET, ADMIN)
        yield running


@pytest.fixture(scope="module")
def one_service(server: Server) -> Iterator[EmulatorProcess]:
    """An emulator without limits that delivers to the bucket."""
    with start_emulator(s3_endpoint=server.endpoint) as running:
        yield running


@pytest.fixture
def bench(one_service: EmulatorProcess, server: Server, monkeypatch: pytest.MonkeyPatch) -> Bench:
    """Both as new, in the environment."""
    one_service.clear_faults()
    one_service.reset()
    environ = {**one_service.environment(), **ADMIN.environ, "AWS_REGION": "us-east-1"}
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    return Bench(service=one_service, server=server)


@pytest.fixture
def prefix(tmp_path: Path) -> str:
    """A folder of the bucket for one test alone."""
    return tmp_path.name


def read_all(store: Path) -> dict[str, np.ndarray]:
    """Every array of a cube, but for the states of its tiles."""
    group = zarr.open_group(store, mode="r")
    return {name: array[...] for name, array in group.arrays() if name != "spatial_ref"}


def differing(one: Path, other: Path) -> list[str]:
    """Names of arrays that are not equal, byte by byte."""
    here, there = read_all(one), read_all(other)
    assert set(here) == set(there)
    return [name for name in here if here[name].tobytes() != there[name].tobytes()]


def test_jobs_bring_the_same_bytes_as_process(bench: Bench, prefix: str, tmp_path: Path) -> None:
    """Two months, an area's slanted border, bilinear bands beside nearest classes: equal to the last bit."""
    layer = {"cadence": "month"}
    time = ["2024-06-01", "2024-07-31"]
    by_jobs = bench.plan(prefix, layer=layer, time=time)
    by_process = bench.plan(prefix, layer=layer, time=time, route="process")
    report = shdask.build_cube(by_jobs, tmp_path / "jobs", executor=SERIAL)
    other = shdask.build_cube(by_process, tmp_path / "process", executor=SERIAL)
    assert (report.failed, other.failed, report.jobs) == (0, 0, bench.submits())
    assert report.complete
    assert differing(tmp_path / "jobs", tmp_path / "process") == []
