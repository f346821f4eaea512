"""A cube whose tiles are bought one by one."""

from __future__ import annotations

import json
from pathlib import Path

from shdask.assemble.store import create_or_open
from shdask.demand.stored import StoreOwner
from shdask.model import TileEvent, TileState
from tests.unit.assemble.conftest import small_plan


def test_what_is_bought_on_demand_teaches_its_price_and_no_time(learning: Path, tmp_path: Path):
    """However long its user thinks between two tiles."""
    owner = StoreOwner(create_or_open(small_plan(), tmp_path / "cube"))
    with owner.working():
        owner.add(TileEvent(tile=3, state=TileState.EMPTY, requests=1, pu_spent=0.25))
    owner.end()
    (found,) = json.loads(learning.read_text())["kinds"].values()
    assert (found["runs"], found["pu_spent"], found["seconds"], found["seconds_projected"]) == (1, 0.25, 0.0, 0.0)
