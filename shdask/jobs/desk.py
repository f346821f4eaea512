"""Where each job stands, and what is to be asked next: a state machine that its one owner calls in turn.

Pure but for its luck. Refuses to know the service, buckets, ledgers and threads; it sees keys, ids and times.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum

from shdask.assemble.job_rows import EndKind
from shdask.jobs.patience import JobPatience


class Stage(Enum):
    """Where a job stands."""

    WAITS = "waits"
    """To be ordered."""
    ORDERED = "ordered"
    """Its order is on its way."""
    SOUGHT = "sought"
    """It may have been accepted; a trace of it is looked for."""
    RUNS = "runs"
    ENDED = "ended"
    """The service knows it no more; its files are looked for."""
    DONE = "done"
    """They are there."""
    DOUBTED = "doubted"
    """It is not ordered any more; what its attempts have left after all is looked for."""
    GIVEN_UP = "given up"


ALIVE = frozenset({Stage.ORDERED, Stage.SOUGHT, Stage.RUNS, Stage.ENDED, Stage.DOUBTED})
"""It may have been paid for, and may yet bring something."""


class Ask(Enum):
    """What a job's owner does next for it."""

    ORDER = "order"
    POLL = "poll"
    """Ask the service whether it runs."""
    LOOK = "look"
    """List what lies where it delivers."""
    LOOK_BACK = "look back"
    """List what lies where attempts of it delivered that were given up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Errand:
    """Something to be done for a job; its answer is told to the desk."""

    ask: Ask
    key: str
    attempt: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """What lies where a job delivers."""

    id: str | None = None
    """The service's id of the job whose objects they are; None where nothing is there."""
    complete: bool = False
    """Whether all its files are there."""
    error: str | None = None
    """What its ``error.json`` says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """What became of an attempt."""

    end: EndKind
    text: str | None = None


@dataclass(slots=True, kw_only=True)
class JobState:
    """One job at the desk."""

    key: str
    stage: Stage
    attempt: int
    """The one that is out, or, of a job that waits, the next."""
    next_attempt: int
    """That no run has used, nor will this one's attempt that is out or waits."""
    due: float
    """Nothing is asked for it before."""
    id: str | None = None
    orders: int = 0
    """Of this run."""
    since: float = 0.0
    """When its attempt was ordered."""
    wait_s: float = 0.0
    """Until it is asked for again."""
    quiet_since: float = 0.0
    """Since when it is looked for."""
    is_asked_again: bool = False
    """Whether the service, which did not know it, was asked once more when the time of grace was over."""
    is_out: bool = False
    """Whether an errand for it has not come back."""
    looks_back: bool = False
    """Whether it is to be looked for what attempts of it that were given up have left, before another is ordered."""


