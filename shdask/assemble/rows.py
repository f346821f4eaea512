"""The ledger's rows: what they say, how they are written as lines, and how all of them are folded.

Refuses to know where lines are kept.
"""

from __future__ import annotations

import json
from array import array
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, fields
from itertools import repeat
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shdask.assemble.job_rows import JobFold, JobRecord
from shdask.model import TileEvent, TileState
from shdask.plan.measured import RunFigures

_DEFAULTS = {item.name: item.default for item in fields(TileEvent)}
_STATES = {state.name.lower(): state for state in TileState}
_NO_CHECKSUM = -1
_PACE_ROWS = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class RunHeader:
    """One run of a build, as its first row has it."""

    started: float
    """POSIX time."""
    version: str
    pu_projected: float
    """For what was left to do when it started."""
    host: str
    pid: int
    job: str | None = None
    """Absolute path of the job file on that host, where there was one."""
    options: tuple[str, ...] = ()
    """Words of the command line that came after job and store."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunEnd:
    """How a run ended that could still say so."""

    at: float
    """POSIX time."""
    exit_code: int
    """Of the command line; 0 where nothing was left to do."""
    error: str | None = None
    """``ErrorClass: message``."""
    resume_at: str | None = None
    """When the account may buy again, ISO 8601 in UTC, where its quota is used up."""
    figures: RunFigures | None = None
    """What it has shown; None in ledgers of older releases."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LedgerSummary:
    """All rows of a ledger, folded."""

    states: NDArray[np.uint8]
    """`TileState` of each tile's last row, by tile index; as long as the highest tile that has a row."""
    checksums: NDArray[np.int64]
    """Of each tile's last written pixels, by tile index; -1 where no row tells one. As long as ``states``."""
    in_flight: dict[int, float] = field(default_factory=dict)
    """Tiles that were given out and have no row since: tile index -> projected PU, which may have been spent."""
    pu_spent: float = 0.0
    """Over all runs, failed tiles included."""
    requests: int = 0
    rejected: int = 0
    nbytes: int = 0
    reopened: dict[int, int] = field(default_factory=dict)
    """Tiles that lack pixels of an area that has grown: tile index -> of how many of the cube's areas its pixels are
    there; 0 where nothing is known of them."""
    errors: dict[int, str] = field(default_factory=dict)
    """Tile index -> the error of its last row, where that failed."""
    runs: tuple[RunHeader, ...] = ()
    end: RunEnd | None = None
    """Of the last run; None while it goes on, and where it was killed."""
    last_row: float | None = None
    """POSIX time of the last tile's row."""
    pace: tuple[float, ...] = ()
    """POSIX times of the last run's last rows, at most some hundred, oldest first."""
    jobs: dict[str, JobRecord] = field(default_factory=dict)
    """The last that is known of each Async Process job, by its key."""
    jobs_pu: float = 0.0
    """What was accepted of all their attempts has cost; part of ``pu_spent``."""
    jobs_unsure_pu: float = 0.0
    """The price of orders that may have been accepted."""
    unreadable_rows: int = 0
    """Lines that are no row, such as one cut by a power failure."""


def run_line(run: RunHeader) -> bytes:
    """The row that starts a run. Pure."""
    return _line({"run": asdict(run)})


def end_line(end: RunEnd) -> bytes:
    """The row that ends a run. Pure."""
    return _line({"end": asdict(end)})


def given_out_line(tiles: Sequence[int], pu: float) -> bytes:
    """The row of tiles that may be sent from now on, projected to cost ``pu`` together. Pure."""
    return _line({"out": [[first, last] for first, last in _ranges(sorted(tiles))], "pu": pu})


def settled_line() -> bytes:
    """The row that says that nothing which was given out is in flight any more. Pure."""
    return _line({"settled": True})


def forgotten_line(tiles: Sequence[int]) -> bytes:
    """The row of tiles whose pixels were given up: nothing is known of them any more. Pure."""
    return _line({"forgotten": [[first, last] for first, last in _ranges(sorted(tiles))]})


def reopened_line(tiles: Sequence[int], level: int) -> bytes:
    """The row of tiles of which pixels are to be bought that they lack; see `LedgerSummary.reopened`. Pure."""
    return _line({"reopened": [[first, last] for first, last in _ranges(sorted(tiles))], "areas": level})


def event_line(event: TileEvent) -> bytes:
    """The row of a tile: what differs from the defaults. Pure."""
    row = {name: getattr(event, name) for name in _DEFAULTS}
    row = {name: value for name, value in row.items() if value != _DEFAULTS[name]}
    return _line({**row, "state": event.state.name.lower()})


def _end_of(told: dict[str, Any]) -> RunEnd:
    figures = told.get("figures")
    return RunEnd(**{**told, "figures": None if figures is None else RunFigures(**figures)})


def _line(row: dict[str, Any]) -> bytes:
    return json.dumps(row, separators=(",", ":")).encode() + b"\n"


def _ranges(tiles: Sequence[int]) -> Iterator[tuple[int, int]]:
    """(first, last) of runs of neighbours in ascending ``tiles``."""
    first = last = None
    for tile in tiles:
        if last is None or tile != last + 1:
            if first is not None and last is not None:
                yield first, last
            first = tile
        last = tile
    if first is not None and last is not None:
        yield first, last


def _tiles_of(ranges: Sequence[tuple[int, int]]) -> list[int]:
    return [tile for first, last in ranges for tile in range(first, last + 1)]


