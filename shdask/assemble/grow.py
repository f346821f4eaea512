"""A cube that stands, made as long as its plan: later dates are appended, nothing that stands is moved.

Refuses to know catalogues, and to buy anything.
"""

from __future__ import annotations

from dataclasses import replace

import zarr

from shdask.assemble.place import Place
from shdask.assemble.store import ArrayHandles, CubeStore
from shdask.assemble.template import expected_zarr_warnings
from shdask.assemble.time_axis import extend_time_axis, freeze_timeline, frozen_timeline
from shdask.errors import WrongStore
from shdask.plan.group import place_in_time
from shdask.plan.growth import Growth, append_steps, compare_timelines
from shdask.plan.timeline import Timeline


def continue_timeline(cube: CubeStore, *, update: bool = False) -> tuple[CubeStore, Growth | None]:
    """The cube with the steps that stand in it and, behind them, those that its plan has and it has not yet.

    Later dates are always appended, late and reprocessed scenes where ``update`` says so. Only the owner may call it.
    Returns the growth as well, None where there is no time axis. Raises PlanError where the plan's steps cannot
    continue those that stand, StoreError where the place refuses.
    """
    fresh, place = cube.plan.timeline, cube.place
    if fresh is None:
        return cube, None
    frozen = frozen_timeline(place)
    if frozen is None:
        raise WrongStore(f"{place.name} has lost its timeline; build the cube anew in another place")
    growth = compare_timelines(frozen, fresh)
    whole = append_steps(frozen, growth, update=update)
    if len(whole.steps) > len(frozen.steps):
        _append(place, whole)
    if whole.steps == fresh.steps:
        return cube, growth
    plan = place_in_time(cube.plan, whole)
    return replace(cube, plan=plan, arrays=ArrayHandles(place)), growth


def _append(place: Place, whole: Timeline) -> None:
    """Arrays first: a cube that is longer than its timeline is only made longer again."""
    with place.errors():
        store = place.zarr_store()
        root = zarr.open_group(store, mode="r+")
        extend_time_axis(root, whole)
        with expected_zarr_warnings():
            zarr.consolidate_metadata(store, zarr_format=3)
        place.settle()
        freeze_timeline(place, whole)