@dataclass(slots=True, kw_only=True)
class JobDesk:
    """All jobs of a run. Times are seconds on any one clock. Neither thread-safe nor asynchronous."""

    patience: JobPatience = field(default_factory=JobPatience)
    luck: Callable[[], float] = lambda: 0.5
    """Numbers from 0 to 1, for jitter."""
    stopped: bool = False
    """Nothing more is ordered."""
    jobs: dict[str, JobState] = field(default_factory=dict)
    full_at: int | None = None
    """How many jobs ran when the service last refused one more; None where it did not."""
    _hold_until: float = float("-inf")
    _hold_s: float = 0.0

    def add(self, key: str, now: float, *, attempt: int = 1, looks_back: bool = False) -> None:
        """A job to be ordered; with ``looks_back`` what earlier runs gave up of it is looked for first."""
        self.jobs[key] = JobState(
            key=key,
            stage=Stage.WAITS,
            attempt=attempt,
            next_attempt=attempt + 1,
            due=now,
            looks_back=looks_back,
        )

    def adopt(
        self,
        key: str,
        now: float,
        *,
        attempt: int,
        job_id: str | None,
        age_s: float,
        is_done: bool,
        next_attempt: int | None = None,
    ) -> None:
        """A job that an earlier run ordered ``age_s`` ago; without its id it is looked for first.

        ``next_attempt`` is told where later ones than ``attempt`` were ordered.
        """
        stage = Stage.SOUGHT if job_id is None else Stage.ENDED if is_done else Stage.RUNS
        self.jobs[key] = JobState(
            key=key,
            stage=stage,
            attempt=attempt,
            next_attempt=next_attempt or attempt + 1,
            due=now,
            id=job_id,
            since=now - age_s,
            quiet_since=now,
        )

    def give_up(self, key: str) -> None:
        """Order this job no more: its lot goes another way. What is out is waited for, and what has come is kept."""
        job = self.jobs[key]
        job.orders = self.patience.max_orders
        if job.stage is Stage.WAITS:
            job.stage = Stage.DOUBTED if job.is_out or job.looks_back else Stage.GIVEN_UP

    def next(self, now: float) -> list[Errand]:
        """What is to be done now, and is not yet; one order at a time, each to be answered for."""
        errands = []
        for job in self._due(now):
            ask = self._ask(job, now)
            if ask is None:
                continue
            if ask is Ask.ORDER:
                job.stage, job.since, job.orders = Stage.ORDERED, now, job.orders + 1
            job.is_out = True
            errands.append(Errand(ask=ask, key=job.key, attempt=job.attempt))
        return errands

    def _ask(self, job: JobState, now: float) -> Ask | None:
        if job.stage is Stage.RUNS:
            return Ask.POLL
        if job.stage in {Stage.SOUGHT, Stage.ENDED}:
            return Ask.LOOK
        if job.looks_back and (self.stopped or job.stage is Stage.DOUBTED or self._may_order(now)):
            return Ask.LOOK_BACK  # it costs nothing, and an order may
        return Ask.ORDER if job.stage is Stage.WAITS and self._may_order(now) else None

    def _due(self, now: float) -> Iterator[JobState]:
        asked = (Stage.WAITS, Stage.SOUGHT, Stage.RUNS, Stage.ENDED, Stage.DOUBTED)
        return (job for job in self.jobs.values() if not job.is_out and job.due <= now and job.stage in asked)

    def _may_order(self, now: float) -> bool:
        return not self.stopped and now >= self._hold_until and self.count(Stage.ORDERED) == 0

    def withdraw(self, key: str, now: float, *, wait_s: float) -> None:
        """An order was not sent after all; try again later."""
        job = self._back(key)
        job.stage, job.due, job.orders = Stage.WAITS, now + wait_s, job.orders - 1

    def accepted(self, key: str, job_id: str, now: float) -> None:
        """The order was accepted under this id."""
        self._run(self._back(key), job_id, now, self.patience.poll_first_s)
        self._hold_s = 0.0

    def full(self, key: str, now: float, *, retry_after_s: float | None = None) -> None:
        """The order was refused since the account has as many jobs as it may: wait for one to end, or a while."""
        self.withdraw(key, now, wait_s=0.0)
        self.full_at = sum(job.stage in {Stage.RUNS, Stage.SOUGHT, Stage.ENDED} for job in self.jobs.values())
        first, most = self.patience.full_first_s, self.patience.full_max_s
        self._hold_s = min(most, max(first, self._hold_s * self.patience.poll_growth))
        self._hold_until = now + max(self._jittered(self._hold_s), retry_after_s or 0.0)

    def lost(self, key: str, now: float) -> None:
        """The answer to the order was lost: it may have been accepted."""
        job = self._back(key)
        job.stage, job.due, job.quiet_since = Stage.SOUGHT, now, now

    def refused(self, key: str, now: float, text: str) -> Ending:
        """The order was refused, and another one may be."""
        job = self._back(key)
        return self._fail(job, now, Ending(end="refused", text=text))

    def unanswered(self, key: str, now: float) -> None:
        """Neither service nor bucket has answered; ask again later."""
        job = self._back(key)
        job.due = now + self._jittered(max(job.wait_s, self.patience.look_s))

    def polled(self, key: str, now: float, *, is_alive: bool) -> Ending | None:
        """The service says whether it runs."""
        job = self._back(key)
        if not is_alive:
            job.stage, job.due = Stage.ENDED, now
            if not job.is_asked_again:
                job.quiet_since = now
                self._hold_until = now  # there may be a place
            return None
        job.is_asked_again = False
        if now - job.since > self.patience.total_s:
            text = f"it still ran {(now - job.since) / 60:.0f} min after it was ordered"
            return self._fail(job, now, Ending(end="late", text=text))
        job.wait_s = min(self.patience.poll_max_s, job.wait_s * self.patience.poll_growth)
        job.wait_s = max(job.wait_s, min(self.patience.poll_first_s, self.patience.poll_max_s))
        job.due = now + self._jittered(job.wait_s)
        return None

    def looked(self, key: str, now: float, trace: Trace) -> Ending | None:
        """What lies where it delivers; None where it is not known yet what became of it."""
        job = self._back(key)
        if trace.error is not None:
            return self._fail(job, now, Ending(end="failed", text=trace.error))
        if trace.complete:
            job.stage, job.id = Stage.DONE, trace.id
            return Ending(end="done")
        if job.stage is Stage.SOUGHT:
            return self._found_alive(job, now, trace)
        return self._missing(job, now, trace)

    def looked_back(self, key: str, now: float, attempt: int | None) -> Ending | None:
        """Whether an attempt that was given up, and which, has delivered after all."""
        job = self._back(key)
        job.looks_back = False
        if attempt is not None:
            job.stage, job.attempt = Stage.DONE, attempt
            return Ending(end="done")
        job.due = max(job.due, now)
        if job.stage is Stage.DOUBTED:
            job.stage = Stage.GIVEN_UP
        return None

    def _missing(self, job: JobState, now: float, trace: Trace) -> Ending | None:
        """Not all that a job owes is there, which the service knows no more."""
        if now - job.quiet_since < self.patience.grace_s:
            job.due = now + self._jittered(self.patience.look_s)
            return None
        if not job.is_asked_again:  # one that is not known yet, or not by all of the service, would be paid twice
            job.is_asked_again, job.stage, job.due = True, Stage.RUNS, now
            return None
        if trace.id is None:
            return self._fail(job, now, Ending(end="vanished", text="nothing of it came to the bucket"))
        return self._fail(job, now, Ending(end="nothing", text="not all its files came to the bucket, and no error"))

    def _found_alive(self, job: JobState, now: float, trace: Trace) -> Ending | None:
        if trace.id is not None:
            self._run(job, trace.id, now, 0.0)
            return None
        if now - job.quiet_since < self.patience.lost_s:
            job.due = now + self._jittered(self.patience.look_s)
            return None
        return self._fail(job, now, Ending(end="lost", text="the answer to its order was lost, and no trace is of it"))

    def _fail(self, job: JobState, now: float, ending: Ending) -> Ending:
        may_again = job.orders < self.patience.max_orders and ending.end != "late"
        job.stage = Stage.WAITS if may_again else Stage.DOUBTED
        job.attempt, job.next_attempt = job.next_attempt, job.next_attempt + 1
        job.id, job.due, job.is_asked_again = None, now, False
        job.looks_back = True
        return ending

    def _run(self, job: JobState, job_id: str, now: float, wait_s: float) -> None:
        job.stage, job.id, job.wait_s = Stage.RUNS, job_id, wait_s
        job.due = now + self._jittered(wait_s)

    def _back(self, key: str) -> JobState:
        job = self.jobs[key]
        job.is_out = False
        return job

    def _jittered(self, wait_s: float) -> float:
        return wait_s * (1 + self.patience.jitter * (2 * self.luck() - 1))

    def count(self, *stages: Stage) -> int:
        """How many jobs are at these stages. Pure."""
        return sum(job.stage in stages for job in self.jobs.values())

    def stages(self) -> Mapping[str, int]:
        """How many jobs are at each stage that any is at, by its name. Pure."""
        counts = Counter(job.stage for job in self.jobs.values())
        return {stage.value: counts[stage] for stage in Stage if counts[stage]}
