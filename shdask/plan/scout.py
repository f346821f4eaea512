"""Coarse looks before buying: beside each layer with a rule for clear ground, a group of its scene classification.

Pure. Refuses to know what is found, and how it is kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from shdask.errors import PlanError
from shdask.plan.clear import LOOK_BAND
from shdask.plan.grid import Grid
from shdask.plan.group import GroupPlan
from shdask.plan.grown_area import coarsen_area
from shdask.plan.layer import make_layer
from shdask.plan.layer_spec import Layer
from shdask.plan.placing import place_in_time
from shdask.plan.spec import StoreOptions
from shdask.plan.tile_set import TileSet
from shdask.plan.tiles import find_tiles
from shdask.plan.windows import TileWindows

if TYPE_CHECKING:
    from shdask.plan.spec import CubeSpec

SCOUT = "scout"
"""Name of the folder of all looks; no layer can have it."""
TILE_PX = 512
CHUNK_PX = 16
"""Tiles of a small look are a multiple of it."""


def scout_path(path: str, group: GroupPlan) -> str:
    """Where the look of the group at ``path`` is. Pure."""
    return f"{SCOUT}/{path or group.layer.name}"


def is_scout(path: str) -> bool:
    """Whether the group at ``path`` is a look. Pure."""
    return path.startswith(f"{SCOUT}/")


def add_scouts(groups: Mapping[str, GroupPlan], spec: CubeSpec) -> dict[str, GroupPlan]:
    """The looks of all groups that have a rule for clear ground, and behind them the groups themselves. Pure."""
    looks = {
        scout_path(path, group): make_scout(group, spec.layers[group.layer.name])
        for path, group in groups.items()
        if group.clear is not None
    }
    return {**looks, **groups}


def make_scout(group: GroupPlan, layer: Layer) -> GroupPlan:
    """The look of ``group``: its area, times and filters on a coarse grid, and the classes alone. Pure.

    It holds a pixel wherever ``group`` has one of the area.
    """
    if group.clear is None:
        raise PlanError(f"layers.{group.layer.name}: no look is made of it; give clear = {{min = 0.2}}")
    factor, fine = group.clear.factor, group.grid
    left, _, _, top = fine.bounds()
    grid = Grid(
        epsg=fine.epsg,
        origin=(left, top),
        resolution=(fine.resolution[0] * factor, fine.resolution[1] * factor),
        offset=(0, 0),
        shape=(-(-fine.shape[0] // factor), -(-fine.shape[1] // factor)),
    )
    area = coarsen_area(group.area, factor, grid.shape)
    side = min(TILE_PX, -(-max(grid.shape) // CHUNK_PX) * CHUNK_PX)
    store = StoreOptions(chunk_px=side, tile_px=side, sharded=group.store.sharded)
    scout = replace(
        group,
        grid=grid,
        layer=make_layer(group.layer.name, _look_layer(layer), group.layer.interval, prices=group.deployment.prices),
        area=area,
        tile_set=TileSet(runs=find_tiles(area, side)),
        store=store,
        timeline=None,
        windows=TileWindows(),
        clear=None,
        notes=(),
    )
    return scout.with_windows() if group.timeline is None else place_in_time(scout, group.timeline)


def _look_layer(layer: Layer) -> Layer:
    """What the look asks for: the classes of the scenes that the layer would be made of."""
    scenes = next(source for _, source, _ in layer.inputs() if source.collection == layer.collection)
    return Layer(
        collection=layer.collection,
        bands=(LOOK_BAND,),
        cadence=layer.cadence,
        time=layer.time,
        mosaicking_order=scenes.mosaicking_order,
        max_cloud_cover=scenes.max_cloud_cover,
        resampling="nearest",
    )
