"""Which jobs of Async Process bring a layer's tiles, and what they cost: rectangles of tiles, a step and a part each.

Pure. Refuses to know whether jobs are worth it, how they are sent, and where they deliver to.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from shdask.model import Window
from shdask.plan.cost import Cost, estimate_jobs, price_jobs

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from shdask.plan.group import GroupPlan

    Ints = NDArray[np.int64]
    Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One Async Process request: a rectangle of tiles at one step, in the bands of one part."""

    key: str
    """Names the job in its group: its step, its block of tiles and its part, and nothing else."""
    tiles: tuple[int, ...]
    """Indices of the tiles that it brings, ascending."""
    window: Window
    """What is requested: the least box of all windows of those tiles."""
    part: int
    """Position in ``LayerPlan.parts``."""
    pu: float
    """Projected processing units."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Blocks:
    """The rectangles that tiles fall into: one job each for every part."""

    tiles: NDArray[np.intp]
    """(tile,): indices, ascending block by block."""
    block: NDArray[np.intp]
    """(tile,): the position of its block in the arrays below."""
    places: Ints
    """(block, 3): step, row and column of blocks."""
    boxes: Ints
    """(block, 4): first row, row after the last, first column, column after the last; in the array."""

    @property
    def counts(self) -> Ints:
        """(block,): number of tiles."""
        return np.bincount(self.block, minlength=len(self.places))

    @property
    def pixels(self) -> Floats:
        """(block,): number of pixels that are requested."""
        y0, y1, x0, x1 = self.boxes.astype(np.float64).T
        return np.asarray((y1 - y0) * (x1 - x0))


def tiles_a_side(plan: GroupPlan) -> int:
    """How many tiles a job may have along each side, at least one. Pure."""
    return max(1, plan.deployment.max_async_px // plan.store.tile_px)


def lay_blocks(plan: GroupPlan, tiles: NDArray[np.intp]) -> Blocks:
    """The blocks of ``tiles``, of `tiles_a_side` each and aligned to the array's upper left corner. Pure.

    Blocks without a tile are left out, and each is no larger than what its tiles buy.
    """
    tiles = np.unique(np.asarray(tiles, np.intp))
    side, (rows, columns) = tiles_a_side(plan), plan.tile_set.grid_shape
    step, cell = np.divmod(tiles, plan.tile_set.cell_count)
    down, across = -(-rows // side), -(-columns // side)
    number = (step * down + cell // columns // side) * across + cell % columns // side
    order = np.argsort(number, kind="stable")
    tiles, number = tiles[order], number[order]
    numbers, first, block = np.unique(number, return_index=True, return_inverse=True)
    boxes = bought_boxes(plan, tiles)
    joined = np.empty((numbers.size, 4), np.int64)
    if numbers.size:
        joined[:, 0::2] = np.minimum.reduceat(boxes[:, 0::2], first)
        joined[:, 1::2] = np.maximum.reduceat(boxes[:, 1::2], first)
    places = np.stack((numbers // (down * across), numbers // across % down, numbers % across), axis=1)
    return Blocks(tiles=tiles, block=np.asarray(block, np.intp), places=places, boxes=joined)


def bought_boxes(plan: GroupPlan, tiles: NDArray[np.intp]) -> Ints:
    """(tile, 4): the least box of each tile's windows, as ``GroupPlan.tile`` has them."""
    side, (height, width) = plan.store.tile_px, plan.grid.shape
    cells = tiles % plan.tile_set.cell_count
    row, column = np.divmod(cells, plan.tile_set.grid_shape[1])
    y0, x0 = row * side, column * side
    ends = np.minimum(y0 + side, height), np.minimum(x0 + side, width)
    boxes = np.stack((y0, ends[0], x0, ends[1]), axis=1).astype(np.int64)
    is_whole = np.ones(tiles.size, np.bool_)
    for table, keys in ((plan.windows.by_tile, tiles), (plan.windows.by_cell, cells)):
        places = table.places(np.asarray(keys, np.int64))
        hits = is_whole & (places >= 0)
        if hits.any():
            least = np.minimum.reduceat(table.boxes, table.first[:-1])[places[hits]]
            most = np.maximum.reduceat(table.boxes, table.first[:-1])[places[hits]]
            boxes[hits] = np.stack((least[:, 0], most[:, 1], least[:, 2], most[:, 3]), axis=1)
        is_whole &= ~hits
    reopened = [index for index, level in plan.reopened.levels.items() if level]
    for place in np.flatnonzero(np.isin(tiles, reopened)).tolist():
        windows = plan.tile(int(tiles[place])).windows
        boxes[place] = (
            min(each.y0 for each in windows),
            max(each.y1 for each in windows),
            min(each.x0 for each in windows),
            max(each.x1 for each in windows),
        )
    return boxes


