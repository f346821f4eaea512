"""Where jobs stand and what is asked next, without service, bucket or clock."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from shdask.jobs.desk import ALIVE, Ask, Ending, Errand, JobDesk, Stage, Trace
from shdask.jobs.patience import JobPatience

PATIENCE = JobPatience(
    poll_first_s=4.0, poll_growth=2.0, poll_max_s=10.0, jitter=0.0, look_s=1.0, grace_s=5.0, lost_s=3.0,
    total_s=100.0, full_first_s=10.0, full_max_s=30.0,
)  # fmt: skip
HERE = Trace(id="x", complete=True)
COPY = Trace(id="x")


@pytest.fixture
def desk() -> JobDesk:
    """One job to be ordered, at time 0."""
    desk = JobDesk(patience=PATIENCE)
    desk.add("a", 0.0)
    return desk


@pytest.fixture
def running(desk: JobDesk) -> JobDesk:
    """It runs since time 0."""
    desk.next(0.0)
    desk.accepted("a", "x", 0.0)
    return desk


@pytest.fixture
def ended(running: JobDesk) -> JobDesk:
    """The service forgot it at time 4, and its files are being looked for."""
    running.next(4.0)
    running.polled("a", 4.0, is_alive=False)
    running.next(4.0)
    return running


def ask(kind: Ask, attempt: int = 1) -> list[Errand]:
    return [Errand(ask=kind, key="a", attempt=attempt)]


def ask_past(desk: JobDesk, now: float, attempt: int = 2) -> list[Errand]:
    """What is asked next once nothing was found of the attempts before."""
    assert desk.next(now) == ask(Ask.LOOK_BACK, attempt)
    desk.looked_back("a", now, None)
    return desk.next(now)


def test_a_job_is_ordered_once(desk: JobDesk) -> None:
    """While the answer to an order is out nothing more is asked of the job."""
    assert desk.next(0.0) == ask(Ask.ORDER)
    assert desk.next(1000.0) == []


def test_one_order_is_out_at_a_time(desk: JobDesk) -> None:
    """The second job is ordered when the first has been answered for."""
    desk.add("b", 0.0)
    assert [errand.key for errand in desk.next(0.0)] == ["a"]
    desk.accepted("a", "x", 0.0)
    assert [errand.key for errand in desk.next(0.0)] == ["b"]


def test_polls_come_ever_more_seldom(running: JobDesk) -> None:
    """The wait between polls grows to its bound: after 4 s, 8 s, 10 s, 10 s."""
    assert running.next(3.9) == []
    assert running.next(4.0) == ask(Ask.POLL)
    running.polled("a", 4.0, is_alive=True)
    assert running.next(11.9) == []
    assert running.next(12.0) == ask(Ask.POLL)
    running.polled("a", 12.0, is_alive=True)
    assert running.jobs["a"].due == 22.0


@given(luck=st.floats(0, 1))
def test_polls_are_jittered_within_bounds(luck: float) -> None:
    """A wait is longer or shorter by at most the jitter's share."""
    desk = JobDesk(patience=JobPatience(poll_first_s=10.0, jitter=0.2), luck=lambda: luck)
    desk.add("a", 0.0)
    desk.next(0.0)
    desk.accepted("a", "x", 0.0)
    assert 8.0 <= desk.jobs["a"].due <= 12.0


def test_files_that_are_there_end_a_job(ended: JobDesk) -> None:
    """404 and all files: done."""
    assert ended.looked("a", 4.0, HERE) == Ending(end="done")
    assert ended.jobs["a"].stage is Stage.DONE
    assert ended.next(1000.0) == []


def test_files_may_come_within_the_time_of_grace(ended: JobDesk) -> None:
    """What is not there yet is looked for again."""
    assert ended.looked("a", 4.0, COPY) is None
    assert ended.next(5.0) == ask(Ask.LOOK)
    assert ended.looked("a", 8.9, HERE) == Ending(end="done")


