"""The routes by which an account asks about its own limits: the contract, and the tokens left.

Refuses to limit anything.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from shdask.emulator.account.limits import Limits
from shdask.emulator.account.oauth import TokenIssuer
from shdask.emulator.account.quota import MINUTE_S, MONTH_S, Kind, Policy
from shdask.emulator.refusal import Refusal, forbidden

ACCOUNT_PREFIX = "/aux/ratelimit/"
NANOS = 1e9
SUFFIXES: tuple[tuple[Kind, str], ...] = (("PROCESSING_UNITS", "PU"), ("REQUESTS", ""))
"""In the order of the observed contract, with what is written behind a number."""
DEFAULTS = (
    Policy(capacity=30_000, period_s=MONTH_S, monthly=True),
    Policy(capacity=300, period_s=MINUTE_S),
)
"""The trial's; the service states them with every contract."""


class AccountRoutes:
    """Handlers that answer the account of the token, and nobody else."""

    def __init__(
        self, *, issuer: TokenIssuer, limits: Limits, clock: Callable[[], float], timer: Callable[[], float]
    ) -> None:
        """``clock`` is the one of tokens, ``timer`` the one of limits."""
        self._issuer = issuer
        self._limits = limits
        self._clock = clock
        self._timer = timer

    def routes(self) -> list[Route]:
        """All of them, ready for an application."""
        return [
            Route(ACCOUNT_PREFIX + "contract", self.contract, methods=["GET"]),
            Route(ACCOUNT_PREFIX + "statistics/tokenCounts/{user_id}", self.token_counts, methods=["GET"]),
        ]

    async def contract(self, request: Request) -> Response:
        """GET: the policies; ``userId=eq:<sub>`` asks for those of one user, which must be the token's."""
        asked = request.query_params.get("userId", f"eq:{self._issuer.user_id}")
        if refused := self._refuse(request, asked.removeprefix("eq:")):
            return refused
        return JSONResponse(make_contract(self._limits, self._issuer.user_id, str(request.base_url).rstrip("/")))

    async def token_counts(self, request: Request) -> Response:
        """GET: what is left in every bucket."""
        if refused := self._refuse(request, request.path_params["user_id"]):
            return refused
        return JSONResponse(count_tokens(self._limits, self._timer()))

    def _refuse(self, request: Request, user_id: str) -> Response | None:
        try:
            self._issuer.check(request.headers.get("authorization"), self._clock())
        except Refusal as refusal:
            return JSONResponse(refusal.body(), refusal.status)
        if user_id == self._issuer.user_id:
            return None
        foreign = forbidden()
        return JSONResponse(foreign.body(), foreign.status)


def make_contract(limits: Limits, user_id: str, base_url: str) -> dict[str, Any]:
    """The answer to ``GET /aux/ratelimit/contract``: one entry a kind, with its policies.

    Pure. Source: the document DETAILS.md of sentinel-hub/rate-limiting-guard (2022), its misspelt key included.
    """
    buckets = limits.buckets()
    entries = [
        {
            "@id": f"{base_url}/aux/ratelimit//contract/{number}",
            "id": number,
            "policies": [_describe(bucket.policy) for bucket in buckets[kind]],
            "usageNotificationExtra": {},
            "userId": user_id,
            "type": {"name": kind, "suffix": suffix, "defaultPolicies": [_describe(policy) for policy in DEFAULTS]},
        }
        for number, (kind, suffix) in enumerate(SUFFIXES, start=1)
    ]
    return {"data": entries, "links": {"currentToken": "0"}}


def count_tokens(limits: Limits, now: float) -> dict[str, Mapping[str, Mapping[str, float]]]:
    """The answer to ``GET /aux/ratelimit/statistics/tokenCounts/<user>``: tokens left, by kind and sampling period."""
    return {
        "data": {
            kind: {sampling_period(bucket.policy): bucket.level(now) for bucket in buckets}
            for kind, buckets in limits.buckets().items()
        }
    }


def sampling_period(policy: Policy) -> str:
    """The policy's period as ISO 8601, such as ``PT1M``; ``PT0S`` for one that never refills. Pure."""
    if not policy.rate_per_s:
        return "PT0S"
    if policy.period_s == MINUTE_S:
        return "PT1M"
    if policy.period_s == MONTH_S:
        return "PT744H"
    return f"PT{policy.period_s:g}S"


def _describe(policy: Policy) -> dict[str, Any]:
    nice = {MINUTE_S: "1 minute", MONTH_S: "31 days"}.get(policy.period_s, f"{policy.period_s:g} seconds")
    return {
        "capacity": int(policy.capacity) if policy.capacity == int(policy.capacity) else policy.capacity,
        "samplingPeriod": sampling_period(policy),
        # what never refills has the largest number of Java, as observed
        "nanosBetweenRefills": round(NANOS / policy.rate_per_s) if policy.rate_per_s else 2**63 - 1,
        "niceSamplindPeriod": nice,
    }
