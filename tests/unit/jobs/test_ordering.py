"""Orders on their way: when they are sent, and what they keep of a cap."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Self
from unittest.mock import Mock

import numpy as np
import pytest

from shdask.build import Account, BuildJob
from shdask.errors import JobQueueFull, JobSubmitLost, ShdaskError, StoreUnavailable, TransportError, WrongStore
from shdask.fetch.auth import AccessToken
from shdask.fetch.client import ServiceClient
from shdask.fetch.delivery import Found
from shdask.jobs.attempts import Look
from shdask.jobs.courier import Answer
from shdask.jobs.lots import make_lots
from shdask.jobs.ordering import Ordering
from shdask.jobs.patience import JobPatience
from shdask.jobs.run import JobRun
from shdask.plan.group import GroupPlan
from shdask.settings import Credentials
from tests.unit.jobs.books import Book, leave

LONG_S = 30.0


class _Bucket:
    """A place that takes everything."""

    url = "s3://bucket/cubes"

    def preflight(self, **_may: bool) -> None:
        """Nothing is tried."""


@dataclass
class _Service:
    """Gate, tokens and wire in one: permit and token are waited for, and what is sent is lost."""

    waited_for: threading.Event = field(default_factory=threading.Event)
    permit: threading.Event = field(default_factory=threading.Event)
    asked_for: threading.Event = field(default_factory=threading.Event)
    login: threading.Event = field(default_factory=threading.Event)
    sent: list[str] = field(default_factory=list)

    def acquire(self, _pu: float) -> float:
        self.waited_for.set()
        self.permit.wait(LONG_S)
        return 0.0

    def answered(self) -> None:
        """Of no interest."""

    def failed(self, text: str) -> None:
        """Of no interest."""

    def token(self) -> AccessToken:
        self.asked_for.set()
        self.login.wait(LONG_S)
        return AccessToken(value="t", expires_at=1e12)

    def send(self, method: str, _url: str, **_request: Any) -> None:
        self.sent.append(method)
        raise TransportError("no answer", may_be_charged=True)


@pytest.fixture
def book() -> Book:
    """Empty."""
    return Book()


@pytest.fixture
def job(plan: GroupPlan) -> BuildJob:
    """Under a cap of 100 PU."""
    return BuildJob(
        plan=plan,
        cube=_Cube(),  # type: ignore[arg-type]  # as much of a cube as is needed
        credentials=Credentials(client_id="a", client_secret="b"),
        max_pu=100.0,
    )


@dataclass
class _Place:
    name: str = "cube"


@dataclass
class _Cube:
    """A cube with a name."""

    place: _Place = field(default_factory=_Place)


@pytest.fixture
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a bucket, to lend."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.delenv("AWS_SESSION_TOKEN", raising=False)
    monkeypatch.delenv("AWS_PROFILE", raising=False)


def open_orders(job: BuildJob, service: Any, book: Book, count: int | None = None) -> Ordering:
    """All jobs of the plan, or those of so many lots, begun."""
    lots = make_lots(job.plan, job.plan.tile_set.indices(), book.jobs)[:count]
    account = Account(service=service, executor=None)  # type: ignore[arg-type]  # nothing is run
    ordering = Ordering(job, lots, account, book, _Bucket())  # type: ignore[arg-type]  # as much as is needed
    ordering.begin()
    return ordering


@pytest.mark.usefixtures("keys")
def test_order_that_waits_is_not_sent_after_the_end(job: BuildJob, book: Book) -> None:
    """A permit that comes when nobody would hear of the job's id buys nothing."""
    wire: Any = _Service()
    ordering = open_orders(job, ServiceClient(job.plan.deployment, wire, wire, wire), book)
    ordering.step(0.0)
    assert wire.waited_for.wait(LONG_S)
    ordering.close()
    wire.permit.set()
    wire.login.set()
    ordering.step(LONG_S)
    assert wire.sent == []
    assert "the build has ended" in book.notes[0]


