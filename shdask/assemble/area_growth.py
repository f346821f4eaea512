"""A cube that stands, made as wide as its plan: pixels that its area has gained are to be bought, and only they.

Refuses to move what stands, and to buy anything.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
import zarr

from shdask.assemble.areas import KeptArea, keep_areas, kept_areas
from shdask.assemble.ledger import Ledger
from shdask.assemble.rows import LedgerSummary
from shdask.assemble.store import CubeStore, known_states
from shdask.errors import WrongStore
from shdask.model import TileState
from shdask.plan.grown_area import GrownArea, Reopened, join_areas, lacking_tiles
from shdask.plan.tiles import find_tiles
from shdask.plan.windows import TileWindows


@dataclass(frozen=True, slots=True, kw_only=True)
class CubeAreas:
    """All areas that a cube was asked for, in their order."""

    kept: tuple[KeptArea, ...]
    """By earlier builds; none where the area cannot grow."""
    new: KeptArea | None
    """By this one, where it is another."""

    @classmethod
    def of(cls, cube: CubeStore, *, grow: bool) -> Self:
        """Those of ``cube``, and that of its plan where it may ``grow``. Raises StoreError."""
        plan = cube.plan
        kept = tuple(kept_areas(cube.place, plan.grid.shape)) if plan.has_fixed_array else ()
        own = KeptArea.of(plan)
        return cls(kept=kept, new=own if grow and kept and own not in kept else None)

    @property
    def all(self) -> tuple[KeptArea, ...]:
        """The new one last."""
        return self.kept if self.new is None else (*self.kept, self.new)


def widen_area(cube: CubeStore, *, grow: bool = True) -> tuple[CubeStore, CubeAreas]:
    """The cube with the area of all builds so far, and, where it may ``grow``, of its plan; changes nothing on disk.

    Raises StoreError.
    """
    plan, areas = cube.plan, CubeAreas.of(cube, grow=grow)
    if not areas.all or areas.all == (KeptArea.of(plan),):
        return cube, areas
    area = join_areas([each.area for each in areas.all])
    tiles = replace(plan.tile_set, runs=find_tiles(area, plan.store.tile_px))
    wide = replace(plan, area=area, tile_set=tiles, windows=TileWindows()).with_windows()
    return replace(cube, plan=wide), areas


def find_reopened(cube: CubeStore, areas: CubeAreas, past: LedgerSummary) -> tuple[CubeStore, dict[int, int]]:
    """A cube that is as wide and as long as it will be, its tiles that lack pixels reopened; changes nothing on disk.

    Returns as well the tiles that are so for the first time, with how many of the areas they have. Raises StoreError.
    """
    plan, parts = cube.plan, [each.area for each in areas.all]
    if not areas.kept or (areas.new is None and not past.reopened):
        return cube, {}
    tile_px, opened = plan.store.tile_px, dict[int, int]()
    if areas.new is not None:
        opened = lacking_tiles(plan.tile_set, _levels(cube, past, len(areas.kept)), parts, tile_px)
    levels = {**opened, **lacking_tiles(plan.tile_set, past.reopened, parts, tile_px)}
    return replace(cube, plan=replace(plan, reopened=Reopened(parts=tuple(parts), levels=levels))), opened


def continue_area(cube: CubeStore, areas: CubeAreas, ledger: Ledger) -> tuple[CubeStore, tuple[str, ...]]:
    """`find_reopened`, made durable, and notes on what that means.

    Tiles are reopened in the ledger first: whatever is cut short here is begun again by the next build with this
    area. Only the owner may call it. Raises StoreError.
    """
    cube, opened = find_reopened(cube, areas, ledger.past)
    if areas.new is None:
        return cube, ()
    ledger.reopen(opened)
    cube.write_states(known_states(cube.plan, cube, ledger))
    _describe(cube, areas)
    keep_areas(cube.place, areas.all)
    return cube, (f"the area has grown: of {len(opened)} tiles that stand, what is new to it is bought",)


def refuse_growth(cube: CubeStore, past: LedgerSummary) -> CubeStore:
    """The cube with the area of all builds so far. Raises WrongStore where it lacks pixels of it, or of its plan's."""
    cube, areas = widen_area(cube)
    cube, _ = find_reopened(cube, areas, past)
    if areas.new is not None or cube.plan.reopened.levels:
        raise WrongStore(
            f"{cube.place.name} was built for another area than this job's; let shdask build fetch what it lacks first"
        )
    return cube


def check_area(cube: CubeStore) -> None:
    """Raise WrongStore where another build has let the cube's area grow since ``cube`` was opened."""
    plan = cube.plan
    parts = len(plan.area.parts) if isinstance(plan.area, GrownArea) else 1
    if plan.has_fixed_array and len(kept_areas(cube.place, plan.grid.shape)) > parts:
        raise WrongStore(f"the area of {cube.place.name} has grown meanwhile; open it again")


def _levels(cube: CubeStore, past: LedgerSummary, level: int) -> dict[int, int]:
    """Tiles that an area like those before may have filled, and with how many of these areas."""
    done = cube.durable_tiles()
    said = past.states[: done.size]
    done[: said.size] |= said == TileState.EMPTY
    whole = {tile: 0 for tile in past.in_flight if tile < done.size and not done[tile]}  # may land yet, without the new
    told = {int(tile): level for tile in np.flatnonzero(done)}
    return {tile: value for tile, value in {**whole, **told}.items() if tile not in past.reopened}


def _describe(cube: CubeStore, areas: CubeAreas) -> None:
    """Let the root attributes tell of the wider area; until all of it is there the cube is not complete."""
    plan, place = cube.plan, cube.place
    spec = {**plan.describe(), "areas": [dict(each.identity) for each in areas.all]}
    with place.errors():
        root = zarr.open_group(place.zarr_store(), mode="r+")
        layout: Any = root.attrs["layout"]
        root.update_attributes({"complete": False, "spec": spec, "layout": {**layout, "tiles": plan.tile_count}})
        place.settle(["zarr.json"])
