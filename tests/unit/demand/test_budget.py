"""A cap that several buyers share."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shdask.demand.budget import LocalBudget, spending
from shdask.errors import BudgetExceeded


def touch(budget: LocalBudget, projected: float, stated: float) -> bool:
    """Buy something; whether it was allowed."""
    try:
        with spending(budget, projected, "tile 1") as spent:
            spent.pu = stated
    except BudgetExceeded:
        return False
    return True


def test_what_would_pass_the_cap_is_refused_with_its_price():
    """Before anything is sent: the message names the tile, its price, what is spent and the cap."""
    budget = LocalBudget(10)
    budget.settle(0, 8)
    with pytest.raises(BudgetExceeded, match=r"tile 7 costs 2\.5 PU, and 8 of max_pu 10 are spent or promised"):
        budget.reserve(2.5, "tile 7")


def test_what_fits_exactly_is_allowed():
    """A cap is what may be spent, not what may not be reached."""
    budget = LocalBudget(10)
    budget.settle(0, 8)
    assert touch(budget, 2.0, 2.0)
    assert budget.spent == 10


def test_prices_that_are_rounded_fit_under_their_sum():
    """The service states them as floats of 32 bits."""
    budget = LocalBudget(68 * 16 / 3)
    for _ in range(68):
        assert touch(budget, 16 / 3, float(np.float32(16 / 3)))


def test_a_promise_counts_until_it_is_settled():
    """Two tiles in flight at once cannot share what is left for one."""
    budget = LocalBudget(3)
    budget.reserve(2, "one")
    assert not touch(budget, 2.0, 2.0)
    budget.settle(2, 0.5)
    assert touch(budget, 2.0, 2.0)


def test_what_a_failure_has_cost_is_counted():
    """Charged for answers that were unreadable, and perhaps for those that never came."""
    budget = LocalBudget(None)

    def fail() -> None:
        with spending(budget, 1.0, "tile 1") as spent:
            spent.pu, spent.pu_unknown = 1.5, 2.0
            raise ConnectionError

    with pytest.raises(ConnectionError):
        fail()
    assert budget.spent == 3.5


@pytest.mark.parametrize("max_pu", [float("nan"), -1.0, 0.0])
def test_a_cap_under_which_nothing_fits_lets_nothing_through(max_pu: float):
    """Not a number is no cap that anything is below."""
    assert not touch(LocalBudget(max_pu), 0.001, 0.001)


@given(st.lists(st.floats(0.001, 5), max_size=30), st.floats(0, 20))
def test_the_cap_is_never_passed(prices: list[float], max_pu: float):
    """As long as the answers charge what was projected."""
    budget = LocalBudget(max_pu)
    allowed = [price for price in prices if touch(budget, price, price)]
    assert budget.spent == pytest.approx(sum(allowed))
    assert budget.spent <= max_pu
