"""A cube that is not built: its groups, and where their tiles will come from when they are touched.

Refuses to know how a Dataset is made of tiles.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from shdask.assemble.place import open_place
from shdask.assemble.tree import child, create_tree
from shdask.demand.budget import LocalBudget
from shdask.demand.direct import DirectSource
from shdask.demand.service import OnDemandService
from shdask.demand.stored import OWNERS, StoreSource, open_for_tiles
from shdask.demand.tiles import OPEN, TilesOnDemand
from shdask.errors import PlanError
from shdask.plan.cube import ROOT, CubePlan
from shdask.serve.lazy import open_lazy

if TYPE_CHECKING:
    import xarray as xr

    from shdask.serve.narrow import Bbox, Days


class PlannedCube:
    """A plan, opened: all its groups share one cap."""

    name = "the plan"

    def __init__(self, plan: CubePlan, *, max_pu: float | None, store: str | os.PathLike[str] | None) -> None:
        self._groups = dict(plan.groups)
        self._budget = LocalBudget(plan.max_pu if max_pu is None else max_pu)
        self._store = store

    def paths(self) -> tuple[str, ...]:
        """Of its groups."""
        return tuple(self._groups)

    def layer(self, path: str) -> str:
        """The name of the layer at ``path``."""
        return self._groups[path].layer.name

    def has_time(self, path: str) -> bool:
        """Whether the group at ``path`` has a time axis."""
        return self._groups[path].has_time

    def open(self, path: str, *, masked: bool, bbox: Bbox | None, time: Days | None) -> xr.Dataset:
        """The group at ``path``; see `open_cube`. Makes the store, where there is one, before it can be filled."""
        tiles = self._tiles(path)
        OPEN.add(tiles)
        return open_lazy(tiles.plan, tiles.token, tiles, masked=masked, bbox=bbox, time=time)

    def _tiles(self, path: str) -> TilesOnDemand:
        plan = self._groups[path]
        if plan.clear is not None and plan.tile_set.cloudy is None:
            raise PlanError(
                f"layers.{plan.layer.name}.clear: what is clear is not known before a coarse look, which only a build "
                f"takes; leave clear out, or run shdask build and open its store"
            )
        service = OnDemandService(plan.deployment)
        if self._store is None:
            source = DirectSource(plan=plan, client=service.client, budget=self._budget)
            return TilesOnDemand(plan, source)
        root = open_place(self._store)
        if tuple(self._groups) != (ROOT,):
            create_tree(root, tuple(self._groups))
            for other, group in self._groups.items():
                open_for_tiles(group, child(root, other))
        cube = open_for_tiles(plan, child(root, path))
        stored = StoreSource(cube=cube, client=service.client, budget=self._budget, owner=OWNERS.of(cube))
        return TilesOnDemand(cube.plan, stored)