def read_rows(parts: Iterable[bytes]) -> Iterator[dict[str, Any] | None]:
    """The rows of a journal's bytes, None for each line that is none.

    Whole parts are parsed at once, which takes half the time of line by line.
    """
    rest = b""
    for part in parts:
        whole, _, rest = (rest + part).rpartition(b"\n")
        if whole:
            yield from _parse(whole.split(b"\n"))
    if rest:
        yield from _parse([rest])


def _parse(lines: Sequence[bytes]) -> Iterator[dict[str, Any] | None]:
    try:
        found = json.loads(b"[" + b",".join(lines) + b"]")
    except ValueError:
        found = None
    if found is None or len(found) != len(lines):
        if len(lines) == 1:
            yield None
            return
        middle = len(lines) // 2
        yield from _parse(lines[:middle])
        yield from _parse(lines[middle:])
        return
    for row in found:
        yield row if isinstance(row, dict) else None


class Fold:
    """Sums over rows; a million of them take seconds, so the loop is plain."""

    def __init__(self) -> None:
        self._states = bytearray()
        self._checksums = array("q")
        self._in_flight: dict[int, float] = {}
        self._reopened: dict[int, int] = {}
        self._errors: dict[int, str] = {}
        self._jobs = JobFold()
        self._runs: list[RunHeader] = []
        self._end: RunEnd | None = None
        self._pace: deque[float] = deque(maxlen=_PACE_ROWS)
        self._pu_spent = 0.0
        self._requests = self._rejected = self._nbytes = self._unreadable = 0
        self._last_row: float | None = None

    def add(self, rows: Iterable[dict[str, Any] | None]) -> None:
        """Take rows in the order in which they were written."""
        for row in rows:
            try:
                if row is None:
                    self._unreadable += 1
                elif "tile" in row:
                    self._add_tile(row)
                else:
                    self._add_other(row)
            except (ValueError, KeyError, TypeError):
                self._unreadable += 1

    def _add_tile(self, row: dict[str, Any]) -> None:
        tile, state = row["tile"], _STATES[row["state"]]
        if tile >= len(self._states):
            more = max(tile + 1 - len(self._states), len(self._states))
            self._states.extend(bytes(more))
            self._checksums.extend(repeat(_NO_CHECKSUM, more))
        self._states[tile] = state
        if "checksum" in row:
            self._checksums[tile] = row["checksum"]
        self._in_flight.pop(tile, None)
        if state is not TileState.FAILED:
            self._reopened.pop(tile, None)
        self._pu_spent += row.get("pu_spent", 0.0)
        self._requests += row.get("requests", 0)
        self._rejected += row.get("rejected", 0)
        self._nbytes += row.get("nbytes", 0)
        self._last_row = row.get("finished", self._last_row)
        self._pace.append(self._last_row or 0.0)
        if state is TileState.FAILED:
            self._errors[tile] = row.get("error", "")
        else:
            self._errors.pop(tile, None)

    def _add_other(self, row: dict[str, Any]) -> None:
        if "run" in row:
            run = row["run"]
            self._runs.append(RunHeader(**{**run, "options": tuple(run.get("options", ()))}))
            self._end = None
            self._pace.clear()
        elif "end" in row:
            self._end = _end_of(row["end"])
        elif "settled" in row:
            self._in_flight.clear()
        elif "job" in row:
            self._pu_spent += self._jobs.add(row)
        elif "forgotten" in row:
            self._forget(_tiles_of(row["forgotten"]))
        elif "reopened" in row:
            self._reopen(_tiles_of(row["reopened"]), row["areas"])
        else:
            self._give_out(_tiles_of(row["out"]), row["pu"])

    def _forget(self, tiles: list[int]) -> None:
        self._jobs.outdate(tiles)
        for tile in tiles:
            if tile < len(self._states):
                self._states[tile] = TileState.UNTRIED
                self._checksums[tile] = _NO_CHECKSUM
            if tile in self._reopened:
                self._reopened[tile] = 0

    def _reopen(self, tiles: list[int], level: int) -> None:
        for tile in tiles:
            self._reopened[tile] = min(level, self._reopened.get(tile, level))
            if tile < len(self._states):
                self._states[tile] = TileState.UNTRIED

    def _give_out(self, tiles: list[int], pu: float) -> None:
        self._in_flight.update(dict.fromkeys(tiles, pu / len(tiles)))
        for tile in tiles:  # whatever is written of it from now on, its row will tell
            if tile < len(self._checksums):
                self._checksums[tile] = _NO_CHECKSUM

    def summary(self) -> LedgerSummary:
        """What the rows say together."""
        states, checksums = np.frombuffer(bytes(self._states), np.uint8), np.array(self._checksums, np.int64)
        told = np.flatnonzero((states != TileState.UNTRIED) | (checksums != _NO_CHECKSUM))
        count = int(told[-1]) + 1 if told.size else 0
        return LedgerSummary(
            states=states[:count],
            checksums=checksums[:count],
            reopened=self._reopened,
            in_flight=self._in_flight,
            pu_spent=self._pu_spent,
            requests=self._requests,
            rejected=self._rejected,
            nbytes=self._nbytes,
            errors=self._errors,
            runs=tuple(self._runs),
            jobs=self._jobs.records,
            jobs_pu=self._jobs.accepted_pu,
            jobs_unsure_pu=self._jobs.unsure_pu,
            end=self._end,
            pace=tuple(self._pace),
            last_row=self._last_row,
            unreadable_rows=self._unreadable,
        )
