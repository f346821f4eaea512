"""What the emulator saw: counts for tests and benchmarks, and the latest Process bodies.

Refuses to influence any answer.
"""

from __future__ import annotations

import json
from collections import Counter, deque
from typing import Any

CONNECTIONS_REMEMBERED = 100_000


class Journal:
    """Counts calls, connections and processing units; safe on one event loop."""

    def __init__(self, recorded_requests: int) -> None:
        self._bodies: deque[bytes] = deque(maxlen=recorded_requests)
        self.reset()

    def reset(self) -> None:
        """Forget everything."""
        self._bodies.clear()
        self._calls: Counter[str] = Counter()
        self._connections: set[tuple[str, int]] = set()
        self._limited = 0
        self._pu_charged = 0.0
        self._nbytes_sent = 0

    def connect(self, peer: tuple[str, int] | None) -> None:
        """Remember the peer's address: one per TCP connection."""
        if peer is not None and len(self._connections) < CONNECTIONS_REMEMBERED:
            self._connections.add(peer)

    def answer(self, method: str, path: str, status: int, nbytes: int) -> None:
        """Count one answer."""
        self._calls[f"{method} {path} {status}"] += 1
        self._limited += status == 429  # noqa: PLR2004  # the status is the name
        self._nbytes_sent += nbytes

    def spend(self, pu: float) -> None:
        """Count processing units of an answer with 2xx."""
        self._pu_charged += pu

    def record(self, body: bytes) -> None:
        """Keep a Process body."""
        self._bodies.append(body)

    def bodies(self) -> list[Any]:
        """The latest Process bodies, oldest first; one that is no JSON as text."""
        return [_read(body) for body in self._bodies]

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
        return json.loads(body)
    except ValueError:
        return body.decode(errors="replace")
