"""What became of tiles on its way from a worker to all who listen: packed, and gathered where it comes fast.

Refuses to know who listens, and what is made of it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import fields
from operator import attrgetter
from typing import Any

import msgpack  # type: ignore[import-untyped]  # it has none

from shdask.model import TileEvent, TileState

GATHER_S = 0.05
"""A message follows the last one no sooner: beyond twenty tiles a second they share one."""
ERRORS = "surrogatepass"
"""A path in an error's text need not be UTF-8."""
_NAMES = tuple(field.name for field in fields(TileEvent))
_TILE = _NAMES.index("tile")
_values_of: Callable[[TileEvent], tuple[Any, ...]] = attrgetter(*_NAMES)


def pack_events(events: Iterable[TileEvent]) -> bytes:
    """Events as the bytes of one message, which Dask passes on unread. Pure."""
    return bytes(msgpack.packb([_values_of(event) for event in events], unicode_errors=ERRORS))


def unpack_events(message: bytes) -> list[TileEvent]:
    """The inverse of ``pack_events``. Pure."""
    return [TileEvent(**{**row, "state": TileState(row["state"])}) for row in unpack_rows(message)]


def unpack_rows(message: bytes) -> list[dict[str, Any]]:
    """The fields of each event by name, as plain values. Pure."""
    return [dict(zip(_NAMES, values, strict=True)) for values in _unpack(message)]


def unpack_tiles(message: bytes) -> list[int]:
    """The tiles that ``pack_events`` was told of, without the rest. Pure."""
    return [values[_TILE] for values in _unpack(message)]


def _unpack(message: bytes) -> list[tuple[Any, ...]]:
    values: list[tuple[Any, ...]] = msgpack.unpackb(message, unicode_errors=ERRORS)
    return values


class Teller:
    """Tells an event at once where the last message is a while ago, else together with those that follow it."""

    def __init__(
        self,
        send: Callable[[bytes], object],
        later: Callable[[float, Callable[[], None]], object],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``send`` takes a message; ``later`` calls back after so many seconds, in whatever thread."""
        self._send = send
        self._later = later
        self._clock = clock
        self._lock = threading.Lock()
        self._waiting: list[TileEvent] = []
        self._sent = float("-inf")
        self._is_due = False
        """Whether `flush` is to be called back."""

    def tell(self, event: TileEvent) -> None:
        """Let everybody hear of ``event``, within ``GATHER_S``."""
        with self._lock:
            self._waiting.append(event)
            if self._is_due:
                return
            wait_s = self._sent + GATHER_S - self._clock()
            self._is_due = wait_s > 0
        if wait_s > 0:
            self._later(wait_s, self.flush)
        else:
            self.flush()

    def flush(self) -> None:
        """Tell what waits, now."""
        events = self.take()
        if events:
            self._send(pack_events(events))

    def take(self) -> list[TileEvent]:
        """What waits, for the caller to tell in another way."""
        with self._lock:
            events, self._waiting = self._waiting, []
            self._is_due = False
            if events:
                self._sent = self._clock()
        return events
