"""Buying only what is trained on: the plan of a cube narrowed to the pixels, and the dates, of patches.

Refuses to know how patches were chosen, and to buy anything; the narrowed plan is built as any other.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from shdask.errors import PlanError
from shdask.plan.chosen import ChosenDates, cells_of, choose_pixels
from shdask.plan.cube import CubePlan, make_cube_plan
from shdask.plan.grown_area import coarsen_area, count_pixels
from shdask.plan.learning import notes_of
from shdask.plan.placing import place_in_time
from shdask.plan.route import route_again
from shdask.plan.scout import is_scout, scout_path
from shdask.plan.tile_set import TileSet
from shdask.plan.tiles import find_tiles
from shdask.plan.windows import TileWindows
from shdask.plan.wording import counted
from shdask.planning import Plannable, make_plan

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from shdask.patches.table import Patches
    from shdask.plan.area import Area
    from shdask.plan.group import GroupPlan

    Ints = NDArray[np.int64]

FIRST, LAST = np.datetime64("0001-01-01", "us"), np.datetime64("9999-12-31", "us")
"""Of a patch that has all dates."""
MOST_DAYS = 36_600
"""A century before and after."""
OFF_PX = 0.01
"""Further than this from where its pixels are, a patch was chosen on another grid."""


def plan_patches(plan: Plannable, patches: Patches, *, days_around: int | Mapping[str, int] = 0) -> CubePlan:
    """The plan that buys, of what ``plan`` buys, only the pixels of ``patches``, and of dated patches only their dates.

    The array is the whole cube's, and so are its pixels, to the bit: ``patches`` lie in it where they were, and what
    no patch holds is fill. A patch with a date is bought at the steps that its UTC day meets, or one of ``days_around``
    days before and after it (one number, or one by layer, 0 for those not named); a tile is bought at the dates of all
    its patches, so that tiles not much larger than patches waste the least. A layer without a time axis is bought as it
    is. Where the job leaves ``prefer`` to us it is "pu": windows are cut to hold hardly a pixel beside the patches,
    though that takes more requests.

    Where no patch has a date, further patches may be bought into the same store later, as an area that grows; with
    dates, a store is for these patches and dates alone. What both plans cost is in the notes. ``plan`` is read and
    searched for as by `make_plan`, unless it is a plan.

    Raises PlanError for patches of another cube, and where nothing of them can be bought; else as `make_plan`.
    """
    whole = make_plan(plan)
    if not len(patches):
        raise PlanError("there are no patches to buy; choose some first")
    _check_zones(whole, patches)
    days = _days_by_layer(whole, days_around)
    groups: dict[str, GroupPlan] = {}
    looks: dict[str, GroupPlan] = {}
    for path, group in whole.groups.items():
        narrow = None if is_scout(path) else _narrow(group, patches, days[group.layer.name])
        if narrow is None:
            continue
        groups[path] = narrow
        if group.clear is not None:
            look = scout_path(path, group)
            looks[look] = _narrow_look(whole.groups[look], narrow)
    if not groups:
        raise PlanError("no pixel of any patch lies in the area of this cube; choose patches in it")
    narrowed = {**looks, **groups}
    measured = {path: each for path, each in whole.measured.items() if path in narrowed}
    bought = make_cube_plan(narrowed, max_pu=whole.max_pu, measured=measured)
    of_whole = notes_of(whole.groups, whole.measured)
    notes = [note for note in whole.notes if note not in of_whole]
    return replace(bought, notes=(*notes, *notes_of(narrowed, measured), _compare(whole, bought, len(patches))))


def _days_by_layer(whole: CubePlan, days_around: int | Mapping[str, int]) -> dict[str, int]:
    layers = list(dict.fromkeys(group.layer.name for group in whole.groups.values()))
    told = days_around if isinstance(days_around, Mapping) else dict.fromkeys(layers, days_around)
    unknown = [layer for layer in told if layer not in layers]
    if unknown:
        raise PlanError(f"days_around: the cube has no layer {unknown[0]!r}; it has {', '.join(layers)}")
    wrong = [days for days in told.values() if not 0 <= days <= MOST_DAYS]
    if wrong:
        raise PlanError(f"days_around = {wrong[0]}: it counts days before and after, from 0 to {MOST_DAYS}")
    return {layer: told.get(layer, 0) for layer in layers}


def _check_zones(whole: CubePlan, patches: Patches) -> None:
    known = {group.grid.epsg for group in whole.groups.values()}
    missing = set(np.unique(patches.epsg).tolist()) - known
    if missing:
        raise PlanError(
            f"patches: some are in {', '.join(f'EPSG:{code}' for code in sorted(missing))}, and this cube is in "
            f"{', '.join(f'EPSG:{code}' for code in sorted(known))}; choose them in this cube"
        )


def _narrow(group: GroupPlan, patches: Patches, days_around: int) -> GroupPlan | None:
    """The group with the pixels and dates of its patches; None where it has none."""
    mine = patches.take(patches.epsg == group.grid.epsg)
    if not len(mine):
        return None
    windows = np.stack((mine.y0, mine.y0 + mine.size_px, mine.x0, mine.x0 + mine.size_px), axis=1).astype(np.int64)
    _check_grid(group, mine, windows)
    area = choose_pixels(group.area, windows)
    tiles = find_tiles(area, group.store.tile_px)
    if not tiles.count:
        return None
    chosen = _choose_dates(group, mine, windows, days_around)
    narrow = replace(
        group,
        area=area,
        area_digest=_digest(group, windows, chosen),
        has_fixed_array=chosen is None,
        chosen=chosen,
        px_per_tile=float(count_pixels(area, group.store.tile_px).sum() / tiles.count),
        prefer="pu" if group.prefer == "auto" else group.prefer,
        tile_set=TileSet(runs=tiles),
        windows=TileWindows(),
        all_dates=None,
    )
    if group.timeline is None:
        return route_again(narrow.with_windows())
    reach = group.tile_set.reach
    if chosen is not None and reach is not None and not chosen.limit(reach, group.timeline).counts.any():
        raise PlanError(
            f"layers.{group.layer.name}: no date of the cube lies within {days_around} days of the date of any patch; "
            f"give more days_around, or a longer time"
        )
    return route_again(place_in_time(narrow, group.timeline, trim=chosen is not None))


def _check_grid(group: GroupPlan, patches: Patches, windows: Ints) -> None:
    """Raise PlanError where a patch is not where its pixels are on the group's grid."""
    grid, (rows, columns) = group.grid, group.grid.shape
    inside = (windows[:, 0] >= 0) & (windows[:, 2] >= 0) & (windows[:, 1] <= rows) & (windows[:, 3] <= columns)
    a, _, left, _, e, top = grid.transform
    off = np.hypot((patches.bounds[:, 0] - left) / a - windows[:, 2], (patches.bounds[:, 3] - top) / e - windows[:, 0])
    wrong = np.flatnonzero(~inside | (off > OFF_PX))
    if wrong.size:
        patch = patches[int(wrong[0])]
        raise PlanError(
            f"patch {patch.key} at row {patch.y0} and column {patch.x0}, {patch.bounds}, is not there on the "
            f"{rows} x {columns} px grid of layers.{group.layer.name}; choose patches in this very cube"
        )


