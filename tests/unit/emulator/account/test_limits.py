"""All policies of an account at once: who passes, who waits, who has used up the month."""

from __future__ import annotations

from typing import Any

import pytest

from shdask.emulator.account.limits import Limits
from shdask.emulator.account.plans import PLANS
from shdask.emulator.account.routes import count_tokens, make_contract
from shdask.emulator.config import EmulatorConfig

DAY_S = 86400.0
OCTOBER_31 = 1793404800.0  # 2026-10-31T00:00:00Z


def make_limits(**options: Any) -> Limits:
    return Limits.make(EmulatorConfig(**options), 0.0, OCTOBER_31)


def left(limits: Limits, now: float = 0.0) -> Any:
    return count_tokens(limits, now)["data"]


def test_nothing_is_limited_by_default():
    """Without policies every call passes and every price is paid."""
    limits = make_limits()
    assert limits.admit(0.0) is None
    assert limits.charge(1e9, 0.0) is None


def test_an_empty_minute_is_429_with_the_wait():
    """The second of two calls at 60 a minute and a burst of 1 must wait a second, told in milliseconds."""
    limits = make_limits(requests_per_minute=60, request_burst=1)
    limits.admit(0.0)
    limited = limits.admit(0.25)
    assert (limited.status, limited.headers) == (429, {"Retry-After": "750"})
    assert limited.body["error"]["code"] == "RATE_LIMIT_EXCEEDED"


def test_a_429_may_come_without_the_wrapper():
    """The sample in the documentation has its fields at the top."""
    limits = make_limits(requests_per_minute=60, request_burst=1, rate_limit_body="bare")
    limits.admit(0.0)
    assert limits.admit(0.0).body == {
        "status": 429,
        "reason": "Too Many Requests",
        "message": "You have exceeded your rate limit",
        "code": "RATE_LIMIT_EXCEEDED",
    }


@pytest.mark.parametrize("options", [{"requests_per_month": 1}, {"requests_per_month": 1, "requests_per_minute": 60}])
def test_a_used_up_month_of_requests_is_403(options):
    """The body is the one that clients have met; there is no advice to wait."""
    limits = make_limits(**options)
    limits.admit(0.0)
    limited = limits.admit(1.0)
    assert (limited.status, limited.headers) == (403, {})
    assert limited.body == {
        "error": {
            "status": 403,
            "reason": "Forbidden",
            "message": "Insufficient processing units or requests available in your account.",
            "code": "ACCESS_INSUFFICIENT_PROCESSING_UNITS",
        }
    }


def test_a_month_of_units_is_403_too():
    """A call that costs more than is left of the month is refused, a cheaper one is not."""
    limits = make_limits(pu_per_month=10)
    assert limits.charge(9.0, 0.0) is None
    assert limits.charge(2.0, 0.0).status == 403
    assert limits.charge(1.0, 0.0) is None


def test_the_month_goes_before_the_minute():
    """Where both are short the answer is 403: to wait a minute would not help."""
    limits = make_limits(pu_per_month=1, pu_per_minute=1)
    limits.charge(1.0, 0.0)
    assert limits.charge(1.0, 0.0).status == 403


def test_a_month_may_answer_429():
    """By choice a used up month is a 429 whose wait is the month's: 100 units trickle back one in 26784 s."""
    limits = make_limits(pu_per_month=100, month_status=429, retry_after_unit="s")
    limits.charge(100.0, 0.0)
    limited = limits.charge(1.0, 0.0)
    assert (limited.status, limited.headers) == (429, {"Retry-After": "26784"})


def test_the_month_trickles_or_comes_on_the_1st():
    """A day after the 31st, 1 of 31 units has come back, or all of them on the 1st of the month."""
    trickling, calendar = make_limits(pu_per_month=31), make_limits(pu_per_month=31, month_window="calendar")
    trickling.charge(31.0, 0.0)
    calendar.charge(31.0, 0.0)
    assert left(trickling, DAY_S)["PROCESSING_UNITS"] == {"PT744H": pytest.approx(1.0)}
    assert left(calendar, DAY_S - 1)["PROCESSING_UNITS"] == {"PT744H": 0.0}
    assert left(calendar, DAY_S)["PROCESSING_UNITS"] == {"PT744H": 31.0}


def test_all_policies_must_hold():
    """One short bucket turns the call away, and costs the others nothing."""
    limits = make_limits(requests_per_minute=60, request_burst=1, requests_per_month=100)
    limits.admit(0.0)
    assert limits.admit(0.0).retry_after == 1000
    assert left(limits) == {"REQUESTS": {"PT1S": 0.0, "PT744H": 99.0}, "PROCESSING_UNITS": {}}


def test_the_wait_is_the_longest_of_all():
    """Where a minute of 1 s and a month are both short, to wait a second would not help."""
    limits = make_limits(requests_per_minute=60, request_burst=1, requests_per_month=1, month_status=429)
    limits.admit(0.0)
    assert limits.admit(0.0).retry_after == 744 * 3600 * 1000


@pytest.mark.parametrize(("takes", "level"), [(False, 10.0), (True, 9.0)])
def test_a_rejected_call_costs_a_request_by_choice(takes, level):
    """Whether a 429 for units takes a request is not documented; both can be had."""
    limits = make_limits(requests_per_minute=10, pu_per_minute=1, rejected_takes_request=takes)
    limits.admit(0.0)
    limits.charge(2.0, 0.0)
    assert left(limits)["REQUESTS"] == {"PT1M": level}


def test_rejected_requests_may_keep_the_bucket_empty():
    """Where rejections cost, whoever goes on knocking is let in no sooner than one who has nothing to spend."""
    limits = make_limits(requests_per_minute=60, request_burst=1, rejected_takes_request=True)
    limits.admit(0.0)
    limits.admit(0.9)
    assert limits.admit(1.0).retry_after == 900


