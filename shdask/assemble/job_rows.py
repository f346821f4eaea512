"""The ledger's rows of Async Process jobs: what was ordered, accepted under which id, and what became of it.

Refuses to know the service, buckets, and where lines are kept.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from shdask.model import Window

EndKind = Literal["done", "collected", "cleaned", "failed", "vanished", "nothing", "late", "lost", "refused", "stale"]
"""``done``: delivered, and not all its tiles are durable yet. ``collected``: they are. ``cleaned``: and nothing is left
of what any attempt has delivered. ``lost``: nobody knows if it was accepted, and nothing of it was found. ``stale``:
the pixels of all its tiles were to be bought anew."""
_OPEN: frozenset[EndKind | None] = frozenset({None, "done"})
_HOPEFUL: frozenset[EndKind | None] = frozenset({"vanished", "nothing", "late", "lost"})
_UNSURE: frozenset[EndKind | None] = frozenset({None, "lost", "stale"})


@dataclass(frozen=True, slots=True, kw_only=True)
class JobIntent:
    """A job that may be sent from now on; durable before it is."""

    key: str
    """The same for the same tiles and bands, run after run."""
    attempt: int
    """Counts from 1, over all runs."""
    url: str
    """Where this attempt delivers, and nothing else ever does: ``s3://bucket/...``."""
    window: Window
    """The pixels that it asks for."""
    tiles: tuple[int, ...]
    """Indices of those that are made of it."""
    pu: float
    """As projected."""
    digest: str
    """`request_digest` of what it asks for, without where it delivers."""
    at: float
    """POSIX time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobAccepted:
    """The service works on it, and has charged it."""

    key: str
    attempt: int
    id: str
    """The service's."""
    pu: float
    """As its answer stated it, else as projected."""
    at: float
    """POSIX time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobEnd:
    """What became of it."""

    key: str
    attempt: int
    end: EndKind
    at: float
    """POSIX time."""
    text: str | None = None
    """Why, where it brought nothing."""


JobRow = JobIntent | JobAccepted | JobEnd


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRecord:
    """The last that is known of a job."""

    intent: JobIntent
    id: str | None = None
    """None where no answer to its order is known."""
    pu: float = 0.0
    """Charged for this attempt, as far as known."""
    end: EndKind | None = None
    """None while it may be at work."""
    text: str | None = None
    stale: frozenset[int] = frozenset()
    """Those of its tiles whose pixels were to be bought anew since it was ordered."""
    earlier: tuple[JobRecord, ...] = ()
    """Other attempts of which something may lie in the bucket, the last first; they have none of their own."""

    @property
    def is_open(self) -> bool:
        """Whether it may have been paid for and can yet be collected."""
        return self.end in _OPEN

    @property
    def may_yet_deliver(self) -> bool:
        """Whether it was given up though its files may come, or have come since."""
        return self.end in _HOPEFUL

    @property
    def tiles(self) -> frozenset[int]:
        """Indices of the tiles that it was ordered for and may be collected for."""
        return frozenset(self.intent.tiles) - self.stale

    @property
    def attempts(self) -> tuple[JobRecord, ...]:
        """The last, then the others."""
        return (self, *self.earlier)

    @property
    def next_attempt(self) -> int:
        """A number that no attempt has."""
        return 1 + max(each.intent.attempt for each in self.attempts)

    def without(self, tiles: set[int]) -> JobRecord:
        """The same once the pixels of ``tiles`` are to be bought anew. Pure."""
        stale = self.stale.union(tiles.intersection(self.intent.tiles))
        is_stale = stale.issuperset(self.intent.tiles) and (self.is_open or self.may_yet_deliver)
        earlier = tuple(each.without(tiles) for each in self.earlier)
        return replace(self, stale=stale, end="stale" if is_stale else self.end, earlier=earlier)


def job_line(row: JobRow) -> bytes:
    """The row as a line. Pure."""
    told = asdict(row)
    if isinstance(row, JobEnd):
        told["became"] = told.pop("end")  # ``end`` is what the row of a run's end has
    told = {"job": told.pop("key"), **{name: value for name, value in told.items() if value is not None}}
    return json.dumps(told, separators=(",", ":")).encode() + b"\n"


class JobFold:
    """The jobs of a ledger, folded row by row."""

    def __init__(self, records: Mapping[str, JobRecord] | None = None) -> None:
        self.records: dict[str, JobRecord] = dict(records or {})
        self.accepted_pu = 0.0
        """Of all rows that were added, whatever became of their jobs."""

    @property
    def unsure_pu(self) -> float:
        """The price of orders of which nobody knows, now or for good, if the service has accepted them."""
        attempts = (each for record in self.records.values() for each in record.attempts)
        return math.fsum(each.intent.pu for each in attempts if each.id is None and each.end in _UNSURE)

    def add(self, row: Mapping[str, Any]) -> float:
        """Take a row that has ``job``; the processing units that it says are spent.

        Raises KeyError, TypeError or ValueError for what is no such row.
        """
        key, attempt = str(row["job"]), int(row["attempt"])
        if "url" in row:
            self._order(_intent_of(key, row))
            return 0.0
        known = self.records.get(key)
        attempts = () if known is None else known.attempts
        found = next((each for each in attempts if each.intent.attempt == attempt), None)
        if known is not None and found is not None:
            self.records[key] = _replaced(known, found, _told(found, row))
        pu = float(row["pu"]) if "id" in row else 0.0
        self.accepted_pu += pu
        return pu

    def _order(self, intent: JobIntent) -> None:
        known = self.records.get(intent.key)
        # of what was cleaned nothing is left to be found
        past = () if known is None or known.end == "cleaned" else (replace(known, earlier=()), *known.earlier)
        earlier = tuple(each for each in past if each.intent.attempt != intent.attempt)
        self.records[intent.key] = JobRecord(intent=intent, earlier=earlier)

    def outdate(self, tiles: Iterable[int]) -> None:
        """The pixels of these tiles are to be bought anew: what was delivered of them counts no more."""
        gone = set(tiles)
        for key, known in self.records.items():
            self.records[key] = known.without(gone)


def _told(record: JobRecord, row: Mapping[str, Any]) -> JobRecord:
    """The record with what a row says that is no intent."""
    if "id" in row:
        return replace(record, id=str(row["id"]), pu=float(row["pu"]))
    return replace(record, end=row["became"], text=row.get("text"))


def _replaced(record: JobRecord, before: JobRecord, now: JobRecord) -> JobRecord:
    """The record with one of its attempts as it is now; one that has delivered after all takes the first place."""
    if before is record:
        return now
    if now.end == "done":
        others = tuple(each for each in record.earlier if each is not before)
        return replace(now, earlier=(replace(record, earlier=()), *others))
    return replace(record, earlier=tuple(now if each is before else each for each in record.earlier))


def _intent_of(key: str, row: Mapping[str, Any]) -> JobIntent:
    return JobIntent(
        key=key,
        attempt=int(row["attempt"]),
        url=str(row["url"]),
        window=Window(**row["window"]),
        tiles=tuple(map(int, row["tiles"])),
        pu=float(row["pu"]),
        digest=str(row["digest"]),
        at=float(row["at"]),
    )
