"""What store and ledger tell of tiles whose jobs are to be closed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from shdask.assemble.rows import LedgerSummary
from shdask.errors import StoreError
from shdask.jobs.closing import read_checksums, read_done
from shdask.plan.group import GroupPlan


class _Cube:
    """Tiles 0 and 1 are there."""

    place = None

    def durable_tiles(self) -> np.ndarray:
        return np.array([0, 1])


@pytest.fixture
def cube(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Its ledger: 0 and 2 written with checksums, 1 without, 3 empty, 4 failed."""
    ledger = LedgerSummary(states=np.array([1, 1, 1, 2, 3], np.uint8), checksums=np.array([10, -1, 12, -1, -1]))
    monkeypatch.setattr("shdask.jobs.closing.read_ledger", lambda _place: ledger)
    return _Cube()


def test_tiles_that_are_there_or_empty_are_done(plan: GroupPlan, cube: Any) -> None:
    """A row that says written of a tile that is not there counts for nothing."""
    assert read_done(plan, cube) == {0, 1, 3}


def test_checksums_are_of_tiles_that_are_there(plan: GroupPlan, cube: Any) -> None:
    """Empty tiles need none; of others it is told that there is none."""
    assert read_checksums(plan, cube, {0, 1, 2, 3, 4, 5}) == ({0: 10}, {1, 2, 4, 5})


def test_nothing_is_known_of_a_store_that_does_not_answer(
    plan: GroupPlan, cube: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No tile is done, and no checksum known: jobs stay open, and files are kept."""

    def fail(_place: object) -> None:
        raise StoreError("no")

    monkeypatch.setattr("shdask.jobs.closing.read_ledger", fail)
    assert read_done(plan, cube) == set()
    assert read_checksums(plan, cube, {0}) == ({}, {0})
