"""What windows are cut from: the tiles of which pixels are left out, where the area or the scenes of a step end.

Pure. Refuses to know prices, and how tiles are cut.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import groupby, islice
from typing import TYPE_CHECKING, Self

import numpy as np

from shdask.model import Window
from shdask.plan.area import meet_spans
from shdask.plan.cuts import CELLS, find_boxes
from shdask.plan.reach import step_regions

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from shdask.plan.area import Area, Spans
    from shdask.plan.grid import Grid
    from shdask.plan.tile_set import TileSet
    from shdask.plan.timeline import Timeline

    Ints = NDArray[np.int64]
    Floats = NDArray[np.float64]

TILES_AT_ONCE = 128
"""Cut together: numpy's calls are paid once, and the tables of so many take 40 MB."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Ground:
    """The tiles of a layer on its grid."""

    area: Area
    grid: Grid
    tile_px: int
    tiles: TileSet
    timeline: Timeline | None = None

    def extent(self, row: int, column: int) -> Window:
        """The pixels of a cell, clipped at the array's lower and right edge. Pure."""
        side, (height, width) = self.tile_px, self.grid.shape
        y0, x0 = row * side, column * side
        return Window(y0=y0, y1=min(y0 + side, height), x0=x0, x1=min(x0 + side, width))

    @property
    def whole_px(self) -> float:
        """Pixels of a tile."""
        return float(min(self.tile_px, self.grid.shape[0]) * min(self.tile_px, self.grid.shape[1]))

    def border(self) -> Rim:
        """Cells of which the area leaves out pixels, by row x columns + column. Looks at no row without a tile."""
        columns = self.tiles.grid_shape[1]
        found = [row * columns + self._not_filled(row, some, self.area) for row, some in _rows_of(self.tiles)]
        return Rim(ground=self, keys=np.concatenate([np.empty(0, np.int64), *found]))

    def swath_edges(self) -> Rim:
        """Tiles bought alone of which the scenes of their step leave out pixels, by index."""
        tiles, found = self.tiles, [np.empty(0, np.int64)]
        regions: dict[int, Area] = {}
        if self.timeline is not None and tiles.reach is not None:
            are_alone, rows = tiles.are_alone(), list(_rows_of(tiles))
            for step, region in enumerate(step_regions(self.timeline, self.grid)):
                # a revision asks for all scenes of its time, and names the new ones
                if region is None or not are_alone[step] or self.timeline.steps[step].revision:
                    continue
                regions[step], reached = region, tiles.reach.mask(step)
                for row, columns in rows:
                    short = self._not_filled(row, columns[reached[row, columns]], region)
                    found.append(step * tiles.cell_count + row * tiles.grid_shape[1] + short)
        return Rim(ground=self, keys=np.concatenate(found), regions=regions)

    def _not_filled(self, row: int, columns: Ints, area: Area) -> Ints:
        """Those of ``columns`` of tiles of which ``area`` leaves out pixels."""
        if not columns.size:
            return columns
        extent = self.extent(row, 0)
        _, starts, stops = area.spans(extent.y0, extent.y1)
        side, count = self.tile_px, self.tiles.grid_shape[1]
        low, high = -(-starts // side), np.where(stops == self.grid.shape[1], count, stops // side)
        # how many rows run through each column of tiles from side to side
        turns = np.bincount(low[low < high], minlength=count + 1) - np.bincount(high[low < high], minlength=count + 1)
        return columns[np.cumsum(turns)[columns] < extent.y1 - extent.y0]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Pieces:
    """Pixels of some tiles that are not filled, as far as cuts need to know them."""

    keys: Ints
    """Ascending."""
    corners: Ints
    """(piece, 2): row and column of the tile's upper left corner."""
    pixels: Floats
    """(piece,): how many there are."""
    cells: NDArray[np.int16]
    """(4, CELLS, CELLS, piece): `find_boxes` of each."""

    @classmethod
    def gather(cls, found: Iterable[tuple[int, Window, Spans]]) -> Self:
        """Of each its key, its tile and its pixels inside it."""
        keys, corners, pixels, cells = [], [], [], []
        for key, tile, spans in found:
            keys.append(key)
            corners.append((tile.y0, tile.x0))
            pixels.append(float((spans[2] - spans[1]).sum()))
            cells.append(find_boxes(spans, tile))
        return cls(
            keys=np.array(keys, np.int64),
            corners=np.array(corners, np.int64).reshape(-1, 2),
            pixels=np.array(pixels, np.float64),
            cells=np.stack(cells, axis=-1) if cells else np.empty((4, CELLS, CELLS, 0), np.int16),
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Rim:
    """Tiles that are not filled. Their pixels are looked up whenever they are asked for: a tile's take 2 kB."""

    ground: Ground
    keys: Ints
    """Ascending: step x cells + cell; cells at the area's border are those of step 0."""
    regions: Mapping[int, Area] = field(default_factory=dict)
    """Where the scenes of a step are; all of the area where it is not here."""

    @property
    def count(self) -> int:
        """Number of tiles."""
        return self.keys.size

    def some(self, count: int) -> Self:
        """At most ``count`` of them, evenly spread. Pure."""
        if self.count <= count:
            return self
        return replace(self, keys=self.keys[np.linspace(0, self.count - 1, count).round().astype(np.int64)])

    def pieces(self) -> Iterator[Pieces]:
        """The pixels of all of them, in order, some tiles at a time; tiles without any are left out. Pure."""
        found = self._found()
        while (some := Pieces.gather(islice(found, TILES_AT_ONCE))).keys.size:
            yield some

    def _found(self) -> Iterator[tuple[int, Window, Spans]]:
        rows, columns = self.ground.tiles.grid_shape
        for line, keys in groupby(self.keys.tolist(), lambda key: key // columns):
            step, row = divmod(line, rows)
            runs = self._runs(step, self.ground.extent(row, 0))
            for key in keys:
                tile = self.ground.extent(row, key % columns)
                inside = runs.inside(tile)
                if inside[0].size:
                    yield key, tile, inside

    def _runs(self, step: int, extent: Window) -> _Runs:
        """The pixels of a row of tiles."""
        width = self.ground.grid.shape[1]
        spans = self.ground.area.spans(extent.y0, extent.y1)
        if step in self.regions:
            spans = meet_spans(spans, self.regions[step].spans(extent.y0, extent.y1), columns=width)
        return _Runs.index(spans, width)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Runs:
    """Runs of a row of tiles; those of one tile are found without looking at all others."""

    spans: Spans
    step: int
    begins: Ints
    """(run,) ascending: row x step + first column."""
    ends: Ints

    @classmethod
    def index(cls, spans: Spans, columns: int) -> Self:
        rows, starts, stops = spans
        step = columns + 2  # the end of a row comes before the start of the next
        return cls(spans=spans, step=step, begins=rows * step + starts, ends=rows * step + stops)

    def inside(self, tile: Window) -> Spans:
        """Those in ``tile``, clipped to it."""
        rows, starts, stops = self.spans
        lines = np.arange(tile.y0, tile.y1, dtype=np.int64) * self.step
        first = np.searchsorted(self.ends, lines + tile.x0, side="right")
        counts = np.searchsorted(self.begins, lines + tile.x1, side="left") - first
        before = np.cumsum(counts) - counts
        places = np.repeat(first - before, counts) + np.arange(counts.sum())
        return rows[places], np.maximum(starts[places], tile.x0), np.minimum(stops[places], tile.x1)


def _rows_of(tiles: TileSet) -> Iterator[tuple[int, Ints]]:
    """Each row of tiles with the columns of its tiles, both ascending."""
    for row, runs in groupby(tiles.runs.runs.tolist(), lambda run: run[0]):
        yield row, np.concatenate([np.arange(first, last) for _, first, last in runs])
