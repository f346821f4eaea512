"""The request windows of tiles: trimmed to the area's pixels, and cut where that saves more than requests are worth.

Pure. Refuses to know bands, scripts and how anything is fetched.
"""

from __future__ import annotations

from bisect import bisect
from dataclasses import dataclass, field
from math import inf
from typing import TYPE_CHECKING, Self

import numpy as np

from shdask.model import Window
from shdask.plan.cost import pu_minutes, request_minutes
from shdask.plan.cuts import Cutter
from shdask.plan.ground import Ground

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from shdask.plan.area import Area
    from shdask.plan.ground import Pieces, Rim
    from shdask.plan.layer import LayerPlan
    from shdask.plan.spec import Prefer
    from shdask.plan.tile_set import TileSet
    from shdask.plan.timeline import Timeline
    from shdask.settings import Deployment

    Ints = NDArray[np.int64]
    Floats = NDArray[np.float64]
    Boxes = NDArray[np.int32]

SAMPLE_TILES = 256
"""So many tiles, evenly spread, tell what a request is worth to all of them."""
WORTHS = 10
"""Halvings of a whole tile's price, from the dearest to the cheapest that a request is ever taken to be worth."""
SHARPER = 3
"""Steps to each halving."""


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
    """By tile index: where the scenes of a step end inside the tile, and where the dates of a composite would make a
    request too dear; goes before the cell's."""
    worth_pu: float = 0.0
    """What one request was taken to be worth, in processing units."""

    def of(self, index: int, cell: int) -> tuple[Window, ...]:
        """The windows of a tile; none where it is bought whole. Pure."""
        return self.by_tile.find(index) or self.by_cell.find(cell)

    def fit(self, area: Area, timeline: Timeline | None) -> bool:
        """Whether they hold every pixel that a plan of this area along these steps buys. Pure."""
        has_area = not self.by_cell.keys.size or self.area is area
        return has_area and (not self.by_tile.keys.size or (self.area is area and self.timeline is timeline))


def cut_windows(rim: Rim, cutter: Cutter) -> WindowTable:
    """The windows of all tiles of ``rim`` that hold a pixel. Pure."""
    tables = [_cut(pieces, cutter) for pieces in rim.pieces()]
    first = np.cumsum(np.concatenate([[0], *(table.counts for table in tables)]), dtype=np.int64)
    empty = WindowTable()
    return WindowTable(
        keys=np.concatenate([empty.keys, *(table.keys for table in tables)]),
        first=first,
        boxes=np.concatenate([empty.boxes, *(table.boxes for table in tables)]),
    )


def _cut(pieces: Pieces, cutter: Cutter) -> WindowTable:
    found = cutter.cut(pieces.cells, pieces.pixels)
    counts = np.array([len(boxes) for boxes in found])
    boxes = np.array([box for boxes in found for box in boxes])
    boxes += np.repeat(pieces.corners, 2, axis=1).repeat(counts, axis=0)
    return WindowTable(keys=pieces.keys, first=np.concatenate(([0], np.cumsum(counts))), boxes=boxes.astype(np.int32))


def choose_windows(ground: Ground, layer: LayerPlan, deployment: Deployment, prefer: Prefer) -> TileWindows:
    """The windows of all tiles, each within its tile, disjoint, and together holding every pixel that is bought. Pure.

    What a request is worth is the least at which requests take no longer than processing units, at the deployment's
    rates: the cheapest of the fastest plans. ``prefer`` "pu" takes the least there is, "requests" never cuts.
    """
    border, edges = ground.border(), ground.swath_edges()
    if not border.count and not edges.count:
        return TileWindows()
    bill = _Bill(
        layer=layer,
        deployment=deployment,
        tiles=ground.tiles,
        whole_pu=float(layer.price_pixels(np.array([ground.whole_px]))[0]),
        border=_Sample.of(border),
        edges=_Sample.of(edges),
    )
    worth = bill.worth(prefer)
    return TileWindows(
        area=ground.area,
        timeline=ground.timeline,
        by_cell=cut_windows(border, bill.cutter(worth * bill.share)),
        by_tile=cut_windows(edges, bill.cutter(worth)),
        worth_pu=worth,
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Sample:
    """Some of many tiles that are not filled."""

    count: int
    """How many tiles they stand for."""
    pieces: tuple[Pieces, ...]

    @classmethod
    def of(cls, rim: Rim) -> Self:
        return cls(count=rim.count, pieces=tuple(rim.some(SAMPLE_TILES).pieces()))

    def means(self, cutter: Cutter) -> tuple[float, float]:
        """Windows and processing units, were they bought to the pixel, of a tile on average."""
        found = [len(boxes) for pieces in self.pieces for boxes in cutter.cut(pieces.cells, pieces.pixels)]
        pu = sum(float(cutter.price(pieces.pixels).sum()) for pieces in self.pieces)
        return sum(found) / max(1, len(found)), pu / max(1, len(found))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Bill:
    """What all tiles come to, by what a request is taken to be worth."""

    layer: LayerPlan
    deployment: Deployment
    tiles: TileSet
    whole_pu: float
    """Price of a tile that is bought whole."""
    border: _Sample
    edges: _Sample

    @property
    def share(self) -> float:
        """Of a request, what a tile at one step has: several dates may come with one."""
        return self.tiles.bundle_count() / max(1, self.tiles.count)

    def cutter(self, per_window_pu: float) -> Cutter:
        """``per_window_pu`` is what a request is worth to a window at one step."""
        return Cutter(price=self.layer.price_pixels, per_box=per_window_pu * len(self.layer.parts))

    def worth(self, prefer: Prefer) -> float:
        """What a request is worth, in processing units; infinite where nothing is to be cut."""
        if prefer == "requests":
            return inf
        worths = [self.whole_pu / 2 ** (halving / SHARPER) for halving in range(WORTHS * SHARPER + 1)]
        if prefer == "pu" or self._keeps_up(worths[-1]):
            return worths[-1]
        fails = bisect(worths, False, key=lambda worth: not self._keeps_up(worth))
        return worths[fails - 1] if fails else inf

    def _keeps_up(self, worth: float) -> bool:
        """Whether requests take no longer than processing units: by a sample of what is cut, and means over steps."""
        total, share = self.tiles.count, self.share
        edges = self.edges.count
        borders = self.border.count * (total - edges) / self.tiles.runs.count
        windows, pu = self.border.means(self.cutter(worth * share))
        edge_windows, edge_pu = self.edges.means(self.cutter(worth))
        filled = total - edges - borders
        requests = share * (filled + borders * windows) + edges * edge_windows
        spent = filled * self.whole_pu + borders * pu + edges * edge_pu
        return request_minutes(requests * len(self.layer.parts), self.deployment) <= pu_minutes(spent, self.deployment)
