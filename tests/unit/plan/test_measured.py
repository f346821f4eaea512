"""What plans make of earlier runs' figures."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shdask.cluster.batches import MAX_FETCH_THREADS, fetch_threads
from shdask.plan.group import GroupPlan
from shdask.plan.measured import (
    Measured,
    effective_rate,
    is_guessed,
    kind_of,
    learned_notes,
    with_learned,
)
from shdask.settings import DEPLOYMENTS, Deployment
from tests.unit.figures import RUN

PlanOf = Callable[..., GroupPlan]
AREA = (500_000, 5_000_000, 501_280, 5_001_280)
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


def a_deployment(**changes: object) -> Deployment:
    return replace(DEPLOYMENTS["cdse"], **changes)


def test_figures_are_ratios_of_measured_and_foreseen() -> None:
    """Of price, time and bytes; the latency is a mean."""
    found = Measured().after(RUN)
    assert (found.runs, found.pu_ratio, found.time_ratio, found.nbytes_ratio, found.latency_s) == (
        1,
        1.5,
        1.5,
        0.4,
        0.5,
    )


def test_nothing_is_known_before_the_first_run() -> None:
    """No ratio is 1 by default."""
    none = Measured()
    assert (none.pu_ratio, none.time_ratio, none.nbytes_ratio, none.latency_s) == (None, None, None, None)


def test_dear_runs_weigh_more() -> None:
    """1000 PU at 1.0, and then 1 PU at 3.0: sums of 501 over 503."""
    dear = replace(RUN, pu_spent=1000.0, pu_formula=1000.0)
    small = replace(RUN, pu_spent=3.0, pu_formula=1.0)
    assert Measured().after(dear).after(small).pu_ratio == pytest.approx(503 / 501)


def test_of_equal_runs_the_newest_weighs_twice_the_one_before() -> None:
    """1.0 and then 2.5 make 2.0."""
    first, second = (replace(RUN, pu_spent=spent, pu_formula=1.0) for spent in (1.0, 2.5))
    assert Measured().after(first).after(second).pu_ratio == pytest.approx(2.0)


def test_what_was_learned_is_held_against_the_formula_alone() -> None:
    """A plan that had learned and was right does not unlearn it."""
    right = replace(RUN, pu_spent=3.0, pu_projected=3.0, pu_formula=2.0)
    assert Measured().after(RUN).after(right).pu_ratio == pytest.approx(1.5)


@given(spent=st.floats(0, 1e12), formula=st.floats(0, 1e12))
def test_a_ratio_is_sane_or_none(spent: float, formula: float) -> None:
    """Whatever a run has counted."""
    ratio = Measured().after(replace(RUN, pu_spent=spent, pu_formula=formula)).pu_ratio
    assert ratio is None or 0.01 <= ratio <= 100.0


def test_the_account_s_rate_holds_until_a_latency_is_known() -> None:
    """Nothing is taken to be slow."""
    assert effective_rate(a_deployment(requests_per_minute=600.0), None) == 600.0


def test_slow_answers_bound_the_rate() -> None:
    """600 a minute take 40 in flight at 4 s; 40 in flight of 8 s each are 300 a minute."""
    assert effective_rate(a_deployment(requests_per_minute=600.0), 8.0) == 300.0


def test_fast_answers_do_not_raise_the_rate() -> None:
    """It is the account's."""
    assert effective_rate(a_deployment(requests_per_minute=600.0), 0.1) == 600.0


@given(rate=st.floats(1, 6000), latency_s=st.floats(0.01, 600), workers=st.integers(1, 64))
def test_the_engine_reaches_the_effective_rate(rate: float, latency_s: float, workers: int) -> None:
    """With as many threads as workers start, but for one worker that cannot start so many."""
    deployment = a_deployment(requests_per_minute=rate)
    threads = fetch_threads(deployment, workers)
    reached = threads * workers * 60 / latency_s
    assert threads == MAX_FETCH_THREADS or reached >= effective_rate(deployment, latency_s) - 1e-6


def test_services_of_this_machine_are_one_kind_and_no_other_s(plan_of: PlanOf) -> None:
    """Whatever their port; a known deployment is its host."""
    layer = plan_of(AREA).layer
    kinds = [
        kind_of(layer, a_deployment(base_url=url))
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
        "the service charged 1.50 times the published formula in 1 run; max_pu is held against what the formula says",
    )


def test_what_was_learned_is_told_with_what_it_makes_of_the_plan(plan_of: PlanOf) -> None:
    """128 x 128 px of two bands are 1/24 PU and 81,920 bytes, and 0.2 s of a minute's 300 requests."""
    plan = plan_of(AREA)
    assert learned_notes(plan, Measured().after(replace(RUN, pu_spent=2.0)))[0] == (
        "learned from 1 run: price x1.00 -> about 0.04 PU; time x1.50 -> about 0.0 min; "
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


@given(spent=st.floats(0, 1e9), runs=st.integers(1, 5))
def test_figures_survive_json(spent: float, runs: int) -> None:
    """To the last bit."""
    measured = Measured(runs=runs, pu_spent=spent, pu_formula=1.0)
    assert Measured.from_json(measured.as_json()) == measured


@pytest.mark.parametrize(
    "change",
    [{"pu_spent": "3"}, {"pu_spent": float("nan")}, {"pu_spent": float("inf")}, {"pu_spent": -1.0}, {"other": 1.0}],
    ids=["text", "nan", "inf", "negative", "unknown"],
)
def test_what_are_no_figures_is_refused(change: dict[str, object]) -> None:
    """A file that someone has edited is not believed."""
    with pytest.raises(ValueError, match="no figures of earlier runs"):
        Measured.from_json({**Measured().as_json(), **change})
