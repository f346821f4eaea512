"""The look beside a layer."""

from __future__ import annotations

import numpy as np
import pytest

from shdask.errors import PlanError
from shdask.plan.scout import add_scouts, is_scout, make_scout
from shdask.plan.spec import CubeSpec
from tests.unit.assemble.conftest import L_SHAPE, small_plan

CLEAR = {"min": 0.2, "scout_m": 40}
WORDS = {"cadence": "day", "max_cloud_cover": 0.5, "mosaicking_order": "leastRecent", "clear": CLEAR}
SPEC = CubeSpec(
    aoi=L_SHAPE,
    crs="EPSG:32633",
    resolution=10,
    time=("2024-06-01", "2024-06-30"),
    layers={"s2": {"collection": "sentinel-2-l2a", "bands": ["B04", "SCL"], **WORDS}},
)


@pytest.fixture
def group():
    return small_plan(**WORDS)


@pytest.fixture
def scout(group):
    return make_scout(group, SPEC.layers["s2"])


def test_a_look_has_the_layers_corner_and_four_times_its_pixels(group, scout) -> None:
    """One whole tile holds all of a small one."""
    assert scout.grid.bounds()[0] == group.grid.bounds()[0]
    assert scout.grid.bounds()[3] == group.grid.bounds()[3]
    assert (scout.grid.resolution, scout.grid.shape, scout.tile_count) == ((40, 40), (18, 20), 1)


def test_a_look_holds_the_whole_area(group, scout) -> None:
    """Each pixel of the layer lies under one of its."""
    rows, columns = np.nonzero(group.area_mask(group.grid.window))
    assert scout.area_mask(scout.grid.window)[rows // 4, columns // 4].all()


def test_a_look_asks_for_the_layers_scenes(group, scout) -> None:
    """With its filters and order, for the classes alone, none of them interpolated."""
    (asked,), (of_layer,) = (plan.layer.data_json(plan.layer.parts[0], plan.layer.interval) for plan in (scout, group))
    assert asked["dataFilter"] == of_layer["dataFilter"]
    assert asked["processing"] == {"upsampling": "NEAREST", "downsampling": "NEAREST"}
    assert [band.name for band in scout.layer.bands] == ["SCL"]


def test_looks_come_before_all_layers(group) -> None:
    """In a folder of their own; the one layer stays the root group."""
    groups = add_scouts({"": group}, SPEC)
    assert list(groups) == ["scout/s2", ""]
    assert [is_scout(path) for path in groups] == [True, False]


def test_a_layer_without_a_rule_is_not_looked_at() -> None:
    """It stands alone."""
    assert list(add_scouts({"": small_plan()}, SPEC)) == [""]


def test_a_look_is_made_of_a_rule() -> None:
    """Not of a layer that has none."""
    with pytest.raises(PlanError, match="give clear"):
        make_scout(small_plan(), SPEC.layers["s2"])


def test_the_rule_is_of_the_cubes_identity(group) -> None:
    """It decides which tiles there are; the look's own has none."""
    assert group.identity()["clear"] == {"min": 0.2, "factor": 4, "classes": [4, 5, 6, 7, 11]}
    assert "clear" not in small_plan().identity()