def _choose_dates(group: GroupPlan, patches: Patches, windows: Ints, days_around: int) -> ChosenDates | None:
    """When which tiles are bought; None where no patch has a date, and where there is no time axis."""
    is_dated = ~np.isnat(patches.date)
    if group.timeline is None or not is_dated.any():
        return None
    days = patches.date.astype("datetime64[D]")
    span = np.timedelta64(days_around, "D")
    starts = np.where(is_dated, (days - span).astype("datetime64[us]"), FIRST)
    ends = np.where(is_dated, (days + span + np.timedelta64(1, "D")).astype("datetime64[us]"), LAST)
    patch, cells = cells_of(windows, group.store.tile_px, group.tile_set.grid_shape[1])
    rows = np.unique(np.stack((cells, starts[patch].astype(np.int64), ends[patch].astype(np.int64)), axis=1), axis=0)
    return ChosenDates(
        cells=rows[:, 0], starts=rows[:, 1].astype("datetime64[us]"), ends=rows[:, 2].astype("datetime64[us]")
    )


def _digest(group: GroupPlan, windows: Ints, chosen: ChosenDates | None) -> str:
    """Names what is bought, whatever the order of the patches."""
    parts = [group.area_digest.encode(), str(group.area.all_touched).encode()]
    parts.append(np.unique(windows, axis=0).astype("<i8").tobytes())
    if chosen is not None:
        spans = (chosen.cells, chosen.starts.astype(np.int64), chosen.ends.astype(np.int64))
        parts.append(np.stack(spans).astype("<i8").tobytes())
    return hashlib.sha256(b"\0".join(parts)).hexdigest()


def _narrow_look(look: GroupPlan, narrow: GroupPlan) -> GroupPlan:
    """The coarse look that holds the pixels of a narrowed layer, along its steps."""
    if narrow.clear is None:
        raise TypeError("a layer that is looked at has a rule for it")
    area: Area = coarsen_area(narrow.area, narrow.clear.factor, look.grid.shape)
    tiles = TileSet(runs=find_tiles(area, look.store.tile_px))
    looked = replace(
        look,
        area=area,
        area_digest=narrow.area_digest,
        has_fixed_array=narrow.has_fixed_array,
        prefer=narrow.prefer,
        tile_set=tiles,
        windows=TileWindows(),
    )
    if narrow.timeline is None:
        return route_again(looked.with_windows())
    return route_again(place_in_time(looked, narrow.timeline))


def _compare(whole: CubePlan, bought: CubePlan, count: int) -> str:
    one, all_of_it = bought.cost, whole.cost
    share = one.pu / all_of_it.pu if all_of_it.pu else 1.0
    return (
        f"only the pixels of {count} patches are bought: {one.pu:.2f} PU in {counted(one.requests, 'request')}, not "
        f"the {all_of_it.pu:.2f} PU in {counted(all_of_it.requests, 'request')} of the whole area ({share:.1%})"
    )
