"""The notebooks of the documentation: every cell runs, in order, from nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

NOTEBOOKS = sorted((Path(__file__).parents[2] / "docs" / "notebooks").glob("*.ipynb"))


def as_script(notebook: Path) -> str:
    cells = json.loads(notebook.read_text("utf-8"))["cells"]
    return "\n\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")


def test_there_are_notebooks() -> None:
    """Those that the documentation names."""
    assert [notebook.stem for notebook in NOTEBOOKS] == ["ndvi-of-a-valley", "radar-optical-heights"]


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    "notebook",
    [
        pytest.param(path, marks=[pytest.mark.long] if number else [], id=path.stem)
        for number, path in enumerate(NOTEBOOKS[::-1])
    ],
)
def test_a_notebook_runs(notebook: Path, tmp_path: Path) -> None:
    """From its first cell to its last, in a folder of its own, with warnings as errors of ours would be seen."""
    (tmp_path / "script.py").write_text(as_script(notebook))
    environment = {**os.environ, "MPLBACKEND": "Agg", "XDG_CONFIG_HOME": "/nonexistent"}
    ran = subprocess.run(
        [sys.executable, "script.py"], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
    assert "Traceback" not in ran.stderr
