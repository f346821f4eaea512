"""Small cubes with a time axis, and trees of several."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import shapely

from shdask.assemble.place import open_place
from shdask.assemble.store import CubeStore, create_or_open
from shdask.assemble.tree import child, close_tree, create_tree
from shdask.model import TileData
from shdask.plan.group import GroupPlan
from shdask.plan.placing import place_in_time
from shdask.plan.timeline import Timeline, make_timeline
from tests.unit.assemble.conftest import small_plan
from tests.unit.plan.scenes import scene, span

JUNE = span("2024-06-01T00:00:00", "2024-07-01T00:00:00")
AROUND = shapely.box(14, 44, 16, 47)
DAYS = ("2024-06-02T10:11:12", "2024-06-05T00:00:00", "2024-06-09T23:59:59")


def timed_plan(*times: str, **layer: Any) -> GroupPlan:
    """The small plan with a step for each pass of ``times``, all over the whole area."""
    plan = small_plan(cadence="acquisition", **layer)
    scenes = [
        scene(
            f"S2A_{number}",
            time,
            footprint=AROUND,
            cloud_cover=number / 10,
            relative_orbit=22,
            orbit_direction="descending",
        )
        for number, time in enumerate(times or DAYS)
    ]
    return place_in_time(plan, make_timeline(scenes, "acquisition", JUNE))


def disordered_plan() -> GroupPlan:
    """Steps as they stand in a store that has grown: the third lies before the first, the last mends the second."""
    first, second, third = timed_plan().timeline.steps
    steps = (second, third, first, replace(second, revision=1))
    return place_in_time(timed_plan(), Timeline(cadence="acquisition", interval=JUNE, steps=steps))


def flat_plan() -> GroupPlan:
    """The small plan, its layer called flat, as one without time is."""
    plan = small_plan()
    return replace(plan, layer=replace(plan.layer, name="flat"))


def fill(plan: GroupPlan, path: Path | str) -> CubeStore:
    """A whole cube in which every pixel of a step holds the step's number and one."""
    cube = create_or_open(plan, path)
    for tile in plan.tiles():
        values = np.full((len(plan.layer.bands), *tile.extent.shape), (tile.step or 0) + 1, np.uint16)
        cube.write_tile(tile, TileData(values=values, data_mask=plan.area_mask(tile.extent)))
    cube.mark_complete(pu_spent=1.0)
    return cube


def fill_tree(path: Path, **groups: GroupPlan) -> Path:
    """A cube of several groups, by their paths."""
    root = open_place(path)
    create_tree(root, tuple(groups))
    for name, plan in groups.items():
        fill(plan, child(root, name).name)
    close_tree(root, complete=True, pu_spent=1.0)
    return path