@pytest.mark.usefixtures("keys")
def test_order_whose_login_outlasts_the_build_is_not_sent(job: BuildJob, book: Book) -> None:
    """A token that comes when nobody would hear of the job's id buys nothing."""
    wire: Any = _Service()
    wire.permit.set()
    ordering = open_orders(job, ServiceClient(job.plan.deployment, wire, wire, wire), book)
    ordering.step(0.0)
    assert wire.asked_for.wait(LONG_S)
    ordering.close()
    wire.login.set()
    ordering.step(LONG_S)
    assert wire.sent == []
    assert "the build has ended" in book.notes[0]


class _AtOnce:
    """A courier that makes every call when it is sent; its answer is taken later."""

    is_over = False

    def __init__(self) -> None:
        self._answers: list[Answer[Any]] = []

    def send(self, tag: Any, call: Callable[[], object]) -> None:
        try:
            self._answers.append(Answer(tag, value=call()))
        except ShdaskError as error:
            self._answers.append(Answer(tag, error=error))

    def close(self) -> None:
        """Nothing is on its way."""

    def take(self, _timeout_s: float) -> list[Answer[Any]]:
        found, self._answers = self._answers, []
        return found


@dataclass
class _Buyer:
    """An executor, and its run that goes on and on."""

    caps: list[float | None] = field(default_factory=list)
    jobs: list[BuildJob] = field(default_factory=list)
    fatal: Exception | None = None
    finished: bool = False

    def start(self, job: BuildJob, _tiles: np.ndarray) -> Self:
        self.caps.append(job.max_pu)
        self.jobs.append(job)
        return self

    def poll(self, _timeout_s: float) -> list[Any]:
        return []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        """Nothing is held."""


class _Client:
    """A service that is not asked."""

    def under(self, _budget: object, *, before_send: object) -> Self:  # noqa: ARG002  # the client's signature
        return self


@pytest.fixture
def ordered(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Keys of jobs that were ordered; each is accepted at once, for 10 PU."""
    found: list[str] = []

    def accept(_plan: object, job: Any, _prefix: str, _service: object) -> tuple[str, float]:
        found.append(job.key)
        return f"id-{job.key}", 10.0

    monkeypatch.setattr("shdask.jobs.ordering.order_job", accept)
    monkeypatch.setattr("shdask.jobs.ordering.Courier", _AtOnce)
    monkeypatch.setattr("shdask.jobs.ordering.open_bucket", lambda _delivery: _Bucket())
    return found


@pytest.fixture
def buyer() -> _Buyer:
    """It was given nothing yet."""
    return _Buyer()


@pytest.fixture
def run(job: BuildJob, book: Book, buyer: _Buyer, ordered: list[str], keys: None) -> JobRun:
    """Two lots by jobs, and all other tiles by Process."""
    tiles = job.plan.tile_set.indices()
    lots = make_lots(job.plan, tiles, {})[:2]
    account = Account(service=_Client(), executor=buyer)  # type: ignore[arg-type]  # as much as is needed
    found = JobRun(replace(job, book=book), tiles, lots, account, release=lambda: None)
    found.begin()
    return found


def test_order_on_its_way_keeps_its_price_of_the_cap(run: JobRun, buyer: _Buyer, ordered: list[str]) -> None:
    """Of 100 PU Process is not promised what an order may cost whose answer has not come."""
    run.poll(0.0)
    assert (len(ordered), buyer.caps) == (2, [80.0])


def test_nothing_is_ordered_while_process_has_the_rest_of_the_cap(run: JobRun, ordered: list[str]) -> None:
    """The orders that were on their way when it began are answered, and no other is sent."""
    run.poll(0.0)
    run.poll(0.0)
    run.poll(0.0)
    assert len(ordered) == 2


@dataclass
class _World:
    """What the service says to orders and polls, and what lies in the bucket, folder by folder."""

    answers: list[ShdaskError | None] = field(default_factory=list)
    """To orders, one after the other; None, and what is not told, are accepted."""
    alive: bool = True
    found: dict[str, Found] = field(default_factory=dict)
    """By a folder's name without its last letters, as ``t0-r0-c0-p0-1``."""
    looked: list[str] = field(default_factory=list)
    silence: ShdaskError | None = None
    """What every look raises."""

    def order(self, _plan: object, job: Any, _prefix: str, _service: object) -> tuple[str, float]:
        error = self.answers.pop(0) if self.answers else None
        if error is not None:
            raise error
        return f"id-{job.key}", 10.0

    def look(self, _bucket: object, look: Look) -> Found:
        folder = look.prefix.rpartition("/")[2].rpartition("-")[0]
        self.looked.append(folder)
        if self.silence is not None:
            raise self.silence
        return self.found.get(folder, Found())


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch, keys: None) -> _World:
    """It takes every order."""
    found = _World()
    monkeypatch.setattr("shdask.jobs.ordering.order_job", found.order)
    monkeypatch.setattr("shdask.jobs.ordering.look_for", found.look)
    monkeypatch.setattr("shdask.jobs.questions.look_for", found.look)
    monkeypatch.setattr("shdask.jobs.ordering.poll_job", lambda _service, _id: found.alive)
    monkeypatch.setattr("shdask.jobs.ordering.Courier", _AtOnce)
    return found


