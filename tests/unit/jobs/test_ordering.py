"""Orders on their way: when they are sent, and what they keep of a cap."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Self

import numpy as np
import pytest

from shdask.assemble.job_rows import JobEnd, JobIntent, JobRecord, JobRow
from shdask.build import Account, BuildJob
from shdask.errors import TransportError
from shdask.fetch.auth import AccessToken
from shdask.fetch.client import ServiceClient
from shdask.jobs.collecting import EndedLot
from shdask.jobs.courier import Answer
from shdask.jobs.lots import Lot, Order, make_lots
from shdask.jobs.ordering import Ordering
from shdask.jobs.run import JobRun
from shdask.plan.group import GroupPlan
from shdask.settings import Credentials

LONG_S = 30.0


@dataclass
class _Book:
    """A ledger that keeps what it is told."""

    rows: list[JobRow] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add_job(self, row: JobRow) -> None:
        self.rows.append(row)

    def tell(self, note: str) -> None:
        self.notes.append(note)


class _Bucket:
    """A place that takes everything."""

    url = "s3://bucket/cubes"

    def preflight(self, **_may: bool) -> None:
        """Nothing is tried."""


@dataclass
class _Service:
    """Gate, tokens and wire in one: a permit is waited for, and what is sent is lost."""

    waited_for: threading.Event = field(default_factory=threading.Event)
    permit: threading.Event = field(default_factory=threading.Event)
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
        return AccessToken(value="t", expires_at=1e12)

    def send(self, method: str, _url: str, **_request: Any) -> None:
        self.sent.append(method)
        raise TransportError("no answer", may_be_charged=True)


@pytest.fixture
def book() -> _Book:
    """Empty."""
    return _Book()


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


def open_orders(job: BuildJob, service: Any, book: _Book) -> Ordering:
    """All jobs of the plan, begun."""
    lots = make_lots(job.plan, job.plan.tile_set.indices(), {})
    account = Account(service=service, executor=None)  # type: ignore[arg-type]  # nothing is run
    ordering = Ordering(job, lots, account, book, _Bucket())  # type: ignore[arg-type]  # as much as is needed
    ordering.begin()
    return ordering


def cleaning(job: BuildJob) -> BuildJob:
    """The same, to clean up behind itself."""
    delivery = job.plan.delivery
    assert delivery is not None
    options = (
        delivery.model_copy(update={"cleanup": True})
        if hasattr(delivery, "model_copy")
        else replace(delivery, cleanup=True)
    )
    return replace(job, plan=replace(job.plan, delivery=options))


def paid_for(order: Order, lot: Lot) -> JobRecord:
    """An earlier run's job for all of a lot, delivered and not collected."""
    job = order.job
    intent = JobIntent(
        key=job.key,
        attempt=1,
        url=f"s3://bucket/cubes/abc/{job.key}-1-ff",
        window=lot.window,
        tiles=lot.tiles,
        pu=10.0,
        digest=order.digest,
        at=0.0,
    )
    return JobRecord(intent=intent, id="x", pu=10.0, end="done")


@pytest.mark.usefixtures("keys")
def test_order_that_waits_is_not_sent_after_the_end(job: BuildJob, book: _Book) -> None:
    """A permit that comes when nobody would hear of the job's id buys nothing."""
    wire: Any = _Service()
    ordering = open_orders(job, ServiceClient(job.plan.deployment, wire, wire, wire), book)
    ordering.step(0.0)
    assert wire.waited_for.wait(LONG_S)
    ordering.close()
    wire.permit.set()
    ordering.step(LONG_S)
    assert wire.sent == []
    assert "the build has ended" in book.notes[0]


class _AtOnce:
    """A courier that makes every call when it is sent; its answer is taken later."""

    is_over = False

    def __init__(self) -> None:
        self._answers: list[Answer[Any]] = []

    def send(self, tag: Any, call: Callable[[], object]) -> None:
        self._answers.append(Answer(tag, value=call()))

    def take(self, _timeout_s: float) -> list[Answer[Any]]:
        found, self._answers = self._answers, []
        return found


