"""A map of what a plan buys, as one SVG picture: the area, whole tiles, and windows where tiles are cut.

Pure. Refuses to grow with the plan: what is too fine to be seen is drawn in blocks.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

from shdask.plan.grown_area import GrownArea

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from shdask.plan.area import Area
    from shdask.plan.group import GroupPlan

LONGER_SIDE = 420
"""Of the picture, in units of the screen."""
MOST_TILES = 1500
"""That are drawn one by one, and no more than so many windows."""
BLOCKS_ACROSS = 60
"""Along the longer side of the array, where tiles are drawn in blocks."""
SHADES = 5
"""Of a block, by how much of it is bought."""
MOST_LINES = 4000
"""Of the area's border."""
AREA, OUTLINE, WHOLE, CUT = "#b7d7a8", "#2d4a1f", "#1f4e79", "#c55a11"
_STYLE = f'fill-opacity="0.25" stroke-width="0.6" fill="{WHOLE}" stroke="{WHOLE}"'
_CUT_STYLE = f'fill-opacity="0.25" stroke-width="0.6" fill="{CUT}" stroke="{CUT}"'


def draw_windows(plan: GroupPlan) -> str:
    """``plan``'s array from above, north up, as an ``<svg>`` element of at most some 300 kB. Pure.

    Green is the area, blue a tile that is bought whole, brown one that is bought in windows. Tiles that are too many
    to be seen are drawn in blocks, the fainter the smaller the share of them that is bought. It holds numbers and no
    text of the plan, and refers to nothing outside of itself.
    """
    rows, columns = plan.grid.shape
    scale = LONGER_SIDE / max(rows, columns)
    width, height = (max(1.0, side * scale) for side in (columns, rows))
    boxes = plan.windows.by_cell.boxes
    is_fine = plan.tile_set.runs.count + len(boxes) > MOST_TILES
    shapes = _blocks(plan, scale) if is_fine else _windows(plan, scale)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}" '
        f'viewBox="0 0 {width:.1f} {height:.1f}" role="img" aria-label="map of the request windows">'
        f'<rect width="100%" height="100%" fill="none" stroke="#999" stroke-width="0.5"/>'
        f'<path fill="{AREA}" d="{_area_path(plan, scale)}"/>{"".join(shapes)}'
        f'<path fill="none" stroke="{OUTLINE}" stroke-width="0.8" d="{_outline_path(plan.area, scale)}"/></svg>'
    )


def _outline_path(area: Area, scale: float) -> str:
    """The area's border, as far as it is longer than half a unit; nothing of one with too many corners to be seen."""
    parts = area.parts if isinstance(area, GrownArea) else (area,)
    ends = np.rint(np.concatenate([part.edges for part in parts]) * scale * 2) / 2
    lines = np.unique(ends[(ends[:, :2] != ends[:, 2:]).any(axis=1)], axis=0)
    if len(lines) > MOST_LINES:
        return ""
    return "".join(f"M{x0:g} {y0:g}l{x1 - x0:g} {y1 - y0:g}" for x0, y0, x1, y1 in lines.tolist())


def _area_path(plan: GroupPlan, scale: float) -> str:
    """Runs of the area in rows as fine as the picture's."""
    rows, columns = plan.grid.shape
    lines = min(rows, max(1, round(rows * scale)))
    pieces: list[str] = []
    edges = np.linspace(0, rows, lines + 1).astype(np.int64)
    reached = _rows_reached(plan, edges)
    for top, bottom in zip(edges[:-1][reached].tolist(), edges[1:][reached].tolist(), strict=True):
        middle = (top + bottom) // 2
        _, starts, stops = plan.area.spans(middle, middle + 1)
        height = (bottom - top) * scale + 0.1  # no seams between rows
        for start, stop in _seen(starts, stops, columns, scale):
            pieces.append(f"M{start:.1f} {top * scale:.1f}h{stop - start:.1f}v{height:.1f}h{start - stop:.1f}z")
    return "".join(pieces)