HURRY = JobPatience(
    poll_first_s=0.0, poll_max_s=0.0, look_s=0.0, grace_s=0.0, lost_s=0.0, full_first_s=0.0, full_max_s=0.0
)
WHOLE = Found(id="x", keys={"default": "there"}, complete=True)
BROKEN = Found(id="x", error="no")


def watch(job: BuildJob, book: Book, count: int = 1, patience: JobPatience = HURRY) -> Ordering:
    """The jobs of so many lots, begun, at a service that is asked without a pause."""
    lots = make_lots(job.plan, job.plan.tile_set.indices(), book.jobs)[:count]
    account = Account(service=_Client(), executor=None, patience=patience)  # type: ignore[arg-type]  # nothing is run
    ordering = Ordering(job, lots, account, book, _Bucket())  # type: ignore[arg-type]  # as much as is needed
    ordering.begin()
    return ordering


def step(ordering: Ordering, times: int) -> None:
    """So many steps, each with the answers to the one before."""
    for _ in range(times):
        ordering.step(0.0)


def test_order_that_was_refused_for_want_of_a_place_is_closed_at_once(job: BuildJob, book: Book, world: _World) -> None:
    """A run that is killed before it asks again leaves nothing that the next one would look for and count as spent."""
    world.answers = [JobQueueFull("full")]
    step(watch(job, book, patience=replace(HURRY, full_first_s=60.0, full_max_s=60.0)), 3)
    assert [(record.is_open, record.end) for record in book.jobs.values()] == [(False, "refused")]
    again = watch(job, book)
    assert (again.purse.left_pu, book.notes) == (100.0, [])


def test_order_of_a_lot_that_goes_another_way_is_not_left_open(job: BuildJob, book: Book, world: _World) -> None:
    """The first job is given up while the account has no place for the second: nothing stands as perhaps paid."""
    world.alive = False
    world.found = {"t0-r0-c0-p0-1": BROKEN}
    world.answers = [None, JobQueueFull("full")]
    ordering = watch(job, book, patience=replace(HURRY, max_orders=1, full_first_s=60.0, full_max_s=60.0))
    step(ordering, 12)
    assert [lot.tiles for lot in ordering.take_given_up()] == [(0, 1, 3, 4)]
    assert [record.is_open for record in book.jobs.values()] == [False, False]


def test_order_that_was_refused_for_want_of_a_place_is_sent_again(job: BuildJob, book: Book, world: _World) -> None:
    """As the same attempt."""
    world.answers = [JobQueueFull("full"), JobQueueFull("full")]
    step(watch(job, book), 6)
    assert {intent.attempt for intent in book.intents} == {1}
    assert {record.id for record in book.jobs.values()} == {"id-t0-r0-c0-p0", "id-t0-r0-c0-p1"}


def test_order_that_is_sent_again_is_durable_first(job: BuildJob, book: Book, world: _World) -> None:
    """The first was refused, the answer to the second is lost: it stands as perhaps paid."""
    world.answers = [JobQueueFull("full"), JobSubmitLost("lost")]
    ordering = watch(job, book, patience=replace(HURRY, lost_s=60.0))
    step(ordering, 3)
    record = book.jobs["t0-r0-c0-p0"]
    assert (record.is_open, record.id, record.intent.attempt) == (True, None, 1)


