"""A folder for each page, as a reader has one: the README's job in small tiles, an area, their cube, an emulator."""

from __future__ import annotations

import json
import shutil
import tomllib
from collections.abc import Iterator
from pathlib import Path

import dask
import pytest

import shdask
from shdask.emulator.launch import EmulatorProcess
from tests.cluster.specs import L_SHAPE
from tests.docs.blocks import Runner, read_blocks
from tests.unit.conftest import run, work

__all__ = ["run", "work"]

SMALL = """
[store]
chunk_px = 256
tile_px = 256
"""
"""Tiles that are quickly built: nine, of which the area touches seven."""


@pytest.fixture(scope="session")
def prepared(one_emulator: EmulatorProcess, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that each page begins with."""
    folder = tmp_path_factory.mktemp("prepared")
    (folder / "slovenia.geojson").write_text(json.dumps(L_SHAPE))
    job = next(block.code for block in read_blocks("README.md") if block.language == "toml")
    (folder / "job.toml").write_text(job + SMALL)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in one_emulator.environment().items():
            patch.setenv(name, value)
        shdask.build_cube(folder / "job.toml", folder / "cube.zarr", executor=shdask.SerialExecutor())
    return folder


@pytest.fixture
def page(
    prepared: Path, one_emulator: EmulatorProcess, work: Path, run, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Runner]:
    """Runs blocks in a folder of their own: builds in this process, `shdask emulator` without serving."""
    shutil.copytree(prepared, work, dirs_exist_ok=True)
    for name, value in one_emulator.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("HOME", str(work))
    monkeypatch.delenv("XDG_CONFIG_HOME")
    monkeypatch.setattr("shdask.display.OnDemandExecutor", lambda *_: shdask.SerialExecutor())
    monkeypatch.setattr("shdask.emulator.server.run_server", lambda *_, **__: None)
    with dask.config.set(scheduler="threads"):  # not on the cluster of other tests of this process
        yield Runner(command=run, job=tomllib.loads((work / "job.toml").read_text()))
