"""What is heard of one build, added up as it comes: tiles by state, failures by kind, the slowest, the last notes.

A state machine with ``now`` as an argument. Refuses to know Dask, and whose word it hears.
"""

from __future__ import annotations

import heapq
import zlib
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shdask.cluster.snapshot import BuildSnapshot, ErrorKind, SlowTile, TileMark, WorkerLoad

SLOWEST = 10
MESSAGE_CHARS = 300
PACE_S = 60.0
KEPT_ANSWERS = 64
FRESH_S = 1.0
"""A snapshot is made anew this long after the last, unless something was heard."""
SHOWN = (TileMark.UNTRIED, TileMark.WRITTEN, TileMark.EMPTY, TileMark.FAILED, TileMark.IN_WORK)


@dataclass(frozen=True, slots=True, kw_only=True)
class Opening:
    """What an owner says of its build when it begins; msgpack takes it as a dict."""

    key: str
    store: str
    layer: str
    account: str
    grid_shape: tuple[int, int]
    steps: tuple[str, ...]
    states: bytes
    """zlib of `TileMark`, a byte for each index of the plan."""
    max_pu: float | None


def pack_states(states: NDArray[np.uint8]) -> bytes:
    """What `Opening` carries. Pure."""
    return zlib.compress(states.tobytes(), 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """The owner's word of the whole, once a second."""

    pu_spent: float = 0.0
    pu_projected: float = 0.0
    max_pu: float | None = None
    requests: int = 0
    rejected: int = 0
    seconds: float = 0.0
    remaining_s: float | None = None
    waiting_for: str = ""
    dearness: float = 1.0
    jobs: Mapping[str, int] = field(default_factory=dict)


class BuildView:
    """One build as the scheduler hears of it."""

    def __init__(self, opening: Opening, now: float) -> None:
        self.opening = opening
        self._states: NDArray[np.uint8] = np.frombuffer(bytearray(zlib.decompress(opening.states)), np.uint8)
        self._counts = np.bincount(self._states, minlength=len(TileMark)).tolist()
        self._began = self._heard = now
        self._ended: float | None = None
        self._end = ""
        self._version = 0
        self._note = Note(max_pu=opening.max_pu)
        self._paces: deque[tuple[float, int, float]] = deque(maxlen=int(PACE_S))
        """(seconds, requests, PU) of the notes of the last minute, at one a second."""
        self._errors: dict[str, ErrorKind] = {}
        self._failed: dict[int, float] = {}
        """When each tile last failed."""
        self._slowest: list[tuple[float, int, str]] = []
        """A heap of (seconds, tile, worker)."""
        self._explained: dict[int, str | None] = {}
        """None where the owner was not heard yet."""
        self._last: BuildSnapshot | None = None
        self._made = float("-inf")

    @property
    def is_running(self) -> bool:
        """Whether its end was not told."""
        return self._ended is None

    @property
    def ended(self) -> float | None:
        """POSIX time; None while it runs."""
        return self._ended

    def hear(self, row: Mapping[str, Any]) -> None:
        """What became of a tile: the fields of a `TileEvent`."""
        self._version += 1
        tile, state, seconds = row["tile"], row["state"], row.get("seconds", 0.0)
        counts, before = self._counts, self._states[tile]
        if before != state:
            counts[before] -= 1
            counts[state] += 1
            self._states[tile] = state
        if row.get("error"):
            self._count_error(tile, row["error"], row.get("finished", 0.0))
        slowest = self._slowest
        if seconds and not row.get("skipped") and (len(slowest) < SLOWEST or seconds > slowest[0][0]):
            slow = (seconds, tile, row.get("worker") or "")
            if slow not in slowest:
                heapq.heappush(slowest, slow)
                if len(slowest) > SLOWEST:
                    heapq.heappop(slowest)

    def _count_error(self, tile: int, error: str, told: float) -> None:
        kind, _, message = error.partition(": ")
        known = self._errors.get(kind)
        if self._failed.get(tile) == told:  # by its worker and by its owner
            return
        self._failed[tile] = told
        self._errors[kind] = ErrorKind(
            kind=kind,
            count=1 if known is None else known.count + 1,
            message=message[:MESSAGE_CHARS],
            tile=tile,
            told=told,
        )

    def ask(self, tile: int) -> None:
        """Let the owner explain a tile, unless it has, or cannot any more."""
        if tile not in self._explained and self.is_running:
            self._version += 1
            self._explained[tile] = None
            for old in list(self._explained)[:-KEPT_ANSWERS]:
                del self._explained[old]

    @property
    def asked(self) -> list[int]:
        """Tiles that are to be explained."""
        return [tile for tile, text in self._explained.items() if text is None]

    def answer(self, tile: int, text: str) -> None:
        """What the owner has said of a tile."""
        self._version += 1
        self._explained[tile] = text

    def take_note(self, note: Note, now: float) -> None:
        """The owner lives, and says how far it is."""
        self._version += 1
        self._heard, self._note = now, note
        self._paces.append((now, note.requests, note.pu_spent))

    def end(self, text: str, now: float) -> None:
        """The build is over. Again: does nothing."""
        if self._ended is None:
            self._version += 1
            self._ended, self._end = now, text

    def snapshot(
        self,
        now: float,
        *,
        held: Iterable[int] = (),
        workers: Sequence[WorkerLoad] = (),
        limits: Mapping[str, float] | None = None,
    ) -> BuildSnapshot:
        """Everything that is known; the last one again where nothing was heard, for a second.

        ``held`` are the tiles in workers' hands.
        """
        fresh = self._last is not None and (self._ended is not None or now - self._made < FRESH_S)
        if self._last is not None and self._last.version == self._version and fresh:
            return self._last
        self._made = now
        states, counts = self._marks(held)
        note = self._note
        requests_per_minute, pu_per_minute = self._pace(now)
        self._last = BuildSnapshot(
            key=self.opening.key,
            store=self.opening.store,
            layer=self.opening.layer,
            account=self.opening.account,
            version=self._version,
            began=self._began,
            heard=self._heard,
            ended=self._ended,
            end=self._end,
            grid_shape=self.opening.grid_shape,
            steps=tuple(self.opening.steps),
            states=states,
            tiles=counts,
            pu_spent=note.pu_spent,
            pu_projected=note.pu_projected,
            max_pu=note.max_pu,
            requests=note.requests,
            rejected=note.rejected,
            requests_per_minute=requests_per_minute,
            pu_per_minute=pu_per_minute,
            seconds=note.seconds,
            remaining_s=note.remaining_s if self._ended is None else None,
            waiting_for=note.waiting_for if self._ended is None else "",
            dearness=note.dearness,
            limits=limits or {},
            jobs=note.jobs,
            errors=tuple(sorted(self._errors.values(), key=lambda error: -error.count)),
            slowest=tuple(self._slow_tile(*slow) for slow in sorted(self._slowest, reverse=True)),
            workers=tuple(workers),
            explained={tile: text for tile, text in self._explained.items() if text is not None},
        )
        return self._last

    def _marks(self, held: Iterable[int]) -> tuple[NDArray[np.uint8], dict[TileMark, int]]:
        """(step, row, column) with the tiles in work, and how many there are of each."""
        states, counts = self._states.copy(), dict(zip(TileMark, self._counts, strict=True))
        at_work = np.fromiter(held, np.intp) if self._ended is None else np.empty(0, np.intp)
        if at_work.size:
            before = states[at_work]
            for mark, count in enumerate(np.bincount(before, minlength=len(TileMark)).tolist()):
                counts[TileMark(mark)] -= count
            counts[TileMark.IN_WORK] += at_work.size
            states[at_work] = TileMark.IN_WORK
        states.flags.writeable = False
        return states.reshape(-1, *self.opening.grid_shape), {mark: counts[mark] for mark in SHOWN}

    def _pace(self, now: float) -> tuple[float, float]:
        """Requests and processing units a minute, over the last minute."""
        while self._paces and now - self._paces[0][0] > PACE_S:
            self._paces.popleft()
        if len(self._paces) <= 1:
            return 0.0, 0.0
        (since, requests, pu), (until, requests_now, pu_now) = self._paces[0], self._paces[-1]
        minutes = max(until - since, FRESH_S) / 60
        return (requests_now - requests) / minutes, (pu_now - pu) / minutes

    def _slow_tile(self, seconds: float, tile: int, worker: str) -> SlowTile:
        step, row, column = self.place(tile)
        return SlowTile(tile=tile, step=step, row=row, column=column, seconds=seconds, worker=worker)

    def place(self, tile: int) -> tuple[int, int, int]:
        """(step, row, column) of a tile."""
        rows, columns = self.opening.grid_shape
        step, cell = divmod(tile, rows * columns)
        return step, *divmod(cell, columns)
