"""A cap under which requests are promised their price, settled from their answers, and lost with who sent them."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, rule

from shdask.errors import BudgetExceeded
from shdask.fetch.budget import BudgetState, LocalBudget, Uncapped, make_local_budget

PRICES = st.floats(0.005, 5.0)
ROUNDING = 1e-5


def tried(max_pu: float) -> BudgetState:
    """A budget under which an answer has come, and cost next to nothing."""
    budget = BudgetState(max_pu=max_pu)
    budget.settle(budget.reserve(0.0) or 0, 1e-12)
    return budget


def test_what_fits_exactly_is_promised():
    """A cap is what may be spent, not what may not be reached."""
    budget = tried(3.0)
    promises = [budget.reserve(1.0) for _ in range(3)]
    assert None not in promises
    assert budget.reserved == 3.0


def test_the_service_states_prices_as_floats_of_32_bits():
    """A cap that equals the projection is enough, though the sum of the headers is a hair above it."""
    budget = BudgetState(max_pu=0.3)
    budget.settle(budget.reserve(0.1), 0.10000000149011612)
    budget.settle(budget.reserve(0.1), 0.10000000149011612)
    assert budget.reserve(0.1) is not None


def test_what_others_were_promised_is_waited_for():
    """It may come back: a request that was refused costs nothing."""
    budget = tried(1.5)
    first = budget.reserve(1.0)
    assert budget.reserve(1.0) is None
    budget.settle(first, 0.0)
    assert budget.reserve(1.0) is not None


def test_what_can_never_fit_is_refused_with_its_price():
    """Whatever becomes of what is in flight; the message says what is spent and what the cap is."""
    budget = BudgetState(max_pu=2.0)
    budget.settle(budget.reserve(1.25), 1.25)
    with pytest.raises(BudgetExceeded, match=r"next request costs 1 PU, and 1\.25 of max_pu 2 are spent.*was not sent"):
        budget.reserve(1.0)


@pytest.mark.parametrize("max_pu", [float("nan"), -1.0, 0.0])
def test_a_cap_under_which_nothing_fits_lets_nothing_through(max_pu: float):
    """Not a number is no cap that anything is below."""
    with pytest.raises(BudgetExceeded):
        BudgetState(max_pu=max_pu).reserve(0.005)


def test_dearer_answers_make_what_follows_as_dear():
    """One answer of twice its projection: what is in flight, and what is asked for, counts twice."""
    budget = tried(10.0)
    first, _ = budget.reserve(1.0), budget.reserve(1.0)
    budget.settle(first, 2.0)
    assert (budget.spent, budget.reserved) == pytest.approx((2.0, 2.0))
    assert budget.reserve(3.5) is None
    with pytest.raises(BudgetExceeded, match=r"costs 10 PU \(2 times the projection, as others were\)"):
        budget.reserve(5.0)


def test_before_the_first_answer_little_is_promised():
    """A tenth of the cap at once, whatever it is in requests; then the price is known, and all of it."""
    budget = BudgetState(max_pu=10.0)
    first, _ = budget.reserve(0.5), budget.reserve(0.5)
    assert budget.reserve(0.1) is None
    budget.settle(first, 0.5)
    assert budget.reserve(9.0) is not None


def test_before_the_first_answer_one_request_may_be_dear():
    """Else none could be sent where it costs more than a tenth of the cap; a refused one tells no price."""
    budget = BudgetState(max_pu=10.0)
    first = budget.reserve(5.0)
    assert budget.reserve(5.0) is None
    budget.settle(first, 0.0)
    budget.reserve(5.0)
    assert budget.reserve(5.0) is None


def test_cheaper_answers_change_no_price():
    """An area without scenes costs less than the next one may."""
    budget = BudgetState(max_pu=10.0)
    budget.settle(budget.reserve(1.0), 0.25)
    budget.reserve(1.0)
    assert budget.reserved == 1.0


def test_what_a_lost_worker_was_promised_counts_as_spent():
    """It may have been charged; what others were promised is still open."""
    budget = tried(10.0)
    budget.reserve(1.0, "a")
    budget.reserve(2.0, "b")
    budget.lose("a")
    assert (budget.spent, budget.reserved) == pytest.approx((1.0, 2.0))


def test_a_worker_that_was_not_lost_after_all_settles_yet():
    """One that left while its requests were in flight says what they have cost."""
    budget = BudgetState(max_pu=10.0)
    promise = budget.reserve(1.0, "a")
    budget.lose("a")
    budget.settle(promise, 0.25)
    assert (budget.spent, budget.reserved) == (0.25, 0.0)


def test_a_promise_is_settled_once():
    """A message that comes twice is counted once."""
    budget = BudgetState(max_pu=10.0)
    promise = budget.reserve(1.0)
    budget.settle(promise, 1.0)
    budget.settle(promise, 1.0)
    assert budget.spent == 1.0


def test_a_promise_asked_for_twice_is_made_once():
    """Whoever did not hear the answer brings the same number again."""
    budget = tried(10.0)
    assert [budget.reserve(1.0, "a", 77), budget.reserve(1.0, "a", 77)] == [77, 77]
    assert budget.reserved == 1.0


def test_a_promise_that_was_given_up_is_not_made_late():
    """The question comes after the settlement: nobody would ever settle it again."""
    budget = tried(10.0)
    budget.settle(77, 0.0)
    assert budget.reserve(1.0, "a", 77) is None
    assert budget.reserved == 0.0


def test_without_a_cap_everything_passes():
    """And nothing is counted."""
    budget = make_local_budget(None)
    assert isinstance(budget, Uncapped)
    assert budget.reserve(1e9) is not None


def test_threads_share_a_local_budget():
    """The same state machine behind a lock."""
    budget = LocalBudget(BudgetState(max_pu=1.0))
    promise = budget.reserve(1.0)
    assert budget.reserve(1.0) is None
    budget.settle(promise or 0, 0.0)
    assert budget.reserve(1.0) is not None


class CappedBuyers(RuleBasedStateMachine):
    """Any order of promises, answers no dearer than projected, and workers that are lost."""

    promises = Bundle("promises")

    @initialize(max_pu=st.floats(0.0, 30.0))
    def begin(self, max_pu: float) -> None:
        """A cap of any size."""
        self.budget = BudgetState(max_pu=max_pu)
        self.charged = 0.0

    @rule(target=promises, pu=PRICES, holder=st.sampled_from("ab"))
    def reserve(self, pu: float, holder: str) -> tuple[int, float]:
        """One that is refused stands for a request of nothing."""
        try:
            promise = self.budget.reserve(pu, holder)
        except BudgetExceeded:
            promise = None
        return (promise, pu) if promise is not None else (0, 0.0)

    @rule(promised=consumes(promises), share=st.floats(0.0, 1.0))
    def settle(self, promised: tuple[int, float], share: float) -> None:
        """The answer, which may cost nothing."""
        promise, pu = promised
        self.budget.settle(promise, pu * share)
        self.charged += pu * share

    @rule(holder=st.sampled_from("ab"))
    def lose(self, holder: str) -> None:
        """A worker goes, and may settle what it has in flight all the same."""
        self.budget.lose(holder)

    @invariant()
    def the_cap_is_kept(self) -> None:
        """What is spent and what is promised fit below it, together."""
        budget = self.budget
        assert budget.spent + budget.reserved <= budget.max_pu * (1 + ROUNDING) + 1e-9

    @invariant()
    def nothing_that_was_charged_is_forgotten(self) -> None:
        """The budget counts at least what the answers said."""
        assert self.budget.spent >= self.charged - 1e-9


TestCappedBuyers = CappedBuyers.TestCase
TestCappedBuyers.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)


def fly(budget: BudgetState, prices: list[float], dearness: float, in_flight: int) -> None:
    """Buy in order, so many at once, at so many times the price."""
    flying: list[tuple[int, float]] = []

    def land() -> None:
        promise, pu = flying.pop(0)
        budget.settle(promise, pu * dearness)

    for price in prices:
        if len(flying) == in_flight:
            land()
        with suppress(BudgetExceeded):
            promise = budget.reserve(price)
            flying += [(promise, price)] if promise is not None else []
    while flying:
        land()


@given(st.lists(PRICES, min_size=1, max_size=60), st.floats(1.0, 60.0), st.floats(1.0, 10.0), st.integers(1, 8))
def test_dearer_answers_do_not_pass_the_cap(prices: list[float], max_pu: float, dearness: float, in_flight: int):
    """Up to ten times as dear, unless a single request alone does."""
    budget = BudgetState(max_pu=max_pu)
    fly(budget, prices, dearness, in_flight)
    assert budget.reserved == 0
    assert budget.spent <= max(max_pu, max(prices) * dearness) * (1 + ROUNDING) + 1e-9


def test_answers_that_are_absurdly_dear_pass_the_cap_by_a_first_volley():
    """Beyond ten times the projection: by (r - 1) x a tenth of the cap."""
    budget = BudgetState(max_pu=10.0)
    fly(budget, [0.1] * 50, 30.0, in_flight=20)
    assert budget.spent == pytest.approx(30.0)