def test_order_that_may_have_been_charged_is_off_the_cap(job: BuildJob, book: Book, world: _World) -> None:
    """An earlier run's order without an id counts when it is taken up, and once, also when it is found."""
    lot = make_lots(job.plan, job.plan.tile_set.indices(), {})[0]
    leave(book, lot, 0, job_id=None)
    ordering = watch(job, book)
    assert ordering.purse.left_pu == 90.0
    world.found["t0-r0-c0-p0-1"] = WHOLE
    step(ordering, 3)
    assert book.jobs["t0-r0-c0-p0"].id == "x"
    assert ordering.purse.left_pu == 80.0  # with the other part's order


def test_parts_that_have_come_are_kept_where_another_is_not_to_be_had(job: BuildJob, book: Book, world: _World) -> None:
    """The files of one job and none of the other: what lacks is bought by itself."""
    world.alive = False
    world.found = {"t0-r0-c0-p0-1": WHOLE, "t0-r0-c0-p1-1": BROKEN, "t0-r0-c0-p1-2": BROKEN}
    ordering = watch(job, book)
    step(ordering, 12)
    ((lot, delivery),) = ordering.take_delivered()
    assert delivery.files == ({"default": "there"}, {})
    assert list(ordering.take_given_up()) == []
    assert lot.tiles == (0, 1, 3, 4)
    assert not ordering.has_work


def test_lot_of_which_nothing_is_to_be_had_is_given_up(job: BuildJob, book: Book, world: _World) -> None:
    """What is not ordered of it when the first job is given up is not ordered any more."""
    world.alive = False
    world.found = {f"t0-r0-c0-p{part}-{attempt}": BROKEN for part in (0, 1) for attempt in (1, 2)}
    ordering = watch(job, book)
    step(ordering, 12)
    assert list(ordering.take_delivered()) == []
    assert [lot.tiles for lot in ordering.take_given_up()] == [(0, 1, 3, 4)]
    assert list(ordering.take_given_up()) == []


def test_lost_attempt_that_has_delivered_is_taken_before_another_is_given_up(
    job: BuildJob, book: Book, world: _World
) -> None:
    """The first order's answer was lost, the second job failed; then the first's files are there: nothing is bought."""
    world.answers = [JobSubmitLost("lost")]
    ordering = watch(job, book)
    step(ordering, 6)
    assert book.ends == ["lost"]
    world.found = {"t0-r0-c0-p0-1": WHOLE, "t0-r0-c0-p0-2": BROKEN, "t0-r0-c0-p1-1": WHOLE}
    world.alive = False
    step(ordering, 10)
    ((_, delivery),) = ordering.take_delivered()
    assert delivery.files == ({"default": "there"}, {"default": "there"})
    assert (book.jobs["t0-r0-c0-p0"].intent.attempt, book.jobs["t0-r0-c0-p0"].id) == (1, "x")
    assert any("attempt 1, was given up (lost) and has delivered after all" in note for note in book.notes)
    assert ordering.purse.spent_pu == 30.0


def test_attempt_that_was_too_late_is_looked_for_before_process_is_paid(
    job: BuildJob, book: Book, world: _World
) -> None:
    """It may have delivered since it was last asked for."""
    ordering = watch(job, book, patience=replace(HURRY, total_s=-1.0))
    world.found = {"t0-r0-c0-p0-1": WHOLE, "t0-r0-c0-p1-1": WHOLE}
    step(ordering, 8)
    assert sorted(book.ends) == ["done", "done", "late", "late"]
    assert [len(delivery.files) for _, delivery in ordering.take_delivered()] == [2]


def test_attempts_that_cannot_come_are_not_looked_for(job: BuildJob, book: Book, world: _World) -> None:
    """A job that has said why it failed delivers nothing later."""
    world.alive = False
    world.found = {"t0-r0-c0-p0-1": BROKEN, "t0-r0-c0-p0-2": WHOLE}
    step(watch(job, book), 8)
    assert world.looked.count("t0-r0-c0-p0-1") == 1


