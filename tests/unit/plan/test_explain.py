"""Why a tile is asked for as it is."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
import shapely

from shdask.errors import PlanError
from shdask.model import Window
from shdask.plan.clear import ClearRule
from shdask.plan.cube import make_cube_plan
from shdask.plan.delivery_spec import DeliveryOptions
from shdask.plan.grown_area import Reopened
from shdask.plan.placing import place_in_time
from shdask.plan.route import with_route
from shdask.plan.timeline import make_timeline
from tests.unit.plan.scenes import scene, span

HALF = shapely.Polygon([(4.8e5, 51.2e5), (4.8e5 + 40_960, 51.2e5), (4.8e5, 51.2e5 + 40_960)])
"""A square of four tiles, cut along its diagonal: the corner in the north east is out."""
SHAPES = {"chunk_px": 512, "tile_px": 2048}
TIMED = {"s2": {"collection": "sentinel-2-l2a", "bands": ["B04"], "cadence": "acquisition"}}
JUNE = span("2024-06-01", "2024-07-01")


@pytest.fixture(scope="module")
def half(plan_of) -> Any:
    """Four tiles, of which one is whole, one is out, and two are half in; bands of two types of resampling."""
    layers = {"s2": {"collection": "sentinel-2-l2a", "bands": ["B04", "B08", "SCL"], "resampling": "bilinear"}}
    return plan_of(HALF, layers=layers, store=SHAPES)


@pytest.fixture(scope="module")
def small(plan_of) -> Any:
    """Four tiles of 16 px at three dates that come together; the second date's scene ends within the western tiles."""
    plan = plan_of((4.8e5, 51.2e5, 4.8e5 + 320, 51.2e5 + 320), layers=TIMED, store={"chunk_px": 8, "tile_px": 16})
    scenes = [scene(day, f"2024-06-{day}T10:00:00") for day in ("02", "07", "12")]
    return place_in_time(plan, make_timeline(scenes, "acquisition", JUNE))


def test_a_tile_is_told_with_its_place_and_windows(half: Any) -> None:
    """Row, column and bounds by hand; windows and prices as the plan has them."""
    told = half.explain(0)
    assert (told.tile, told.row, told.column, told.left_out) == (0, 0, 0, "")
    assert told.extent == Window(y0=0, y1=2048, x0=0, x1=2048)
    assert told.bounds == (480_000, 5_140_480, 500_480, 5_160_960)
    assert [each.window for each in told.windows] == list(half.tile(0).windows)
    assert told.pu == pytest.approx(sum(each.pu for each in told.windows)) == half.tile_pu(0)
    assert told.requests == 2 * len(told.windows)


def test_a_tile_is_told_with_what_it_could_cost(half: Any) -> None:
    """The pixels of the area alone (half of them), and the whole tile: 16 units a band and three bands to a unit."""
    told = half.explain(0)
    assert told.area_px == int(np.count_nonzero(half.area_mask(told.extent)))
    assert told.area_pu == pytest.approx(3 / 3 * told.area_px / 512**2)
    assert told.whole_pu == pytest.approx(16.0)
    assert told.area_pu < told.pu < told.whole_pu


def test_parts_are_told_with_their_share(half: Any) -> None:
    """Two bands bilinear and one nearest: two thirds and one third."""
    told = half.explain(0)
    assert [(part.bands, part.resampling) for part in told.parts] == [
        (("B04", "B08"), "bilinear"),
        (("SCL",), "nearest"),
    ]
    assert [part.pu for part in told.parts] == pytest.approx([told.pu * 2 / 3, told.pu / 3])


def test_a_tile_without_the_area_is_not_bought(half: Any) -> None:
    """And says so."""
    told = half.explain(1)
    assert (told.windows, told.requests, told.pu) == ((), 0, 0.0)
    assert told.left_out == "it holds no pixel of the area"
    assert repr(told).splitlines()[-1] == "  not bought: it holds no pixel of the area"


@pytest.mark.parametrize("index", [-1, 4])
def test_a_tile_outside_the_array_is_refused(half: Any, index: int) -> None:
    """Two rows of two."""
    with pytest.raises(IndexError, match=f"tile {index} of a cube with 4"):
        half.explain(index)


@pytest.mark.parametrize(
    ("prefer", "rate", "why", "is_cut"),
    [
        ("pu", 300.0, 'prefer = "pu"', True),
        ("requests", 300.0, 'prefer = "requests"', False),
        ("auto", 300.0, "the least at which requests take no longer than PU", True),
        ("auto", 6e5, "PU bind, and it is never taken to be worth less", True),
        ("auto", 1.0, "requests bind even where no tile is cut", False),
    ],
)
def test_what_a_request_is_worth_has_a_reason(plan_of, prefer: str, rate: float, why: str, is_cut: bool) -> None:
    """The user's choice, or the limit that binds."""
    plan = plan_of(HALF, store=SHAPES, service={"prefer": prefer})
    account = replace(plan.deployment, requests_per_minute=rate, requests_per_month=None, pu_per_month=None)
    told = replace(plan, deployment=account).with_windows().explain(0)
    assert told.why.startswith(why)
    assert (len(told.windows) > 1) == math.isfinite(told.worth_pu) == is_cut


