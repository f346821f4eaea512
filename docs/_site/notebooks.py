"""Runs the notebooks of the documentation, and keeps what they print and draw.

Refuses to keep more than small text, pictures and reprs. By hand: `python docs/_site/notebooks.py`.
"""  # noqa: INP001  # run from its path

from __future__ import annotations

import ast
import base64
import io
import json
import os
import tempfile
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib import pyplot as plt
from PIL import Image

FOLDER = Path(__file__).parents[1] / "notebooks"
LARGEST = 60_000
"""Characters of HTML: tables and maps, and small pictures."""
Output = dict[str, Any]


def run_notebook(path: Path) -> None:
    """Run all cells in a folder of its own, and write the file with their outputs."""
    notebook = json.loads(path.read_text("utf-8"))
    names: dict[str, Any] = {}
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            cell["outputs"] = run_cell("".join(cell["source"]), names)
    path.write_text(json.dumps(notebook, indent=1, ensure_ascii=False) + "\n", "utf-8")


def run_cell(source: str, names: dict[str, Any]) -> list[Output]:
    """What it prints, its last expression, and the figures that it leaves open."""
    body = ast.parse(source).body
    last = ast.Expression(body.pop().value) if isinstance(body[-1], ast.Expr) else None
    printed = io.StringIO()
    with redirect_stdout(printed):
        exec(compile(ast.Module(body, []), "cell", "exec"), names)  # noqa: S102  # our own notebook
        value = None if last is None else eval(compile(last, "cell", "eval"), names)  # noqa: S307  # the same
    outputs: list[Output] = []
    if printed.getvalue():
        outputs.append({"output_type": "stream", "name": "stdout", "text": printed.getvalue().splitlines(True)})
    if value is not None:
        outputs.append({"output_type": "execute_result", "execution_count": None, "metadata": {}, "data": shown(value)})
    pictures = [{"image/png": draw(number)} for number in plt.get_fignums()]
    plt.close("all")
    return outputs + [{"output_type": "display_data", "metadata": {}, "data": picture} for picture in pictures]


def shown(value: object) -> dict[str, list[str]]:
    """A value as text; as HTML too where it is one of ours, others' brings styles of a whole page."""
    data = {"text/plain": repr(value).splitlines(True)}
    if type(value).__module__.startswith("shdask.") and len(html := value._repr_html_()) <= LARGEST:
        data["text/html"] = html.splitlines(True)
    return data


def draw(number: int) -> str:
    """An open figure as a PNG of 64 colours, a quarter of what it takes with all."""
    drawn, small = io.BytesIO(), io.BytesIO()
    plt.figure(number).savefig(drawn, format="png", dpi=80, bbox_inches="tight")
    Image.open(drawn).convert("RGB").quantize(64).save(small, format="png", optimize=True)
    return base64.b64encode(small.getvalue()).decode()


if __name__ == "__main__":
    mpl.use("Agg")
    os.environ["SHDASK_LEARN"] = "0"  # plans say nothing of this machine's earlier runs
    for path in sorted(FOLDER.glob("*.ipynb")):
        with tempfile.TemporaryDirectory() as folder:
            os.chdir(folder)
            run_notebook(path)
