"""Look before you buy: a layer's steps are settled, its look follows them, and what the look found decides for good.

Refuses to know how a look is bought; it is a group like any other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from shdask.assemble.area_growth import find_reopened, widen_area
from shdask.assemble.clear_share import choose_clear, looked_at, read_clear_share, write_clear_share
from shdask.assemble.grow import as_it_stands
from shdask.assemble.ledger import Ledger, read_ledger
from shdask.assemble.place import Place
from shdask.assemble.store import CubeStore, create_or_open, known_states
from shdask.assemble.template import DATA_MASK
from shdask.build import continue_cube
from shdask.model import TileState, Window
from shdask.plan.clear import LOOK_BAND, clear_share, count_under, look_window
from shdask.plan.group import GroupPlan
from shdask.plan.placing import place_in_time


def follow_layer(
    look: GroupPlan, group: GroupPlan, place: Place, *, update: bool, grow: bool
) -> tuple[GroupPlan, tuple[str, ...]]:
    """The look along the very steps that the layer's cube at ``place`` has, once those of its plan are appended.

    Returns as well the notes on what that has changed of the layer. Raises as `run_build`.
    """
    cube = create_or_open(group, place)
    with Ledger.open(place) as ledger:
        cube, notes = continue_cube(cube, ledger, update=update, grow=grow)
    return (look if cube.plan.timeline is None else place_in_time(look, cube.plan.timeline)), notes


def judge(group: GroupPlan, place: Place, look: GroupPlan, look_place: Place) -> tuple[str, ...]:
    """Keep with the layer's cube how clear each of its tiles is, of those not judged before; notes for the user.

    What stands is not changed. A tile is judged once all of the look that covers it is there. Raises StoreError.
    """
    if group.clear is None:
        return ()
    with Ledger.open(place):
        cube, _ = widen_area(create_or_open(group, place), grow=False)
        cube = as_it_stands(cube)
        shares = read_clear_share(place)
        _fill(shares, cube, _open_look(look, look_place))
        write_clear_share(place, shares)
    chosen = choose_clear(cube)
    cloudy, unseen = chosen.plan.tile_set.too_cloudy().size, chosen.plan.tile_count - looked_at(chosen).size
    notes: tuple[str, ...] = (f"{cloudy} tile-dates are less than {group.clear.min_share:.0%} clear and not bought",)
    if unseen:
        notes += (f"{unseen} tile-dates could not be looked at and are not bought yet; build again",)
    return notes


def _open_look(look: GroupPlan, place: Place) -> CubeStore:
    cube, areas = widen_area(create_or_open(look, place), grow=False)
    cube, _ = find_reopened(as_it_stands(cube), areas, read_ledger(place))
    return cube


def _fill(shares: NDArray[np.float32], cube: CubeStore, look: CubeStore) -> None:
    """Judge the tiles without a share, a row of them after the other: that much of the look is in memory."""
    tiles, unseen = cube.plan.tile_set, ~_seen(look)
    todo = tiles.indices()
    todo = todo[np.isnan(shares.ravel()[todo])]
    steps, within = np.divmod(todo, tiles.cell_count)
    rows, columns = np.divmod(within, tiles.grid_shape[1])
    for row in np.unique(rows).tolist():
        here = rows == row
        cells = [_Cell.of(cube, row, column) for column in np.unique(columns[here]).tolist()]
        for step in np.unique(steps[here]).tolist():
            missing = set(columns[here & (steps == step)].tolist())
            seen = [cell for cell in cells if cell.column in missing and not cell.lacks(unseen[step], look)]
            if seen:
                shares[step, row, [cell.column for cell in seen]] = _judge_row(seen, look, step)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Cell:
    """One of the layer's tiles, at any step."""

    column: int
    window: Window
    """Of the look."""
    weights: NDArray[np.int32]
    """(y, x) of the window: how many pixels of the area lie under each."""

    @classmethod
    def of(cls, cube: CubeStore, row: int, column: int) -> Self:
        factor = 1 if cube.plan.clear is None else cube.plan.clear.factor
        extent = cube.layout.extent(row, column)
        weights = count_under(cube.plan.area_mask(extent), extent, factor)
        return cls(column=column, window=look_window(extent, factor), weights=weights.astype(np.int32))

    def lacks(self, unseen: NDArray[np.bool_], look: CubeStore) -> bool:
        """Whether a tile of the look under it is ``unseen``, (row, column) of them."""
        side, window = look.plan.store.tile_px, self.window
        rows = slice(window.y0 // side, -(-window.y1 // side))
        return bool(unseen[rows, window.x0 // side : -(-window.x1 // side)].any())


def _judge_row(cells: Sequence[_Cell], look: CubeStore, step: int) -> list[float]:
    """How clear ``cells``, of one row, are at a step."""
    lines = step, slice(cells[0].window.y0, cells[0].window.y1)
    with look.place.errors():
        classes, mask = (np.asarray(look.arrays[name][lines]) for name in (LOOK_BAND, DATA_MASK))
    parts = [(slice(None), slice(cell.window.x0, cell.window.x1)) for cell in cells]
    return [clear_share(classes[part], mask[part] != 0, cell.weights) for part, cell in zip(parts, cells, strict=True)]


def _seen(look: CubeStore) -> NDArray[np.bool_]:
    """(step, row, column) of the look's tiles: True where it is known what is there, nothing included."""
    tiles = look.plan.tile_set
    states = known_states(look.plan, look, read_ledger(look.place))
    planned = np.zeros(tiles.index_count, np.bool_)
    planned[tiles.indices()] = True
    seen = ~planned | np.isin(states, (TileState.WRITTEN, TileState.EMPTY))
    return np.asarray(seen.reshape(tiles.step_count, *tiles.grid_shape))