@dataclass
class _Buyer:
    """An executor, and its run that goes on and on."""

    caps: list[float | None] = field(default_factory=list)
    fatal: Exception | None = None
    finished: bool = False

    def start(self, job: BuildJob, _tiles: np.ndarray) -> Self:
        self.caps.append(job.max_pu)
        return self

    def poll(self, _timeout_s: float) -> list[Any]:
        return []

    def __enter__(self) -> Self:
        return self


class _Client:
    """A service that is not asked."""

    def under(self, _budget: object) -> Self:
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
    monkeypatch.setattr("shdask.jobs.ordering._open_bucket", lambda _delivery: _Bucket())
    return found


@pytest.fixture
def buyer() -> _Buyer:
    """It was given nothing yet."""
    return _Buyer()


@pytest.fixture
def run(job: BuildJob, book: _Book, buyer: _Buyer, ordered: list[str], keys: None) -> JobRun:
    """Two lots by jobs, and all other tiles by Process."""
    tiles = job.plan.tile_set.indices()
    lots = make_lots(job.plan, tiles, {})[:2]
    account = Account(service=_Client(), executor=buyer)  # type: ignore[arg-type]  # as much as is needed
    found = JobRun(replace(job, book=book), tiles, lots, account, release=lambda: None)  # type: ignore[arg-type]  # so too
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


@pytest.mark.parametrize(("done", "ends"), [(0, []), (1, ["collected", "collected"])])
@pytest.mark.usefixtures("keys", "ordered")
def test_job_is_closed_with_the_last_tile_it_was_paid_for(
    job: BuildJob, book: _Book, monkeypatch: pytest.MonkeyPatch, done: int, ends: list[str]
) -> None:
    """A run over a part of a job's tiles leaves it open, unless the others are durable."""
    lot = make_lots(job.plan, job.plan.tile_set.indices(), {})[0]
    records = {order.job.key: paid_for(order, lot) for order in lot.orders}
    (part,) = make_lots(job.plan, np.array(lot.tiles[:1]), records)
    account = Account(service=_Client(), executor=None)  # type: ignore[arg-type]  # nothing is run
    ordering = Ordering(job, [part], account, book, _Bucket())  # type: ignore[arg-type]  # as much as is needed
    ordering.begin()
    monkeypatch.setattr("shdask.jobs.ordering.read_done", lambda _plan, _cube: set(lot.tiles[1:] * done))
    ordering.end_lot(EndedLot(lot=part, checksums={}))
    assert [row.end for row in book.rows if isinstance(row, JobEnd)] == ends


@pytest.mark.parametrize(("told", "sums"), [({3: 4}, [{3: 4, 5: 6}]), ({}, [])])
@pytest.mark.usefixtures("keys")
def test_nothing_is_deleted_that_cannot_be_read_back(
    job: BuildJob,
    book: _Book,
    ordered: list[str],
    monkeypatch: pytest.MonkeyPatch,
    told: dict[int, int],
    sums: list[dict[int, int]],
) -> None:
    """A tile's checksum is taken from the ledger where this run heard none; without one the files are kept."""
    options = cleaning(job)
    lot = replace(make_lots(options.plan, options.plan.tile_set.indices(), {})[0], tiles=(3, 5, 7))
    account = Account(service=_Client(), executor=None)  # type: ignore[arg-type]  # nothing is run
    ordering = Ordering(options, [lot], account, book, _Bucket())  # type: ignore[arg-type]  # as much as is needed
    ordering.begin()
    ordering.step(0.0)
    ordering.step(0.0)
    cleaned: list[Any] = []
    monkeypatch.setattr("shdask.jobs.ordering.clean_up", lambda _cube, read, *_where: cleaned.append(read))
    monkeypatch.setattr("shdask.jobs.ordering.read_checksums", lambda _plan, _cube, tiles: (told, tiles - told.keys()))
    ordering.end_lot(EndedLot(lot=lot, checksums={5: 6}, empty=frozenset({7})))
    assert cleaned == sums
    assert [note.endswith("of tiles 3") for note in book.notes] == [True] * (1 - len(sums))
