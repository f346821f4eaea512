"""Which set a patch belongs to: blocks of ground drawn into sets, and a guard between the sets.

Pure. Refuses to know pixels, labels and files.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from shdask.errors import PlanError
from shdask.patches.draw import draw, share_of
from shdask.patches.neighbours import Squares, find_close, shared_px
from shdask.patches.table import SPLITS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Rows = NDArray[np.intp]
    Floats = NDArray[np.float64]

TRAIN = SPLITS.index("train")
LEFT_OUT = SPLITS.index("left out")
SETS = SPLITS[:LEFT_OUT]
RADIUS_M = 6_371_007.2
"""Of the sphere with the area of the Earth."""
METRES_PER_DEGREE = math.pi * RADIUS_M / 180.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Leakage:
    """Pairs of patches of different sets that lie near each other; those that are left out are of no set."""

    nearer_than_m: float
    pairs: int
    overlapping: int
    """Of ``pairs``, those that hold the same ground."""
    shared_px: float
    """Pixels that both of a pair hold, of all pairs."""


def check_shares(shares: Sequence[float]) -> tuple[float, float, float]:
    """Shares of train, validation and test that add up to 1. Pure. Raises PlanError."""
    known = tuple(float(share) for share in shares)
    if len(known) != len(SETS) or min(known) < 0.0 or not math.isclose(sum(known), 1.0, abs_tol=1e-9):
        raise PlanError(
            f"shares {tuple(shares)} are not those of {', '.join(SETS)}: give three that add up to 1, such as "
            f"(0.7, 0.15, 0.15)"
        )
    return known[0], known[1], known[2]


def find_blocks(longitude: Floats, latitude: Floats, block_m: float) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(row, column) of the block that holds each point (degrees), of one lattice for the whole globe. Pure.

    Rows are ``block_m`` high, from the south pole; a row is cut from 180 degrees west into the whole number of columns
    that makes them about as wide. So blocks are nearly square everywhere, and know no zone.
    """
    row = np.floor((latitude + 90.0) * METRES_PER_DEGREE / block_m).astype(np.int64)
    middle = np.radians((row + 0.5) * block_m / METRES_PER_DEGREE - 90.0)
    round_m = 360.0 * METRES_PER_DEGREE * np.maximum(np.cos(middle), 0.0)
    columns = np.maximum(np.rint(round_m / block_m), 1.0)
    column = np.floor((longitude + 180.0) % 360.0 / 360.0 * columns).astype(np.int64)
    return row, np.minimum(column, columns.astype(np.int64) - 1)


def split_blocks(
    row: NDArray[np.int64], column: NDArray[np.int64], shares: tuple[float, float, float], seed: int
) -> NDArray[np.uint8]:
    """The set of each block, a position in `SPLITS`. Pure.

    Each block is drawn by itself, so that it stays in its set whatever patches there are; a set has its share of many
    blocks, and may have none of a few.
    """
    edges = np.cumsum(shares)[:-1]
    return np.searchsorted(edges, share_of(draw(seed, "split", row, column)), side="right").astype(np.uint8)


def leave_out(squares: Squares, sets: NDArray[np.uint8], guard_m: float) -> NDArray[np.bool_]:
    """(square,): those to be left out, so that no two of different sets share ground or are nearer than ``guard_m``.

    Of a pair goes the one that is near more others, of equals the one of train; then, whatever can come back does. So
    few are lost, though not provably the fewest, and none of them without need. The order of squares counts only
    between equals. Pure. Raises PlanError as `find_close`.
    """
    first, second = find_close(squares, sets, guard_m)
    is_out = np.zeros(sets.size, np.bool_)
    if not first.size:
        return is_out
    rank = _rank(squares)
    is_train = sets == TRAIN
    ones, others = first, second
    while ones.size:
        near = np.bincount(ones, minlength=sets.size) + np.bincount(others, minlength=sets.size)
        goes = _beats_neighbours(_order(near, is_train, rank), near > 0, ones, others)
        is_out |= goes
        alive = ~(goes[ones] | goes[others])
        ones, others = ones[alive], others[alive]
    return _bring_back(is_out, _order(np.zeros_like(rank), ~is_train, rank), first, second)


def _bring_back(is_out: NDArray[np.bool_], order: NDArray[np.int64], first: Rows, second: Rows) -> NDArray[np.bool_]:
    """``is_out`` without those near which nothing is kept, the first of ``order`` before their neighbours."""
    while True:
        is_blocked = np.zeros(is_out.size, np.bool_)
        is_blocked[first[~is_out[second]]] = True
        is_blocked[second[~is_out[first]]] = True
        free = is_out & ~is_blocked
        if not free.any():
            return is_out
        both = free[first] & free[second]
        is_out = is_out & ~_beats_neighbours(order, free, first[both], second[both])


def _beats_neighbours(
    order: NDArray[np.int64], asked: NDArray[np.bool_], first: Rows, second: Rows
) -> NDArray[np.bool_]:
    """Those of ``asked`` that come before all to which a pair ties them; the larger ``order`` comes first."""
    best = np.full(order.size, -1, np.int64)
    np.maximum.at(best, first, order[second])
    np.maximum.at(best, second, order[first])
    return np.asarray(asked & (order > best))


def _order(near: NDArray[np.integer], is_preferred: NDArray[np.bool_], rank: NDArray[np.int64]) -> NDArray[np.int64]:
    order = np.empty(rank.size, np.int64)
    order[np.lexsort((rank, is_preferred, near))] = np.arange(rank.size)
    return order


def _rank(squares: Squares) -> NDArray[np.int64]:
    """A different number for each, by its place, whatever the order of squares is."""
    rank = np.empty(squares.y0.size, np.int64)
    epsg = np.array(squares.epsg, np.int64)[squares.grid]
    rank[np.lexsort((squares.x0, squares.y0, epsg, draw(0, "rank", epsg, squares.y0, squares.x0)))] = np.arange(
        rank.size
    )
    return rank


def measure_leakage(squares: Squares, sets: NDArray[np.uint8], nearer_than_m: float) -> Leakage:
    """What is near each other across ``sets``, which are of train, validation and test only. Pure.

    Raises PlanError as `find_close`.
    """
    first, second = find_close(squares, sets, nearer_than_m)
    shared = shared_px(squares, first, second)
    return Leakage(
        nearer_than_m=nearer_than_m,
        pairs=int(first.size),
        overlapping=int((shared > 0).sum()),
        shared_px=float(shared.sum()),
    )
