"""GroupPlan: a job placed on its grid, cut into tiles and priced; tiles are counted by formula and made when asked for.

Refuses to know how anything is fetched or stored.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely

from shdask.errors import PlanError
from shdask.model import Tile, TimeInterval, Window
from shdask.plan.area import Area
from shdask.plan.bundles import choose_bundles
from shdask.plan.clear import ClearRule, make_clear_rule
from shdask.plan.cost import Cost, estimate_cost
from shdask.plan.footprint import METRES_PER_DEGREE, make_footprint, metres_per_px
from shdask.plan.grid import Grid
from shdask.plan.grown_area import Reopened
from shdask.plan.layer import LayerPlan, make_layer
from shdask.plan.reach import find_reach
from shdask.plan.spec import UTM_ZONES, CubeSpec, StoreOptions
from shdask.plan.tile_set import TileSet
from shdask.plan.tiles import find_tiles
from shdask.plan.zones import make_zone_footprints
from shdask.request.collections import find_collection
from shdask.settings import Deployment

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet
    from datetime import date

    from numpy.typing import NDArray

    from shdask.inputs import AreaOfInterest, ReferenceGrid
    from shdask.plan.spec import Layer
    from shdask.plan.timeline import Timeline

MAX_TILE_CELLS = 10**8
"""Tiles of a whole array, planned or not: ``tile_state`` has a byte for each."""
MASK_NBYTES = 1
"""``data_mask`` is stored as uint8."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class GroupPlan:
    """Everything a build needs to know but the credentials. Picklable; its size is the area's border's."""

    grid: Grid
    layer: LayerPlan
    area: Area
    area_digest: str
    """SHA-256 of the area as it was given, with what widens it, and the UTM zone that owns its pixels."""
    tile_set: TileSet
    store: StoreOptions
    deployment: Deployment
    timeline: Timeline | None = None
    """The steps of the time axis; None where the arrays have none."""
    clear: ClearRule | None = None
    """What is bought only where a coarse look finds it clear; the look is a group of its own."""
    has_fixed_array: bool = False
    """Whether the array is given by itself, so that the area may grow inside it."""
    reopened: Reopened = field(default_factory=Reopened)
    """Tiles that stand in the cube, and of which only what the area has gained is to be bought."""
    max_pu: float | None = None
    notes: tuple[str, ...] = ()
    """What was mended or left out on the way, for the user to read."""

    @property
    def has_time(self) -> bool:
        """Whether the arrays have a time axis."""
        return self.timeline is not None

    @property
    def tile_count(self) -> int:
        """Tiles that hold a pixel of the area and, at their step, of an acquisition."""
        return self.tile_set.count

    @property
    def cost(self) -> Cost:
        """What all tiles cost: the sum over tiles of equal size."""
        layer, rates = self.layer, self.deployment
        return estimate_cost(
            self._sizes(),
            price=layer.price,
            requests=self.tile_set.bundle_count() * len(layer.parts),
            sent_nbytes_per_px=layer.sent_nbytes_per_px,
            stored_nbytes_per_px=sum(np.dtype(band.dtype).itemsize for band in layer.bands) + MASK_NBYTES,
            requests_per_minute=rates.requests_per_minute,
            pu_per_minute=rates.pu_per_minute,
        )

    def tile(self, index: int) -> Tile:
        """The tile at ``index``, which is one of the `TileSet`'s. Pure. Raises IndexError outside the array."""
        step, row, column = self.tile_set.place(index)
        size, (height, width) = self.store.tile_px, self.grid.shape
        y0, x0 = row * size, column * size
        extent = Window(y0=y0, y1=min(y0 + size, height), x0=x0, x1=min(x0 + size, width))
        return Tile(
            index=int(index),
            step=step if self.has_time else None,
            row=row,
            column=column,
            extent=extent,
            windows=(self.reopened.missing(int(index), extent),),
        )

    def tiles(self) -> Iterator[Tile]:
        """Every tile, ascending by index, made one at a time. Pure."""
        return map(self.tile, self.tile_set.indices().tolist())

    def interval(self, tile: Tile) -> TimeInterval | None:
        """What a request for ``tile`` alone asks for; None where the layer has no time. Pure."""
        if self.timeline is None or tile.step is None:
            return self.layer.interval
        return self.timeline.steps[tile.step].interval

    def area_mask(self, window: Window) -> NDArray[np.bool_]:
        """(y, x) of a window: True where the pixel is in the area; the same pixel is the same in any window. Pure."""
        return self.area.mask(window)

    def bought_mask(self, tile: Tile) -> NDArray[np.bool_]:
        """(y, x) of the tile: True where its pixels are bought, in the area and not standing in the cube. Pure."""
        inside, standing = self.area_mask(tile.extent), self.reopened.standing(tile.index, tile.extent)
        return inside if standing is None else inside & ~standing

    def window_pu(self, window: Window) -> float:
        """Projected processing units of all bands of ``window``, at one time. Pure."""
        return self.layer.price(window.shape)

    def tile_pu(self, index: int) -> float:
        """Projected processing units of the tile at ``index``. Pure."""
        return sum(self.window_pu(window) for window in self.tile(index).windows)

    def identity(self) -> dict[str, Any]:
        """What a store must match to be continued: grid, layer, layout, and the area unless it may grow. Pure."""
        grid, layer, store = self.grid, self.layer, self.store
        return {
            "grid": {
                "crs": grid.crs,
                "origin": list(grid.origin),
                "resolution": list(grid.resolution),
                "offset": list(grid.offset),
                "shape": list(grid.shape),
            },
            "layer": layer.identity(),
            "layout": {"chunk_px": store.chunk_px, "tile_px": store.tile_px, "sharded": store.sharded},
            **({} if self.has_fixed_array else {"area": self.area_identity()}),
            **({} if self.clear is None else {"clear": self.clear.identity()}),
        }

    def area_identity(self) -> dict[str, Any]:
        """What tells the area that was asked for from others, as JSON types. Pure."""
        return {"sha256": self.area_digest, "all_touched": self.area.all_touched}

    def describe(self) -> dict[str, Any]:
        """What built the cube, as JSON types, for its root attributes: identity, service, projection, notes. Pure."""
        cost = self.cost
        return {
            **self.identity(),
            "service": {"deployment": self.deployment.name, "base_url": self.deployment.base_url},
            "tiles": self.tile_count,
            "projected": {"requests": cost.requests, "pu": cost.pu},
            "notes": list(self.notes),
        }

    def __repr__(self) -> str:
        return "GroupPlan of " + "\n  ".join(self.lines())

    def lines(self) -> list[str]:
        """What people want to know of it, a line each. Pure."""
        cost, (rows, columns), (rx, ry) = self.cost, self.grid.shape, self.grid.resolution
        bands = ", ".join(band.name for band in self.layer.bands)
        duration = f"{cost.minutes:.1f} min" if cost.minutes >= 1 else f"{cost.minutes * 60:.0f} s"
        rate = self.deployment.requests_per_minute if cost.binding == "requests" else self.deployment.pu_per_minute
        is_open = self.clear is not None and self.tile_set.cloudy is None
        at_most = "at most " if is_open else ""
        only = f"; only tile-dates at least {self.clear.min_share:.0%} clear are bought" if self.clear else ""
        return [
            f"{self.layer.collection}: {bands}",
            f"{rows} x {columns} px (y, x) of {rx:g} x {ry:g} in {self.grid.crs}",
            *self._time_lines(),
            f"{self.tile_count} tiles of {self.store.tile_px} px",
            f"{at_most}{cost.requests} requests, {cost.pu:.2f} PU, {duration} at {rate:g} {cost.binding}/min{only}",
            f"{cost.nbytes_stored / 1e6:,.1f} MB stored before compression",
            *self.notes,
        ]

    def _time_lines(self) -> list[str]:
        if self.timeline is None:
            return []
        steps, together = self.timeline.steps, self.tile_set.bundle_count()
        first, last = min(step.time for step in steps), max(step.time for step in steps)
        return [
            (
                f"{len(steps)} steps ({self.layer.cadence}) from {first:%Y-%m-%d} to {last:%Y-%m-%d}; "
                f"{self.tile_set.unreached().size} tiles that no scene reaches are not bought"
            ),
            *([f"{self.tile_count / together:.1f} dates a request"] if together < self.tile_count else []),
        ]

    def _sizes(self) -> list[tuple[tuple[int, int], int]]:
        """(shape, how many) of the tiles: those at the array's lower and right edge may be smaller."""
        size, (height, width) = self.store.tile_px, self.grid.shape
        heights, widths = ([size, length - (length - 1) // size * size] for length in (height, width))
        return list(zip(product(heights, widths), self.tile_set.counts_by_size(), strict=True))


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
    layers = {name: make_layer(name, layer, spec.interval_of(name)) for name, layer in spec.layers.items()}
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
                notes=notes,
            )
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
    return placed


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
    reach = find_reach(timeline, plan.grid, plan.store.tile_px)
    whole_tile = (plan.store.tile_px, plan.store.tile_px)
    bundles = choose_bundles(timeline, reach, plan.layer, whole_tile, plan.deployment, apart=apart)
    return replace(plan, timeline=timeline, tile_set=TileSet(runs=runs, reach=reach, bundles=bundles))


def _is_met(plan: GroupPlan, step: int) -> bool:
    """Whether a step reaches the area, or where it may grow."""
    tiles = plan.tile_set
    if plan.has_fixed_array or tiles.reach is None:
        return tiles.reach is None or bool(tiles.reach.mask(step).any())
    rows, columns = tiles.runs.cells(0, tiles.runs.count)
    return bool(tiles.reach.cells(step, rows, columns).any())


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
