"""What a run measures while it goes on, beside what its plan foresaw.

Refuses to know where the figures go.
"""

from __future__ import annotations

from shdask.assemble.job_rows import JobAccepted, JobIntent, JobRow
from shdask.model import TileEvent, TileState, Window
from shdask.plan.group import GroupPlan
from shdask.plan.learning import job_kind_of, kind_of
from shdask.plan.measured import RunFigures


class RunMeter:
    """Adds up the events of a run. Lives in the owner process only."""

    def __init__(self, plan: GroupPlan) -> None:
        self._plan = plan
        self._pu_spent = self._pu_projected = 0.0
        self._nbytes = self._nbytes_projected = 0
        self._requests = self._answers = 0
        self._answers_s = 0.0
        self.nbytes_delivered = 0
        """Of tiles that jobs delivered, before compression."""
        self.is_timed = True
        """Whether how long the run took says how long a build takes; not where it waits for who asks for tiles."""
        self._pu_by_shape: dict[tuple[int, int], float] = {}
        """Of windows of so many (rows, columns)."""

    def add(self, event: TileEvent) -> None:
        """Count an attempt of a tile; one that failed, or went on where another had, says nothing of a tile's price."""
        self._requests += event.requests
        self._answers += event.answers
        self._answers_s += event.answers_s
        if event.skipped or event.resumed or event.state is TileState.FAILED:
            return
        tile = self._plan.tile(event.tile)
        windows = tile.windows
        pixels = sum(window.pixel_count for window in windows)
        if not event.pu_spent:
            self.nbytes_delivered += 0 if event.requests else pixels * self._plan.layer.sent_nbytes_per_px
            return
        self._pu_spent += event.pu_spent
        self._pu_projected += sum(self._price(window, tile.step) for window in windows)
        self._nbytes += event.nbytes
        self._nbytes_projected += pixels * self._plan.layer.sent_nbytes_per_px

    @property
    def dearness(self) -> float:
        """What was spent as a multiple of the projection of the same tiles; 1 without any."""
        return self._pu_spent / self._pu_projected if self._pu_projected else 1.0

    def _price(self, window: Window, step: int | None) -> float:
        shape = window.shape
        if self._plan.layer.is_composite:  # its dates differ from window to window
            return self._plan.window_pu(window, step)
        if shape not in self._pu_by_shape:
            self._pu_by_shape[shape] = self._plan.window_pu(window)
        return self._pu_by_shape[shape]

    def figures(self, seconds: float) -> RunFigures:
        """What the run has shown, which took so long. Pure."""
        plan = self._plan
        return RunFigures(
            kind=kind_of(plan.layer, plan.deployment),
            pu_spent=self._pu_spent,
            pu_projected=self._pu_projected,
            pu_formula=self._pu_projected / plan.layer.leading.learned_ratio,
            nbytes=self._nbytes,
            nbytes_projected=self._nbytes_projected,
            requests=self._requests,
            answers=self._answers,
            answers_s=self._answers_s,
            seconds=seconds,
            seconds_projected=project_s(plan, self._pu_projected) if self.is_timed else 0.0,
        )


class JobMeter:
    """Adds up what jobs of Async Process have cost and taken that were ordered and have delivered in one run."""

    def __init__(self, plan: GroupPlan) -> None:
        self._plan = plan
        self._accepted: dict[str, tuple[JobIntent, JobAccepted]] = {}
        self._intents: dict[str, JobIntent] = {}
        self._pu_spent = self._pu_projected = self._seconds = 0.0
        self._count = 0

    def add(self, row: JobRow) -> None:
        """Take a row of the run."""
        if isinstance(row, JobIntent):
            self._intents[row.key] = row
        elif isinstance(row, JobAccepted):
            if row.key in self._intents:
                self._accepted[row.key] = self._intents[row.key], row
        elif row.end == "done" and row.key in self._accepted:
            intent, accepted = self._accepted.pop(row.key)
            if accepted.attempt == row.attempt:
                self._end(intent, accepted, at=row.at)

    def _end(self, intent: JobIntent, accepted: JobAccepted, *, at: float) -> None:
        if intent.pu <= self._plan.layer.prices.async_min_pu:  # the least price says nothing of the factor
            return
        self._count += 1
        self._pu_spent += accepted.pu
        self._pu_projected += intent.pu
        self._seconds += at - accepted.at

    def figures(self, seconds: float) -> RunFigures:
        """What the jobs have shown in a run that took so long; nothing where all were of the least price. Pure."""
        plan = self._plan
        learned = plan.layer.prices.async_factor / plan.deployment.prices.async_factor
        return RunFigures(
            kind=job_kind_of(plan.layer, plan.deployment),
            pu_spent=self._pu_spent,
            pu_projected=self._pu_projected,
            pu_formula=self._pu_projected / learned,
            nbytes=0,
            nbytes_projected=0,
            requests=self._count,
            answers=self._count,
            answers_s=self._seconds,
            seconds=seconds,
            seconds_projected=0.0,
        )


def project_s(plan: GroupPlan, pu: float) -> float:
    """Seconds that tiles of ``plan`` of so many processing units take at the account's rates. Pure."""
    cost = plan.cost
    return cost.minutes * 60 * pu / cost.pu if cost.pu else 0.0