def _rows_reached(plan: GroupPlan, edges: NDArray[np.int64]) -> NDArray[np.bool_]:
    reached = np.zeros(edges.size - 1, np.bool_)
    for first, last in plan.area.row_ranges():
        low, high = np.searchsorted(edges, (first, last - 1), side="right") - 1
        reached[low : high + 1] = True
    return reached


def _seen(
    starts: NDArray[np.int64], stops: NDArray[np.int64], columns: int, scale: float
) -> Iterable[tuple[float, float]]:
    """Runs in the picture, those joined between which there is less than half a unit."""
    covered = np.zeros(round(columns * scale * 2) + 2, np.int8)
    lows = np.floor(starts * scale * 2).astype(np.int64)
    highs = np.maximum(np.ceil(stops * scale * 2).astype(np.int64), lows + 1)
    np.add.at(covered, lows, 1)
    np.add.at(covered, np.minimum(highs, covered.size - 1), -1)
    turns = np.diff(np.concatenate(([0], np.cumsum(covered) > 0, [0])).astype(np.int8))
    return zip(np.flatnonzero(turns > 0) / 2, np.flatnonzero(turns < 0) / 2, strict=True)


def _windows(plan: GroupPlan, scale: float) -> list[str]:
    """Each tile and window by itself."""
    cut = plan.windows.by_cell
    y, x = plan.tile_set.runs.cells(0, plan.tile_set.runs.count)
    is_whole = cut.places(y * plan.tile_set.grid_shape[1] + x) < 0
    side, (rows, columns) = plan.store.tile_px, plan.grid.shape
    top, left = y[is_whole] * side, x[is_whole] * side
    whole = np.stack((top, np.minimum(top + side, rows), left, np.minimum(left + side, columns)), axis=1)
    return [f"<g {_STYLE}>", *_rects(whole * scale), f"</g><g {_CUT_STYLE}>", *_rects(cut.boxes * scale), "</g>"]


def _rects(boxes: NDArray[np.floating]) -> list[str]:
    return [
        f'<rect x="{x0:.1f}" y="{y0:.1f}" width="{max(x1 - x0, 0.3):.1f}" height="{max(y1 - y0, 0.3):.1f}"/>'
        for y0, y1, x0, x1 in boxes.tolist()
    ]


def _blocks(plan: GroupPlan, scale: float) -> list[str]:
    """Blocks of tiles, by the share of their pixels that is bought."""
    tiles, cut, side = plan.tile_set, plan.windows.by_cell, plan.store.tile_px
    y, x = tiles.runs.cells(0, tiles.runs.count)
    factor = max(1, -(-max(tiles.grid_shape) // BLOCKS_ACROSS))
    across = -(-tiles.grid_shape[1] // factor)
    places = cut.places(y * tiles.grid_shape[1] + x)
    shares = np.ones(y.size)
    shares[places >= 0] = cut.sums(cut.pixels)[places[places >= 0]] / side**2
    blocks, number = np.unique(y // factor * across + x // factor, return_inverse=True)
    bought = np.bincount(number, weights=shares) / factor**2
    is_cut = np.bincount(number, weights=places >= 0) > 0
    y0, x0 = np.divmod(blocks, across)
    corners = np.stack((x0, y0), axis=1) * (factor * side * scale)
    shade = np.ceil(np.minimum(bought, 1.0) * SHADES).astype(np.int64)
    return [
        f'<path fill="{CUT if cut_here else WHOLE}" fill-opacity="{0.1 + 0.4 * level / SHADES:.2f}" d="{path}"/>'
        for cut_here in (False, True)
        for level in range(1, SHADES + 1)
        if (path := _squares(corners[(is_cut == cut_here) & (shade == level)], factor * side * scale))
    ]


def _squares(corners: NDArray[np.floating], size: float) -> str:
    return "".join(f"M{x:.1f} {y:.1f}h{size:.1f}v{size:.1f}h-{size:.1f}z" for x, y in corners.tolist())
