"""The command line run in this process, and jobs for it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import shapely

from shdask.cli import app as cli

JOB = """
[cube]
aoi = "area.geojson"
crs = "EPSG:32633"
resolution = 20
time = ["2024-06-01", "2024-06-30"]

[layers.s2]
collection = "sentinel-2-l2a"
bands = ["B02", "B08"]
"""


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    """Runs the command line in this process; gives its exit code, stdout and stderr."""
    monkeypatch.setattr(cli.signal, "signal", lambda *_: None)
    monkeypatch.setenv("COLUMNS", "500")

    def run(*words: object) -> tuple[object, str, str]:
        monkeypatch.setattr(cli.sys, "argv", ["shdask", *map(str, words)])
        with pytest.raises(SystemExit) as end:
            cli.main()
        return end.value.code, *capsys.readouterr()

    return run


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory, and an environment that says nothing of a service."""
    names = ("SH_BASE_URL", "SH_TOKEN_URL", "SH_CLIENT_ID", "SH_CLIENT_SECRET", "SH_PROFILE", "SHDASK_ALLOW_HTTP")
    for name in names:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def write_job(work: Path) -> Callable[..., Path]:
    """Writes job.toml and its area: a good job in which ``old`` became ``new`` and that ends with ``extra``."""

    def write(old: str = "", new: str = "", *, extra: str = "", area: str | None = None) -> Path:
        assert old in JOB
        (work / "area.geojson").write_text(
            shapely.to_geojson(shapely.box(14, 46, 14.1, 46.1)) if area is None else area
        )
        (work / "job.toml").write_text(JOB.replace(old, new, 1) + extra)
        return Path("job.toml")

    return write
