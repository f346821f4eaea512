"""Batches of tiles: every tile once, in order, as large as the cluster of the moment wants them.

Pure. Refuses to know where batches go and what becomes of them.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from shdask.plan.measured import EXPECTED_LATENCY_S, LEAST_IN_FLIGHT
from shdask.settings import Deployment

MAX_FETCH_THREADS = 32
BATCH_S = 10.0
"""How long a batch should last at the projected rate."""
MAX_BUNDLES = 500
"""Of a batch: each waits in its worker's memory until its turn comes, however fast the service is."""


def fetch_threads(deployment: Deployment, workers: int) -> int:
    """Requests in flight per worker that fill rate x latency. Pure."""
    in_flight = deployment.requests_per_minute / 60 * EXPECTED_LATENCY_S
    return min(MAX_FETCH_THREADS, max(LEAST_IN_FLIGHT, math.ceil(in_flight / max(workers, 1))))


def batch_size(left: int, *, task_threads: int, in_flight: int, requests_per_s: float) -> int:
    """How many of the ``left`` bundles the next batch holds, so that ``in_flight`` go on ``task_threads``. Pure.

    A batch lasts some seconds at the projected rate; towards the end they shrink, so that all threads finish together.
    """
    size = max(2 * in_flight / task_threads, requests_per_s * BATCH_S / task_threads, 1)
    return max(1, min(math.ceil(size), math.ceil(left / task_threads), left, MAX_BUNDLES))


class TileQueue:
    """Tiles that are not given out yet, in order and no bundle torn; those that came back go first."""

    def __init__(self, tiles: NDArray[np.intp], requests_per_s: float, bundles: NDArray[np.intp] | None = None) -> None:
        """``bundles`` has a number for each tile: neighbours of one number come with one request."""
        numbers = np.arange(tiles.size) if bundles is None else bundles
        self._tiles = tiles
        self._ends = np.flatnonzero(np.append(numbers[1:] != numbers[:-1], True)[: tiles.size]) + 1
        """After each bundle's last tile."""
        self._requests_per_s = requests_per_s
        self._given = 0
        """Bundles."""
        self._returned: deque[list[int]] = deque()

    def next_batch(self, *, task_threads: int, in_flight: int) -> list[int]:
        """The next batch for a cluster of so many threads; empty when there is none."""
        if self._returned:
            return self._returned.popleft()
        left = self._ends.size - self._given
        if not left:
            return []
        start = self._ends[self._given - 1] if self._given else 0
        self._given += batch_size(
            left, task_threads=task_threads, in_flight=in_flight, requests_per_s=self._requests_per_s
        )
        return [int(index) for index in self._tiles[start : self._ends[self._given - 1]]]

    @property
    def is_empty(self) -> bool:
        """Whether there is no further batch."""
        return not self._returned and self._given == self._ends.size

    def put_back(self, tiles: Sequence[int]) -> None:
        """Give these out again, as one batch."""
        self._returned.append(list(tiles))

    def clear(self) -> None:
        """Give out nothing more."""
        self._given = self._ends.size
        self._returned.clear()
