"""Where patches may lie: the grids of a cube, a store's or a job's, and the windows on them that hold its area.

Refuses to know pixels, labels and sets.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import zarr
from pyproj import Transformer

from shdask.assemble.conventions import OUTSIDE_AREA
from shdask.assemble.place import open_place
from shdask.assemble.template import TILE_STATE
from shdask.errors import PlanError
from shdask.patches.draw import below, draw
from shdask.patches.groups import find_groups
from shdask.plan.cube import CubePlan
from shdask.plan.grid import Grid
from shdask.plan.spec import CubeSpec
from shdask.plan.zones import Zone
from shdask.planning import plan_before_search
from shdask.serve.open import SCOUT, is_job, zone_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from shdask.assemble.place import Place
    from shdask.patches.groups import LayerGroup
    from shdask.plan.area import Area
    from shdask.plan.group import GroupPlan
    from shdask.plan.timeline import Timeline

    Times = NDArray[np.datetime64]
    Ints = NDArray[np.int64]
    Floats = NDArray[np.float64]
    Rows = NDArray[np.intp]

WGS84 = "EPSG:4326"
BLOCK_ROWS = 4096
ZONES_NORTH, ZONES_SOUTH = 32600, 32700
_SIDE_BITS = 26


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Ground:
    """One grid of a cube, and where its area is."""

    zone: str
    """The UTM zone's EPSG code in a cube of zones; empty in a cube of one grid."""
    grid: Grid
    chunk_px: int
    tile_px: int
    tiles: NDArray[np.bool_]
    """(row, column) of tiles: True where one holds a pixel of the area."""
    area: Area | None
    """Its very pixels, of a job; of a store no more than ``tiles`` is known."""
    layers: tuple[str, ...]
    dates: Mapping[str, Times] = field(default_factory=dict)
    """Of the layers of a plan that have a time axis, ascending; of a store its index knows them."""

    @property
    def owner(self) -> Zone | None:
        """The zone that decides which places are this grid's; None where all are."""
        if not self.zone:
            return None
        is_north = int(self.zone) < ZONES_SOUTH
        return Zone(number=int(self.zone) - (ZONES_NORTH if is_north else ZONES_SOUTH), is_north=is_north)

    def degrees(self, x: Floats, y: Floats) -> tuple[Floats, Floats]:
        """(longitude, latitude) of points in the grid's CRS. Pure."""
        longitude, latitude = _transformer(self.grid.crs, WGS84).transform(x, y)
        return np.asarray(longitude), np.asarray(latitude)

    def centres(self, y0: Ints, x0: Ints, size_px: int) -> tuple[Floats, Floats]:
        """(longitude, latitude) of the centres of windows. Pure."""
        left, bottom, right, top = self.bounds(y0, x0, size_px).T
        return self.degrees((left + right) / 2, (bottom + top) / 2)

    def bounds(self, y0: Ints, x0: Ints, size_px: int) -> Floats:
        """(window, 4): left, bottom, right, top in the grid's CRS, as `Grid.bounds` of each. Pure."""
        (ox, oy), (rx, ry), (east, north) = self.grid.origin, self.grid.resolution, self.grid.offset
        left, right = ox + (east + x0) * rx, ox + (east + x0 + size_px) * rx
        bottom, top = oy + (north - y0 - size_px) * ry, oy + (north - y0) * ry
        return np.stack((left, bottom, right, top), axis=1)

    def corners(self) -> tuple[Floats, Floats]:
        """(longitude, latitude) of the array's corners. Pure."""
        left, bottom, right, top = self.grid.bounds()
        return self.degrees(np.array([left, right, right, left]), np.array([bottom, bottom, top, top]))

    def holds(self, y0: Ints, x0: Ints, size_px: int) -> NDArray[np.bool_]:
        """(window,): whether each lies in the array, is this zone's by its centre, and holds ground of the area.

        Of a job that is where its middle pixel is in the area, of a store where it meets a tile of it. Pure.
        """
        height, width = self.grid.shape
        kept = (y0 >= 0) & (x0 >= 0) & (y0 + size_px <= height) & (x0 + size_px <= width)
        rows = np.flatnonzero(kept)
        kept[rows] = self._meets(y0[rows], x0[rows], size_px)
        rows = np.flatnonzero(kept)
        if self.owner is not None and rows.size:
            kept[rows] = self.owner.owns(*self.centres(y0[rows], x0[rows], size_px))
        return kept

    def holds_px(self, rows: Ints, columns: Ints) -> NDArray[np.bool_]:
        """(pixel,): whether each is in the array, and in the area, or, of a store, in a tile of it. Pure."""
        height, width = self.grid.shape
        kept = (rows >= 0) & (columns >= 0) & (rows < height) & (columns < width)
        some = np.flatnonzero(kept)
        if self.area is not None:
            kept[some] = _inside(self.area, rows[some], columns[some])
        else:
            kept[some] = self.tiles[rows[some] // self.tile_px, columns[some] // self.tile_px]
        return kept

    def _meets(self, y0: Ints, x0: Ints, size_px: int) -> NDArray[np.bool_]:
        if self.area is not None:
            return self.holds_px(y0 + size_px // 2, x0 + size_px // 2)
        sums = np.pad(np.cumsum(np.cumsum(self.tiles, axis=0, dtype=np.int64), axis=1), ((1, 0), (1, 0)))
        top, left = y0 // self.tile_px, x0 // self.tile_px
        bottom, right = (y0 + size_px - 1) // self.tile_px + 1, (x0 + size_px - 1) // self.tile_px + 1
        return np.asarray(sums[bottom, right] - sums[top, right] - sums[bottom, left] + sums[top, left] > 0)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Grounds:
    """All grids of a cube: one, or one for each UTM zone."""

    name: str
    """The store's, or the job's."""
    grounds: tuple[Ground, ...]
    store: Place | None
    """None of a job."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Places:
    """Windows of one size; every array is (place,)."""

    ground: Rows
    """Number of its `Ground`."""
    y0: Ints
    x0: Ints

    def take(self, rows: Rows | NDArray[np.bool_]) -> Places:
        """Those of ``rows``."""
        return Places(ground=self.ground[rows], y0=self.y0[rows], x0=self.x0[rows])


def find_grounds(cube: str | os.PathLike[str] | CubeSpec | CubePlan) -> Grounds:
    """The grids of ``cube``: of a store those begun, of a job all. No pixel is read, and no service asked.

    Raises StoreError where there is no cube of ours, PlanError as `make_plan`.
    """
    if isinstance(cube, CubePlan):
        return _of_plan(cube, "a plan")
    if isinstance(cube, CubeSpec):
        return _of_plan(plan_before_search(cube.with_scripts()), "a job")
    if isinstance(cube, str | os.PathLike) and is_job(cube):
        return _of_plan(plan_before_search(CubeSpec.from_file(Path(cube)).with_scripts()), Path(cube).name)
    if not isinstance(cube, str | os.PathLike):
        raise PlanError(
            f"{type(cube).__name__} is no cube; give the folder of one, s3://bucket/prefix, or a job: its file, a "
            f"CubeSpec or a CubePlan"
        )
    return _of_store(open_place(cube))


def grid_places(ground: Ground, number: int, *, size_px: int, stride_px: int | None) -> Places:
    """The lattice of windows, by row from the north and by column from the west, that `Ground.holds`. Pure.

    Every ``stride_px``; without it side by side from each chunk's upper left corner as they fit into one, so that a
    patch is read from the fewest chunks.
    """
    height, width = ground.grid.shape
    ys, xs = (_starts(length, size_px, stride_px, ground.chunk_px) for length in (height, width))
    if not ys.size or not xs.size:
        return join([])
    found = []
    for start in range(0, ys.size, max(1, BLOCK_ROWS * BLOCK_ROWS // xs.size)):
        rows = ys[start : start + max(1, BLOCK_ROWS * BLOCK_ROWS // xs.size)]
        y0, x0 = np.repeat(rows, xs.size), np.tile(xs, rows.size)
        kept = ground.holds(y0, x0, size_px)
        found.append(Places(ground=np.full(int(kept.sum()), number, np.intp), y0=y0[kept], x0=x0[kept]))
    return join(found)


def random_places(
    grounds: Sequence[Ground], *, size_px: int, first: int, count: int, align_px: int, seed: int
) -> Places:
    """What is left of draws [``first``, ``first`` + ``count``) of windows that `Ground.holds`, in their order. Pure.

    Each window with its middle pixel in a tile of the area is as likely; then corners move north-west to multiples of
    ``align_px``. A place may be drawn more than once.
    """
    parts = [_tile_corners(ground, size_px) for ground in grounds]
    number = np.repeat(np.arange(len(parts), dtype=np.intp), [len(part) for part in parts])
    top, left, rows, columns = np.concatenate(parts).T
    ends = np.cumsum(rows * columns)
    if not ends.size or not ends[-1]:
        return join([])
    turn = np.arange(first, first + count, dtype=np.int64)
    chosen = below(draw(seed, "place", turn), int(ends[-1]))
    tile = np.searchsorted(ends, chosen, side="right")
    down, right = np.divmod(chosen - ends[tile] + rows[tile] * columns[tile], columns[tile])
    y0, x0 = ((top[tile] + down) // align_px * align_px, (left[tile] + right) // align_px * align_px)
    number = number[tile]
    kept = np.zeros(count, np.bool_)
    for each, ground in enumerate(grounds):
        some = np.flatnonzero(number == each)
        kept[some] = ground.holds(y0[some], x0[some], size_px)
    return Places(ground=number[kept], y0=y0[kept], x0=x0[kept])


def _tile_corners(ground: Ground, size_px: int) -> Ints:
    """(tile, 4): of the area's tiles the first row and column of corners of windows in their middle, and how many."""
    cells = np.argwhere(ground.tiles)
    room = np.array(ground.grid.shape) - size_px
    start = np.maximum(cells * ground.tile_px - size_px // 2, 0)
    end = np.minimum((cells + 1) * ground.tile_px - size_px // 2 - 1, room)
    return np.concatenate((start, np.maximum(end - start + 1, 0)), axis=1)


def join(parts: Iterable[Places]) -> Places:
    """All of them, one behind the other. Pure."""
    known = list(parts)
    nothing = np.empty(0, np.int64)
    return Places(
        ground=np.concatenate([nothing.astype(np.intp), *(part.ground for part in known)]),
        y0=np.concatenate([nothing, *(part.y0 for part in known)]),
        x0=np.concatenate([nothing, *(part.x0 for part in known)]),
    )


def number_places(ground: Rows, y0: Ints, x0: Ints) -> Ints:
    """One number for each place, ordered as (ground, y0, x0) are; no array is larger than 67 million a side. Pure."""
    return (ground.astype(np.int64) << (2 * _SIDE_BITS)) | (y0 << _SIDE_BITS) | x0


def _starts(length: int, size_px: int, stride_px: int | None, chunk_px: int) -> Ints:
    if stride_px is not None:
        starts = np.arange(0, length - size_px + 1, stride_px, dtype=np.int64)
    elif size_px >= chunk_px:
        starts = np.arange(0, length - size_px + 1, -(-size_px // chunk_px) * chunk_px, dtype=np.int64)
    else:
        within = np.arange(0, chunk_px - size_px + 1, size_px, dtype=np.int64)
        starts = (np.arange(0, length, chunk_px, dtype=np.int64)[:, np.newaxis] + within).ravel()
    return starts[starts + size_px <= length]


def _inside(area: Area, rows: Ints, columns: Ints) -> NDArray[np.bool_]:
    """Whether each pixel is in the area."""
    found = np.zeros(rows.size, np.bool_)
    step = area.shape[1] + 2
    for block in np.unique(rows // BLOCK_ROWS).tolist():
        some = np.flatnonzero(rows // BLOCK_ROWS == block)
        y0, y1 = int(rows[some].min()), int(rows[some].max()) + 1
        lines, starts, stops = area.spans(y0, y1)
        if lines.size:
            at = rows[some] * step + columns[some]
            run = np.searchsorted(lines * step + starts, at, side="right") - 1
            found[some] = (run >= 0) & (at < (lines * step + stops)[np.maximum(run, 0)])
    return found


def _of_plan(plan: CubePlan, name: str) -> Grounds:
    zones: dict[str, list[GroupPlan]] = {}
    for path, group in plan.groups.items():
        if not path.startswith(SCOUT):
            zones.setdefault(zone_of(path) or "", []).append(group)
    return Grounds(name=name, grounds=tuple(_of_groups(zone, zones[zone]) for zone in sorted(zones)), store=None)


def _of_groups(zone: str, groups: Sequence[GroupPlan]) -> Ground:
    one = groups[0]
    tiles = np.zeros(one.tile_set.grid_shape, np.bool_)
    tiles[one.tile_set.runs.cells(0, one.tile_set.runs.count)] = True
    return Ground(
        zone=zone,
        grid=one.grid,
        chunk_px=one.store.chunk_px,
        tile_px=one.store.tile_px,
        tiles=tiles,
        area=one.area,
        layers=tuple(group.layer.name for group in groups),
        dates={group.layer.name: _dates(group.timeline) for group in groups if group.timeline is not None},
    )


def _dates(timeline: Timeline) -> Times:
    return np.array(sorted(step.time.replace(tzinfo=None) for step in timeline.steps), "datetime64[s]")


def _of_store(place: Place) -> Grounds:
    zones: dict[str, list[LayerGroup]] = {}
    for group in find_groups(place):
        zones.setdefault(group.zone, []).append(group)
    if not zones:
        raise PlanError(f"{place.name} holds no group yet; wait until its build has begun, or give its job instead")
    grounds = []
    for zone in sorted(zones):
        one = zones[zone][0]
        layout = one.attributes["layout"]
        grounds.append(
            Ground(
                zone=zone,
                grid=_read_grid(one.attributes["identity"]["grid"]),
                chunk_px=int(layout["chunk_px"]),
                tile_px=int(layout["tile_px"]),
                tiles=_read_tiles(one.place),
                area=None,
                layers=tuple(group.layer for group in zones[zone]),
            )
        )
    return Grounds(name=place.name, grounds=tuple(grounds), store=place)


def _read_grid(told: dict[str, object]) -> Grid:
    numbers = {name: np.asarray(told[name]).tolist() for name in ("origin", "resolution", "offset", "shape")}
    return Grid(
        epsg=int(str(told["crs"]).removeprefix("EPSG:")), **{name: tuple(pair) for name, pair in numbers.items()}
    )


def _read_tiles(place: Place) -> NDArray[np.bool_]:
    with place.errors():
        array = zarr.open_group(place.zarr_store(read_only=True), mode="r")[TILE_STATE]
        if not isinstance(array, zarr.Array):
            raise TypeError(f"{TILE_STATE} is no array")
        first = array[0] if array.ndim == 3 else array[...]  # noqa: PLR2004  # (time, row, column)
    return np.asarray(np.asarray(first) != OUTSIDE_AREA)


@cache
def _transformer(source: str, target: str) -> Transformer:
    return Transformer.from_crs(source, target, always_xy=True)
