"""What of a job's tiles is in the cube already, as store and ledger tell.

Refuses to know how jobs are watched, and who deletes what they delivered.
"""

from __future__ import annotations

import logging
from collections.abc import Set as AbstractSet

import numpy as np

from shdask.assemble.ledger import read_ledger
from shdask.assemble.store import CubeStore, known_states
from shdask.errors import StoreError
from shdask.jobs.lots import Lot
from shdask.model import TileState
from shdask.plan.group import GroupPlan

logger = logging.getLogger(__name__)


def paid_tiles(lot: Lot) -> set[int]:
    """Indices of all tiles that open jobs of earlier runs were to bring, in this run or not. Pure."""
    return {tile for order in lot.orders if order.open is not None for tile in order.open.intent.tiles}


def read_done(plan: GroupPlan, cube: CubeStore) -> set[int]:
    """Indices of tiles that are written or empty; none where the store does not answer, which only leaves jobs open."""
    try:
        states = known_states(plan, cube, read_ledger(cube.place))
    except StoreError as error:
        logger.warning("which tiles are durable is not known: %s", error)
        return set()
    return set(np.flatnonzero((states == TileState.WRITTEN) | (states == TileState.EMPTY)).tolist())


def read_checksums(plan: GroupPlan, cube: CubeStore, tiles: AbstractSet[int]) -> tuple[dict[int, int], set[int]]:
    """The ledger's checksums of written ones of ``tiles``, and those that are neither empty nor have one."""
    try:
        ledger = read_ledger(cube.place)
        states = known_states(plan, cube, ledger)
    except StoreError as error:
        logger.warning("checksums are not known: %s", error)
        return {}, set(tiles)
    sums = {tile: int(ledger.checksums[tile]) for tile in tiles if tile < ledger.checksums.size}
    known = {tile: found for tile, found in sums.items() if found >= 0 and states[tile] == TileState.WRITTEN}
    return known, {tile for tile in tiles - known.keys() if states[tile] != TileState.EMPTY}
