"""What a cube's folder says of its build."""

from __future__ import annotations

import pytest
import zarr

from shdask.assemble.status import CubeStatus, read_status
from shdask.errors import WrongStore


def status(**changes: object) -> CubeStatus:
    fields = dict.fromkeys(("tiles", "written", "empty", "failed", "untried", "requests"), 0)
    texts = {"store": "/cubes/a", "next": "build again"}
    rest = {
        "complete": False,
        "pu_spent": 0.0,
        "owner": None,
        "running": False,
        "heartbeat_s": None,
        "note": {},
        "in_flight": 0,
        "pu_in_flight": 0.0,
        "last_row_s": None,
        "errors": {},
    }
    return CubeStatus(**{**fields, **texts, **rest, **changes})


def test_an_error_that_several_tiles_met_is_told_once() -> None:
    """With the tiles that met it, in order."""
    lines = str(status(errors={9: "no answer", 3: "cut short", 4: "no answer"})).splitlines()
    assert lines[4:6] == ["tiles 4, 9: no answer", "tile 3: cut short"]


def test_a_cube_that_was_cut_short_while_it_was_created_is_told(tmp_path) -> None:
    """Before there are tiles there is no status, and the cure is the build."""
    zarr.open_group(tmp_path / "cube", mode="a").update_attributes({"shdask_version": "0"})
    with pytest.raises(WrongStore, match="run its build again"):
        read_status(tmp_path / "cube")
