"""What a plan costs, as people, programs and notebooks read it."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from shdask.plan.clear import ClearRule
from shdask.plan.cube import CubePlan, make_cube_plan
from shdask.plan.measured import Measured
from shdask.plan.placing import place_in_time
from shdask.plan.summary import SHOWN_MONTHS
from shdask.plan.timeline import make_timeline
from shdask.settings import Deployment
from tests.unit.plan.scenes import scene, span

AREA = (4.8e5, 51.2e5, 4.8e5 + 5120, 51.2e5 + 5120)
TIMED = {"s2": {"collection": "sentinel-2-l2a", "bands": ["B04"], "cadence": "acquisition"}}
SHAPES = {"chunk_px": 128, "tile_px": 256}


@pytest.fixture(scope="module")
def mosaic(plan_of) -> Any:
    """512 x 512 px of three bands in four tiles: one unit."""
    layers = {"s2": {"collection": "sentinel-2-l2a", "bands": ["B02", "B03", "B04"]}}
    return plan_of(AREA, layers=layers, store=SHAPES)


@pytest.fixture(scope="module")
def timed(plan_of) -> Any:
    """The same ground in one band, at a date in each of three years' months."""
    plan = plan_of(AREA, layers=TIMED, store=SHAPES)
    times = [f"{year}-{month:02}-02T10:00:00" for year in (2021, 2022, 2023) for month in range(1, 13)]
    scenes = [scene(time, time) for time in times]
    return place_in_time(plan, make_timeline(scenes, "acquisition", span("2021-01-01", "2024-01-01")))


def with_account(plan: Any, **limits: float | None) -> Any:
    return replace(plan, deployment=replace(plan.deployment, **limits))


def words_of(plan: CubePlan) -> dict[str, str]:
    """The last words under each label."""
    return dict(plan.summary().rows())


def test_a_plan_of_one_group_is_told_flat(mosaic: Any) -> None:
    """The promised names, both buckets, the quota, and the price of whole boxes: here one of them."""
    told = make_cube_plan({"": mosaic}).summary().as_dict()
    assert json.loads(json.dumps(told, allow_nan=False)) == told
    assert (told["requests"], told["pu"], told["tiles"], told["minutes"]) == (4, 1.0, 4, pytest.approx(4 / 300))
    assert (told["minutes_by_requests"], told["minutes_by_pu"]) == pytest.approx((4 / 300, 1 / 300))
    assert (told["months_by_requests"], told["months_by_pu"]) == pytest.approx((4 / 30_000, 1 / 30_000))
    assert (told["nbytes"], told["nbytes_stored"]) == (512 * 512 * 8, 512 * 512 * 7)
    assert told["limit"] == "requests_per_minute"
    assert told["whole_boxes"] == {
        "box_px": 2500, "requests": 1, "pu": 1.0, "minutes": pytest.approx(1 / 300),
        "pu_saved_percent": 0.0, "minutes_saved_percent": pytest.approx(-300.0),
    }  # fmt: skip  # one object
    assert told["quota_months"] == [{"first": 1, "last": 1, "requests": 4, "pu": 1.0, "groups": [""]}]
    assert not {"groups", "by_month", "learned"} & set(told)


def test_groups_are_told_each_and_in_all(mosaic: Any, timed: Any) -> None:
    """Sums of requests, units, bytes and tiles; months of the data where there is a time axis."""
    told = make_cube_plan({"a": mosaic, "b": timed}).summary().as_dict()
    one, other = told["groups"]["a"], told["groups"]["b"]
    assert told["pu"] == pytest.approx(one["pu"] + other["pu"])
    assert [told[name] for name in ("requests", "tiles", "nbytes")] == [
        one[name] + other[name] for name in ("requests", "tiles", "nbytes")
    ]
    assert (len(other["by_month"]), next(iter(other["by_month"]))) == (36, "2021-01")
    assert "by_month" not in one


def test_a_year_s_worth_of_quotas_is_a_calendar(mosaic: Any, timed: Any) -> None:
    """One unit at once, and twelve of a month's five: the second layer waits for the month to end, and again."""
    few = {"pu_per_month": 5.0, "requests_per_month": None}
    plan = make_cube_plan({"a": with_account(mosaic, **few), "b": with_account(timed, **few)})
    rows = list(plan.summary().rows())
    calendar = rows[rows.index(("calendar", "")) + 1 :]
    assert [label for label, _ in calendar] == ["month 1", "month 2", "month 3"]
    assert calendar[0][1].endswith(" 5.00 PU: a, b")
    assert calendar[2][1].endswith(" 3.00 PU: b")
    assert "the PU per month bind" in words_of(plan)["quota"]
    assert plan.summary().cost.limit == "pu_per_month"