@pytest.mark.parametrize(("takes", "level"), [(True, 9.0), (False, 10.0)])
def test_a_failed_call_costs_a_request_by_choice(takes, level):
    """Whether a 400 or 500 takes a request is not documented; both can be had."""
    limits = make_limits(requests_per_minute=10, failed_takes_request=takes)
    limits.admit(0.0)
    limits.forgive(0.0)
    assert left(limits)["REQUESTS"] == {"PT1M": level}


@pytest.mark.parametrize(("taken", "levels"), [("before", [6.0, 6.0]), ("after", [10.0, 6.0])])
def test_units_are_taken_before_or_after_the_work(taken, levels):
    """Four units leave a bucket of ten when the work begins, or when it has succeeded."""
    limits = make_limits(pu_per_minute=10, pu_taken=taken)
    limits.charge(4.0, 0.0)
    working = left(limits)["PROCESSING_UNITS"]["PT1M"]
    limits.settle(4.0, 0.0)
    assert [working, left(limits)["PROCESSING_UNITS"]["PT1M"]] == levels


@pytest.mark.parametrize("taken", ["before", "after"])
def test_failed_work_costs_no_units(taken):
    """Only answers with 2xx cost, whenever units are taken."""
    limits = make_limits(pu_per_minute=10, pu_taken=taken)
    limits.charge(5.0, 0.0)
    limits.settle(5.0, 0.0)
    limits.charge(4.0, 0.0)
    limits.refund(4.0, 0.0)
    assert left(limits)["PROCESSING_UNITS"] == {"PT1M": 5.0}


def test_refill_fills_every_bucket():
    """After a refill all policies are as at the start, the month's included."""
    limits = make_limits(plan="trial")
    limits.admit(0.0)
    limits.charge(100.0, 0.0)
    limits.refill(0.0)
    full = {"PT1M": 300.0, "PT744H": 30_000.0}
    assert left(limits) == {"REQUESTS": full, "PROCESSING_UNITS": full}


def test_a_plan_sets_what_is_not_set_otherwise():
    """The cheapest enterprise plan with a rate of one's own keeps its other three limits."""
    assert left(make_limits(plan="enterprise-s", pu_per_minute=7)) == {
        "REQUESTS": {"PT1M": 600.0, "PT744H": 8_000_000.0},
        "PROCESSING_UNITS": {"PT1M": 7.0, "PT744H": 400_000.0},
    }


def test_an_unknown_plan_is_refused_with_the_names_there_are():
    """A misspelt plan does not pass for no limits."""
    with pytest.raises(ValueError, match="no plan 'trail'; there are test-user, trial, "):
        make_limits(plan="trail")


@pytest.mark.parametrize("name", PLANS)
def test_every_plan_makes_limits(name):
    """The published plans can be asked for by name, and all of them limit both kinds."""
    assert make_limits(plan=name).charge(3000.0, 0.0).status in {403, 429}


def test_the_contract_reads_as_observed():
    """A trial's units are told in the service's own words and numbers."""
    contract = make_contract(make_limits(plan="trial"), "someone", "http://here")
    month = {
        "capacity": 30000,
        "samplingPeriod": "PT744H",
        "nanosBetweenRefills": 89280000000,
        "niceSamplindPeriod": "31 days",
    }
    minute = {
        "capacity": 300,
        "samplingPeriod": "PT1M",
        "nanosBetweenRefills": 200000000,
        "niceSamplindPeriod": "1 minute",
    }
    assert contract["links"] == {"currentToken": "0"}
    assert [entry["type"]["name"] for entry in contract["data"]] == ["PROCESSING_UNITS", "REQUESTS"]
    assert contract["data"][0] == {
        "@id": "http://here/aux/ratelimit//contract/1",
        "id": 1,
        "policies": [minute, month],
        "usageNotificationExtra": {},
        "userId": "someone",
        "type": {"name": "PROCESSING_UNITS", "suffix": "PU", "defaultPolicies": [month, minute]},
    }


def test_what_never_refills_says_so_as_observed():
    """An account without any units left for good has the largest number between two refills."""
    policies = make_contract(make_limits(pu_per_month=0), "someone", "")["data"][0]["policies"]
    assert (policies[0]["samplingPeriod"], policies[0]["nanosBetweenRefills"]) == ("PT0S", 9223372036854775807)


def test_jobs_take_units_of_the_month_alone():
    """Asking takes nothing; the minute's bucket stays full, unless jobs are for all buckets."""
    options = {"pu_per_minute": 5, "pu_per_month": 100}
    month, every = make_limits(**options), make_limits(**options, async_pu_buckets="all")
    assert month.check_job(10, 0.0) is None
    assert left(month)["PROCESSING_UNITS"] == {"PT1M": 5, "PT744H": 100}
    month.take_job(10, 0.0)
    assert left(month)["PROCESSING_UNITS"] == {"PT1M": 5, "PT744H": 90}
    assert every.check_job(10, 0.0).body["error"]["code"] == "RATE_LIMIT_TOKEN_COUNT_EXCEEDS_CAPACITY"


def test_a_job_that_is_not_accepted_gives_its_request_back():
    """As a call does, where rejected ones cost nothing."""
    options = {"requests_per_minute": 10, "pu_per_month": 5}
    kind, dear = make_limits(**options), make_limits(**options, rejected_takes_request=True)
    assert [limits.admit(0.0) for limits in (kind, dear)] == [None, None]
    assert [limits.check_job(10, 0.0).status for limits in (kind, dear)] == [403, 403]
    assert (left(kind)["REQUESTS"], left(dear)["REQUESTS"]) == ({"PT1M": 10}, {"PT1M": 9})