@pytest.mark.parametrize(("trace", "end"), [(Trace(), "vanished"), (COPY, "nothing")])
def test_grace_ends(ended: JobDesk, trace: Trace, end: str) -> None:
    """Of a job that left nothing and one that left something but its files different things are said."""
    ended.looked("a", 9.0, trace)
    ended.next(9.0)
    ended.polled("a", 9.0, is_alive=False)
    ended.next(9.0)
    ending = ended.looked("a", 9.0, trace)
    assert ending is not None
    assert ending.end == end
    assert ask_past(ended, 9.0) == ask(Ask.ORDER, attempt=2)


def test_job_that_the_service_knows_after_all_runs_on(ended: JobDesk) -> None:
    """When the time of grace is over, the service is asked once more before anything is ordered again."""
    assert ended.looked("a", 9.0, COPY) is None
    assert ended.next(9.0) == ask(Ask.POLL)
    ended.polled("a", 9.0, is_alive=True)
    assert ended.jobs["a"].stage is Stage.RUNS
    ended.next(30.0)
    ended.polled("a", 30.0, is_alive=False)
    ended.next(30.0)
    assert ended.looked("a", 34.9, COPY) is None
    assert ended.next(36.0) == ask(Ask.LOOK)


def test_error_ends_a_job_at_once(ended: JobDesk) -> None:
    """error.json is believed without waiting, and the job is ordered again."""
    assert ended.looked("a", 4.0, Trace(id="x", error="no")) == Ending(end="failed", text="no")
    assert ask_past(ended, 4.0) == ask(Ask.ORDER, attempt=2)


def test_orders_are_bounded(ended: JobDesk) -> None:
    """After two attempts the job is given up."""
    ended.looked("a", 4.0, Trace(id="x", error="no"))
    ask_past(ended, 4.0)
    ended.refused("a", 4.0, "no")
    assert ask_past(ended, 4.0, attempt=3) == []
    assert ended.jobs["a"].stage is Stage.GIVEN_UP
    assert ended.next(1000.0) == []


def test_job_that_runs_too_long_is_given_up(running: JobDesk) -> None:
    """It is not ordered again, for it may yet deliver."""
    running.next(101.0)
    ending = running.polled("a", 101.0, is_alive=True)
    assert ending is not None
    assert ending.end == "late"
    assert ask_past(running, 101.0) == []
    assert running.jobs["a"].stage is Stage.GIVEN_UP


def test_attempts_are_looked_for_before_the_next_is_paid(ended: JobDesk) -> None:
    """One that has delivered after all is taken, and nothing is ordered."""
    ended.looked("a", 4.0, Trace(id="x", error="no"))
    assert ended.next(4.0) == ask(Ask.LOOK_BACK, attempt=2)
    assert ended.looked_back("a", 4.0, 1) == Ending(end="done")
    assert (ended.jobs["a"].stage, ended.jobs["a"].attempt) == (Stage.DONE, 1)
    assert ended.next(1000.0) == []


def test_attempts_are_looked_for_before_another_way_is_paid(running: JobDesk) -> None:
    """A job that was too late is not given up before it was looked for once more."""
    running.next(101.0)
    running.polled("a", 101.0, is_alive=True)
    assert running.jobs["a"].stage is Stage.DOUBTED
    running.next(101.0)
    running.looked_back("a", 101.0, 1)
    assert running.jobs["a"].stage is Stage.DONE


def test_job_that_is_given_up_with_its_lot_is_not_ordered(running: JobDesk) -> None:
    """What waits goes at once, what is out is waited for, and not ordered again if it fails."""
    running.add("b", 0.0)
    running.give_up("a")
    running.give_up("b")
    assert [running.jobs[key].stage for key in "ab"] == [Stage.RUNS, Stage.GIVEN_UP]
    assert running.next(4.0) == ask(Ask.POLL)
    running.polled("a", 4.0, is_alive=False)
    running.next(4.0)
    running.looked("a", 4.0, Trace(id="x", error="no"))
    assert ask_past(running, 4.0) == []
    assert running.jobs["a"].stage is Stage.GIVEN_UP


