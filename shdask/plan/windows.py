"""The request windows of tiles: trimmed to the area's pixels, and cut where that saves more than requests are worth.

Pure. Refuses to know bands, scripts and how anything is fetched.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import groupby
from typing import TYPE_CHECKING

import numpy as np

from shdask.model import Window
from shdask.plan.area import meet_spans
from shdask.plan.cost import pu_minutes, request_minutes
from shdask.plan.cuts import CELLS, Cutter, find_boxes
from shdask.plan.reach import step_regions

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from shdask.plan.area import Area, Spans
    from shdask.plan.grid import Grid
    from shdask.plan.layer import LayerPlan
    from shdask.plan.spec import Prefer
    from shdask.plan.tile_set import TileSet
    from shdask.plan.timeline import Timeline
    from shdask.settings import Deployment

    Ints = NDArray[np.int64]
    Floats = NDArray[np.float64]
    Boxes = NDArray[np.int32]

TILES_AT_ONCE = 64
"""Cut together: numpy's calls are paid once, and the tables still fit the processor's cache."""
SAMPLE_TILES = 256
"""So many tiles, evenly spread, tell what a request is worth to all of them."""
WORTHS = 10
"""Halvings of a whole tile's price, from the dearest to the cheapest that a request is ever taken to be worth."""
SHARPER = 3
"""Further halvings between the last two of those."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class WindowTable:
    """Windows of tiles by a key, those of one tile side by side."""

    keys: Ints = field(default_factory=lambda: np.empty(0, np.int64))
    """Ascending."""
    first: Ints = field(default_factory=lambda: np.zeros(1, np.int64))
    """(key + 1,): where each key's windows begin, and their number."""
    boxes: Boxes = field(default_factory=lambda: np.empty((0, 4), np.int32))
    """(window, 4): first row, row after the last, first column, column after the last; in the array."""

    def find(self, key: int) -> tuple[Window, ...]:
        """The windows of ``key``; none where it is not known. Pure."""
        place = int(np.searchsorted(self.keys, key))
        if place == self.keys.size or self.keys[place] != key:
            return ()
        return tuple(
            Window(y0=y0, y1=y1, x0=x0, x1=x1)
            for y0, y1, x0, x1 in self.boxes[self.first[place] : self.first[place + 1]].tolist()
        )

    def places(self, keys: Ints) -> Ints:
        """For each of ``keys`` its position, or -1. Pure."""
        if not self.keys.size:
            return np.full(keys.shape, -1, np.int64)
        places = np.minimum(np.searchsorted(self.keys, keys), self.keys.size - 1)
        return np.where(self.keys[places] == keys, places, -1)

    @property
    def counts(self) -> Ints:
        """Number of windows of each key."""
        return np.diff(self.first)

    @property
    def pixels(self) -> Floats:
        """(window,): number of pixels."""
        y0, y1, x0, x1 = self.boxes.astype(np.float64).T
        return np.asarray((y1 - y0) * (x1 - x0))

    def sums(self, values: Floats) -> Floats:
        """The sum of ``values``, one for each window, by key. Pure."""
        return np.add.reduceat(values, self.first[:-1]) if self.keys.size else np.empty(0)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TileWindows:
    """Which windows a group's tiles are bought in; a tile that no table knows is bought whole."""

    area: Area | None = None
    """What they were cut for."""
    timeline: Timeline | None = None
    by_cell: WindowTable = field(default_factory=WindowTable)
    """By row x columns + column: cells at the area's border, the same at every step."""
    by_tile: WindowTable = field(default_factory=WindowTable)
    """By tile index: where the scenes of a step end inside the tile; goes before the cell's."""
    worth_pu: float = 0.0
    """What one request was taken to be worth, in processing units."""

    def of(self, index: int, cell: int) -> tuple[Window, ...]:
        """The windows of a tile; none where it is bought whole. Pure."""
        return self.by_tile.find(index) or self.by_cell.find(cell)

    def fit(self, area: Area, timeline: Timeline | None) -> bool:
        """Whether they hold every pixel that a plan of this area along these steps buys. Pure."""
        has_area = not self.by_cell.keys.size or self.area is area
        return has_area and (not self.by_tile.keys.size or (self.area is area and self.timeline is timeline))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Ground:
    """What windows are cut from: the tiles of a layer on its grid."""

    area: Area
    grid: Grid
    tile_px: int
    tiles: TileSet
    timeline: Timeline | None = None

    def extent(self, row: int, column: int) -> Window:
        """The pixels of a cell, clipped at the array's lower and right edge."""
        side, (height, width) = self.tile_px, self.grid.shape
        y0, x0 = row * side, column * side
        return Window(y0=y0, y1=min(y0 + side, height), x0=x0, x1=min(x0 + side, width))

    @property
    def whole_px(self) -> float:
        """Pixels of a tile."""
        return float(min(self.tile_px, self.grid.shape[0]) * min(self.tile_px, self.grid.shape[1]))

    def border(self) -> Pieces:
        """Cells of which the area leaves out pixels. Looks at no row without a tile."""
        return Pieces.gather(self._border())

    def _border(self) -> Iterator[tuple[int, Window, Spans]]:
        for row, columns in _rows_of(self.tiles):
            spans = self.area.spans(*self._rows(row))
            for column in self._not_filled(row, columns, spans):
                tile = self.extent(row, column)
                yield row * self.tiles.grid_shape[1] + column, tile, clip_spans(spans, tile)

    def swath_edges(self) -> Pieces:
        """Tiles bought alone of which the scenes of their step leave out pixels."""
        return Pieces.gather(self._swath_edges())

    def _swath_edges(self) -> Iterator[tuple[int, Window, Spans]]:
        if self.timeline is None or self.tiles.reach is None:
            return
        are_alone = self.tiles.are_alone()
        rows = list(_rows_of(self.tiles))
        for step, region in enumerate(step_regions(self.timeline, self.grid)):
            if region is None or not are_alone[step]:
                continue
            reached = self.tiles.reach.mask(step)
            for row, columns in rows:
                seen = region.spans(*self._rows(row))
                short = self._not_filled(row, columns[reached[row, columns]], seen)
                if not short:
                    continue
                both = meet_spans(self.area.spans(*self._rows(row)), seen, columns=self.grid.shape[1])
                first = step * self.tiles.cell_count + row * self.tiles.grid_shape[1]
                for column in short:
                    tile = self.extent(row, column)
                    yield first + column, tile, clip_spans(both, tile)

    def _rows(self, row: int) -> tuple[int, int]:
        extent = self.extent(row, 0)
        return extent.y0, extent.y1

    def _not_filled(self, row: int, columns: Ints, spans: Spans) -> list[int]:
        """Those of ``columns`` of tiles in which not every pixel is one of ``spans``."""
        _, starts, stops = spans
        y0, y1 = self._rows(row)
        side, count = self.tile_px, self.tiles.grid_shape[1]
        low, high = -(-starts // side), np.where(stops == self.grid.shape[1], count, stops // side)
        # how many rows run through each column of tiles from side to side
        turns = np.bincount(low[low < high], minlength=count + 1) - np.bincount(high[low < high], minlength=count + 1)
        is_filled = np.cumsum(turns)[:count] == y1 - y0
        short: list[int] = columns[~is_filled[columns]].tolist()
        return short


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Pieces:
    """Pixels of tiles that are not filled, as far as cuts need to know them."""

    keys: Ints
    """Ascending."""
    corners: Boxes
    """(piece, 2): row and column of the tile's upper left corner."""
    pixels: Floats
    """(piece,): how many there are."""
    cells: NDArray[np.int16]
    """(4, CELLS, CELLS, piece): `find_boxes` of each."""

    @classmethod
    def gather(cls, found: Iterable[tuple[int, Window, Spans]]) -> Pieces:
        """Of each its key, its tile and its pixels inside it; those without a pixel are left out."""
        keys, corners, pixels, cells = [], [], [], []
        for key, tile, spans in found:
            if spans[0].size:
                keys.append(key)
                corners.append((tile.y0, tile.x0))
                pixels.append(float((spans[2] - spans[1]).sum()))
                cells.append(find_boxes(spans, tile))
        return cls(
            keys=np.array(keys, np.int64),
            corners=np.array(corners, np.int32).reshape(-1, 2),
            pixels=np.array(pixels, np.float64),
            cells=np.stack(cells, axis=-1) if cells else np.empty((4, CELLS, CELLS, 0), np.int16),
        )

    @property
    def count(self) -> int:
        """Number of pieces."""
        return self.keys.size

    def some(self, count: int) -> Pieces:
        """At most ``count`` of them, evenly spread. Pure."""
        if self.count <= count:
            return self
        return self._take(np.linspace(0, self.count - 1, count).round().astype(np.int64))

    def _take(self, places: Ints | slice) -> Pieces:
        return Pieces(
            keys=self.keys[places],
            corners=self.corners[places],
            pixels=self.pixels[places],
            cells=np.ascontiguousarray(self.cells[..., places]),
        )

    def cut(self, cutter: Cutter) -> WindowTable:
        """The windows of all of them. Pure."""
        boxes: list[NDArray[np.int32]] = []
        counts: list[int] = []
        for start in range(0, self.count, TILES_AT_ONCE):
            some = self._take(slice(start, start + TILES_AT_ONCE))
            for (y, x), found in zip(some.corners.tolist(), cutter.cut(some.cells), strict=True):
                counts.append(len(found))
                boxes.append(np.array(found, np.int32) + np.array([y, y, x, x], np.int32))
        return WindowTable(
            keys=self.keys,
            first=np.concatenate(([0], np.cumsum(counts, dtype=np.int64))),
            boxes=np.concatenate([np.empty((0, 4), np.int32), *boxes]).astype(np.int32),
        )


def clip_spans(spans: Spans, window: Window) -> Spans:
    """The runs inside a window. Pure."""
    rows, starts, stops = spans
    starts, stops = np.maximum(starts, window.x0), np.minimum(stops, window.x1)
    inside = (starts < stops) & (rows >= window.y0) & (rows < window.y1)
    return rows[inside], starts[inside], stops[inside]


def _rows_of(tiles: TileSet) -> Iterator[tuple[int, Ints]]:
    """Each row of tiles with the columns of its tiles, both ascending."""
    for row, runs in groupby(tiles.runs.runs.tolist(), lambda run: run[0]):
        yield row, np.concatenate([np.arange(first, last) for _, first, last in runs])


def choose_windows(ground: Ground, layer: LayerPlan, deployment: Deployment, prefer: Prefer) -> TileWindows:
    """The windows of all tiles, each within its tile, disjoint, and together holding every pixel that is bought. Pure.

    What a request is worth is the least at which requests take no longer than processing units, at the deployment's
    rates: the cheapest of the fastest plans. ``prefer`` "pu" takes the least there is, "requests" never cuts.
    """
    borders, edges = ground.border(), ground.swath_edges()
    if not borders.count and not edges.count:
        return TileWindows()
    bill = _Bill(ground=ground, layer=layer, deployment=deployment, borders=borders, edges=edges)
    worth = bill.worth(prefer)
    return TileWindows(
        area=ground.area,
        timeline=ground.timeline,
        by_cell=borders.cut(bill.cutter(worth * bill.share)),
        by_tile=edges.cut(bill.cutter(worth)),
        worth_pu=worth,
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Bill:
    """What all tiles come to, by what a request is taken to be worth."""

    ground: Ground
    layer: LayerPlan
    deployment: Deployment
    borders: Pieces
    edges: Pieces

    @property
    def share(self) -> float:
        """Of a request, what a tile at one step has: several dates may come with one."""
        tiles = self.ground.tiles
        return tiles.bundle_count() / max(1, tiles.count)

    def cutter(self, per_window_pu: float) -> Cutter:
        """``per_window_pu`` is what a request is worth to a window at one step."""
        return Cutter(price=self.layer.price_pixels, per_box=per_window_pu * len(self.layer.parts))

    def worth(self, prefer: Prefer) -> float:
        """What a request is worth, in processing units."""
        whole = self._whole_pu
        least: float = whole / 2**WORTHS
        if prefer == "requests":
            return float("inf")
        if prefer == "pu":
            return least
        worths = [whole / 2 ** (halving / SHARPER) for halving in range(WORTHS * SHARPER + 1)]
        if not self._keeps_up(worths[0]):
            return float("inf")
        fits, fails = 0, len(worths)  # the cheaper a request is held, the more of them
        while fails - fits > 1:
            middle = (fits + fails) // 2
            fits, fails = (middle, fails) if self._keeps_up(worths[middle]) else (fits, middle)
        return worths[fits]

    @property
    def _whole_pu(self) -> float:
        """Price of a tile that is bought whole."""
        return float(self.layer.price_pixels(np.array([self.ground.whole_px]))[0])

    def _keeps_up(self, worth: float) -> bool:
        """Whether requests take no longer than processing units: by a sample of what is cut, and means over steps."""
        tiles, parts = self.ground.tiles, len(self.layer.parts)
        total, edges = tiles.count, self.edges.count
        borders = self.borders.count * (total - edges) / tiles.runs.count
        requests = total - edges - borders
        pu = requests * self._whole_pu
        requests *= self.share
        for pieces, count, share in ((self.borders, borders, self.share), (self.edges, edges, 1.0)):
            if count:
                found = pieces.some(SAMPLE_TILES).cut(self.cutter(worth * share))
                requests += count * share * found.boxes.shape[0] / found.keys.size
                pu += count * float(self.layer.price_pixels(found.pixels).sum()) / found.keys.size
        return request_minutes(requests * parts, self.deployment) <= pu_minutes(pu, self.deployment)
