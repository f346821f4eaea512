"""The ledger's rows of Async Process jobs: what was ordered, accepted under which id, and what became of it.

Refuses to know the service, buckets, and where lines are kept.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from shdask.model import Window

EndKind = Literal["done", "collected", "failed", "vanished", "nothing", "late", "lost", "refused", "stale"]
"""``done``: delivered, and not all its tiles are durable yet. ``collected``: they are. ``lost``: nobody knows if it was
accepted, and nothing of it was found. ``stale``: its pixels were to be bought anew."""
_OPEN: frozenset[EndKind | None] = frozenset({None, "done"})


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

    @property
    def is_open(self) -> bool:
        """Whether it may have been paid for and can yet be collected."""
        return self.end in _OPEN


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

    def add(self, row: Mapping[str, Any]) -> float:
        """Take a row that has ``job``; the processing units that it says are spent.

        Raises KeyError, TypeError or ValueError for what is no such row.
        """
        key, attempt = str(row["job"]), int(row["attempt"])
        if "url" in row:
            self.records[key] = JobRecord(intent=_intent_of(key, row))
            return 0.0
        known = self.records.get(key)
        is_latest = known is not None and known.intent.attempt == attempt
        if "id" in row:
            pu = float(row["pu"])
            if known is not None and is_latest:
                self.records[key] = replace(known, id=str(row["id"]), pu=pu)
            return pu
        if known is not None and is_latest:
            self.records[key] = replace(known, end=row["became"], text=row.get("text"))
        return 0.0

    def outdate(self, tiles: Iterable[int]) -> None:
        """The pixels of these tiles are to be bought anew: what was delivered of them counts no more."""
        gone = set(tiles)
        for key, known in self.records.items():
            if known.is_open and not gone.isdisjoint(known.intent.tiles):
                self.records[key] = replace(known, end="stale")


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
