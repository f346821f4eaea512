"""What plans make of earlier runs' figures."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from dataclasses import replace

import pytest
import shapely

from shdask.plan.cube import make_cube_plan
from shdask.plan.group import GroupPlan
from shdask.plan.learning import is_guessed, kind_of, learn_from, learned_notes, with_learned
from shdask.plan.measured import Measured
from shdask.settings import DEPLOYMENTS
from tests.unit.figures import RUN

PlanOf = Callable[..., GroupPlan]
AREA = (500_000, 5_000_000, 501_280, 5_001_280)
TRIANGLE = shapely.Polygon([(500_000, 5_000_000), (600_000, 5_000_000), (600_000, 5_100_000)])
SCRIPT = """//VERSION=3
function setup() { return {input: ["B04", "dataMask"], output: {bands: 2, sampleType: "UINT16"}, mosaicking: "ORBIT"}; }
function evaluatePixel(samples) { return [samples.length, 1]; }
"""


def a_script(mosaicking: str = "ORBIT", text: str = SCRIPT) -> dict[str, object]:
    return {
        "s2": {
            "collection": "sentinel-2-l2a",
            "evalscript": text,
            "input_bands": ["B04"],
            "mosaicking": mosaicking,
            "outputs": {"default": {"bands": ["n"], "dtype": "uint16"}},
        }
    }


def test_services_of_this_machine_are_one_kind_and_no_other_s(plan_of: PlanOf) -> None:
    """Whatever their port; a known deployment is its host."""
    layer = plan_of(AREA).layer
    kinds = [
        kind_of(layer, replace(DEPLOYMENTS["cdse"], base_url=url))
        for url in ("http://127.0.0.1:1", "http://localhost:8080", "https://sh.dataspace.copernicus.eu")
    ]
    assert kinds == [
        "loopback sentinel-2-l2a bands",
        "loopback sentinel-2-l2a bands",
        "sh.dataspace.copernicus.eu sentinel-2-l2a bands",
    ]


def test_each_script_is_a_kind_of_its_own(plan_of: PlanOf) -> None:
    """One character makes another."""
    one, other = (plan_of(AREA, layers=a_script(text=text)) for text in (SCRIPT, SCRIPT + "\n// other"))
    first, second = kind_of(one.layer, one.deployment), kind_of(other.layer, other.deployment)
    assert first.startswith("loopback sentinel-2-l2a script ")
    assert first != second


@pytest.mark.parametrize(("mosaicking", "guessed"), [("SIMPLE", False), ("ORBIT", True), ("TILE", True)])
def test_only_scripts_that_read_every_scene_have_a_guessed_price(
    plan_of: PlanOf, mosaicking: str, guessed: bool
) -> None:
    """One picture of a pixel costs what the formula says."""
    text = SCRIPT.replace("ORBIT", mosaicking)
    assert is_guessed(plan_of(AREA, layers=a_script(mosaicking, text)).layer) is guessed


def test_a_guessed_price_is_multiplied_by_what_was_learned(plan_of: PlanOf) -> None:
    """12 scenes were guessed, and 18 are."""
    plan = plan_of(AREA, layers=a_script())
    learned = with_learned(plan, Measured().after(RUN))
    assert learned.cost.pu == pytest.approx(1.5 * plan.cost.pu)
    assert learned.identity() == plan.identity()


def test_a_known_price_stays_the_formula_s(plan_of: PlanOf) -> None:
    """What was charged beside it is told, not counted in."""
    plan = plan_of(AREA)
    learned, measured = with_learned(plan, Measured().after(RUN)), Measured().after(RUN)
    assert learned.cost.pu == plan.cost.pu
    assert learned_notes(learned, measured)[1:] == (
        "the service charged 1.50 times the published formula in 1 run: expect 0.06 PU, not 0.04",
    )


def test_what_was_learned_is_told_with_what_it_makes_of_the_plan(plan_of: PlanOf) -> None:
    """128 x 128 px of two bands are 1/24 PU and 81,920 bytes, and 0.2 s of a minute's 300 requests."""
    plan = plan_of(AREA)
    assert learned_notes(plan, Measured().after(replace(RUN, pu_spent=2.0)))[0] == (
        "learned from 1 run: price x1.00 -> about 0.04 PU; time x1.50 -> about 0.3 s; "
        "40% of the bytes -> about 0.0 MB; 0.50 s an answer"
    )


def test_a_price_that_was_charged_as_foreseen_is_no_warning(plan_of: PlanOf) -> None:
    """Headers are 32 bit floats."""
    assert len(learned_notes(plan_of(AREA), Measured().after(replace(RUN, pu_spent=2.0000001)))) == 1


def test_answers_too_slow_for_the_account_s_rate_are_told(plan_of: PlanOf) -> None:
    """300 a minute keep 20 in flight; of 8 s each they are 150."""
    measured = Measured().after(replace(RUN, pu_spent=2.0, answers=1, answers_s=8.0))
    assert learned_notes(plan_of(AREA), measured)[1] == "answers of 8.0 s let no more than 150 requests/min through"


def test_no_runs_are_no_note(plan_of: PlanOf) -> None:
    """A plan that knows nothing says nothing."""
    assert learned_notes(plan_of(AREA), Measured()) == ()


def test_slow_answers_make_fewer_requests(plan_of: PlanOf) -> None:
    """20 in flight of 60 s each are 20 a minute, and a request more takes longer than the pixels that it saves."""
    plan = plan_of(TRIANGLE)
    learned = with_learned(plan, Measured().after(replace(RUN, answers=1, answers_s=60.0)))
    assert learned.cost.requests < plan.cost.requests
    assert learned.cost.pu > plan.cost.pu
    assert learned.deployment == plan.deployment


def test_quick_answers_change_nothing(plan_of: PlanOf) -> None:
    """The account's rate binds as before."""
    plan = plan_of(TRIANGLE)
    assert with_learned(plan, Measured().after(RUN)) is plan


def test_a_plan_learns_from_runs_of_its_own_kind_only(plan_of: PlanOf) -> None:
    """Groups of other kinds stay as they are, and the notes name the group."""
    script, bands = plan_of(AREA, layers=a_script()), plan_of(AREA)
    plan, measured = make_cube_plan({"n": script, "s2": bands}, max_pu=9.0, notes=("first",)), Measured().after(RUN)
    learned = learn_from(plan, {kind_of(script.layer, script.deployment): measured})
    assert (learned.measured, learned.max_pu, learned.notes[0]) == ({"n": measured}, 9.0, "first")
    assert learned.notes[1].startswith("n: learned from 1 run: price x1.50 of what is guessed, counted in;")
    assert learned.groups["s2"] is bands


def test_a_plan_that_learns_nothing_is_the_same(plan_of: PlanOf) -> None:
    """Runs elsewhere say nothing of it."""
    plan = make_cube_plan({"": plan_of(AREA)})
    assert learn_from(plan, {"elsewhere dem bands": Measured().after(RUN)}) is plan


def test_what_was_learned_travels_with_the_plan(plan_of: PlanOf) -> None:
    """To workers, pickled."""
    group = plan_of(AREA)
    plan = learn_from(make_cube_plan({"": group}), {kind_of(group.layer, group.deployment): Measured().after(RUN)})
    assert pickle.loads(pickle.dumps(plan)).measured == plan.measured  # noqa: S301  # our own bytes