def test_bucket_that_is_silent_for_too_long_ends_the_build(job: BuildJob, book: Book, world: _World) -> None:
    """Files of an earlier run's job are waited for only so long; the error is the bucket's."""
    lot = make_lots(job.plan, job.plan.tile_set.indices(), {})[0]
    leave(book, lot, 0, "done")
    leave(book, lot, 1, "done")
    world.silence = StoreUnavailable("no answer")
    patient = watch(job, book)
    step(patient, 4)
    assert patient.fatal is None
    ordering = watch(job, book, patience=replace(HURRY, silent_s=-1.0))
    step(ordering, 4)
    assert ordering.fatal is world.silence


def test_answer_of_the_bucket_ends_its_silence(job: BuildJob, book: Book, world: _World) -> None:
    """Only time without any answer counts."""
    lot = make_lots(job.plan, job.plan.tile_set.indices(), {})[0]
    leave(book, lot, 0, "done")
    ordering = watch(job, book, patience=replace(HURRY, silent_s=60.0, grace_s=60.0))
    ordering._silent_since = -1e9  # as if it had been silent until now
    step(ordering, 2)
    world.silence = StoreUnavailable("no answer")
    step(ordering, 2)
    assert ordering.fatal is None


def test_bucket_is_looked_at_before_jobs_are_taken_up(
    job: BuildJob, book: Book, world: _World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though nothing is left to be ordered."""
    lot = make_lots(job.plan, job.plan.tile_set.indices(), {})[0]
    leave(book, lot, 0)
    leave(book, lot, 1)
    monkeypatch.setattr(_Bucket, "preflight", Mock(side_effect=WrongStore("no such bucket")))
    with pytest.raises(WrongStore, match="no such bucket"):
        watch(job, book)


def test_delivered_files_that_are_gone_accuse_nobody(job: BuildJob, book: Book, world: _World) -> None:
    """Whoever emptied the bucket: the jobs are ordered again, and the build goes on."""
    lots = make_lots(job.plan, job.plan.tile_set.indices(), {})[:2]
    for lot, part in [(lot, part) for lot in lots for part in (0, 1)]:
        leave(book, lot, part, "done")
    world.alive = False
    ordering = watch(job, book, count=2)
    step(ordering, 4)
    assert ordering.fatal is None
    assert sum("it had delivered, and its files are not there any more; it is ordered" in n for n in book.notes) == 4


def test_attempt_that_an_earlier_run_gave_up_is_looked_for_again_when_the_account_is_full(
    job: BuildJob, book: Book, world: _World
) -> None:
    """It may deliver while the account has no place: first, and each time there may be one, before it is paid again."""
    lot = make_lots(job.plan, job.plan.tile_set.indices(), {})[0]
    leave(book, lot, 0, "late")
    world.answers = [JobQueueFull("full")]
    ordering = watch(job, book)
    ordering.step(0.0)
    assert world.looked == ["t0-r0-c0-p0-1", "t0-r0-c0-p0-1"]
    assert [intent.attempt for intent in book.intents if intent.key == "t0-r0-c0-p0"] == [1]


@pytest.mark.usefixtures("keys", "ordered")
def test_what_runs_within_have_cost_is_told_with_the_jobs(job: BuildJob, book: Book, buyer: _Buyer) -> None:
    """Once, at the end: orders that were accepted, and what Process's keeper of the cap counted."""
    told: list[float] = []
    tiles = job.plan.tile_set.indices()
    lots = make_lots(job.plan, tiles, {})[:1]
    account = Account(service=_Client(), executor=buyer)  # type: ignore[arg-type]  # as much as is needed
    work = replace(job, book=book, count_charged=told.append)
    run = JobRun(work, tiles, lots, account, release=lambda: None)
    run.begin()
    step(run._ordering, 3)  # nothing of it is polled
    run._collecting.start(left_pu=80.0)  # so too
    buyer.jobs[0].count_charged(7.0)
    run.close()
    assert told == [27.0]
