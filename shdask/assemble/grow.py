"""A cube that stands, made as long as its plan: later dates are appended, nothing that stands is moved.

Refuses to know catalogues, and to buy anything.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import zarr

from shdask.assemble.place import Place
from shdask.assemble.pyramid import extend_levels
from shdask.assemble.store import ArrayHandles, CubeStore
from shdask.assemble.template import TILE_STATE, expected_zarr_warnings, lay_states
from shdask.assemble.time_axis import extend_time_axis, freeze_timeline, frozen_timeline
from shdask.errors import WrongStore
from shdask.model import TileState
from shdask.plan.group import GroupPlan
from shdask.plan.growth import Growth, append_steps, compare_timelines
from shdask.plan.placing import place_in_time
from shdask.plan.timeline import Timeline


def continue_timeline(cube: CubeStore, *, update: bool = False) -> tuple[CubeStore, tuple[str, ...]]:
    """The cube with the steps that stand in it and, behind them, those that its plan has and it has not yet.

    Later dates are always appended, late and reprocessed scenes where ``update`` says so. Only the owner may call it.
    Returns as well what has changed since the cube was made, as lines for the user, with the price of what was left
    out; none where there is no time axis. Raises PlanError where the plan's steps cannot continue those that stand,
    StoreError where the place refuses.
    """
    if cube.plan.timeline is None:
        return cube, ()
    frozen = _frozen(cube.place)
    growth = compare_timelines(frozen, cube.plan.timeline)
    whole = _continued(frozen, cube.plan.timeline, growth, update=update)
    plan = _placed(cube.plan, whole, growth)
    if len(whole.steps) > len(frozen.steps):
        _append(cube.place, plan, whole, len(frozen.steps))
    grown = replace(cube, plan=plan, arrays=ArrayHandles(cube.place))
    return grown, (*growth.notes, *_price_notes(cube.plan, frozen, growth, update=update))


def as_it_stands(cube: CubeStore) -> CubeStore:
    """The cube with the steps that stand in it, whatever its plan has. Raises StoreError."""
    if cube.plan.timeline is None:
        return cube
    return replace(cube, plan=place_in_time(cube.plan, _frozen(cube.place)))


def as_it_will_be(cube: CubeStore, *, update: bool = False) -> CubeStore:
    """The cube with the steps that `continue_timeline` would give it, nothing being changed. Raises as that does."""
    if cube.plan.timeline is None:
        return cube
    frozen = _frozen(cube.place)
    fresh = cube.plan.timeline
    growth = compare_timelines(frozen, fresh)
    return replace(cube, plan=_placed(cube.plan, _continued(frozen, fresh, growth, update=update), growth))


def _continued(frozen: Timeline, fresh: Timeline, growth: Growth, *, update: bool) -> Timeline:
    """The frozen steps and what is appended. Steps that begin with the frozen ones follow another cube's as it is."""
    if fresh.steps[: len(frozen.steps)] == frozen.steps:
        return fresh
    return append_steps(frozen, growth, update=update)


def _placed(plan: GroupPlan, whole: Timeline, growth: Growth) -> GroupPlan:
    """The plan along ``whole``. Pure.

    On days with late scenes dates are bought alone: a request for several tells days apart, not passes, and would let
    the late ones in.
    """
    if plan.timeline is not None and plan.timeline.steps == whole.steps:
        return plan
    return place_in_time(plan, whole, apart=frozenset(scene.time.date() for scene in growth.late))


def _frozen(place: Place) -> Timeline:
    frozen = frozen_timeline(place)
    if frozen is None:
        raise WrongStore(f"{place.name} has lost its timeline; build the cube anew in another place")
    return frozen


def _price_notes(plan: GroupPlan, frozen: Timeline, growth: Growth, *, update: bool) -> tuple[str, ...]:
    """What the late and reprocessed scenes cost, of whole tiles that they reach, as an update would buy them. Pure."""
    if not growth.revisions:
        return ()
    revised = _placed(plan, append_steps(frozen, growth, update=True), growth)
    first, cells = len(frozen.steps), revised.tile_set.cell_count
    tiles = revised.tile_set.indices()
    tiles = tiles[(tiles >= first * cells) & (tiles < (first + len(growth.revisions)) * cells)]
    what = f"{tiles.size} tiles of late and reprocessed scenes, {revised.prices(tiles).sum():.2f} PU"
    return (f"{what}: bought as revisions" if update else f"{what}: not bought; an update buys them (--update)",)


def _append(place: Place, plan: GroupPlan, whole: Timeline, first: int) -> None:
    """Step ``first`` is the first new one. Arrays come first: one that is too long is only made longer again."""
    with place.errors():
        store = place.zarr_store()
        root = zarr.open_group(store, mode="r+", use_consolidated=False)  # which would keep lengths as they were
        with expected_zarr_warnings():
            extend_time_axis(root, whole)
        extend_levels(place, root.attrs.asdict())
        _write_new_states(root, plan, first)
        root.update_attributes(_told_anew(root, plan, whole))
        with expected_zarr_warnings():
            zarr.consolidate_metadata(store, zarr_format=3)
        place.settle()
        freeze_timeline(place, whole)


def _write_new_states(root: zarr.Group, plan: GroupPlan, first: int) -> None:
    """Say of the tiles of step ``first`` and after that they are untried; extending has made them no tiles at all."""
    array = root[TILE_STATE]
    if not isinstance(array, zarr.Array):
        raise TypeError(f"{TILE_STATE} is no array")
    cells = lay_states(plan, np.full(plan.tile_set.index_count, TileState.UNTRIED, np.uint8))
    array[first:] = cells.reshape(array.shape)[first:]


def _told_anew(root: zarr.Group, plan: GroupPlan, whole: Timeline) -> dict[str, object]:
    """Root attributes that follow the length of the time axis."""
    layout = root.attrs["layout"]
    return {
        "time_coverage_start": whole.interval.start.isoformat(),
        "time_coverage_end": whole.interval.end.isoformat(),
        "layout": {**(layout if isinstance(layout, dict) else {}), "tiles": plan.tile_count},
        "spec": plan.describe(),
        "complete": False,
    }
