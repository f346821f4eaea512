"""Figures of runs, added up, and the rate that a latency allows."""

from __future__ import annotations

from dataclasses import replace
from functools import reduce

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shdask.cluster.batches import MAX_FETCH_THREADS, fetch_threads
from shdask.plan.measured import Measured, effective_rate
from shdask.settings import DEPLOYMENTS, Deployment
from tests.unit.figures import RUN


def an_account(requests_per_minute: float) -> Deployment:
    return replace(DEPLOYMENTS["cdse"], requests_per_minute=requests_per_minute)


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
    """1000 PU at 1.0, and then 1 PU at 3.0: sums of 1002.31 over 1000.31, less what one run in 1001 takes."""
    dear = replace(RUN, pu_spent=1000.0, pu_formula=1000.0)
    small = replace(RUN, pu_spent=3.0, pu_formula=1.0)
    assert Measured().after(dear).after(small).pu_ratio == pytest.approx(1.001999, abs=1e-5)


def test_a_run_as_dear_as_all_before_takes_three_tenths_of_their_weight() -> None:
    """0.5 ** 0.5 of the first run's 1.0, and the second's 2.5: 3.2071 over 1.7071."""
    first, second = (replace(RUN, pu_spent=spent, pu_formula=1.0) for spent in (1.0, 2.5))
    assert Measured().after(first).after(second).pu_ratio == pytest.approx(1.8787, abs=1e-4)


def test_a_run_that_is_far_dearer_halves_what_was_before() -> None:
    """No more than that, whatever it cost."""
    dear = replace(RUN, pu_formula=1e9, answers=0, answers_s=0.0)
    assert Measured().after(RUN).after(dear).answers == pytest.approx(4.0)


def test_twenty_tiny_runs_leave_what_a_large_one_has_shown() -> None:
    """Of price, time, bytes and latency: 20 of 1 PU after one of 1000 move each by some percent at most."""
    large = replace(RUN, pu_spent=1000.0, pu_formula=1000.0, answers=8000, answers_s=8000.0, nbytes_projected=400_000,
                    nbytes=200_000, seconds=9000.0, seconds_projected=9000.0)  # fmt: skip  # one row
    tiny = replace(RUN, pu_spent=3.0, pu_formula=1.0, answers=8, answers_s=24.0, nbytes_projected=400, nbytes=400,
                   seconds=27.0, seconds_projected=9.0)  # fmt: skip  # one row
    found = reduce(Measured.after, [tiny] * 20, Measured().after(large))
    ratios = (found.pu_ratio, found.time_ratio, found.latency_s, found.nbytes_ratio)
    assert ratios == pytest.approx((1.04, 1.04, 1.04, 0.51), abs=0.002)


def test_a_run_whose_time_says_nothing_leaves_the_time_that_is_known() -> None:
    """To the last bit, while its price counts."""
    known = Measured().after(RUN)
    found = known.after(replace(RUN, pu_spent=4.0, seconds=1e6, seconds_projected=0.0))
    assert (found.seconds, found.seconds_projected, found.runs) == (30.0, 20.0, 2)
    assert found.pu_spent > known.pu_spent


def test_runs_whose_time_says_nothing_teach_none() -> None:
    """Where no other was."""
    assert Measured().after(replace(RUN, seconds_projected=0.0)).time_ratio is None


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
    assert effective_rate(an_account(600.0), None) == 600.0


def test_slow_answers_bound_the_rate() -> None:
    """600 a minute take 40 in flight at 4 s; 40 in flight of 8 s each are 300 a minute."""
    assert effective_rate(an_account(600.0), 8.0) == 300.0


def test_fast_answers_do_not_raise_the_rate() -> None:
    """It is the account's."""
    assert effective_rate(an_account(600.0), 0.1) == 600.0


@given(rate=st.floats(1, 6000), latency_s=st.floats(0.01, 600), workers=st.integers(1, 64))
def test_the_engine_reaches_the_effective_rate(rate: float, latency_s: float, workers: int) -> None:
    """With as many threads as workers start, but for one worker that cannot start so many."""
    deployment = an_account(rate)
    threads = fetch_threads(deployment, workers)
    reached = threads * workers * 60 / latency_s
    assert threads == MAX_FETCH_THREADS or reached >= effective_rate(deployment, latency_s) - 1e-6


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
