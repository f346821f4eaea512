"""A cap on a real cluster of two processes, whose service turns out dearer than the plan: what is spent, kept and said.

The service's own account says what was charged.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import shdask
from shdask.assemble.ledger import read_ledger
from shdask.cluster.batches import fetch_threads
from shdask.emulator.launch import EmulatorProcess, start_emulator
from shdask.errors import BudgetExceeded
from shdask.model import TileState
from shdask.plan.cube import CubePlan, make_cube_plan
from shdask.plan.group import GroupPlan
from tests.cluster.specs import earth_spec

MANY = {"chunk_px": 64, "tile_px": 64}
"""75 tiles."""
SOME = {"chunk_px": 128, "tile_px": 128}
"""23 tiles."""


def at_half_price(group: GroupPlan) -> GroupPlan:
    """The same group, for half of what the service takes."""
    cheap = replace(group.layer.inputs[0], price_factor=0.5)
    return replace(group, layer=replace(group.layer, inputs=(cheap,)))


def cheap_plan(store: dict[str, int]) -> CubePlan:
    """A plan that projects half of what the service takes."""
    return make_cube_plan({"": at_half_price(shdask.make_plan(earth_spec(store=store)).only)}, max_pu=None)


def written(place: Any) -> set[int]:
    return set(np.flatnonzero(read_ledger(place).states == TileState.WRITTEN).tolist())


def volley_pu(plan: CubePlan, workers: int = 2) -> float:
    """What so many workers may have in flight at once, as projected."""
    group = plan.only
    price = max(group.tile_pu(tile) for tile in group.tile_set.indices().tolist())
    return workers * fetch_threads(group.deployment, workers) * price


@pytest.fixture
def late_earth() -> Iterator[EmulatorProcess]:
    """A service whose answers come when everything that can be in flight is."""
    with start_emulator(latency_s=1.5) as service:
        yield service


def test_a_cap_is_kept_where_answers_are_dearer_than_projected(earth, client, point_at, tmp_path) -> None:
    """Twice as dear: the build stops below the cap, ends with 4, and says what the rest costs."""
    service, plan = point_at(earth), cheap_plan(MANY)
    with pytest.raises(BudgetExceeded, match=r"stopped at .* tiles left, which cost .* at 1\.\d+ times the projection"):
        shdask.build_cube(plan, tmp_path / "cube", client=client, max_pu=plan.cost.pu)
    assert 0.9 * plan.cost.pu < service.stats()["pu_charged"] <= plan.cost.pu * (1 + 1e-5)
    assert read_ledger(tmp_path / "cube").end.exit_code == 4


def test_a_first_volley_does_not_pass_the_cap(late_earth, client, point_at, tmp_path) -> None:
    """Both workers together could send more than half of all tiles before the first answer says what one costs."""
    service, plan = point_at(late_earth), cheap_plan(SOME)
    with pytest.raises(BudgetExceeded):
        shdask.build_cube(plan, tmp_path / "cube", client=client, max_pu=plan.cost.pu)
    assert plan.cost.pu < 2 * volley_pu(plan)
    assert 0.8 * plan.cost.pu < service.stats()["pu_charged"] <= plan.cost.pu * (1 + 1e-5)


def test_what_was_paid_for_under_a_cap_is_kept(earth, client, point_at, tmp_path) -> None:
    """Tiles that the cap kept from being sent are untried, not failed, and only they are bought by the next build."""
    service, plan = point_at(earth), cheap_plan(SOME)
    with pytest.raises(BudgetExceeded):
        shdask.build_cube(plan, tmp_path / "cube", client=client, max_pu=plan.cost.pu)
    kept, ledger = written(tmp_path / "cube"), read_ledger(tmp_path / "cube")
    assert not (ledger.states == TileState.FAILED).any()
    assert ledger.pu_spent == pytest.approx(service.stats()["pu_charged"], rel=1e-6)
    service.reset()
    report = shdask.build_cube(plan, tmp_path / "cube", client=client)
    assert (report.skipped, report.written) == (len(kept), plan.tile_count - len(kept))
    assert len(service.requests()) == report.written
    assert report.complete


def test_a_serial_build_keeps_its_cap_too(earth, point_at, tmp_path) -> None:
    """Without a cluster the same: it stops below the cap, and nothing has failed."""
    service, plan = point_at(earth), cheap_plan(SOME)
    with pytest.raises(BudgetExceeded, match=r"stopped at .* tiles left, which cost"):
        shdask.build_cube(plan, tmp_path / "cube", executor=shdask.SerialExecutor(), max_pu=plan.cost.pu)
    assert 0.8 * plan.cost.pu < service.stats()["pu_charged"] <= plan.cost.pu * (1 + 1e-5)
    assert not (read_ledger(tmp_path / "cube").states == TileState.FAILED).any()


def test_a_cap_that_equals_the_price_is_enough(earth, client, point_at, tmp_path) -> None:
    """What workers were promised together never keeps the last tile from being bought."""
    service, plan = point_at(earth), shdask.make_plan(earth_spec(store=SOME))
    report = shdask.build_cube(plan, tmp_path / "cube", client=client, max_pu=plan.cost.pu)
    assert report.complete
    assert service.stats()["pu_charged"] == pytest.approx(plan.cost.pu, rel=1e-6)


def test_tries_that_are_charged_count(earth, client, point_at, tmp_path) -> None:
    """Answers that are cut are charged and bought again, until the cap is reached; it is never passed."""
    service, plan = point_at(earth), shdask.make_plan(earth_spec(store=SOME))
    service.set_faults("cut:0.3")
    with pytest.raises(BudgetExceeded):
        shdask.build_cube(plan, tmp_path / "cube", client=client, max_pu=plan.cost.pu)
    service.clear_faults()
    assert service.stats()["pu_charged"] <= plan.cost.pu * (1 + 1e-5)


def test_groups_share_the_cap(earth, client, point_at, tmp_path) -> None:
    """What the first group may have spent is not there for the second; the error says what that has left to buy."""
    layer = {"collection": "sentinel-2-l2a", "bands": ["B02", "B08"], "mosaicking_order": "leastCC"}
    service = point_at(earth)
    plan = shdask.make_plan(earth_spec(layers={"a": layer, "b": layer}, store=SOME))
    cheaper = make_cube_plan({**plan.groups, "a": at_half_price(plan.groups["a"])}, max_pu=None)
    with pytest.raises(BudgetExceeded, match="max_pu"):
        shdask.build_cube(cheaper, tmp_path / "cube", client=client, max_pu=cheaper.cost.pu)
    assert service.stats()["pu_charged"] <= cheaper.cost.pu * (1 + 1e-5)
    assert json.loads((tmp_path / "cube" / "zarr.json").read_text())["node_type"] == "group"
