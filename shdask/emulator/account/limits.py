"""The policies every data call must satisfy, all at once, and the answer to those that do not.

Refuses to know HTTP and the clock.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Self

from shdask.emulator.account.plans import find_plan
from shdask.emulator.account.quota import Bucket, CalendarBucket, Kind, Policy
from shdask.emulator.config import EmulatorConfig
from shdask.emulator.refusal import Refusal, too_many_requests, used_up

UNITS_PER_S = {"ms": 1000, "s": 1}
TOO_MANY = 429


@dataclass(frozen=True, slots=True, kw_only=True)
class Advice:
    """How a 429 is written."""

    units_per_s: int = 1000
    """What ``Retry-After`` counts."""
    wrapped: bool = True
    """The body is ``{"error": {...}}``; the sample in the documentation has no wrapper."""

    def too_many(self, wait_s: float) -> Limited:
        """The answer to a call that must wait so long; infinite where waiting never helps. Pure."""
        if math.isinf(wait_s):
            refusal = Refusal(
                TOO_MANY,
                "RATE_LIMIT_TOKEN_COUNT_EXCEEDS_CAPACITY",
                "The request needs more than your rate limit can ever hold",
            )
            return self.turn_away(refusal, None)
        return self.turn_away(too_many_requests(), wait_s)

    def turn_away(self, refusal: Refusal, wait_s: float | None) -> Limited:
        """A 429 in these words, that tells to wait so long, or does not say. Pure."""
        body: Mapping[str, Any] = refusal.body()
        return Limited(
            status=refusal.status,
            body=body if self.wrapped else body["error"],
            retry_after=None if wait_s is None else math.ceil(wait_s * self.units_per_s),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Limited:
    """The answer to a call that a policy turned away."""

    status: int
    """429 to wait, 403 where the month's quota is used up."""
    body: Mapping[str, Any]
    retry_after: int | None
    """In the configured unit, rounded up; None where waiting does not help."""

    @property
    def headers(self) -> dict[str, str]:
        """What goes with the body. Pure."""
        return {} if self.retry_after is None else {"Retry-After": str(self.retry_after)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Costs:
    """What is not documented of how calls are charged; each as EmulatorConfig has it."""

    rejected_takes_request: bool = False
    failed_takes_request: bool = True
    pu_taken: Literal["before", "after"] = "before"
    month_status: Literal[403, 429] = 403
    jobs_monthly: bool = True
    """Asynchronous jobs take units of the month alone."""


class Limits:
    """Requests and processing units of one account: any number of policies for either."""

    def __init__(self, *, requests: Sequence[Bucket], pu: Sequence[Bucket], costs: Costs, advice: Advice) -> None:
        self._requests = requests
        self._pu = pu
        self._costs = costs
        self.advice = advice

    @classmethod
    def make(cls, config: EmulatorConfig, now: float, posix_s: float) -> Self:
        """Full buckets of the configured policies; ``posix_s`` is the POSIX time at ``now``.

        Raises ValueError for a plan that does not exist.
        """
        requests, pu = make_policies(config)
        return cls(
            requests=[_make_bucket(policy, now, posix_s) for policy in requests],
            pu=[_make_bucket(policy, now, posix_s) for policy in pu],
            costs=Costs(
                rejected_takes_request=config.rejected_takes_request,
                failed_takes_request=config.failed_takes_request,
                pu_taken=config.pu_taken,
                month_status=config.month_status,
                jobs_monthly=config.async_pu_buckets == "month",
            ),
            advice=Advice(
                units_per_s=UNITS_PER_S[config.retry_after_unit], wrapped=config.rate_limit_body == "wrapped"
            ),
        )

    def admit(self, now: float) -> Limited | None:
        """Take one request; None when it may pass."""
        if limited := self._turn_away(self._requests, 1.0, now):
            if self._costs.rejected_takes_request:
                _take(self._requests, 1.0, now)
            return limited
        _take(self._requests, 1.0, now)
        return None

    def charge(self, pu: float, now: float) -> Limited | None:
        """Take ``pu`` of an admitted call before it is worked on; None when it may pass.

        Where units are taken afterwards (``settle``), they must be there all the same. A call that is turned away
        gets its request back, or does not, as the account is configured.
        """
        if limited := self._turn_away(self._pu, pu, now):
            return self.reject(limited, now)
        if self._costs.pu_taken == "before":
            _take(self._pu, pu, now)
        return None

    def check_job(self, pu: float, now: float) -> Limited | None:
        """Whether an admitted asynchronous job may be accepted; takes nothing of its ``pu`` yet."""
        limited = self._turn_away(self._job_buckets(), pu, now)
        return None if limited is None else self.reject(limited, now)

    def take_job(self, pu: float, now: float) -> None:
        """Take the units of an asynchronous job, or all there are where that is fewer."""
        _take(self._job_buckets(), pu, now)

    def reject(self, limited: Limited, now: float) -> Limited:
        """An admitted call is turned away after all: its request comes back, or not, as the account is configured."""
        if not self._costs.rejected_takes_request:
            _give_back(self._requests, 1.0, now)
        return limited

    def settle(self, pu: float, now: float) -> None:
        """A charged call succeeded: take its units where that is done afterwards."""
        if self._costs.pu_taken == "after":
            _take(self._pu, pu, now)

    def refund(self, pu: float, now: float) -> None:
        """A charged call failed: return its units; only answers with 2xx cost."""
        if self._costs.pu_taken == "before":
            _give_back(self._pu, pu, now)

    def forgive(self, now: float) -> None:
        """An admitted call failed, other than by a limit: its request comes back where the account is so configured."""
        if not self._costs.failed_takes_request:
            _give_back(self._requests, 1.0, now)

    def refill(self, now: float) -> None:
        """Fill every bucket, as at the start."""
        for bucket in (*self._requests, *self._pu):
            bucket.give_back(bucket.policy.capacity, now)

    def buckets(self) -> dict[Kind, Sequence[Bucket]]:
        """The buckets of either kind, for those who want to look."""
        return {"REQUESTS": self._requests, "PROCESSING_UNITS": self._pu}

    def _job_buckets(self) -> list[Bucket]:
        return [bucket for bucket in self._pu if bucket.policy.monthly or not self._costs.jobs_monthly]

    def _turn_away(self, buckets: Sequence[Bucket], amount: float, now: float) -> Limited | None:
        short = [bucket for bucket in buckets if bucket.wait_s(amount, now)]
        # to wait a minute does not help whoever has used up the month
        if self._costs.month_status != TOO_MANY and any(bucket.policy.monthly for bucket in short):
            refusal = used_up()
            return Limited(status=refusal.status, body=refusal.body(), retry_after=None)
        if not short:
            return None
        return self.advice.too_many(max(bucket.wait_s(amount, now) for bucket in short))


def make_policies(config: EmulatorConfig) -> tuple[list[Policy], list[Policy]]:
    """The policies for requests and for processing units: those configured, else those of the plan.

    Pure; raises ValueError for a plan that does not exist.
    """
    plan = find_plan(config.plan)
    calendar = config.month_window == "calendar"

    def make(minute: float | None, burst: float | None, month: float | None) -> list[Policy]:
        minutely = [] if minute is None else [Policy.per_minute(minute, burst)]
        monthly = [] if month is None else [Policy.per_month(month, calendar=calendar)]
        return minutely + monthly

    return (
        make(
            _or(config.requests_per_minute, plan.requests_per_minute),
            config.request_burst,
            _or(config.requests_per_month, plan.requests_per_month),
        ),
        make(
            _or(config.pu_per_minute, plan.pu_per_minute),
            config.pu_burst,
            _or(config.pu_per_month, plan.pu_per_month),
        ),
    )


def make_token_bucket(config: EmulatorConfig, now: float) -> Bucket | None:
    """The tokens that may be issued, on the token endpoint's clock; None where there is no limit. Pure."""
    rate = config.tokens_per_minute
    return None if rate is None else Bucket(Policy.per_minute(rate), now)


def _or(own: float | None, planned: float | None) -> float | None:
    return planned if own is None else own


def _make_bucket(policy: Policy, now: float, posix_s: float) -> Bucket:
    return CalendarBucket(policy, now, posix_s) if policy.calendar else Bucket(policy, now)


def _take(buckets: Sequence[Bucket], amount: float, now: float) -> None:
    for bucket in buckets:
        bucket.take(amount, now)


def _give_back(buckets: Sequence[Bucket], amount: float, now: float) -> None:
    for bucket in buckets:
        bucket.give_back(amount, now)