def test_lost_order_is_looked_for(desk: JobDesk) -> None:
    """A trace of it brings its id, and it is asked for at once."""
    desk.next(0.0)
    desk.lost("a", 0.0)
    assert desk.next(0.0) == ask(Ask.LOOK)
    assert desk.looked("a", 0.5, COPY) is None
    assert (desk.jobs["a"].stage, desk.jobs["a"].id) == (Stage.RUNS, "x")
    assert desk.next(0.5) == ask(Ask.POLL)


def test_lost_order_without_a_trace_is_repeated(desk: JobDesk) -> None:
    """Only once it was looked for as long as is patient."""
    desk.next(0.0)
    desk.lost("a", 0.0)
    desk.next(0.0)
    assert desk.looked("a", 2.9, Trace()) is None
    desk.next(4.0)
    ending = desk.looked("a", 4.0, Trace())
    assert ending is not None
    assert ending.end == "lost"
    assert ask_past(desk, 4.0) == ask(Ask.ORDER, attempt=2)


def test_full_account_is_waited_for(desk: JobDesk) -> None:
    """Nothing is ordered before the pause is over; refused orders do not count as attempts, and pauses grow."""
    desk.next(0.0)
    desk.full("a", 0.0)
    assert desk.next(9.9) == []
    assert desk.next(10.0) == ask(Ask.ORDER)
    desk.full("a", 10.0)
    assert desk.next(29.9) == []
    assert desk.next(30.0) == ask(Ask.ORDER)
    assert desk.jobs["a"].orders == 1


def test_place_that_gets_free_is_taken(running: JobDesk) -> None:
    """The end of a job lets the next be ordered at once."""
    running.add("b", 0.0)
    running.next(0.0)
    running.full("b", 0.0)
    running.next(4.0)
    running.polled("a", 4.0, is_alive=False)
    assert Errand(ask=Ask.ORDER, key="b", attempt=1) in running.next(4.0)
    assert running.full_at == 1


def test_advice_of_the_service_is_kept(desk: JobDesk) -> None:
    """Retry-After above the pause is waited for."""
    desk.next(0.0)
    desk.full("a", 0.0, retry_after_s=60.0)
    assert desk.next(59.0) == []
    assert desk.next(60.0) == ask(Ask.ORDER)


def test_adopted_job_is_asked_for_at_once(desk: JobDesk) -> None:
    """With its id it is polled, without it is looked for; one that had delivered is looked for."""
    desk.give_up("a")
    desk.adopt("known", 0.0, attempt=3, job_id="x", age_s=50.0, is_done=False)
    desk.adopt("unknown", 0.0, attempt=1, job_id=None, age_s=50.0, is_done=False)
    desk.adopt("done", 0.0, attempt=1, job_id="y", age_s=50.0, is_done=True)
    assert desk.next(0.0) == [
        Errand(ask=Ask.POLL, key="known", attempt=3),
        Errand(ask=Ask.LOOK, key="unknown", attempt=1),
        Errand(ask=Ask.LOOK, key="done", attempt=1),
    ]


def test_number_of_an_attempt_is_never_used_again(desk: JobDesk) -> None:
    """A first attempt that was taken up after a second had failed is followed by a third."""
    desk.give_up("a")
    desk.adopt("b", 0.0, attempt=1, job_id="x", age_s=0.0, is_done=True, next_attempt=3)
    desk.next(0.0)
    desk.looked("b", 0.0, Trace(id="x", error="no"))
    assert (desk.jobs["b"].attempt, desk.jobs["b"].next_attempt) == (3, 4)


