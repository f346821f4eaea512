"""GroupPlan: a job placed on its grid, cut into tiles and priced; tiles are counted by formula and made when asked for.

Refuses to know how anything is fetched or stored.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import shapely

from shdask.errors import PlanError
from shdask.model import Band, Tile, TimeInterval, Window
from shdask.plan.area import Area
from shdask.plan.cost import Cost, estimate_cost, price_request
from shdask.plan.footprint import METRES_PER_DEGREE, make_footprint, metres_per_px
from shdask.plan.grid import Grid
from shdask.plan.spec import CubeSpec, StoreOptions
from shdask.plan.tiles import TileRuns, find_tiles
from shdask.request.collections import find_collection
from shdask.settings import Deployment

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from shdask.inputs import AreaOfInterest, ReferenceGrid
    from shdask.plan.spec import Layer

MAX_TILE_CELLS = 10**8
"""Tiles of a whole array, planned or not: ``tile_state`` has a byte for each."""
MASK_NBYTES = 1
"""``data_mask`` is stored as uint8."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerPlan:
    """What every request of a layer asks for."""

    name: str
    collection: str
    """The service's name of the collection."""
    bands: tuple[Band, ...]
    units: tuple[str, ...]
    """Unit to request each band in; ``Band.scale`` turns it into what is stored."""
    interval: TimeInterval | None
    mosaicking_order: Literal["mostRecent", "leastRecent", "leastCC"]
    max_cloud_cover: float | None
    """Share, 0 to 1."""
    resampling: Literal["nearest", "bilinear", "bicubic"]
    sample_type: Literal["UINT16"] = "UINT16"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class GroupPlan:
    """Everything a build needs to know but the credentials. Picklable; its size is the area's border's."""

    grid: Grid
    layer: LayerPlan
    area: Area
    area_digest: str
    """SHA-256 of the area as it was given, with what widens it."""
    tile_runs: TileRuns
    store: StoreOptions
    deployment: Deployment
    max_pu: float | None = None
    notes: tuple[str, ...] = ()
    """What was mended or left out on the way, for the user to read."""

    @property
    def tile_count(self) -> int:
        """Tiles that hold at least one pixel of the area."""
        return self.tile_runs.count

    @property
    def tile_grid_shape(self) -> tuple[int, int]:
        """(rows, columns) of tiles in the whole array, planned or not."""
        return self.tile_runs.grid_shape

    @property
    def cost(self) -> Cost:
        """What all tiles cost: the sum over tiles of equal size."""
        layer, rates = self.layer, self.deployment
        return estimate_cost(
            self._sizes(),
            band_count=len(layer.bands),
            stored_nbytes_per_px=sum(np.dtype(band.dtype).itemsize for band in layer.bands) + MASK_NBYTES,
            requests_per_minute=rates.requests_per_minute,
            pu_per_minute=rates.pu_per_minute,
        )

    def tile(self, index: int) -> Tile:
        """The tile at ``index``, 0 .. tile_count - 1, row by row from the north. Pure. Raises IndexError."""
        rows, columns = self.tile_runs.cells(index, index + 1)
        return self._tile(index, int(rows[0]), int(columns[0]))

    def tiles(self) -> Iterator[Tile]:
        """Every tile in order, made one at a time. Pure."""
        step = 4096
        for start in range(0, self.tile_count, step):
            rows, columns = self.tile_runs.cells(start, min(start + step, self.tile_count))
            for index, row, column in zip(range(start, start + step), rows.tolist(), columns.tolist(), strict=False):
                yield self._tile(index, row, column)

    def tile_cells(self, start: int, stop: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """(tile rows, tile columns) of tiles [start, stop), one entry each. Pure. Raises IndexError."""
        return self.tile_runs.cells(start, stop)

    def area_mask(self, window: Window) -> NDArray[np.bool_]:
        """(y, x) of a window: True where the pixel is in the area; the same pixel is the same in any window. Pure."""
        return self.area.mask(window)

    def window_pu(self, window: Window) -> float:
        """Projected processing units of the request for ``window``. Pure."""
        return price_request(window.shape, len(self.layer.bands))

    def identity(self) -> dict[str, Any]:
        """What a store must match to be continued: grid, layer, layout and area, as JSON types. Pure."""
        grid, layer, store = self.grid, self.layer, self.store
        return {
            "grid": {
                "crs": grid.crs,
                "origin": list(grid.origin),
                "resolution": list(grid.resolution),
                "offset": list(grid.offset),
                "shape": list(grid.shape),
            },
            "layer": {
                "name": layer.name,
                "collection": layer.collection,
                "bands": [_band_json(band, unit) for band, unit in zip(layer.bands, layer.units, strict=True)],
                "interval": _interval_json(layer.interval),
                "mosaicking_order": layer.mosaicking_order,
                "max_cloud_cover": layer.max_cloud_cover,
                "resampling": layer.resampling,
                "sample_type": layer.sample_type,
            },
            "layout": {"chunk_px": store.chunk_px, "tile_px": store.tile_px, "sharded": store.sharded},
            "area": {"sha256": self.area_digest, "all_touched": self.area.all_touched},
        }

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
        return "GroupPlan of " + "\n  ".join(self._lines())

    def _repr_html_(self) -> str:
        first, *rest = (escape(line) for line in self._lines())
        return f"<b>GroupPlan</b> of {first}<ul>" + "".join(f"<li>{line}</li>" for line in rest) + "</ul>"

    def _lines(self) -> list[str]:
        cost, (rows, columns), (rx, ry) = self.cost, self.grid.shape, self.grid.resolution
        bands = ", ".join(band.name for band in self.layer.bands)
        duration = f"{cost.minutes:.1f} min" if cost.minutes >= 1 else f"{cost.minutes * 60:.0f} s"
        rate = self.deployment.requests_per_minute if cost.binding == "requests" else self.deployment.pu_per_minute
        return [
            f"{self.layer.collection}: {bands}",
            f"{rows} x {columns} px (y, x) of {rx:g} x {ry:g} in {self.grid.crs}",
            f"{self.tile_count} tiles of {self.store.tile_px} px",
            f"{cost.requests} requests, {cost.pu:.2f} PU, {duration} at {rate:g} {cost.binding}/min",
            f"{cost.nbytes_stored / 1e6:,.1f} MB stored before compression",
            *self.notes,
        ]

    def _tile(self, index: int, row: int, column: int) -> Tile:
        size, (height, width) = self.store.tile_px, self.grid.shape
        y0, x0 = row * size, column * size
        extent = Window(y0=y0, y1=min(y0 + size, height), x0=x0, x1=min(x0 + size, width))
        return Tile(index=index, row=row, column=column, extent=extent, windows=(extent,))

    def _sizes(self) -> list[tuple[tuple[int, int], int]]:
        size, (height, width) = self.store.tile_px, self.grid.shape
        last_height, last_width = (length - (length - 1) // size * size for length in (height, width))
        inner, right, bottom, corner = self.tile_runs.counts_by_size()
        return [
            ((size, size), inner),
            ((size, last_width), right),
            ((last_height, size), bottom),
            ((last_height, last_width), corner),
        ]


def make_group(
    spec: CubeSpec, *, area: AreaOfInterest | None, like: ReferenceGrid | None, deployment: Deployment
) -> GroupPlan:
    """Place a job on its grid and cut it into tiles. Pure: ``area`` and ``like`` are what ``spec`` names, already read.

    Raises PlanError, with the place and the cure, where the job asks for what the service cannot give, and
    where no pixel lies in the area.
    """
    grid, on_grid, notes = make_footprint(spec, area, like)
    name, layer = spec.layer
    _check_limits(grid, layer, spec.store, deployment)
    tile_runs = find_tiles(on_grid, spec.store.tile_px)
    if not tile_runs.count:
        raise PlanError(
            f"aoi: no pixel centre of the {grid.shape[0]} x {grid.shape[1]} px array lies in the area; "
            f"set all_touched = true, take a finer resolution, or check aoi_crs and extent"
        )
    return GroupPlan(
        grid=grid,
        layer=_make_layer(name, layer, spec.interval),
        area=on_grid,
        area_digest=_digest(area, spec.buffer),
        tile_runs=tile_runs,
        store=spec.store,
        deployment=deployment,
        max_pu=spec.service.max_pu,
        notes=notes,
    )


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


def _make_layer(name: str, layer: Layer, interval: TimeInterval | None) -> LayerPlan:
    collection = find_collection(layer.collection)
    bands, units = [], []
    for info in map(collection.band, layer.bands):
        as_reflectance = layer.units == "REFLECTANCE" and info.reflectance_per_dn is not None
        if as_reflectance:
            band = Band(name=info.name, dtype="float32", fill_value=float("nan"), scale=info.reflectance_per_dn)
        else:
            band = Band(name=info.name, dtype=info.dtype, fill_value=0)
        bands.append(band)
        units.append(info.units[0])
    return LayerPlan(
        name=name,
        collection=collection.name,
        bands=tuple(bands),
        units=tuple(units),
        interval=interval,
        mosaicking_order=layer.mosaicking_order,
        max_cloud_cover=layer.max_cloud_cover,
        resampling=layer.resampling,
    )


def _digest(area: AreaOfInterest | None, buffer: float) -> str:
    if area is None:
        return hashlib.sha256(b"whole grid").hexdigest()
    wkb = shapely.to_wkb(area.geometry, byte_order=1, output_dimension=2)
    return hashlib.sha256(b"\0".join((wkb, area.crs.encode(), repr(float(buffer)).encode()))).hexdigest()


def _band_json(band: Band, unit: str) -> dict[str, Any]:
    return {"name": band.name, "unit": unit, "dtype": band.dtype, "scale": band.scale}


def _interval_json(interval: TimeInterval | None) -> list[str] | None:
    return None if interval is None else [interval.start.isoformat(), interval.end.isoformat()]
