"""The ledger as a table."""

from __future__ import annotations

from datetime import UTC, datetime

import pyarrow.parquet as pq
import pytest

from shdask.assemble.export import ledger_table, write_ledger_parquet
from shdask.assemble.ledger import Ledger
from shdask.model import TileEvent, TileState

FAILED = TileEvent(tile=1, state=TileState.FAILED, requests=3, pu_spent=0.5, error="cut", finished=100.5)
WRITTEN = TileEvent(tile=1, state=TileState.WRITTEN, requests=1, request="ab", checksum=2**32 - 1, finished=200.0)


@pytest.fixture
def store(tmp_path) -> str:
    """Two runs of one tile."""
    with Ledger.open(tmp_path) as ledger:
        ledger.begin_run(pu_projected=1.0)
        ledger.give_out([1], pu_projected=1.0)
        ledger.append([FAILED])
    with Ledger.open(tmp_path) as ledger:
        ledger.begin_run(pu_projected=1.0)
        ledger.append([WRITTEN])
        ledger.settle()
    return str(tmp_path)


def test_every_row_of_a_tile_is_a_row(store):
    """In order, with its run."""
    table = ledger_table(store)
    assert table.select(["tile", "state", "requests", "error", "checksum", "request", "run"]).to_pylist() == [
        {"tile": 1, "state": "failed", "requests": 3, "error": "cut", "checksum": None, "request": None, "run": 1},
        {"tile": 1, "state": "written", "requests": 1, "error": None, "checksum": 2**32 - 1, "request": "ab", "run": 2},
    ]


def test_times_are_utc(store):
    """To the microsecond."""
    assert ledger_table(store)["finished"].to_pylist()[0] == datetime(1970, 1, 1, 0, 1, 40, 500_000, UTC)


def test_a_parquet_file_holds_the_table(store, tmp_path):
    """And its number of rows is told."""
    assert write_ledger_parquet(store, tmp_path / "ledger.parquet") == 2
    assert pq.read_table(tmp_path / "ledger.parquet").equals(ledger_table(store))


def test_an_empty_ledger_is_an_empty_table(tmp_path):
    """With the same columns."""
    table = ledger_table(tmp_path)
    assert table.num_rows == 0
    assert "pu_spent" in table.column_names
