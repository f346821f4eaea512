"""What of a job's tiles is in the cube already, as store and ledger tell.

Refuses to know how jobs are watched, and who deletes what they delivered.
"""

from __future__ import annotations

import logging

import numpy as np

from shdask.assemble.ledger import read_ledger
from shdask.assemble.store import CubeStore, known_states
from shdask.errors import StoreError
from shdask.model import TileState
from shdask.plan.group import GroupPlan

logger = logging.getLogger(__name__)


def read_done(plan: GroupPlan, cube: CubeStore) -> set[int]:
    """Indices of tiles that are written or empty; none where the store does not answer, which only leaves jobs open."""
    try:
        states = known_states(plan, cube, read_ledger(cube.place))
    except StoreError as error:
        logger.warning("which tiles are durable is not known: %s", error)
        return set()
    return set(np.flatnonzero((states == TileState.WRITTEN) | (states == TileState.EMPTY)).tolist())
