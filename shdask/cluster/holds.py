"""Who works on which tile of one build, and which tiles need no more work, so that none is bought by two workers.

A state machine with ``now`` as an argument. Refuses to know Dask, and what became of a tile.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

LEAVE_S = 30.0
"""A worker that leaves the cluster may still end its tiles in flight for so long."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """The answer to a worker that wants to work on tiles; those that need no more work are in neither."""

    run: list[int]
    """Now the worker's."""
    wait: list[int]
    """Another worker's for now: ask again."""


@dataclass(slots=True, kw_only=True)
class Holds:
    """A byte for each tile of the plan, and a worker's address for each tile in work."""

    tile_count: int
    _heard: bytearray = field(init=False)
    _holders: dict[int, str] = field(init=False, default_factory=dict)
    _leaving: dict[str, float] = field(init=False, default_factory=dict)
    """Worker -> until when it may still end its tiles."""
    _lost: dict[str, list[int]] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        self._heard = bytearray(self.tile_count)

    @property
    def holders(self) -> set[str]:
        """The workers that have tiles in work."""
        return set(self._holders.values())

    @property
    def held(self) -> Mapping[int, str]:
        """The tiles in work, and whose they are."""
        return self._holders

    @property
    def lost(self) -> list[list[int]]:
        """The tiles that each worker had in its hands when it was lost; they may have been bought in vain."""
        return list(self._lost.values())

    def take(self, worker: str, tiles: Sequence[int], now: float) -> Taken:
        """Give ``tiles`` to ``worker``, but for those that were heard of in this build or are in another's work."""
        run: list[int] = []
        wait: list[int] = []
        for tile in tiles:
            if self._heard[tile]:
                continue
            if self._is_held(tile, worker, now):
                wait.append(tile)
            else:
                holder = self._holders.get(tile, worker)
                if holder != worker:  # it left, and did not say what became of it
                    self._lose(holder, [tile])
                self._holders[tile] = worker
                run.append(tile)
        return Taken(run=run, wait=wait)

    def _is_held(self, tile: int, worker: str, now: float) -> bool:
        holder = self._holders.get(tile, worker)
        return holder != worker and now < self._leaving.get(holder, float("inf"))

    def hear(self, tiles: Iterable[int]) -> None:
        """What became of ``tiles`` is known, whatever it is: this build does not try them again by itself."""
        for tile in tiles:
            self._heard[tile] = 1
            self._holders.pop(tile, None)

    def give_back(self, worker: str, tiles: Iterable[int]) -> None:
        """``worker`` will not work on ``tiles`` any more."""
        for tile in tiles:
            if self._holders.get(tile) == worker:
                del self._holders[tile]

    def leave(self, worker: str, now: float) -> None:
        """``worker`` has left the cluster, and may still end what it has in flight."""
        self._leaving[worker] = now + LEAVE_S

    def keep_only(self, worker: str, tiles: Iterable[int]) -> None:
        """Of all that ``worker`` holds, only ``tiles`` are in flight."""
        held = {tile for tile, holder in self._holders.items() if holder == worker}
        self.give_back(worker, held.difference(tiles))

    def drop(self, worker: str) -> None:
        """``worker`` is dead."""
        self._lose(worker, [tile for tile, holder in self._holders.items() if holder == worker])
        self.keep_only(worker, ())
        self._leaving.pop(worker, None)

    def _lose(self, worker: str, tiles: list[int]) -> None:
        if tiles:
            self._lost.setdefault(worker, []).extend(tiles)