def test_one_month_is_no_calendar(mosaic: Any) -> None:
    """Its share is told."""
    plan = make_cube_plan({"": mosaic})
    assert "calendar" not in words_of(plan)
    assert words_of(plan)["quota"] == "0.0% of a month's requests, 0.0% of its PU"


def test_both_buckets_are_told_and_which_binds(mosaic: Any) -> None:
    """Four requests at two a minute, one unit at a quarter."""
    slow = make_cube_plan({"": with_account(mosaic, requests_per_minute=2.0, pu_per_minute=0.25)})
    assert words_of(slow)["time"] == (
        "about 0:04:00 at the account's rates (requests 0:02:00, PU 0:04:00); the PU per minute bind"
    )


def test_whole_boxes_stand_beside_the_price(plan_of) -> None:
    """Half a square of 2500 px: about half is saved."""
    corner = (4.8e5, 51.2e5, 4.8e5 + 25_000, 51.2e5 + 12_500)
    plan = plan_of(corner, extent=(4.8e5, 51.2e5, 4.8e5 + 25_000, 51.2e5 + 25_000))
    words = words_of(make_cube_plan({"": plan}))["whole boxes"]
    assert words == "1 request, 15.89 PU, 3 s in boxes of 2500 px; 50% of their PU saved"


def test_many_months_are_shown_in_part(timed: Any) -> None:
    """Two years of three; JSON has all."""
    rows = [label for label, _ in make_cube_plan({"": timed}).summary().rows() if label[:2] == "20"]
    assert (len(rows), rows[0], rows[-1]) == (SHOWN_MONTHS, "2021-01", "2022-12")
    assert words_of(make_cube_plan({"": timed}))["..."] == "and 12 more; --json has all"


def test_a_price_that_hangs_on_clouds_is_the_most(timed: Any) -> None:
    """Until the look has been taken."""
    hoped = replace(timed, clear=ClearRule(min_share=0.2, factor=8))
    assert words_of(make_cube_plan({"": hoped}))["price"] == f"at most {hoped.cost.pu:.2f} PU"
    assert words_of(make_cube_plan({"": timed}))["price"] == f"{timed.cost.pu:.2f} PU"


def test_what_earlier_runs_have_shown_is_told(mosaic: Any) -> None:
    """With how many they were."""
    known = Measured(runs=3, pu_spent=3.0, pu_formula=2.0, answers=4, answers_s=2.0)
    told = make_cube_plan({"": mosaic}, measured={"": known}).summary().as_dict()
    assert told["learned"] == {
        "runs": 3, "pu_ratio": 1.5, "time_ratio": None, "nbytes_ratio": None, "latency_s": 0.5
    }  # fmt: skip  # one object


def test_a_notebook_shows_figures_and_maps(mosaic: Any, timed: Any) -> None:
    """A row for each, a map for each group, nothing from elsewhere."""
    html = make_cube_plan({"a": mosaic, "b": timed})._repr_html_()
    assert (html.count("<svg"), html.count("<figcaption>")) == (2, 2)
    assert "<th" in html
    assert "whole boxes</th>" in html
    assert [word for word in ("href", "<script", "<link", "url(") if word in html] == []


def test_a_notebook_trusts_no_name(mosaic: Any) -> None:
    """Neither a layer's nor a note's."""
    html = make_cube_plan({"<b>x": mosaic}, notes=("<script>alert(1)</script>",))._repr_html_()
    assert "<script" not in html
    assert "<b>x" not in html
    assert "&lt;script&gt;alert(1)" in html


def test_a_notebook_shows_few_of_many_groups(mosaic: Any) -> None:
    """As many UTM zones make."""
    html = make_cube_plan({f"326{zone}": mosaic for zone in range(10, 20)})._repr_html_()
    assert html.count("<svg") == 6
    assert "and 4 more groups, without a map" in html


def test_an_account_without_quotas_is_told_none(mosaic: Any) -> None:
    """No row of it, and no month."""
    endless: Deployment = replace(mosaic.deployment, requests_per_month=None, pu_per_month=None)
    plan = make_cube_plan({"": replace(mosaic, deployment=endless)})
    assert "quota" not in words_of(plan)
    assert plan.summary().cost.months == 0.0
