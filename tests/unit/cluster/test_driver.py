"""The owner of a detached build: what it may spend, and what it survives."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

import shdask
from shdask.assemble.job_rows import JobAccepted, JobEnd, JobIntent
from shdask.assemble.ledger import Ledger
from shdask.assemble.place import open_place
from shdask.cluster.detached import prepare_store
from shdask.cluster.driver import JobsCost, read_jobs_cost
from shdask.model import Window
from tests.cluster.specs import earth_spec

INTENT = JobIntent(
    key="k", attempt=1, url="s3://b/c", window=Window(y0=0, y1=1, x0=0, x1=1), tiles=(0,), pu=40.0, digest="d", at=1.0
)
ACCEPTED = JobAccepted(key="k", attempt=1, id="x", pu=41.0, at=2.0)
LOST = JobEnd(key="k", attempt=1, end="lost", at=3.0)


@pytest.fixture
def cube(tmp_path: Path) -> str:
    """The path of one of seven tiles that nothing was bought of."""
    prepare_store(shdask.make_plan(earth_spec()), str(tmp_path / "cube"), "sign", None, False)
    return str(tmp_path / "cube")


@pytest.mark.parametrize(
    ("rows", "cost"),
    [((INTENT, ACCEPTED, replace(LOST, end="vanished"), replace(INTENT, attempt=2), replace(ACCEPTED, attempt=2)),
      JobsCost(accepted_pu=82.0)),
     ((INTENT, LOST), JobsCost(unsure_pu=40.0)),
     ((INTENT,), JobsCost())],
)  # fmt: skip  # a list
def test_jobs_cost_what_all_attempts_have(cube, rows, cost) -> None:
    """Also those that others replaced; but for the order that the next owner takes up, and counts itself."""
    with Ledger.open(open_place(cube)) as ledger:
        [ledger.add_job(row) for row in rows]
    assert read_jobs_cost(cube) == cost


def test_what_was_unsure_before_is_no_build_of_ours() -> None:
    """An order of an earlier build that is refused after all leaves no more to spend."""
    before = JobsCost(accepted_pu=10.0, unsure_pu=40.0)
    assert JobsCost(accepted_pu=30.0).since(before) == 20.0
    assert JobsCost(accepted_pu=30.0, unsure_pu=45.0).since(before) == 25.0
