"""From a job to the plans of its groups: each layer on the job's grid, then along its time.

Pure. Refuses to know how files are read, and what the catalogue is.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING

import shapely

from shdask.errors import PlanError
from shdask.plan.bundles import choose_bundles
from shdask.plan.clear import make_clear_rule
from shdask.plan.composite_spec import AUTO
from shdask.plan.footprint import METRES_PER_DEGREE, make_footprint, metres_per_px
from shdask.plan.group import GroupPlan
from shdask.plan.layer import make_layer
from shdask.plan.layer_spec import MOSAIC
from shdask.plan.reach import find_reach
from shdask.plan.spec import UTM_ZONES, CubeSpec, StoreOptions
from shdask.plan.tile_set import TileSet
from shdask.plan.tiles import find_tiles
from shdask.plan.windows import TileWindows
from shdask.plan.zones import make_zone_footprints
from shdask.request.collections import find_collection
from shdask.settings import Deployment

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet
    from datetime import date

    from shdask.inputs import AreaOfInterest, ReferenceGrid
    from shdask.plan.grid import Grid
    from shdask.plan.spec import Layer
    from shdask.plan.timeline import Timeline

MAX_TILE_CELLS = 10**8
"""Tiles of a whole array, planned or not: ``tile_state`` has a byte for each."""


def make_group(
    spec: CubeSpec, *, area: AreaOfInterest | None, like: ReferenceGrid | None, deployment: Deployment
) -> GroupPlan:
    """`make_groups` of a job with one layer."""
    return next(iter(make_groups(spec, area=area, like=like, deployment=deployment).values()))


def make_groups(
    spec: CubeSpec, *, area: AreaOfInterest | None, like: ReferenceGrid | None, deployment: Deployment
) -> dict[str, GroupPlan]:
    """A job's layers placed on its grid and cut into tiles, by path. Pure: ``area`` and ``like`` are already read.

    The path is ``""`` for one layer, else the layer's name; in UTM zones the zone's EPSG code comes first. Layers with
    a cadence have no time axis yet: see `place_in_time`. Raises PlanError, with the place and the cure, where the job
    asks for what the service cannot give, and where no pixel lies in the area.
    """
    if spec.crs == UTM_ZONES and area is not None:
        footprints = make_zone_footprints(spec, area)
    else:
        footprints = {"": make_footprint(spec, area, like)}
    layers = {
        name: make_layer(name, layer, spec.interval_of(name), prices=deployment.prices)
        for name, layer in spec.layers.items()
    }
    groups: dict[str, GroupPlan] = {}
    for zone, (grid, on_grid, notes) in footprints.items():
        for layer in spec.layers.values():
            _check_limits(grid, layer, spec.store, deployment)
        tile_runs = find_tiles(on_grid, spec.store.tile_px)
        if not tile_runs.count:
            raise PlanError(
                f"aoi: no pixel centre of the {grid.shape[0]} x {grid.shape[1]} px array lies in the area; "
                f"set all_touched = true, take a finer resolution, or check aoi_crs and extent"
            )
        digest = _digest(area, spec.buffer, zone)
        for name, planned in layers.items():
            path = "/".join(part for part in (zone, name if len(layers) > 1 else "") if part)
            groups[path] = GroupPlan(
                grid=grid,
                layer=planned,
                area=on_grid,
                area_digest=digest,
                clear=make_clear_rule(spec.layers[name].clear, grid, spec.store.tile_px, planned.collection),
                has_fixed_array=spec.extent is not None or spec.like is not None,
                tile_set=TileSet(runs=tile_runs),
                store=spec.store,
                deployment=deployment,
                max_pu=spec.service.max_pu,
                prefer=spec.service.prefer,
                notes=(*notes, *_mask_notes(spec.layers[name])),
            )
            if planned.cadence == MOSAIC:
                groups[path] = groups[path].with_windows()
    return groups


def place_in_time(
    plan: GroupPlan, timeline: Timeline, *, trim: bool = False, apart: AbstractSet[date] = frozenset()
) -> GroupPlan:
    """The same plan along ``timeline``, tiles only where its steps' scenes are. Pure.

    ``trim`` leaves out the steps that reach no tile of the area, or of the array where the area may grow. Dates of
    the days ``apart`` are bought alone. Raises PlanError where there is no step, or more of them than a cube can hold.
    """
    placed = _place(plan, timeline, apart)
    if trim:
        kept = [step for index, step in enumerate(timeline.steps) if _is_met(placed, index)]
        if len(kept) < len(timeline.steps):
            placed = _place(plan, replace(timeline, steps=tuple(kept)), apart)
    return placed.with_windows()


def _place(plan: GroupPlan, timeline: Timeline, apart: AbstractSet[date]) -> GroupPlan:
    if not timeline.steps:
        raise PlanError(
            f"layers.{plan.layer.name}: the catalogue has no scene of {plan.layer.collection} over the area between "
            f"{timeline.interval.start:%Y-%m-%d} and {timeline.interval.end:%Y-%m-%d} with these filters; "
            f"widen time, or max_cloud_cover"
        )
    runs, cells = plan.tile_set.runs, plan.tile_set.cell_count * len(timeline.steps)
    if cells > MAX_TILE_CELLS:
        raise PlanError(
            f"layers.{plan.layer.name}: {len(timeline.steps)} steps of {plan.tile_set.cell_count} tiles are more "
            f"than the {MAX_TILE_CELLS} that a cube may have; make store.tile_px larger, or time shorter"
        )
    whole = find_reach(timeline, plan.grid, plan.store.tile_px)
    reach = whole if plan.chosen is None else plan.chosen.limit(whole, timeline)
    whole_tile = (plan.store.tile_px, plan.store.tile_px)
    bundles = choose_bundles(
        timeline, reach, plan.layer, whole_tile, plan.deployment, apart=apart, bought_px=plan.px_per_tile
    )
    declined = None if plan.chosen is None else whole.without(reach)
    tiles = TileSet(runs=runs, reach=reach, declined=declined, bundles=bundles)
    return replace(plan, timeline=timeline, tile_set=tiles, windows=TileWindows())


def _is_met(plan: GroupPlan, step: int) -> bool:
    """Whether a step reaches the area, or where it may grow."""
    tiles = plan.tile_set
    if plan.has_fixed_array or tiles.reach is None:
        return tiles.reach is None or bool(tiles.reach.mask(step).any())
    rows, columns = tiles.runs.cells(0, tiles.runs.count)
    return bool(tiles.reach.cells(step, rows, columns).any())


def _mask_notes(layer: Layer) -> tuple[str, ...]:
    """Says where a composite was to find its mask, and there is none."""
    composite, collection = layer.composite, find_collection(layer.collection)
    if composite is None or composite.mask != AUTO or composite.clear_band(collection) is not None:
        return ()
    if not collection.has_clouds and collection.bands is not None:  # radar sees through them
        return ()
    note = (
        f"no band of {layer.collection} is known to tell clouds: its composites count every date; where there is one, "
        f'name it, as in composite.mask = {{band = "...", clear = [0]}}'
    )
    return (note,)


def _check_limits(grid: Grid, layer: Layer, store: StoreOptions, deployment: Deployment) -> None:
    if store.tile_px > deployment.max_request_px:
        raise PlanError(
            f"store.tile_px: {store.tile_px} is more than the {deployment.max_request_px} px of one request; "
            f"make it smaller"
        )
    coarsest, metres = find_collection(layer.collection).coarsest_m_per_px, metres_per_px(grid)
    if coarsest is not None and metres > coarsest:
        degrees = max(grid.resolution) * METRES_PER_DEGREE == metres
        unit = f" (resolution is in degrees in {grid.crs}; 10 m are about 0.0001)" if degrees else ""
        raise PlanError(
            f"cube.resolution: {metres:g} m per pixel is coarser than the {coarsest:g} m that the service renders "
            f"{layer.collection} at{unit}; make it finer"
        )
    rows, columns = grid.shape
    cells = -(-rows // store.tile_px) * -(-columns // store.tile_px)
    if cells > MAX_TILE_CELLS:
        raise PlanError(
            f"cube.resolution: {max(grid.resolution):g} makes an array of {columns} x {rows} px with {cells} tiles, "
            f"and a cube may have {MAX_TILE_CELLS}; make resolution coarser (it is in units of {grid.crs}), "
            f"store.tile_px larger, or the area smaller"
        )


def _digest(area: AreaOfInterest | None, buffer: float, zone: str) -> str:
    if area is None:
        return hashlib.sha256(b"whole grid").hexdigest()
    wkb = shapely.to_wkb(area.geometry, byte_order=1, output_dimension=2)
    owner = (zone.encode(),) if zone else ()
    return hashlib.sha256(b"\0".join((wkb, area.crs.encode(), repr(float(buffer)).encode(), *owner))).hexdigest()
