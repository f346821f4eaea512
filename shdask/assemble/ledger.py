"""The ledger of a cube: a row per tile and run of what was sent, paid, written, empty or failed.

Refuses to know Zarr, and where rows are kept. Only the owner of the cube appends; anyone may read at any time.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from shdask import __version__
from shdask.assemble.job_rows import JobAccepted, JobRow, job_line
from shdask.assemble.journal import Journal
from shdask.assemble.lease import Lease
from shdask.assemble.place import Place, open_place
from shdask.assemble.rows import (
    Fold,
    LedgerSummary,
    RunEnd,
    RunHeader,
    end_line,
    event_line,
    forgotten_line,
    given_out_line,
    read_rows,
    reopened_line,
    run_line,
    settled_line,
)
from shdask.model import TileEvent, TileState
from shdask.plan.measured import RunFigures


def read_ledger(store: str | os.PathLike[str] | Place) -> LedgerSummary:
    """Fold the ledger of the cube at ``store``; an absent one is empty.

    Lines that cannot be read are counted and passed over, the one being written just now included: what
    they said is asked of the store, or bought again. Raises StoreError when it cannot be read.
    """
    fold = Fold()
    fold.add(read_rows(open_place(store).read_journal()))
    return fold.summary()


class Ledger:
    """The ledger in its owner's hands: holds the cube's lease from `open` to `close`."""

    def __init__(self, lease: Lease, journal: Journal, past: LedgerSummary) -> None:
        self.lease = lease
        self.past = past
        """Everything up to the opening."""
        self.pu_spent = past.pu_spent
        """Processing units over all runs, this one's rows included."""
        self._journal = journal

    @classmethod
    def open(cls, store: str | os.PathLike[str] | Place) -> Ledger:
        """Own the cube at ``store`` and go on with its ledger; a last line torn by a kill is cut off.

        Raises StoreError when another process owns the cube (naming it), or the place refuses.
        """
        place = open_place(store)
        lease = Lease.acquire(place)
        try:
            return cls(lease, place.open_journal(lease.owner.build), read_ledger(place))
        except BaseException:
            lease.release()
            raise

    @property
    def states(self) -> NDArray[np.uint8]:
        """`TileState` of each tile's last row at the opening; see `LedgerSummary.states`."""
        return self.past.states

    def begin_run(self, *, pu_projected: float, job: str | None = None, options: Sequence[str] = ()) -> None:
        """Append the row that starts a run; see `RunHeader`."""
        run = RunHeader(
            started=time.time(),
            version=__version__,
            pu_projected=pu_projected,
            host=socket.gethostname(),
            pid=os.getpid(),
            job=job,
            options=tuple(options),
        )
        self._write(run_line(run))

    def end_run(
        self,
        *,
        exit_code: int,
        error: str | None = None,
        resume_at: str | None = None,
        figures: RunFigures | None = None,
    ) -> None:
        """Append the row that says how the run ended, and what it has shown; see `RunEnd`."""
        end = RunEnd(at=time.time(), exit_code=exit_code, error=error, resume_at=resume_at, figures=figures)
        self._write(end_line(end))

    def recover(self, lines: bytes) -> None:
        """Make durable rows of an earlier run that it could not write, and count them among the past."""
        self._write(lines)
        self.past = read_ledger(self.lease.place)
        self.pu_spent = self.past.pu_spent

    def give_out(self, tiles: Sequence[int], *, pu_projected: float) -> None:
        """Make durable that ``tiles`` may be sent from now on, before they are."""
        if tiles:
            self._write(given_out_line(tiles, pu_projected))

    def add_job(self, row: JobRow) -> None:
        """Make durable what was ordered, accepted, or became of an Async Process job."""
        self._write(job_line(row))
        if isinstance(row, JobAccepted):
            self.pu_spent += row.pu

    def settle(self) -> None:
        """Say that nothing which was given out is in flight any more."""
        self._write(settled_line())

    def forget(self, tiles: Sequence[int]) -> None:
        """Make durable that the pixels of ``tiles`` are given up."""
        if tiles:
            self._write(forgotten_line(tiles))

    def reopen(self, levels: Mapping[int, int]) -> None:
        """Make durable that tiles lack pixels, and count them among the past; see `LedgerSummary.reopened`."""
        by_level = {level: [tile for tile in levels if levels[tile] == level] for level in set(levels.values())}
        if by_level:
            self.recover(b"".join(reopened_line(tiles, level) for level, tiles in by_level.items()))

    def append(self, events: Sequence[TileEvent]) -> None:
        """Make one row per event durable before returning. A skipped tile has none: nothing was sent for it.

        On S3 the row of a tile that is written may follow within a second or so, with the next call: the tile
        itself is the evidence. Raises StoreError where the lease was lost.
        """
        told = [event for event in events if not event.skipped]
        evident = all(event.state is TileState.WRITTEN and event.tile not in self.past.reopened for event in told)
        self._write(b"".join(map(event_line, told)), may_wait=evident)
        self.pu_spent += sum(event.pu_spent for event in told)

    def _write(self, lines: bytes, *, may_wait: bool = False) -> None:
        self.lease.check()
        with self.lease.place.errors():
            self._journal.append(lines, may_wait=may_wait)

    def say(self, note: Mapping[str, Any]) -> None:
        """Let the lease's heartbeats carry ``note``; see `Lease.say`."""
        self.lease.say(note)

    @property
    def stop_asked(self) -> bool:
        """Whether somebody asks this build to end; see `Lease.stop_asked`."""
        return self.lease.stop_asked

    @property
    def lost(self) -> bool:
        """Whether another process has taken the cube over, so that nothing may be written any more."""
        return self.lease.lost

    def close(self) -> None:
        """Make durable what waits, and give the lease back. Again: does nothing."""
        try:
            with self.lease.place.errors():
                self._journal.close()
        finally:
            self.lease.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
