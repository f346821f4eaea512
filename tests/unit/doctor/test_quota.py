"""What is left of an account, against what a plan needs."""

from __future__ import annotations

import math
from typing import Any

import pytest

from shdask.doctor.quota import (
    Allowance,
    check_quota,
    check_rates,
    period_s,
    quota_unknown,
    read_allowance,
)
from shdask.errors import DecodeError
from shdask.plan.cost import Cost
from shdask.settings import Deployment


def policy(capacity: float, period: str) -> dict[str, Any]:
    return {"capacity": capacity, "samplingPeriod": period, "nanosBetweenRefills": 1}


# as the service's rate limiting guard shows them
CONTRACT = {
    "data": [
        {"type": {"name": "PROCESSING_UNITS"}, "policies": [policy(1000, "PT1M"), policy(400_000, "PT744H")]},
        {"type": {"name": "REQUESTS"}, "policies": [policy(600, "PT1M")]},
    ]
}
COUNTS = {"data": {"REQUESTS": {"PT1M": 1000.0}, "PROCESSING_UNITS": {"PT1M": 1000.0, "PT744H": 123.5}}}


def cost(*, pu: float = 100.0, requests: int = 300, months: float = 0.01) -> Cost:
    return Cost(
        requests=requests, pu=pu, nbytes_down=0, nbytes_stored=0, minutes=1.0, binding="requests", months=months
    )


@pytest.fixture
def deployment() -> Deployment:
    return Deployment(name="custom", base_url="https://a", token_url="https://a/t", requests_per_minute=600)


def test_the_services_answers_become_one() -> None:
    """What is left of the month counts, a minute's tokens do not; without a quota there is no end."""
    assert read_allowance(CONTRACT, COUNTS) == Allowance(
        left={"pu": 123.5, "requests": math.inf}, per_minute={"pu": 1000.0, "requests": 600.0}
    )


@pytest.mark.parametrize(
    ("contract", "counts"),
    [
        ({}, COUNTS),
        (CONTRACT, {}),
        ({"data": [{}]}, COUNTS),
        (CONTRACT, {"data": {"REQUESTS": {}}}),
        (CONTRACT, {"data": {"REQUESTS": {"monthly": 1}, "PROCESSING_UNITS": {}}}),
        ({"data": None}, COUNTS),
    ],
)
def test_other_answers_are_refused(contract: dict[str, Any], counts: dict[str, Any]) -> None:
    """Whatever they are: the limits are then not known."""
    with pytest.raises(DecodeError, match="limits cannot be read"):
        read_allowance(contract, counts)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("PT1M", 60), ("PT744H", 2_678_400), ("P31D", 2_678_400), ("PT2.5S", 2.5), ("P1DT1H", 90_000), ("PT0S", math.inf)],
)
def test_periods_are_read_as_iso_has_them(text: str, seconds: float) -> None:
    """``PT0S`` is what never refills."""
    assert period_s(text) == seconds


def test_enough_is_told_with_both_numbers() -> None:
    """What is left, and what is needed."""
    found = check_quota(Allowance(left={"pu": 123.5, "requests": math.inf}), cost())
    assert (found.outcome, found.exit_code) == ("ok", 0)
    assert found.found == "123.50 PU and requests without end are left; the plan needs 100.00 PU in 300 requests"


def test_exactly_enough_is_enough() -> None:
    """The last unit may be spent."""
    assert check_quota(Allowance(left={"pu": 100.0, "requests": 300.0}), cost()).outcome == "ok"


def test_too_little_fails_with_four_and_both_numbers() -> None:
    """Of what is short alone."""
    found = check_quota(Allowance(left={"pu": 1e6, "requests": 299.0}), cost())
    assert (found.outcome, found.exit_code) == ("failed", 4)
    assert found.found == "the plan needs 300 requests, and 299 requests are left"


def test_without_a_plan_one_request_must_fit() -> None:
    """An account that is used up fails."""
    assert check_quota(Allowance(left={"pu": 0.004, "requests": 5.0}), None).exit_code == 4


def test_the_accounts_rates_are_held_against_the_jobs(deployment: Deployment) -> None:
    """As many are no word, fewer a warning, more a note."""
    told = Allowance(left={}, per_minute={"requests": 600.0, "pu": 200.0})
    more = Allowance(left={}, per_minute={"requests": 1200.0})
    (less,), (faster,) = check_rates(told, deployment), check_rates(more, deployment)
    assert (less.outcome, less.cure) == ("warning", "write pu_per_minute = 200 in [service]")
    assert (faster.outcome, faster.cure) == ("note", "write requests_per_minute = 1200 in [service]")


def test_an_unknown_quota_says_how_many_months_are_counted_on(deployment: Deployment) -> None:
    """At what the job or the smallest published plan has."""
    found = quota_unknown(deployment, cost(pu=75_000, months=2.5))
    assert found.outcome == "note"
    assert found.found == (
        "not known: the deployment does not tell; at 30000 PU and 30000 requests a month the plan takes 2.5 months"
    )
