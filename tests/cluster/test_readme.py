"""What the README shows works as it is written."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

import shdask
from tests.cluster.specs import L_SHAPE

ROOT = Path(__file__).parents[2]


def block(language: str, page: str = "README.md") -> str:
    """A page's first code block of a language."""
    return re.findall(rf"```{language}\n(.*?)```", (ROOT / page).read_text(), re.DOTALL)[0]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the README's job and a small area under the name it uses."""
    (tmp_path / "job.toml").write_text(block("toml"))
    (tmp_path / "slovenia.geojson").write_text(json.dumps(L_SHAPE))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_example_runs(earth, client, point_at, folder, capsys) -> None:
    """The Python example builds the README's job on a cluster and prints an NDVI and the CRS."""
    point_at(earth)
    address = client.scheduler_info()["address"]
    names: dict[str, Any] = {}
    exec(block("python").replace("tcp://127.0.0.1:8786", address), names)  # noqa: S102  # our own README
    names["client"].close()
    ndvi, crs = capsys.readouterr().out.split()
    assert 0 < float(ndvi) < 1
    assert crs == "EPSG:32633"


def test_layers_can_be_planned(earth, point_at, folder) -> None:
    """Those of the page of layers, in place of the README's."""
    point_at(earth)
    before, after = re.split(r"\[layers\.s2\].*?(?=\[service\])", block("toml"), flags=re.DOTALL)
    (folder / "job.toml").write_text(before + block("toml", "docs/layers.md") + after)
    plan = shdask.make_plan("job.toml")
    assert {"s2", "s1", "heights", "scout/s2"} == set(plan.groups)