def test_age_of_an_adopted_job_counts(desk: JobDesk) -> None:
    """A job that an earlier run ordered long ago is too late now."""
    desk.adopt("b", 0.0, attempt=1, job_id="x", age_s=101.0, is_done=False)
    desk.next(0.0)
    ending = desk.polled("b", 0.0, is_alive=True)
    assert ending is not None
    assert ending.end == "late"


def test_stopped_desk_orders_nothing_and_watches_on(running: JobDesk) -> None:
    """What runs is asked for; what waits is not ordered."""
    running.add("b", 0.0)
    running.stopped = True
    assert running.next(4.0) == ask(Ask.POLL)


def test_silence_is_no_end(running: JobDesk) -> None:
    """A poll without an answer is repeated later, and says nothing of the job."""
    running.next(4.0)
    running.unanswered("a", 4.0)
    assert running.next(7.9) == []
    assert running.next(8.0) == ask(Ask.POLL)


class AnyAnswers(RuleBasedStateMachine):
    """Any answers in any order: no attempt is ordered twice, and no job more often than is allowed."""

    def __init__(self) -> None:
        super().__init__()
        self.desk = JobDesk(patience=PATIENCE)
        self.now = 0.0
        self.out: list[Errand] = []
        self.ordered: list[tuple[str, int]] = []
        self.unsent = 0
        for key in "abc":
            self.desk.add(key, 0.0)

    @rule(seconds=st.floats(0.0, 20.0))
    def ask(self, seconds: float) -> None:
        """Time goes by."""
        self.now += seconds
        found = self.desk.next(self.now)
        self.ordered += [(errand.key, errand.attempt) for errand in found if errand.ask is Ask.ORDER]
        self.out += found

    @precondition(lambda self: self.out)
    @rule(choice=st.integers(0, 4), trace=st.sampled_from([Trace(), COPY, HERE, Trace(id="x", error="no")]))
    def answer(self, choice: int, trace: Trace) -> None:
        """The oldest errand comes back."""
        errand = self.out.pop(0)
        if errand.ask is Ask.ORDER:
            self._answer_order(errand, choice)
        elif choice == 0:
            self.desk.unanswered(errand.key, self.now)
        elif errand.ask is Ask.LOOK_BACK:
            self.desk.looked_back(errand.key, self.now, 1 if trace.complete else None)
        elif errand.ask is Ask.POLL:
            self.desk.polled(errand.key, self.now, is_alive=choice > 1)
        else:
            self.desk.looked(errand.key, self.now, trace)

    def _answer_order(self, errand: Errand, choice: int) -> None:
        if choice == 0:
            self.desk.full(errand.key, self.now)
            self.ordered.remove((errand.key, errand.attempt))
        elif choice == 1:
            self.desk.lost(errand.key, self.now)
        elif choice == 2:
            self.desk.refused(errand.key, self.now, "no")
        else:
            self.desk.accepted(errand.key, f"{errand.key}{errand.attempt}", self.now)

    @invariant()
    def no_attempt_is_ordered_twice(self) -> None:
        """Each has a number of its own."""
        assert len(set(self.ordered)) == len(self.ordered)

    @invariant()
    def orders_are_bounded(self) -> None:
        """A run orders a job so often and no more."""
        assert all(job.orders <= PATIENCE.max_orders for job in self.desk.jobs.values())

    @invariant()
    def nobody_is_forgotten(self) -> None:
        """What may yet bring something is asked for at some time."""
        waiting = ALIVE | {Stage.WAITS}
        assert all(job.is_out or job.due < float("inf") for job in self.desk.jobs.values() if job.stage in waiting)


TestAnyAnswers = AnyAnswers.TestCase


def test_jobs_are_counted_by_stage(running: JobDesk) -> None:
    """By the stage's name, those that nobody is at left out."""
    running.add("another", 0.0)
    assert running.stages() == {"waits": 1, "runs": 1}
