"""The ledger of a cube: one JSON line per tile and run of what was sent, paid, written, empty or failed.

Refuses to know Zarr. Only the owner of the cube appends; anyone may read at any time.
"""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from shdask import __version__
from shdask.assemble.disk import disk_errors
from shdask.assemble.lease import FOLDER, Lease
from shdask.model import TileEvent, TileState

_DEFAULTS = {item.name: item.default for item in fields(TileEvent)}
_STATES = {state.name.lower(): state for state in TileState}
_TAIL_NBYTES = 1 << 16


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


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LedgerSummary:
    """All rows of a ledger, folded."""

    states: NDArray[np.uint8]
    """`TileState` of each tile's last row, by tile index; as long as the highest tile that has a row."""
    pu_spent: float = 0.0
    """Over all runs, failed tiles included."""
    requests: int = 0
    rejected: int = 0
    nbytes: int = 0
    errors: dict[int, str] = field(default_factory=dict)
    """Tile index -> the error of its last row, where that failed."""
    runs: tuple[RunHeader, ...] = ()
    last_row: float | None = None
    """POSIX time of the last tile's row."""
    unreadable_rows: int = 0
    """Lines that are no row, such as one cut by a power failure."""


def read_ledger(path: Path) -> LedgerSummary:
    """Fold the ledger of the cube at ``path``; an absent one is empty.

    Lines that cannot be read are counted and passed over, the one being written just now included: what
    they said is asked of the disk, or bought again. Raises StoreError when the file cannot be read.
    """
    fold = _Fold()
    file = path / FOLDER / "ledger.jsonl"
    with disk_errors(file):
        try:
            with file.open("rb") as lines:
                fold.add_lines(lines)
        except FileNotFoundError:
            pass
    return fold.summary()


class Ledger:
    """The ledger in its owner's hands: holds the cube's lease from `open` to `close`."""

    def __init__(self, lease: Lease, fd: int, past: LedgerSummary) -> None:
        self.past = past
        """Everything up to the opening."""
        self.pu_spent = past.pu_spent
        """Processing units over all runs, this one's rows included."""
        self._lease = lease
        self._fd = fd

    @classmethod
    def open(cls, path: Path) -> Ledger:
        """Own the cube at ``path`` and go on with its ledger; a last line torn by a kill is cut off.

        Raises StoreError when another process owns the cube (naming it), or the disk refuses.
        """
        lease = Lease.acquire(path)
        try:
            with disk_errors(path):
                fd = os.open(path / FOLDER / "ledger.jsonl", os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
                _cut_torn_line(fd)
            return cls(lease, fd, read_ledger(path))
        except BaseException:
            lease.release()
            raise

    @property
    def states(self) -> NDArray[np.uint8]:
        """`TileState` of each tile's last row at the opening; see `LedgerSummary.states`."""
        return self.past.states

    def begin_run(self, *, pu_projected: float) -> None:
        """Append the row that starts a run."""
        run = RunHeader(
            started=time.time(),
            version=__version__,
            pu_projected=pu_projected,
            host=socket.gethostname(),
            pid=os.getpid(),
        )
        self._write([{"run": asdict(run)}])

    def append(self, events: Sequence[TileEvent]) -> None:
        """Make one row per event durable before returning. A skipped tile has none: nothing was sent for it."""
        rows = [_row(event) for event in events if not event.skipped]
        if rows:
            self._write(rows)
            self.pu_spent += sum(event.pu_spent for event in events)

    def _write(self, rows: Sequence[dict[str, Any]]) -> None:
        text = "".join(json.dumps(row, separators=(",", ":")) + "\n" for row in rows).encode()
        with disk_errors(self._lease.path / FOLDER):
            end = os.fstat(self._fd).st_size
            try:
                _write_all(self._fd, text)
                os.fsync(self._fd)
            except OSError:
                os.ftruncate(self._fd, end)  # so that no later row is glued to half of one
                raise

    def close(self) -> None:
        """Give the lease back. Again: does nothing."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
        self._lease.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _row(event: TileEvent) -> dict[str, Any]:
    row = {name: getattr(event, name) for name in _DEFAULTS}
    row = {name: value for name, value in row.items() if value != _DEFAULTS[name]}
    return {**row, "state": event.state.name.lower()}


def _write_all(fd: int, data: bytes) -> None:
    left = memoryview(data)
    while left:
        left = left[os.write(fd, left) :]


def _cut_torn_line(fd: int) -> None:
    end = os.fstat(fd).st_size
    while end:
        start = max(0, end - _TAIL_NBYTES)
        newline = os.pread(fd, end - start, start).rfind(b"\n")
        if newline >= 0:
            end = start + newline + 1
            break
        end = start
    os.ftruncate(fd, end)


class _Fold:
    """Sums over rows; a million of them take seconds, so the loop is plain."""

    def __init__(self) -> None:
        self._states = bytearray()
        self._errors: dict[int, str] = {}
        self._runs: list[RunHeader] = []
        self._pu_spent = 0.0
        self._requests = self._rejected = self._nbytes = self._unreadable = 0
        self._last_row: float | None = None

    def add_lines(self, lines: Iterator[bytes]) -> None:
        for line in lines:
            try:
                row = json.loads(line)
                if "run" in row:
                    self._runs.append(RunHeader(**row["run"]))
                else:
                    self._add(row)
            except (ValueError, KeyError, TypeError):
                self._unreadable += 1

    def _add(self, row: dict[str, Any]) -> None:
        tile, state = row["tile"], _STATES[row["state"]]
        if tile >= len(self._states):
            self._states.extend(bytes(max(tile + 1 - len(self._states), len(self._states))))
        self._states[tile] = state
        self._pu_spent += row.get("pu_spent", 0.0)
        self._requests += row.get("requests", 0)
        self._rejected += row.get("rejected", 0)
        self._nbytes += row.get("nbytes", 0)
        self._last_row = row.get("finished", self._last_row)
        if state is TileState.FAILED:
            self._errors[tile] = row.get("error", "")
        else:
            self._errors.pop(tile, None)

    def summary(self) -> LedgerSummary:
        states = np.frombuffer(bytes(self._states), np.uint8)
        return LedgerSummary(
            states=np.trim_zeros(states, "b"),  # rows never say "untried"
            pu_spent=self._pu_spent,
            requests=self._requests,
            rejected=self._rejected,
            nbytes=self._nbytes,
            errors=self._errors,
            runs=tuple(self._runs),
            last_row=self._last_row,
            unreadable_rows=self._unreadable,
        )
