"""Lots whose jobs stand at a desk: which of them have come, go another way, or may yet come.

Pure. Refuses to know what jobs are asked, and what becomes of a lot.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from shdask.jobs.desk import ALIVE, JobDesk, JobState, Stage
from shdask.jobs.lots import Lot

_SETTLED = frozenset({Stage.DONE, Stage.GIVEN_UP})


@dataclass(slots=True, kw_only=True)
class _Entry:
    lot: Lot
    is_taken: bool = False


class LotBoard:
    """The lots of a run and where the desk has their jobs. Called in turn by one thread."""

    def __init__(self, lots: Sequence[Lot], desk: JobDesk) -> None:
        self._entries = [_Entry(lot=lot) for lot in lots]
        self._desk = desk

    def take(self, *, delivered: bool) -> Iterator[tuple[Lot, list[str]]]:
        """Lots of which nothing more will come, each once, with the keys of the jobs that have delivered.

        With ``delivered`` those of which some has, else those of which none has. A job that is given up takes those
        with it that its lot has not ordered yet.
        """
        for entry in self._open():
            self._give_up_with_others(entry.lot)
            jobs = self._jobs(entry.lot)
            keys = [job.key for job in jobs if job.stage is Stage.DONE]
            if bool(keys) is delivered and all(job.stage in _SETTLED for job in jobs):
                entry.is_taken = True
                yield entry.lot, keys

    def _give_up_with_others(self, lot: Lot) -> None:
        if any(job.stage is Stage.GIVEN_UP for job in self._jobs(lot)):
            for job in self._jobs(lot):
                self._desk.give_up(job.key)

    @property
    def has_work(self) -> bool:
        """Whether a lot that was not taken may yet be."""
        return any(self._may_come(self._jobs(entry.lot)) for entry in self._open())

    def _may_come(self, jobs: Sequence[JobState]) -> bool:
        stages = {job.stage for job in jobs}
        may_order = Stage.WAITS in stages and not self._desk.stopped
        is_looked_for = any(job.stage is Stage.WAITS and (job.looks_back or job.is_out) for job in jobs)
        return may_order or is_looked_for or Stage.GIVEN_UP in stages or stages == {Stage.DONE} or bool(stages & ALIVE)

    def _open(self) -> Iterator[_Entry]:
        return (entry for entry in self._entries if not entry.is_taken)

    def _jobs(self, lot: Lot) -> list[JobState]:
        return [self._desk.jobs[order.job.key] for order in lot.orders]
