"""The rules of the house, held by reading the source."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import shdask

PACKAGE = Path(shdask.__file__).parent
MODULES = sorted(PACKAGE.rglob("*.py"))
FLOORS = {
    "about": 0, "lazy_names": 0, "model": 0, "errors": 0, "settings": 0, "request": 0, "inputs": 0, "s3_access": 0,
    "plan": 1,
    "fetch": 2, "assemble": 2,
    "account": 3, "build": 3, "demand": 3, "doctor": 3, "planning": 3, "report": 3, "run_cube": 3,
    "learned": 3, "meter": 3, "jobs": 3, "run_tiles": 3, "scouting": 3, "serial": 3, "sentinelhub": 3, "tally": 3,
    "cluster": 4,
    "serve": 5, "patches": 5,
    "api": 6,
    "__main__": 7, "cli": 7, "display": 7, "events": 7, "demo": 7, "testing": 7,
}  # fmt: skip  # one line a floor
MAX_LINES = 400


def room(module: str) -> str:
    """``shdask.plan.grid`` -> ``plan``."""
    return module.split(".")[1]


def module_name(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


def imports_of_ours(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found |= {
                f"{node.module}.{alias.name}" if node.module == "shdask" else str(node.module) for alias in node.names
            }
    return {name for name in found if name.startswith("shdask.") and name != "shdask.__version__"}


def may_import(here: str, there: str) -> bool:
    """Down only; rooms of one floor may know each other, but fetch and assemble meet only in TileData."""
    if here == there:
        return True
    if "emulator" in {here, there}:
        return there == "emulator" and here in {"cli", "demo", "testing"}
    return FLOORS[there] < FLOORS[here] or (FLOORS[there] == FLOORS[here] and {here, there} != {"fetch", "assemble"})


def upward_arrows(path: Path) -> list[str]:
    here = room(module_name(path))
    return [f"{here} -> {target}" for target in imports_of_ours(path) if not may_import(here, room(target))]


@pytest.mark.parametrize(
    "path", [path for path in MODULES if path.parent != PACKAGE or path.stem != "__init__"], ids=module_name
)
def test_imports_go_down_only(path: Path) -> None:
    """No module imports a room above its own, and nothing but the edges knows the emulator."""
    assert upward_arrows(path) == []


@pytest.mark.parametrize(
    ("inner", "above"),
    [("measuring", ("choosing", "reading", "exporting")), ("reading", ("choosing", "exporting"))],
)
def test_samples_know_nothing_of_how_patches_were_chosen(inner: str, above: tuple[str, ...]) -> None:
    """Nor does what is measured, and neither of the two of exports."""
    targets = {name for path in (PACKAGE / "patches" / inner).glob("*.py") for name in imports_of_ours(path)}
    assert {name for name in targets if name.startswith(tuple(f"shdask.patches.{other}." for other in above))} == set()


@pytest.mark.parametrize("path", MODULES, ids=module_name)
def test_modules_stay_small(path: Path) -> None:
    """A module has at most 400 lines."""
    assert len(path.read_text().splitlines()) <= MAX_LINES


@pytest.mark.parametrize("path", MODULES, ids=module_name)
def test_modules_say_what_they_are(path: Path) -> None:
    """Every module opens with a docstring."""
    assert ast.get_docstring(ast.parse(path.read_text()))


def test_import_is_light() -> None:
    """``import shdask`` loads no numpy, dask, odc, rasterio or pydantic."""
    heavy = ["numpy", "dask", "distributed", "odc", "rasterio", "xarray", "zarr", "pydantic", "requests", "shapely"]
    code = f"import sys, shdask; print([name for name in {heavy!r} if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_public_names_are_frozen() -> None:
    """The names of the package are a promise."""
    assert shdask.__all__ == [
        "AsyncProcessRequest",
        "CubePlan",
        "CubeSpec",
        "DaskExecutor",
        "Layer",
        "SentinelHubRequest",
        "SerialExecutor",
        "Settings",
        "ShdaskError",
        "TileEvent",
        "add_overviews",
        "build_cube",
        "export_cog",
        "get_async_running_status",
        "make_plan",
        "open_cube",
        "open_cube_tree",
        "preview",
        "sample_patches",
    ]


@pytest.mark.parametrize("name", shdask.__all__)
def test_public_names_exist(name: str) -> None:
    """Every promised name can be had from the package."""
    assert getattr(shdask, name).__name__ == name