def price_blocks(plan: GroupPlan, blocks: Blocks) -> Floats:
    """(part, block): projected processing units of each job. Pure."""
    layer = plan.layer
    samples = plan.samples(blocks.places[:, 0], blocks.boxes) if layer.is_composite and plan.has_time else None
    worth = (layer.part_prices(part, blocks.pixels, samples=samples) for part in layer.parts)
    return np.stack([price_jobs(each, prices=layer.prices) for each in worth])


def make_jobs(plan: GroupPlan, tiles: Iterable[int]) -> list[Job]:
    """The jobs that bring ``tiles``: each tile is in one of every part. By step, then from the north-west. Pure.

    Windows of one step and part are disjoint, at most ``Deployment.max_async_px`` a side, and hold every pixel that is
    bought of their tiles. A job of fewer tiles than were planned has the same key, and may have a smaller window.
    """
    blocks = lay_blocks(plan, np.fromiter(tiles, np.intp))
    prices = price_blocks(plan, blocks)
    members = np.split(blocks.tiles, np.cumsum(blocks.counts)[:-1]) if len(blocks.places) else []
    return [
        Job(
            key=f"t{step}-r{row}-c{column}-p{part}",
            tiles=tuple(some.tolist()),
            window=Window(y0=y0, y1=y1, x0=x0, x1=x1),
            part=part,
            pu=float(prices[part, number]),
        )
        for number, ((step, row, column), (y0, y1, x0, x1), some) in enumerate(
            zip(blocks.places.tolist(), blocks.boxes.tolist(), members, strict=True)
        )
        for part in range(len(plan.layer.parts))
    ]


def price_by_jobs(plan: GroupPlan, tiles: NDArray[np.intp]) -> Floats:
    """Projected processing units of ``tiles``, bought together by jobs: an equal share of its jobs' each. Pure."""
    blocks = lay_blocks(plan, tiles)
    share = price_blocks(plan, blocks).sum(axis=0) / blocks.counts
    return _per_tile(blocks, tiles, share[blocks.block])


def count_jobs(plan: GroupPlan, tiles: NDArray[np.intp]) -> Ints:
    """Jobs that bring each of ``tiles``; each counts with the first tile that it brings. Pure."""
    blocks = lay_blocks(plan, tiles)
    is_first = np.diff(blocks.block, prepend=-1) > 0
    return _per_tile(blocks, tiles, is_first * len(plan.layer.parts)).astype(np.int64)


def cost_by_jobs(
    plan: GroupPlan,
    tiles: NDArray[np.intp],
    parts: NDArray[np.intp],
    count: int,
    *,
    job_minutes: float,
    concurrency: int,
) -> list[Cost]:
    """What ``tiles`` cost by jobs, bought together, in ``count`` parts; ``parts`` has the number of each tile's. Pure.

    A job takes ``job_minutes``, and ``concurrency`` of them run at once.
    """
    blocks, layer = lay_blocks(plan, tiles), plan.layer
    side, (height, width) = plan.store.tile_px, plan.grid.shape
    row, column = np.divmod(tiles % plan.tile_set.cell_count, plan.tile_set.grid_shape[1])
    amounts = (
        count_jobs(plan, tiles),
        price_by_jobs(plan, tiles),
        _per_tile(blocks, tiles, (blocks.pixels / blocks.counts)[blocks.block]),
        np.minimum(side, height - row * side) * np.minimum(side, width - column * side),
    )
    jobs, pu, down, stored = (np.bincount(parts, weights=each, minlength=count).tolist() for each in amounts)
    return [
        estimate_jobs(
            jobs=int(jobs[part]),
            pu=pu[part],
            pixels_down=round(down[part]),
            pixels_stored=int(stored[part]),
            sent_nbytes_per_px=layer.sent_nbytes_per_px,
            stored_nbytes_per_px=layer.stored_nbytes_per_px,
            deployment=plan.deployment,
            job_minutes=job_minutes,
            concurrency=concurrency,
        )
        for part in range(count)
    ]


def _per_tile(blocks: Blocks, tiles: NDArray[np.intp], values: NDArray[np.generic]) -> Floats:
    """``values`` of the blocks' tiles in the order of ``tiles``."""
    order = np.argsort(blocks.tiles)
    return np.asarray(values[order][np.searchsorted(blocks.tiles[order], tiles)], np.float64)
