"""Whose tile is whose: no tile is in two workers' hands, and a dead worker's are free."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from shdask.cluster.holds import LEAVE_S, Holds, Taken

WORKERS = st.sampled_from(["a", "b", "c"])
TILES = st.lists(st.integers(0, 5), max_size=4)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("take"), WORKERS, TILES),
        st.tuples(st.just("give_back"), WORKERS, TILES),
        st.tuples(st.just("drop"), WORKERS),
        st.tuples(st.just("hear"), st.integers(0, 5)),
    ),
    max_size=40,
)


def test_tile_in_anothers_hands_is_waited_for() -> None:
    """The second worker runs what is free, and asks again for the rest."""
    holds = Holds(tile_count=4)
    holds.take("a", [0, 1], 0.0)
    assert holds.take("b", [1, 2], 0.0) == Taken(run=[2], wait=[1])


def test_worker_may_take_its_own_tile_again() -> None:
    """A batch that comes back to the same worker is not its own rival."""
    holds = Holds(tile_count=4)
    holds.take("a", [0], 0.0)
    assert holds.take("a", [0], 0.0) == Taken(run=[0], wait=[])


def test_tile_that_was_heard_of_is_nobodys() -> None:
    """It is neither run nor waited for, whatever became of it."""
    holds = Holds(tile_count=4)
    holds.take("a", [0], 0.0)
    holds.hear([0])
    assert holds.take("b", [0, 1], 0.0) == Taken(run=[1], wait=[])


def test_tiles_of_a_dead_worker_are_free_at_once() -> None:
    """What was in its hands dies with it."""
    holds = Holds(tile_count=4)
    holds.take("a", [0, 1], 0.0)
    holds.hear([0])
    holds.drop("a")
    assert holds.take("b", [0, 1], 0.0) == Taken(run=[1], wait=[])


def test_tiles_of_a_worker_that_leaves_are_free_half_a_minute_later() -> None:
    """Until then it may still write them; nobody hears of a process that was killed meanwhile."""
    holds = Holds(tile_count=4)
    holds.take("a", [0], 0.0)
    holds.leave("a", 100.0)
    assert holds.take("b", [0], 100.0 + LEAVE_S - 0.1) == Taken(run=[], wait=[0])
    assert holds.take("b", [0], 100.0 + LEAVE_S) == Taken(run=[0], wait=[])


def test_worker_that_leaves_keeps_what_is_in_flight_only() -> None:
    """Tiles that it had not sent go to others at once."""
    holds = Holds(tile_count=4)
    holds.take("a", [0, 1, 2], 0.0)
    holds.leave("a", 0.0)
    holds.keep_only("a", [1])
    assert holds.take("b", [0, 1, 2], 0.0) == Taken(run=[0, 2], wait=[1])


def test_what_lost_workers_held_is_remembered() -> None:
    """A dead one's at once; of one that left, what it never spoke of and another takes over."""
    holds = Holds(tile_count=5)
    holds.take("dead", [0, 1], 0.0)
    holds.take("left", [2, 3, 4], 0.0)
    holds.hear([0, 2])
    holds.drop("dead")
    holds.leave("left", 0.0)
    assert holds.lost == [[1]]
    holds.hear([3])
    holds.take("other", [1, 3, 4], LEAVE_S)
    assert holds.lost == [[1], [4]]


def test_tile_of_another_is_not_given_back() -> None:
    """A worker that woke up too late has no say over what is in other hands."""
    holds = Holds(tile_count=4)
    holds.take("a", [0], 0.0)
    holds.drop("a")
    holds.take("b", [0], 0.0)
    holds.give_back("a", [0])
    assert holds.take("c", [0], 0.0) == Taken(run=[], wait=[0])


@given(STEPS)
def test_no_tile_is_in_two_hands_and_none_that_was_heard_of_is_run(steps) -> None:
    """Whatever workers take, give back and die of, in any order."""
    assert violations(steps) == []


def violations(steps) -> list[object]:
    """Plays the steps beside a plain model: tile -> worker."""
    holds, model, heard, wrong = Holds(tile_count=6), {}, set(), []
    for kind, *words in steps:
        if kind == "take":
            worker, tiles = words
            taken = holds.take(worker, tiles, 0.0)
            wrong += [tile for tile in taken.run if tile in heard or model.get(tile, worker) != worker]
            wrong += [tile for tile in taken.wait if tile in heard or model.get(tile, worker) == worker]
            model.update(dict.fromkeys(taken.run, worker))
        elif kind == "give_back":
            worker, tiles = words
            holds.give_back(worker, tiles)
            model = {tile: who for tile, who in model.items() if who != worker or tile not in tiles}
        elif kind == "drop":
            holds.drop(words[0])
            model = {tile: who for tile, who in model.items() if who != words[0]}
        else:
            holds.hear([words[0]])
            heard.add(words[0])
            model.pop(words[0], None)
        wrong += [kind] if holds.holders != set(model.values()) else []
    return wrong
