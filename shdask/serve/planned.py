"""A cube that is not built: its groups, and where their tiles will come from when they are touched.

Refuses to know how a Dataset is made of tiles.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from shdask.assemble.place import open_place
from shdask.assemble.tree import child, create_tree
from shdask.demand.budget import LocalBudget
from shdask.demand.direct import DirectSource
from shdask.demand.service import OnDemandService
from shdask.demand.stored import OWNERS, StoreSource, open_for_tiles
from shdask.demand.tiles import ELSEWHERE, OPEN, TilesOnDemand
from shdask.errors import BuildError, PlanError, SettingsError
from shdask.plan.cube import ROOT, CubePlan
from shdask.serve.lazy import open_lazy
from shdask.settings import Credentials

if TYPE_CHECKING:
    import xarray as xr

    from shdask.cluster.on_demand import ClusterTiles
    from shdask.fetch.client import ServiceClient
    from shdask.plan.group import GroupPlan
    from shdask.serve.narrow import Bbox, Days


class PlannedCube:
    """A plan, opened: all its groups share one cap. Where Dask computes is settled when it is opened."""

    name = "the plan"

    def __init__(self, plan: CubePlan, *, max_pu: float | None, store: str | os.PathLike[str] | None) -> None:
        self._groups = dict(plan.groups)
        self._max_pu = plan.max_pu if max_pu is None else max_pu
        self._budget = LocalBudget(self._max_pu)
        self._store = store
        self._cluster: ClusterTiles | None = None

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
        plan = self._groups[path]
        if plan.clear is not None and plan.tile_set.cloudy is None:
            raise PlanError(
                f"layers.{plan.layer.name}.clear: what is clear is not known before a coarse look, which only a build "
                f"takes; leave clear out, or run shdask build and open its store"
            )
        if self._is_on_cluster():
            return open_lazy(plan, self._open_on_cluster(plan), None, masked=masked, bbox=bbox, time=time)
        tiles = self._open_here(plan) if self._store is None else self._open_store(plan, path, self._store)
        OPEN.add(tiles)
        return open_lazy(tiles.plan, tiles.token, tiles, masked=masked, bbox=bbox, time=time)

    def _is_on_cluster(self) -> bool:
        if self._cluster is None and "distributed" in sys.modules:  # a Client exists only where it is imported
            from shdask.cluster.on_demand import ClusterTiles, computing_client

            client = computing_client()
            self._cluster = None if client is None else ClusterTiles(client=client, max_pu=self._max_pu)
        return self._cluster is not None

    def _open_on_cluster(self, plan: GroupPlan) -> str:
        if self._cluster is None:
            raise TypeError("there is no cluster")
        if self._store is not None:
            raise SettingsError(
                "store: on a cluster, what is touched cannot be kept in a store, whose one owner is this process; run "
                "shdask.build_cube(job, store, client=client) first, or leave store out, or open and compute the cube "
                "inside `with dask.config.set(scheduler='threads')`"
            )
        return self._cluster.open(plan, Credentials.find())

    def _open_here(self, plan: GroupPlan) -> TilesOnDemand:
        return TilesOnDemand(plan, DirectSource(plan=plan, client=_client_here(plan), budget=self._budget))

    def _open_store(self, plan: GroupPlan, path: str, store: str | os.PathLike[str]) -> TilesOnDemand:
        root = open_place(store)
        if tuple(self._groups) != (ROOT,):
            create_tree(root, tuple(self._groups))
            for other, group in self._groups.items():
                open_for_tiles(group, child(root, other))
        cube = open_for_tiles(plan, child(root, path))
        source = StoreSource(cube=cube, client=_client_here(plan), budget=self._budget, owner=OWNERS.of(cube))
        return TilesOnDemand(cube.plan, source)


def _client_here(plan: GroupPlan) -> Callable[[], ServiceClient]:
    """Gives this process's own client, but to tasks of a cluster, even of one in this process: it has a limiter too."""
    service = OnDemandService(plan.deployment)

    def client() -> ServiceClient:
        if "distributed" in sys.modules:
            from shdask.cluster.on_demand import is_on_worker

            if is_on_worker():
                raise BuildError(ELSEWHERE)
        return service.client()

    return client
