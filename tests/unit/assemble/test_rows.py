"""What rows say, alone and together."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from shdask.assemble.rows import (
    Fold,
    LedgerSummary,
    RunEnd,
    end_line,
    event_line,
    forgotten_line,
    given_out_line,
    read_rows,
    reopened_line,
    settled_line,
)
from shdask.model import TileEvent, TileState
from tests.unit.figures import RUN

OLD_ROW = b'{"tile":2,"state":"written","requests":2,"pu_spent":1.5,"finished":100.0}\n'
"""As the first release wrote it."""


def fold(*lines: bytes) -> LedgerSummary:
    folded = Fold()
    folded.add(read_rows([b"".join(lines)]))
    return folded.summary()


def written(tile: int, **fields: object) -> bytes:
    return event_line(TileEvent(**{"tile": tile, "state": TileState.WRITTEN, "checksum": 7, **fields}))


def test_a_row_of_an_older_release_is_readable():
    """Without request and checksum it says what it said."""
    summary = fold(OLD_ROW)
    assert (summary.states.tolist(), summary.checksums.tolist(), summary.pu_spent) == ([0, 0, 1], [-1, -1, -1], 1.5)


def test_a_row_tells_request_and_checksum():
    """Beside what was sent and paid."""
    event = TileEvent(tile=3, state=TileState.WRITTEN, requests=2, request="ab12", checksum=4294967295)
    assert json.loads(event_line(event)) == {
        "tile": 3,
        "state": "written",
        "requests": 2,
        "request": "ab12",
        "checksum": 4294967295,
    }


def test_the_last_checksum_holds():
    """A later row without one, of a tile found again, takes nothing back."""
    found_again = event_line(TileEvent(tile=0, state=TileState.WRITTEN))
    assert fold(written(0, checksum=1), written(0, checksum=2), found_again).checksums.tolist() == [2]


def test_a_tile_that_was_given_out_is_in_flight_until_its_row():
    """With its share of what the batch is projected to cost."""
    summary = fold(given_out_line([4, 5, 6, 9], 2.0), written(5))
    assert summary.in_flight == {4: 0.5, 6: 0.5, 9: 0.5}


def test_a_row_of_a_batch_is_short():
    """Neighbours are told as a range."""
    assert json.loads(given_out_line([9, 4, 6, 5], 2.0)) == {"out": [[4, 6], [9, 9]], "pu": 2.0}


def test_a_run_that_ended_leaves_nothing_in_flight():
    """Tiles that it was given and did not start are none."""
    assert fold(given_out_line([4, 5], 2.0), settled_line()).in_flight == {}


def test_what_is_given_out_again_has_no_checksum_until_its_row():
    """A kill after its shard and before its row must not make it look broken."""
    assert fold(written(0), given_out_line([0], 1.0)).checksums.tolist() == [-1]


def test_the_last_row_of_a_run_tells_what_it_has_shown():
    """Price and time, predicted and measured."""
    end = RunEnd(at=1.0, exit_code=0, figures=RUN)
    assert fold(end_line(end)).end == end


def test_the_last_row_of_an_older_release_has_no_figures():
    """And is readable."""
    assert fold(b'{"end":{"at":1.0,"exit_code":5,"error":"x"}}\n').end == RunEnd(at=1.0, exit_code=5, error="x")


def test_a_forgotten_tile_is_untried():
    """Its pixels were given up."""
    summary = fold(written(0), written(1), written(2), forgotten_line([0, 1]))
    assert (summary.states.tolist(), summary.checksums.tolist()) == ([0, 0, 1], [-1, -1, 7])


EVENTS = st.lists(
    st.builds(
        TileEvent,
        tile=st.integers(0, 9),
        state=st.sampled_from([TileState.WRITTEN, TileState.EMPTY, TileState.FAILED]),
        requests=st.integers(0, 5),
        nbytes=st.integers(0, 1000),
    ),
    max_size=30,
)


@given(events=EVENTS, cuts=st.lists(st.integers(0, 3000), max_size=5), noise=st.integers(0, 3))
def test_rows_are_the_same_however_their_bytes_are_cut(events: list[TileEvent], cuts: list[int], noise: int):
    """Segments and reads end anywhere; lines that are no row are counted and passed over."""
    lines = [event_line(event) for event in events]
    [lines.insert(min(place, len(lines)), b'{"torn":\n') for place in range(noise)]
    text = b"".join(lines)
    edges = [0, *sorted(min(cut, len(text)) for cut in cuts), len(text)]
    folded = Fold()
    folded.add(read_rows(text[start:stop] for start, stop in itertools.pairwise(edges)))
    summary = folded.summary()
    assert (summary.requests, summary.nbytes) == (sum(e.requests for e in events), sum(e.nbytes for e in events))
    assert dict(enumerate(summary.states.tolist())) == last_states(events)
    assert summary.unreadable_rows == noise


def last_states(events: Sequence[TileEvent]) -> dict[int, int]:
    last = {event.tile: int(event.state) for event in events}
    return {tile: last.get(tile, 0) for tile in range(max(last, default=-1) + 1)}


def test_a_reopened_tile_is_untried_and_keeps_its_checksum():
    """What stands is what stood; also of the last tile that has a row."""
    summary = fold(written(0), written(1, checksum=9), reopened_line([1], 2))
    assert (summary.states.tolist(), summary.checksums.tolist(), summary.reopened) == ([1, 0], [7, 9], {1: 2})


def test_a_row_that_says_written_or_empty_closes_a_tile():
    """One that says failed does not."""
    ends = [event_line(TileEvent(tile=tile, state=TileState(tile))) for tile in (1, 2, 3)]
    assert fold(reopened_line([1, 2, 3], 1), *ends).reopened == {3: 1}


def test_a_tile_reopened_twice_has_what_it_had_first():
    """It was never closed between."""
    assert fold(reopened_line([4], 1), reopened_line([4, 5], 2)).reopened == {4: 1, 5: 2}


def test_nothing_stands_of_a_reopened_tile_that_is_forgotten():
    """It is bought as a whole, and a tile that was not reopened stays so."""
    assert fold(written(0), reopened_line([0], 1), forgotten_line([0, 1])).reopened == {0: 0}