def test_without_a_border_nothing_is_weighed(plan_of) -> None:
    """A whole box is bought whole."""
    told = plan_of((4.8e5, 51.2e5, 4.8e5 + 20_480, 51.2e5 + 20_480), store=SHAPES).explain(0)
    assert told.why == "the area fills its tiles, and nothing is trimmed"
    assert [each.window for each in told.windows] == [told.extent]


def test_dates_that_come_together_are_named(small: Any) -> None:
    """A tile's price is its share of the one request for all three."""
    told = small.explain(5)
    assert told.time == datetime(2024, 6, 7, 10, tzinfo=UTC)
    assert told.dates == tuple(datetime(2024, 6, day, 10, tzinfo=UTC) for day in (2, 7, 12))
    assert (told.requests, told.pu) == (1, pytest.approx(0.01 * 3 / 3 / 3))
    assert "comes with 3 dates from 2024-06-02 to 2024-06-12 in one" in repr(told)


def test_a_tile_that_no_scene_reaches_is_not_bought(plan_of) -> None:
    """The western tiles only are seen."""
    plan = plan_of((4.8e5, 51.2e5, 4.8e5 + 40_960, 51.2e5 + 20_480), layers=TIMED, store=SHAPES)
    west = scene("west", "2024-06-02T10:00:00", footprint=shapely.box(14, 46, 14.8, 47))
    timed = place_in_time(plan, make_timeline([west], "acquisition", JUNE))
    assert timed.explain(1).left_out == "no scene of its date reaches it"
    assert timed.explain(0).is_trimmed_to_swath
    assert not timed.explain(1).is_trimmed_to_swath


def test_rules_of_a_tile_are_told(small: Any) -> None:
    """Bought only where clear; reopened since the area has grown."""
    ruled = replace(small, clear=ClearRule(min_share=0.3, factor=2), reopened=Reopened(levels={5: 0}))
    told = ruled.explain(5)
    assert (told.min_clear_share, told.standing_areas) == (0.3, 0)
    assert "at least 30% clear" in repr(told)
    assert "it stands in the cube; bought anew as a whole" in repr(told)


def test_a_cloudy_tile_is_not_bought(small: Any) -> None:
    """Once the look has been taken."""
    cloudy = np.zeros((3, 2, 2), np.bool_)
    cloudy[1, 0, 1] = True
    judged = replace(small, tile_set=replace(small.tile_set, cloudy=cloudy))
    assert judged.explain(5).left_out == "a coarse look has found too little clear ground"
    assert len(judged.explain(1).dates) == 2


def test_an_explanation_is_json(small: Any, half: Any) -> None:
    """What is infinite is null."""
    told = half.explain(0).as_dict()
    assert json.loads(json.dumps(told, allow_nan=False))["windows"][0]["pu"] == half.explain(0).windows[0].pu
    endless = replace(half.explain(0), worth_pu=math.inf).as_dict()
    assert json.loads(json.dumps(endless, allow_nan=False))["worth_pu"] is None
    assert json.loads(json.dumps(small.explain(5).as_dict()))["dates"][0] == "2024-06-02T10:00:00+00:00"


def test_a_tile_of_a_job_names_it_and_its_share(half: Any) -> None:
    """The shares of all tiles are the price of the jobs, floor and all."""
    routed = with_route(half, "async", DeliveryOptions(s3_url="s3://bucket/jobs"))
    told = [routed.explain(index) for index in routed.tile_set.indices().tolist()]
    assert sum(each.pu for each in told) == pytest.approx(routed.cost.pu)
    assert told[0].jobs == ("job t0-r0-c0-p0 for 3 tiles", "job t0-r0-c0-p1 for 3 tiles")
    assert (told[0].windows, told[0].requests) == ((), 2)
    assert "of Async Process" in repr(told[0])


def test_a_cube_explains_by_group(half: Any, small: Any) -> None:
    """The only one needs no name; several do."""
    assert make_cube_plan({"": half}).explain(0) == half.explain(0)
    both = make_cube_plan({"a": half, "b": small})
    assert both.explain(5, group="b").group == "b"
    assert repr(both.explain(0, group="a")).startswith("tile 0 of a: row 0, column 0")
    with pytest.raises(PlanError, match="tile 0 is in each of the groups a, b; name one of them"):
        both.explain(0)
    with pytest.raises(PlanError, match="the plan has no group 'c'; it has a, b"):
        both.explain(0, group="c")
