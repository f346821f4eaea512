"""The ledger: durable rows, torn lines, folding."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shdask import __version__
from shdask.assemble.ledger import Ledger, read_ledger
from shdask.errors import StoreError
from shdask.model import TileEvent, TileState

WRITTEN = TileEvent(tile=3, state=TileState.WRITTEN, requests=2, rejected=1, pu_spent=1.5, nbytes=10, finished=100.0)
FAILED = TileEvent(tile=1, state=TileState.FAILED, requests=3, pu_spent=0.5, error="DecodeError: cut", finished=101.0)
EMPTY = TileEvent(tile=1, state=TileState.EMPTY, requests=1, pu_spent=0.25, finished=102.0)


def ledger_file(path: Path):
    return path / ".shdask" / "ledger.jsonl"


def test_an_absent_ledger_is_empty(tmp_path: Path):
    """A cube without a ledger has no rows."""
    summary = read_ledger(tmp_path)
    assert (summary.states.size, summary.pu_spent, summary.runs, summary.last_row) == (0, 0.0, (), None)


def test_a_row_is_on_disk_when_append_returns(tmp_path: Path):
    """A row is readable before the ledger is closed, with only what differs from the defaults."""
    with Ledger.open(tmp_path) as ledger:
        ledger.append([WRITTEN])
        row = json.loads(ledger_file(tmp_path).read_text())
    assert row == {
        "tile": 3,
        "state": "written",
        "requests": 2,
        "rejected": 1,
        "pu_spent": 1.5,
        "nbytes": 10,
        "finished": 100.0,
    }


def test_the_last_row_of_a_tile_says_its_state(tmp_path: Path):
    """A tile that failed and then was empty is empty; one without a row is untried."""
    with Ledger.open(tmp_path) as ledger:
        ledger.append([WRITTEN, FAILED])
        ledger.append([EMPTY])
    assert read_ledger(tmp_path).states.tolist() == [0, 2, 0, 1]


def test_sums_run_over_every_row(tmp_path: Path):
    """What was sent and paid counts, failed attempts included."""
    with Ledger.open(tmp_path) as ledger:
        ledger.append([WRITTEN, FAILED, EMPTY])
    summary = read_ledger(tmp_path)
    assert (summary.pu_spent, summary.requests, summary.rejected, summary.nbytes) == (2.25, 6, 1, 10)
    assert summary.last_row == 102.0


def test_only_tiles_that_last_failed_have_an_error(tmp_path: Path):
    """An error is forgotten once its tile is done."""
    with Ledger.open(tmp_path) as ledger:
        ledger.append([FAILED, TileEvent(tile=7, state=TileState.FAILED, error="TransportError: no answer")])
        ledger.append([EMPTY])
    assert read_ledger(tmp_path).errors == {7: "TransportError: no answer"}


def test_pu_add_up_over_runs(tmp_path: Path):
    """A ledger that is opened again knows what was spent before."""
    with Ledger.open(tmp_path) as ledger:
        ledger.append([WRITTEN])
    with Ledger.open(tmp_path) as ledger:
        ledger.append([FAILED])
        assert ledger.pu_spent == 2.0


def test_runs_are_told_apart_by_their_headers(tmp_path: Path):
    """Each run has a row with its version and projection."""
    with Ledger.open(tmp_path) as ledger:
        ledger.begin_run(pu_projected=4.0)
    with Ledger.open(tmp_path) as ledger:
        ledger.begin_run(pu_projected=1.0)
    runs = read_ledger(tmp_path).runs
    assert [(run.pu_projected, run.version) for run in runs] == [(4.0, __version__), (1.0, __version__)]


def test_a_skipped_tile_has_no_row(tmp_path: Path):
    """Nothing was sent for a tile found durable, so nothing is written down."""
    with Ledger.open(tmp_path) as ledger:
        ledger.append([TileEvent(tile=0, state=TileState.WRITTEN, skipped=True)])
    assert ledger_file(tmp_path).read_bytes() == b""


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(cut=st.integers(0, 200), tail=st.binary(max_size=5))
def test_a_ledger_cut_anywhere_goes_on_with_whole_rows(tmp_path_factory: pytest.TempPathFactory, cut: int, tail: bytes):
    """Whatever a kill leaves of the last line, the rows before it stand and the next one is readable."""
    path = tmp_path_factory.mktemp("cube")
    with Ledger.open(path) as ledger:
        ledger.append([WRITTEN, EMPTY])
    whole = ledger_file(path).read_bytes()
    kept = whole[:cut]
    ledger_file(path).write_bytes(kept + tail.replace(b"\n", b" "))
    with Ledger.open(path) as ledger:
        ledger.append([FAILED])
    complete_lines = kept[: kept.rfind(b"\n") + 1]
    assert ledger_file(path).read_bytes().startswith(complete_lines)
    summary = read_ledger(path)
    assert summary.unreadable_rows == 0
    assert summary.requests == 3 + 2 * (kept.count(b"\n") >= 1) + (kept.count(b"\n") >= 2)


def test_a_torn_line_longer_than_one_read_is_cut(tmp_path: Path):
    """The search for the last whole line goes as far back as it must."""
    ledger_file(tmp_path).parent.mkdir()
    ledger_file(tmp_path).write_bytes(b'{"tile":0,"state":"empty"}\n' + b"x" * 200_000)
    Ledger.open(tmp_path).close()
    assert ledger_file(tmp_path).read_bytes() == b'{"tile":0,"state":"empty"}\n'


def test_a_line_that_is_no_row_is_counted_and_passed_over(tmp_path: Path):
    """Rows around a damaged line stand."""
    with Ledger.open(tmp_path) as ledger:
        ledger.append([WRITTEN])
    with ledger_file(tmp_path).open("ab") as file:
        file.write(b'\0\0\0\n{"tile":"x","state":"empty"}\n{"tile":1,"state":"empty","requests":1}\n')
    summary = read_ledger(tmp_path)
    assert (summary.unreadable_rows, summary.requests, summary.states.tolist()) == (2, 3, [0, 2, 0, 1])


def test_a_reader_needs_no_lease(tmp_path: Path):
    """The ledger of a running build can be read."""
    with Ledger.open(tmp_path) as ledger:
        ledger.append([WRITTEN])
        assert read_ledger(tmp_path).requests == 2


def test_a_second_ledger_is_refused(tmp_path: Path):
    """Only one process appends."""
    with Ledger.open(tmp_path), pytest.raises(StoreError, match="is being built by process"):
        Ledger.open(tmp_path)


def test_a_refused_disk_is_a_store_error_and_frees_the_lease(tmp_path: Path):
    """A ledger that cannot be opened says so and leaves the cube to others."""
    ledger_file(tmp_path).mkdir(parents=True)
    with pytest.raises(StoreError, match=r"ledger\.jsonl"):
        Ledger.open(tmp_path)
    ledger_file(tmp_path).rmdir()
    Ledger.open(tmp_path).close()


def test_a_row_half_written_on_a_full_disk_is_taken_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """When the disk fills up in mid-row, the next row still starts a line of its own."""
    with Ledger.open(tmp_path) as ledger:
        ledger.append([WRITTEN])
        before = ledger_file(tmp_path).read_bytes()
        monkeypatch.setattr("os.fsync", fail_with_full_disk)
        with pytest.raises(StoreError, match="the disk is full"):
            ledger.append([FAILED])
    assert ledger_file(tmp_path).read_bytes() == before
    assert ledger.pu_spent == 1.5


def fail_with_full_disk(_fd: int):
    raise OSError(28, "No space left on device")


def test_states_are_as_long_as_the_highest_tile(tmp_path: Path):
    """Tiles may come in any order."""
    with Ledger.open(tmp_path) as ledger:
        ledger.append([TileEvent(tile=tile, state=TileState.WRITTEN) for tile in (900, 0, 17)])
    states = read_ledger(tmp_path).states
    assert states.dtype == np.uint8
    assert np.flatnonzero(states).tolist() == [0, 17, 900]
    assert states.size == 901
