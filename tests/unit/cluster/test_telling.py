"""What workers tell of tiles: the same when it is unpacked, at once where it is rare, together where it comes fast."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from shdask.cluster.telling import GATHER_S, Teller, pack_events, unpack_events, unpack_rows, unpack_tiles
from shdask.model import TileEvent, TileState

FAILED = TileEvent(tile=7, state=TileState.FAILED, requests=2, pu_spent=0.5, error="DecodeError: empty", finished=9.5)
WRITTEN = TileEvent(tile=3, state=TileState.WRITTEN, checksum=2**32 - 1, worker="tcp://a", skipped=True)


class Wire:
    """Messages that were sent, calls that are due, and a clock that is set."""

    def __init__(self) -> None:
        self.sent: list[list[int]] = []
        self.due: list[tuple[float, Callable[[], None]]] = []
        self.now = 100.0

    def teller(self) -> Teller:
        """One that sends here."""
        return Teller(
            lambda message: self.sent.append(unpack_tiles(message)),
            lambda wait_s, call: self.due.append((wait_s, call)),
            clock=lambda: self.now,
        )


@pytest.fixture
def wire() -> Wire:
    return Wire()


def event(tile: int) -> TileEvent:
    return TileEvent(tile=tile, state=TileState.EMPTY)


def test_events_survive_the_wire() -> None:
    """Every field arrives, types included."""
    told = unpack_events(pack_events([FAILED, WRITTEN]))
    assert told == [FAILED, WRITTEN]
    assert [type(each.state) for each in told] == [TileState, TileState]


def test_rows_name_the_fields() -> None:
    """Whoever shows events reads plain values by name."""
    (row,) = unpack_rows(pack_events([FAILED]))
    assert (row["tile"], row["state"], row["error"]) == (7, 3, "DecodeError: empty")


def test_rare_event_is_told_at_once(wire) -> None:
    """What was paid for is not kept back: a worker may be killed the next moment."""
    teller = wire.teller()
    teller.tell(event(1))
    wire.now += GATHER_S
    teller.tell(event(2))
    assert (wire.sent, wire.due) == ([[1], [2]], [])


def test_events_that_follow_fast_are_told_together(wire) -> None:
    """One call back is asked for, at the moment at which the next message may go."""
    teller = wire.teller()
    teller.tell(event(1))
    wire.now += GATHER_S / 4
    teller.tell(event(2))
    teller.tell(event(3))
    ((wait_s, call),) = wire.due
    assert wait_s == pytest.approx(GATHER_S * 3 / 4)
    call()
    assert wire.sent == [[1], [2, 3]]


def test_what_is_taken_is_not_told_again(wire) -> None:
    """A worker that leaves tells the rest in another way."""
    teller = wire.teller()
    teller.tell(event(1))
    teller.tell(event(2))
    assert teller.take() == [event(2)]
    teller.flush()
    assert wire.sent == [[1]]
