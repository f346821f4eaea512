"""Handing a build over: what is looked at on the workers before anything is bought."""

from __future__ import annotations

from pathlib import Path

import pytest

import shdask
from shdask.assemble.lease import Lease
from shdask.assemble.place import open_place
from shdask.assemble.stop import ask_to_stop, is_asked_to_stop
from shdask.cluster import detached
from shdask.cluster.detached import prepare_store, sees_sign
from shdask.cluster.driver import JobsCost
from shdask.errors import BudgetExceeded, CubeOwned
from shdask.plan.cube import CubePlan
from tests.cluster.specs import earth_spec


@pytest.fixture(scope="module")
def plan() -> CubePlan:
    """Seven tiles."""
    return shdask.make_plan(earth_spec())


def test_a_worker_of_the_same_store_sees_the_sign(plan, tmp_path: Path) -> None:
    """What one of them has put there the others read."""
    spent = prepare_store(plan, str(tmp_path / "cube"), "sign", None, False)
    assert (spent, sees_sign(open_place(tmp_path / "cube"), "sign")) == (JobsCost(), True)


def test_a_worker_of_another_disk_does_not(plan, tmp_path: Path, monkeypatch) -> None:
    """A cube of an earlier try under the same path does not deceive it."""
    monkeypatch.setattr(detached, "SEE_S", 0.0)
    prepare_store(plan, str(tmp_path / "cube"), "an earlier one", None, False)
    assert not sees_sign(open_place(tmp_path / "cube"), "sign")


def test_a_cube_that_is_being_built_is_refused(plan, tmp_path: Path) -> None:
    """Its owner is not stopped by the order of another build."""
    prepare_store(plan, str(tmp_path / "cube"), "sign", None, False)
    with Lease.acquire(open_place(tmp_path / "cube")), pytest.raises(CubeOwned, match="shdask status"):
        prepare_store(plan, str(tmp_path / "cube"), "sign", None, False)


def test_an_order_forgets_who_was_asked_to_stop_before(plan, tmp_path: Path) -> None:
    """The driver reads the word before it begins, since it may go on for one that was asked."""
    prepare_store(plan, str(tmp_path / "cube"), "sign", None, False)
    ask_to_stop(tmp_path / "cube")
    prepare_store(plan, str(tmp_path / "cube"), "sign", None, False)
    assert not is_asked_to_stop(tmp_path / "cube")


def test_a_cap_below_the_price_is_refused_by_the_order(plan, tmp_path: Path) -> None:
    """Whoever orders the build is told at once, and not by a ledger later on."""
    with pytest.raises(BudgetExceeded, match="nothing was sent"):
        prepare_store(plan, str(tmp_path / "cube"), "sign", 0.01, False)
