"""Tiles in flight on one worker: so many at once, and none that is stuck for long."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from shdask.cluster.flights import Flights


class StandingClock:
    """A clock that stands still until it is set."""

    now = 0.0

    def __call__(self) -> float:
        """The time."""
        return self.now


@pytest.fixture
def clock() -> StandingClock:
    """At 0."""
    return StandingClock()


def take_off(
    flights: Flights, landing: threading.Event, *tiles: int, nbytes: int = 0
) -> tuple[threading.Thread, threading.Event]:
    """A thread whose tiles fly together until ``landing``, and the event that it has begun."""
    aloft = threading.Event()

    def fly() -> None:
        with flights.fly(tiles, nbytes):
            aloft.set()
            landing.wait(10)

    thread = threading.Thread(target=fly, daemon=True)
    thread.start()
    return thread, aloft


def test_no_more_fly_than_there_is_room_for() -> None:
    """The third of three tiles waits for room, which a larger cluster or a landing makes."""
    flights, landing = Flights(2), threading.Event()
    (_, first), (_, second) = [take_off(flights, landing, tile) for tile in (0, 1)]
    _, third = take_off(flights, landing, 2)
    assert (first.wait(10), second.wait(10), third.wait(0.1)) == (True, True, False)
    flights.resize(3)
    assert third.wait(10)
    landing.set()
    assert flights.wait_for_landing(10)


def test_pixels_in_flight_are_bounded_in_bytes() -> None:
    """A flight whose pixels do not fit beside the others' waits until one of them has landed."""
    flights, landing, other = Flights(32, room_nbytes=100), threading.Event(), threading.Event()
    _, first = take_off(flights, landing, 0, nbytes=60)
    assert first.wait(10)
    _, second = take_off(flights, other, 1, nbytes=40)
    assert second.wait(10)
    _, third = take_off(flights, other, 2, nbytes=1)
    assert not third.wait(0.1)
    landing.set()
    assert third.wait(10)
    other.set()


def test_bundle_that_is_larger_than_all_room_flies_alone() -> None:
    """It is bought all the same, and nothing beside it."""
    flights, landing = Flights(32, room_nbytes=100), threading.Event()
    _, large = take_off(flights, landing, 0, nbytes=500)
    assert large.wait(10)
    _, small = take_off(flights, landing, 1, nbytes=1)
    assert not small.wait(0.1)
    landing.set()
    assert small.wait(10)


def test_silent_tile_is_given_up_and_makes_room(clock: Any) -> None:
    """It takes no room any more, and its thread can see that it was given up."""
    flights = Flights(1, clock=clock)
    with flights.fly([7]) as flight:
        clock.now = 901.0
        assert flights.give_up({7, 8}, 900.0) == {7}
        assert flight.given_up
        assert flights.wait_for_landing(0)


@pytest.mark.parametrize(("tiles", "now"), [({7}, 900.0), ({8}, 9999.0)])
def test_tile_that_lives_or_is_another_batchs_stays(clock: Any, tiles: set[int], now: float) -> None:
    """Only silence counts, and only for the tiles that one asks for."""
    flights = Flights(1, clock=clock)
    with flights.fly([7]):
        clock.now = now
        assert flights.give_up(tiles, 900.0) == set()


def test_waiting_for_a_permit_is_no_silence(clock: Any) -> None:
    """However long it takes; the silence begins anew when the permit is there."""
    flights = Flights(1, clock=clock)
    with flights.fly([7]):
        with flights.waiting():
            clock.now = 1e6
            assert flights.give_up({7}, 900.0) == set()
        clock.now += 900.0
        assert flights.give_up({7}, 900.0) == set()


def test_only_sent_tiles_count_as_sent() -> None:
    """A worker that ends waits for those alone."""
    flights = Flights(1)
    with flights.fly([7]) as flight:
        assert flights.sent() == []
        flight.sent = True
        assert flights.sent() == [7]
    assert flights.sent() == []


def test_tiles_of_a_bundle_fly_and_are_given_up_together(clock: Any) -> None:
    """One request brings them: who asks for one of them learns of all, and none takes room any more."""
    flights = Flights(1, clock=clock)
    with flights.fly([7, 16, 25]) as flight:
        flight.sent = True
        assert flights.sent() == [7, 16, 25]
        clock.now = 901.0
        assert flights.give_up({16, 40}, 900.0) == {7, 16, 25}
        assert (flights.sent(), flights.wait_for_landing(0)) == ([], True)


def test_a_bundle_takes_the_room_of_one() -> None:
    """It is one request in flight, however many dates it brings."""
    flights, landing = Flights(2), threading.Event()
    (_, first), (_, second) = [take_off(flights, landing, *tiles) for tiles in ((0, 9, 18), (1, 10, 19))]
    _, third = take_off(flights, landing, 2)
    assert (first.wait(10), second.wait(10), third.wait(0.1)) == (True, True, False)
    landing.set()
    assert third.wait(10)


def test_load_counts_what_has_sent_a_request(clock: Any) -> None:
    """And how long the oldest of it is under way; what only waits is no load on the service."""
    flights = Flights(3, clock=clock)
    with flights.fly([0]) as first, flights.fly([1]):
        clock.now = 2.5
        assert flights.load() == {"in_flight": 0, "oldest_s": 0.0}
        first.sent = True
        assert flights.load() == {"in_flight": 1, "oldest_s": 2.5}
