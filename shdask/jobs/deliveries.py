"""Tiles whose pixels lie in a bucket already: where, and which of them are read together.

Refuses to know how they came there, how files are read, and any key of the bucket.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from shdask.fetch.bucket import Bucket
from shdask.model import Window
from shdask.plan.group import GroupPlan


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Delivery:
    """The files of the jobs of one lot, one job for each part of the layer. Pickles without keys of the bucket."""

    bucket: Bucket
    window: Window
    """The pixels that each file holds."""
    files: tuple[Mapping[str, str], ...]
    """For each part of the layer the key of each of its pictures; none of a part that is bought by Process."""
    first_tile: int
    """The lowest index of a tile of the lot: no other lot has it."""

    @property
    def is_whole(self) -> bool:
        """Whether nothing is left to buy of its tiles. Pure."""
        return all(self.files)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Deliveries:
    """What was delivered, by tile; tiles that are not in it are bought by Process."""

    by_tile: Mapping[int, Delivery] = field(default_factory=dict)

    def of(self, tile: int) -> Delivery | None:
        """Where the pixels of a tile lie; None where they are to be bought. Pure."""
        return self.by_tile.get(tile)

    def in_order(self, plan: GroupPlan, tiles: NDArray[np.intp]) -> NDArray[np.intp]:
        """``tiles`` as they are best worked on: those of `bundle` side by side, delivered ones first. Pure."""
        is_here = np.isin(tiles, list(self.by_tile))
        here = sorted(tiles[is_here].tolist(), key=lambda tile: (self.by_tile[tile].first_tile, tile))
        return np.concatenate([np.array(here, np.intp), plan.tile_set.in_order(tiles[~is_here])])

    def bundle(self, plan: GroupPlan, tiles: Iterable[int]) -> Iterator[list[int]]:
        """``tiles``, which are `in_order`, in groups: of a lot, those of a row of tiles; else of one request. Pure."""
        for is_here, some in groupby(map(int, tiles), key=self.by_tile.__contains__):
            if not is_here:
                yield from plan.tile_set.bundle(some)
                continue
            for _, row in groupby(some, key=lambda tile: self._row(plan, tile)):
                yield list(row)

    def _row(self, plan: GroupPlan, tile: int) -> tuple[int, int]:
        return self.by_tile[tile].first_tile, tile // plan.tile_set.grid_shape[1]

    def bundle_numbers(self, plan: GroupPlan, tiles: NDArray[np.intp]) -> NDArray[np.intp]:
        """For each of ``tiles``, which are `in_order`, a number that it shares with those of its bundle. Pure."""
        lengths = [len(some) for some in self.bundle(plan, tiles.tolist())]
        return np.repeat(np.arange(len(lengths)), lengths)
