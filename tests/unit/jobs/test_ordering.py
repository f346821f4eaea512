"""Orders on their way: when they are sent, and what they keep of a cap."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import Any

import pytest

from shdask.assemble.job_rows import JobRow
from shdask.build import Account, BuildJob
from shdask.errors import TransportError
from shdask.fetch.auth import AccessToken
from shdask.fetch.client import ServiceClient
from shdask.jobs.lots import make_lots
from shdask.jobs.ordering import Ordering
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
