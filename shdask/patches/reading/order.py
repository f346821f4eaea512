"""In which order patches are read: random across shards, cheap within, each once in an epoch, whoever reads.

Pure. Refuses to know files and frameworks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from shdask.errors import PlanError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from shdask.patches.table import Patches

    Rows = NDArray[np.intp]

Even = Literal["pad", "drop", "none"]
"""How ranks come to as many patches each: repeat some of the epoch's first, leave out its last, or not at all."""
SHARDS_AT_ONCE = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """Which part of an epoch one reader has: of ``ranks`` processes that train, each with ``workers`` that read."""

    rank: int = 0
    ranks: int = 1
    worker: int = 0
    workers: int = 1

    def __post_init__(self) -> None:
        if not (0 <= self.rank < self.ranks and 0 <= self.worker < self.workers):
            raise PlanError(
                f"rank {self.rank} of {self.ranks} and worker {self.worker} of {self.workers}: count both from 0"
            )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ReadingOrder:
    """The order of each epoch, decided by ``seed`` alone.

    Shards come in random order, cut in as many equal parts as there are readers, so that few shards are read by two.
    A reader has ``shards_at_once`` open at a time and takes the next patch from any of them at random; within a shard
    chunks come in random order, all patches of a chunk after each other. So neighbours in a batch come from different
    shards, and a cache of ``shards_at_once`` chunks (of each band and date) reads nothing twice.
    """

    shard: NDArray[np.int64]
    """(patch,) the same number for patches of one shard."""
    chunk: NDArray[np.int64]
    """(patch,) the same number for patches that begin in one chunk."""
    seed: int = 0
    shuffle: bool = True
    """Without: in the order of the table, cut in equal parts."""
    shards_at_once: int = SHARDS_AT_ONCE
    even: Even = "pad"

    def __post_init__(self) -> None:
        if self.shards_at_once < 1:
            raise PlanError(f"shards_at_once {self.shards_at_once}: one at least")
        if self.even not in {"pad", "drop", "none"}:
            raise PlanError(f"even {self.even!r} is none of pad, drop, none")

    @classmethod
    def of(
        cls,
        patches: Patches,
        *,
        shard_px: int,
        chunk_px: int,
        seed: int = 0,
        shuffle: bool = True,
        shards_at_once: int = SHARDS_AT_ONCE,
        even: Even = "pad",
    ) -> ReadingOrder:
        """That of a table's patches in a cube of such shards and chunks. Pure."""
        _, zones = np.unique(patches.zone, return_inverse=True)
        return cls(
            shard=_number(zones, patches.y0 // shard_px, patches.x0 // shard_px),
            chunk=_number(zones, patches.y0 // chunk_px, patches.x0 // chunk_px),
            seed=seed,
            shuffle=shuffle,
            shards_at_once=shards_at_once,
            even=even,
        )

    def rows(self, epoch: int, share: Share | None = None) -> Rows:
        """(n,) rows of the table in the order in which ``share`` reads them in ``epoch``. Pure.

        Together the shares of one epoch have every patch once; but where the patches are no multiple of the ranks,
        ``even`` repeats or leaves out fewer than there are ranks. A rank's workers differ by one patch at most, the
        first having the more.
        """
        share = share or Share()
        whole = self._even(self._by_shard(epoch), share.ranks)
        of_rank = np.array_split(whole, share.ranks)[share.rank]
        own = np.array_split(of_rank, share.workers)[share.worker]
        if not self.shuffle:
            return own
        return self._mix(own, np.random.default_rng((self.seed, epoch, share.rank, share.worker)))

    def _by_shard(self, epoch: int) -> Rows:
        """All rows, shard by shard and chunk by chunk, all three in random order."""
        rows = np.arange(self.shard.size)
        if not self.shuffle:
            return rows
        rng = np.random.default_rng((self.seed, epoch))
        ranks = [_random_ranks(numbers, rng) for numbers in (self.chunk, self.shard)]
        return np.lexsort((rng.random(rows.size), *ranks))

    def _even(self, rows: Rows, ranks: int) -> Rows:
        beyond = rows.size % ranks
        if not beyond or self.even == "none":
            return rows
        return rows[: rows.size - beyond] if self.even == "drop" else np.resize(rows, rows.size + ranks - beyond)

    def _mix(self, rows: Rows, rng: np.random.Generator) -> Rows:
        """Let the next so many shards take turns at random, each keeping the order of its own rows."""
        starts = np.flatnonzero(np.diff(self.shard[rows], prepend=-1))
        mixed = rows.copy()
        for begin in range(0, starts.size, self.shards_at_once):
            first = starts[begin]
            last = starts[begin + self.shards_at_once] if begin + self.shards_at_once < starts.size else rows.size
            turns = rng.permutation(np.searchsorted(starts, np.arange(first, last), side="right"))
            mixed[first + np.argsort(turns, kind="stable")] = rows[first:last]
        return mixed


def batches_of_worker(batches: int, share: Share) -> int:
    """How many of the first ``batches`` that a DataLoader gave came from ``share``'s worker. Pure.

    A DataLoader takes a batch from each worker in turn.
    """
    return (batches + share.workers - 1 - share.worker) // share.workers


def _number(zones: NDArray[np.int64], rows: NDArray[np.int64], columns: NDArray[np.int64]) -> NDArray[np.int64]:
    """One number for each different (zone, row, column); none of them is 2**24 or more."""
    return (zones.astype(np.int64) << 48) + (rows.astype(np.int64) << 24) + columns


def _random_ranks(numbers: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.intp]:
    """A random rank for each different number."""
    kinds, places = np.unique(numbers, return_inverse=True)
    return np.asarray(rng.permutation(kinds.size)[places.ravel()], np.intp)
