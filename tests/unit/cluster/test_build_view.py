"""What is added up of a build from what is heard of it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from shdask.cluster.build_view import BuildView, Note, Opening, pack_states
from shdask.cluster.snapshot import TileMark, WorkerLoad

COUNTS = ("untried", "written", "empty", "failed", "in work")


@pytest.fixture
def view() -> BuildView:
    """Two dates of a row of three tiles; at the second date the last is none, and one is written already."""
    states = np.array([0, 0, 0, 0, 1, TileMark.OUTSIDE], np.uint8)
    opening = Opening(
        key="k",
        store="/c.zarr",
        layer="s2: B02",
        account="a",
        grid_shape=(1, 3),
        steps=("2024-06-01", "2024-06-11"),
        states=pack_states(states),
        max_pu=9.0,
    )
    return BuildView(opening, 100.0)


def told(tile: int, state: TileMark = TileMark.WRITTEN, **more: Any) -> dict[str, Any]:
    return {"tile": tile, "state": int(state), **more}


def counted(view: BuildView, **words: Any) -> list[int]:
    return list(view.snapshot(200.0, **words).tiles.values())


def test_a_build_begins_with_what_is_known(view) -> None:
    """What earlier runs have done is done; what is no tile does not count."""
    found = view.snapshot(100.0)
    assert (found.planned, found.done, list(found.tiles.values())) == (5, 1, [4, 1, 0, 0, 0])
    assert found.states.tolist() == [[[0, 0, 0]], [[0, 1, 5]]]


def test_tiles_count_by_what_is_told_of_them(view) -> None:
    """A tile counts once, by the last that was told of it."""
    for row in (told(0), told(1, TileMark.EMPTY), told(2, TileMark.FAILED, error="E: x"), told(2), told(2)):
        view.hear(row)
    assert counted(view) == [1, 3, 1, 0, 0]
    assert view.snapshot(200.0).states[0].tolist() == [[1, 2, 1]]


def test_tiles_in_hands_are_in_work(view) -> None:
    """Whatever is known of them; the rest stays what it is."""
    view.hear(told(1, TileMark.FAILED, error="E: x"))
    assert counted(view, held=[0, 1]) == [2, 1, 0, 0, 2]
    assert view.snapshot(202.0).states[0].tolist() == [[0, 3, 0]]


def test_errors_are_told_by_kind_with_the_last_message(view) -> None:
    """The most frequent first."""
    view.hear(told(0, TileMark.FAILED, error="DecodeError: shape", finished=1.0))
    view.hear(told(1, TileMark.FAILED, error="TransportError: first", finished=2.0))
    view.hear(told(2, TileMark.FAILED, error="TransportError: host: port", finished=3.0))
    found = [(each.kind, each.count, each.message, each.tile, each.told) for each in view.snapshot(200.0).errors]
    assert found == [("TransportError", 2, "host: port", 2, 3.0), ("DecodeError", 1, "shape", 0, 1.0)]


def test_the_ten_slowest_are_told(view) -> None:
    """The slowest first, with place and worker; what was found done took no time."""
    for seconds in range(1, 15):
        view.hear(told(seconds % 3 + 3, seconds=float(seconds), worker="w"))
    view.hear(told(0, seconds=99.0, skipped=True))
    found = view.snapshot(200.0).slowest
    assert [slow.seconds for slow in found] == [14.0, 13.0, 12.0, 11.0, 10.0, 9.0, 8.0, 7.0, 6.0, 5.0]
    assert (found[0].tile, found[0].step, found[0].row, found[0].column, found[0].worker) == (5, 1, 0, 2, "w")


def test_paces_are_those_of_the_last_minute(view) -> None:
    """From the owner's notes: a slow start is forgotten."""
    for now, requests, pu in ((100.0, 0, 0.0), (150.0, 5, 1.0), (180.0, 35, 7.0), (210.0, 65, 13.0)):
        view.take_note(Note(requests=requests, pu_spent=pu), now)
    found = view.snapshot(210.0)
    assert (found.requests_per_minute, found.pu_per_minute) == (60.0, 12.0)


def test_the_last_note_is_told(view) -> None:
    """With when it came."""
    view.take_note(Note(pu_spent=2.0, pu_projected=4.0, max_pu=9.0, remaining_s=7.0, jobs={"runs": 2}), 160.0)
    found = view.snapshot(161.0)
    assert (found.pu_spent, found.pu_projected, found.max_pu, found.remaining_s) == (2.0, 4.0, 9.0, 7.0)
    assert (found.jobs, found.heard, found.began) == ({"runs": 2}, 160.0, 100.0)


def test_nothing_is_made_anew_where_nothing_was_heard(view) -> None:
    """Several who look within a second are shown the same."""
    first = view.snapshot(200.0)
    assert view.snapshot(200.9) is first
    assert view.snapshot(201.1) is not first
    assert view.snapshot(201.1).version == first.version


def test_what_was_heard_is_shown_at_once(view) -> None:
    """Under another version."""
    first = view.snapshot(200.0)
    view.hear(told(0))
    assert view.snapshot(200.0).version > first.version
    assert view.snapshot(200.0).done == 2


def test_a_build_that_has_ended_waits_for_nothing(view) -> None:
    """Its tiles are in nobody's hands; the first word on its end counts."""
    view.take_note(Note(waiting_for="answers", remaining_s=3.0), 150.0)
    view.end("done", 160.0)
    view.end("its owner is gone", 170.0)
    found = view.snapshot(200.0, held=[0])
    assert (found.ended, found.end, found.waiting_for, found.remaining_s) == (160.0, "done", "", None)
    assert found.tiles[TileMark.IN_WORK] == 0


def test_a_tile_is_asked_for_until_its_owner_answers(view) -> None:
    """Once, however many ask."""
    view.ask(2)
    view.ask(2)
    assert view.asked == [2]
    view.answer(2, "why")
    view.ask(2)
    assert (view.asked, view.snapshot(200.0).explained) == ([], {2: "why"})


def test_nobody_is_asked_after_the_end(view) -> None:
    """There is no owner to answer."""
    view.end("done", 160.0)
    view.ask(2)
    assert view.asked == []


def test_states_cannot_be_changed_by_who_looks(view) -> None:
    """A snapshot is shared."""
    with pytest.raises(ValueError, match="read-only"):
        view.snapshot(200.0).states[0, 0, 0] = 1


def test_loads_add_up_over_workers(view) -> None:
    """Requests, the oldest of them, and disks, of which each host has one."""
    near, far = (
        WorkerLoad(address="w", host=host, tiles=3, in_flight=2, oldest_s=age, spool_nbytes=8, heard_s=0.0)
        for host, age in (("h", 1.5), ("g", 2.5))
    )
    found = view.snapshot(200.0, workers=[near, near, far])
    assert (found.in_flight, found.oldest_in_flight_s, found.spool_nbytes) == (6, 2.5, 16)
