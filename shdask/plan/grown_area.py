"""An area that has grown: the union of all that a cube was asked for, and what of a tile is still to be bought.

Pure. Refuses to know where areas are kept, and prices.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from shdask.model import Window
from shdask.plan.area import Area, merge_spans

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from shdask.plan.area import Spans
    from shdask.plan.tile_set import TileSet


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class GrownArea(Area):
    """A pixel is in it where it is in one of its parts, each by the part's own rule. Its edges are the first part's."""

    parts: tuple[Area, ...]
    """On one grid, in the order in which a cube was asked for them."""

    def spans(self, y0: int, y1: int) -> Spans:
        """As `Area.spans`. Pure."""
        found = [part.spans(y0, y1) for part in self.parts]
        rows, starts, stops = (np.concatenate(each) for each in zip(*found, strict=True))
        return merge_spans(rows, starts, stops, columns=self.shape[1])

    def row_ranges(self) -> list[tuple[int, int]]:
        """As `Area.row_ranges`. Pure."""
        merged: list[tuple[int, int]] = []
        for first, last in sorted(each for part in self.parts for each in part.row_ranges()):
            if merged and first <= merged[-1][1]:
                merged[-1] = merged[-1][0], max(last, merged[-1][1])
            else:
                merged.append((first, last))
        return merged


def join_areas(parts: Sequence[Area]) -> Area:
    """Their union, which knows its parts. Pure."""
    first, *more = parts
    if not more:
        return first
    return GrownArea(
        edges=first.edges,
        reach=first.reach,
        shape=first.shape,
        all_touched=any(part.all_touched for part in parts),
        parts=tuple(parts),
    )


def coarsen_area(area: Area, factor: int, shape: tuple[int, int]) -> Area:
    """The pixels of a grid ``factor`` times as coarse, from the same corner, that ``area`` touches. Pure.

    They hold every pixel of ``area``.
    """
    if isinstance(area, GrownArea):
        return join_areas([coarsen_area(part, factor, shape) for part in area.parts])
    return Area(edges=area.edges / factor, reach=area.reach / factor, shape=shape, all_touched=True)


def count_pixels(area: Area, tile_px: int) -> NDArray[np.int64]:
    """(tile row, tile column): how many pixels of the area each tile holds. Pure."""
    rows, columns = (-(-side // tile_px) for side in area.shape)
    edges = np.minimum(np.arange(columns + 1) * tile_px, area.shape[1])
    counts = np.zeros((rows, columns), np.int64)
    bands = {band for y0, y1 in area.row_ranges() for band in range(y0 // tile_px, -(-y1 // tile_px))}
    for band in sorted(bands):
        _, starts, stops = area.spans(band * tile_px, min((band + 1) * tile_px, area.shape[0]))
        # runs repeat from row to row
        runs, times = np.unique(np.stack((starts, stops), axis=1), axis=0, return_counts=True)
        before = (np.clip(edges, runs[:, :1], runs[:, 1:]) - runs[:, :1]) * times[:, None]
        counts[band] = np.diff(before.sum(axis=0))
    return counts


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Reopened:
    """Tiles that stand in a cube and lack pixels of an area that has grown since."""

    parts: tuple[Area, ...] = ()
    """All areas that the cube was asked for, in their order."""
    levels: Mapping[int, int] = field(default_factory=dict)
    """Tile index -> of how many of the first parts its pixels are there; 0 where it is bought anew as a whole."""

    def standing(self, index: int, window: Window) -> NDArray[np.bool_] | None:
        """(y, x) of ``window`` of the tile: True where what stands stays; None of one that is not reopened. Pure."""
        level = self.levels.get(index)
        if level is None:
            return None
        return join_areas(self.parts[:level]).mask(window) if level else np.zeros(window.shape, np.bool_)

    def missing(self, index: int, extent: Window) -> Window:
        """The least window of the tile with all pixels to be bought; all of it where nothing of it stands. Pure."""
        if not self.levels.get(index):
            return extent
        standing = self.standing(index, extent)
        new = join_areas(self.parts).mask(extent)
        if standing is not None:
            new &= ~standing
        rows, columns = np.flatnonzero(new.any(axis=1)), np.flatnonzero(new.any(axis=0))
        if not rows.size:
            return extent
        return Window(
            y0=extent.y0 + int(rows[0]),
            y1=extent.y0 + int(rows[-1]) + 1,
            x0=extent.x0 + int(columns[0]),
            x1=extent.x0 + int(columns[-1]) + 1,
        )


def lacking_cells(parts: Sequence[Area], level: int, tile_px: int) -> NDArray[np.bool_]:
    """(tile row, tile column): True where some pixel of all ``parts`` is in none of the first ``level``. Pure."""
    whole = count_pixels(join_areas(parts), tile_px)
    if not level:
        return np.asarray(whole > 0)
    return np.asarray(whole > count_pixels(join_areas(parts[:level]), tile_px))


def lacking_tiles(tiles: TileSet, levels: Mapping[int, int], parts: Sequence[Area], tile_px: int) -> dict[int, int]:
    """Those of ``levels`` that are tiles of the set and lack a pixel of all ``parts``. Pure."""
    known = np.fromiter(levels, np.intp, len(levels))
    known = known[np.isin(known, tiles.indices())]
    cells = {level: lacking_cells(parts, level, tile_px).ravel() for level in {levels[int(tile)] for tile in known}}
    return {int(tile): levels[int(tile)] for tile in known if cells[levels[int(tile)]][int(tile) % tiles.cell_count]}
