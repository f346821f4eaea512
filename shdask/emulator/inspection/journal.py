"""What the emulator saw: counts for tests and benchmarks, the latest Process bodies, the latest exchanges.

Refuses to influence any answer, and to hold a secret of the token endpoint.
"""

from __future__ import annotations

import json
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from functools import reduce
from typing import Any

CONNECTIONS_REMEMBERED = 100_000
SPARE_DEPTH = 200
PU_HEADER = "x-processingunits-spent"
SERVICES = {"catalog": "catalog", "async": "async", "process": "process", "token": "token", "ratelimit": "account"}
"""Part of a path -> service; the first that is found counts, as asynchronous paths end in "process"."""


def service_of(path: str) -> str:
    """``token``, ``process``, ``catalog``, ``async``, ``account`` or ``other``. Pure."""
    parts = path.split("/")
    return next((name for part, name in SERVICES.items() if part in parts), "other")


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """One call and its answer, as they went over the wire, without credentials."""

    number: int
    """Counts from 1 since the start."""
    time: datetime
    """When the call came, UTC."""
    method: str
    path: str
    query: str
    request_headers: Mapping[str, str]
    """By lower-case name; those that carry credentials are left out."""
    request_body: bytes
    """As sent, the first 8 MiB of it; empty for a token call, and once it was let go for want of room."""
    status: int
    """0 where the client got no whole answer."""
    answer_headers: Mapping[str, str]
    """By lower-case name."""
    answer: bytes | None
    """The body; None for a token call, and once it was let go for want of room."""
    answer_nbytes: int
    duration_s: float
    fault: str | None
    """The fault that was played on this call."""

    @property
    def service(self) -> str:
        """``token``, ``process``, ``catalog``, ``async``, ``account`` or ``other``, by the path. Pure."""
        return service_of(self.path)

    @property
    def pu(self) -> float | None:
        """Processing units the answer says it cost; None where it does not say. Pure."""
        said = self.answer_headers.get(PU_HEADER)
        return None if said is None else float(said)

    def without_contents(self) -> Exchange:
        """The same without both bodies. Pure."""
        return replace(self, request_body=b"", answer=None)

    @property
    def nbytes_held(self) -> int:
        """What its contents take in memory. Pure."""
        return len(self.request_body) + len(self.answer or b"")


class Journal:
    """Counts calls, connections and processing units, and keeps the latest exchanges; safe on one event loop."""

    def __init__(self, kept: int, kept_nbytes: int) -> None:
        """Keeps ``kept`` exchanges and Process bodies, and of the exchanges' contents at most ``kept_nbytes``."""
        self._kept = kept
        self._kept_nbytes = kept_nbytes
        self._bodies: deque[bytes] = deque(maxlen=kept)
        self._exchanges: deque[Exchange] = deque()
        self.reset()

    def reset(self) -> None:
        """Forget everything."""
        self._bodies.clear()
        self._exchanges.clear()
        self._nbytes_held = 0
        self._calls: Counter[str] = Counter()
        self._connections: set[tuple[str, int]] = set()
        self._limited = 0
        self._pu_charged = 0.0
        self._nbytes_sent = 0

    def connect(self, peer: tuple[str, int] | None) -> None:
        """Remember the peer's address: one per TCP connection."""
        if peer is not None and len(self._connections) < CONNECTIONS_REMEMBERED:
            self._connections.add(peer)

    def answer(self, exchange: Exchange) -> None:
        """Count one answer and keep it; the oldest contents make room."""
        self._calls[f"{exchange.method} {exchange.path} {exchange.status}"] += 1
        self._limited += exchange.status == 429  # noqa: PLR2004  # the status is the name
        self._nbytes_sent += exchange.answer_nbytes
        self._exchanges.append(exchange)
        self._nbytes_held += exchange.nbytes_held
        if len(self._exchanges) > self._kept:
            self._nbytes_held -= self._exchanges.popleft().nbytes_held
        for index, kept in enumerate(self._exchanges):
            if self._nbytes_held <= self._kept_nbytes:
                break
            self._nbytes_held -= kept.nbytes_held
            self._exchanges[index] = kept.without_contents()

    def spend(self, pu: float) -> None:
        """Count processing units of an answer with 2xx."""
        self._pu_charged += pu

    def record(self, body: bytes) -> None:
        """Keep a Process body."""
        self._bodies.append(body)

    def bodies(self) -> list[Any]:
        """The latest Process bodies, oldest first; one that is no JSON as text."""
        return [_read(body) for body in self._bodies]

    def exchanges(self) -> list[Exchange]:
        """The latest exchanges, newest first."""
        return list(reversed(self._exchanges))

    def stats(self) -> dict[str, Any]:
        """All counts, ready for JSON."""
        return {
            "calls": dict(self._calls),
            "answered": sum(self._calls.values()),
            "rate_limited": self._limited,
            "pu_charged": self._pu_charged,
            "nbytes_sent": self._nbytes_sent,
            "connections_seen": len(self._connections),
        }


def _read(body: bytes) -> Any:
    try:
        value = json.loads(body)
        # what cannot be written as JSON again, further down the stack as well, is told as text
        nested = reduce(lambda inner, _: [inner], range(SPARE_DEPTH), value)
        json.dumps(nested, ensure_ascii=False, allow_nan=False).encode()
    except (ValueError, RecursionError):
        return body.decode(errors="replace")
    return value
