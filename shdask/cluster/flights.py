"""The bundles of tiles in flight on one worker: how many at once, which were sent, and which show no sign of life.

Refuses to know what a flight does, and Dask.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass(slots=True, kw_only=True)
class Flight:
    """Tiles that are bought together, in the hands of one thread."""

    tiles: tuple[int, ...]
    nbytes: int
    """Of pixels that it may hold."""
    began: float
    sign: float
    """When it last showed that it lives; infinite while it waits for others, as long as it must."""
    sent: bool = False
    """Whether a request of it may have been charged."""
    given_up: bool = False
    computed: bool = False
    """Whether something of it was decoded, and so is in memory."""


class Flights:
    """Lets so many bundles fly at once, each in its thread, as long as there is memory for their pixels."""

    def __init__(
        self, limit: int, *, room_nbytes: float = float("inf"), clock: Callable[[], float] = time.monotonic
    ) -> None:
        """``room_nbytes`` is what the pixels of all may take together; one flies in any case."""
        self._limit = limit
        self._room_nbytes = room_nbytes
        self._clock = clock
        self._changed = threading.Condition()
        self._aloft: dict[int, Flight] = {}
        self._mine = threading.local()

    def resize(self, limit: int) -> None:
        """Let ``limit`` bundles fly at once from now on."""
        with self._changed:
            self._limit = limit
            self._changed.notify_all()

    @contextmanager
    def fly(self, tiles: Sequence[int], nbytes: int = 0) -> Iterator[Flight]:
        """The calling thread's flight, once there is room for it and for its ``nbytes`` of pixels."""
        with self._changed:
            self._changed.wait_for(lambda: self._has_room(nbytes))
            flight = Flight(tiles=tuple(tiles), nbytes=nbytes, began=self._clock(), sign=self._clock())
            self._aloft[id(flight)] = flight
        self._mine.flight = flight
        try:
            yield flight
        finally:
            self._mine.flight = None
            with self._changed:
                self._aloft.pop(id(flight), None)
                self._changed.notify_all()

    def _has_room(self, nbytes: int) -> bool:
        held = sum(flight.nbytes for flight in self._aloft.values())
        return len(self._aloft) < self._limit and (not self._aloft or held + nbytes <= self._room_nbytes)

    @property
    def mine(self) -> Flight | None:
        """The calling thread's flight."""
        flight: Flight | None = getattr(self._mine, "flight", None)
        return flight

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """The calling thread waits for what it cannot hasten: that is no lack of life."""
        flight = self.mine
        if flight is None:
            yield
            return
        flight.sign = float("inf")
        try:
            yield
        finally:
            flight.sign = self._clock()

    def sent(self) -> list[int]:
        """Tiles aloft of which a request was sent."""
        with self._changed:
            return [tile for flight in self._aloft.values() if flight.sent for tile in flight.tiles]

    def load(self) -> dict[str, float]:
        """How many flights aloft have sent a request, as ``in_flight``, and how long the oldest is, ``oldest_s``."""
        with self._changed:
            began = [flight.began for flight in self._aloft.values() if flight.sent]
        return {"in_flight": len(began), "oldest_s": self._clock() - min(began) if began else 0.0}

    def give_up(self, tiles: AbstractSet[int], silent_s: float) -> set[int]:
        """Those of ``tiles`` that showed no sign of life for ``silent_s`` seconds; they take no room any more."""
        with self._changed:
            now = self._clock()
            stuck = {
                number: flight
                for number, flight in self._aloft.items()
                if not tiles.isdisjoint(flight.tiles) and now - flight.sign > silent_s
            }
            for number, flight in stuck.items():
                flight.given_up = True
                del self._aloft[number]
            self._changed.notify_all()
        return {tile for flight in stuck.values() for tile in flight.tiles}

    def wait_for_landing(self, timeout_s: float) -> bool:
        """Wait until nothing flies; whether that is so."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._aloft, timeout_s)
