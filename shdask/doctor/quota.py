"""What the account may still use, as far as it can be asked, against what a plan needs; and the rates it is planned at.

Refuses to know how the account is asked.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from shdask.doctor.findings import Finding
from shdask.errors import DecodeError
from shdask.plan.cost import Cost
from shdask.plan.wording import counted
from shdask.settings import PUBLISHED_PRICES, Deployment

MINUTE_S = 60.0
LONG_S = 86_400.0
"""A policy over a day or more is a quota: waiting for it is no matter of minutes."""
KINDS: Mapping[str, str] = MappingProxyType({"pu": "PROCESSING_UNITS", "requests": "REQUESTS"})
_PERIOD = re.compile(r"P(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:(\d+(?:\.\d+)?)S)?)?")
NOT_TOLD = "see your account's dashboard"


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowance:
    """What the service says of an account's policies, by ``pu`` and ``requests``."""

    left: Mapping[str, float] = field(default_factory=dict)
    """Of the tightest quota; infinite where there is none."""
    per_minute: Mapping[str, float] = field(default_factory=dict)
    """As far as it is told."""


def read_allowance(contract: Mapping[str, Any], counts: Mapping[str, Any]) -> Allowance:
    """The two answers of the service as one. Pure. Raises DecodeError where they are none of this kind."""
    try:
        entries = {entry["type"]["name"]: entry["policies"] for entry in contract["data"]}
        levels = counts["data"]
        left = {kind: _least_left(levels[name]) for kind, name in KINDS.items()}
        rates = {kind: _per_minute(entries[name]) for kind, name in KINDS.items() if name in entries}
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DecodeError(f"the account's limits cannot be read ({type(error).__name__}: {error})") from error
    return Allowance(left=left, per_minute={kind: rate for kind, rate in rates.items() if rate is not None})


def check_quota(allowance: Allowance, cost: Cost | None) -> Finding:
    """Whether what is left is enough for a plan; for one request where there is none. Pure."""
    needed = (
        {"pu": PUBLISHED_PRICES.min_request_pu, "requests": 1.0}
        if cost is None
        else {"pu": cost.pu, "requests": float(cost.requests)}
    )
    short = [kind for kind, amount in needed.items() if allowance.left[kind] < amount]
    left = " and ".join(_say(allowance.left[kind], kind) for kind in KINDS)
    if not short:
        plan = "" if cost is None else f"; the plan needs {cost.pu:.2f} PU in {counted(cost.requests, 'request')}"
        return Finding(check="quota", outcome="ok", found=f"{left} are left{plan}")
    if cost is None:
        found = f"{left} are left"
    else:
        needs = " and ".join(_say(needed[kind], kind) for kind in short)
        found = f"the plan needs {needs}, and {' and '.join(_say(allowance.left[k], k) for k in short)} are left"
    cure = (
        "wait for the quota to come back, or make the area smaller or the resolution coarser; a build that meets the "
        "quota keeps what was paid for"
    )
    return Finding(check="quota", outcome="failed", found=found, cure=cure, exit_code=4)


def check_rates(allowance: Allowance, deployment: Deployment | None) -> list[Finding]:
    """Whether the account's rates are those that a job counts on; what they are where there is none. Pure."""
    if deployment is None:
        rates = [f"{_say(told, kind)} a minute" for kind, told in allowance.per_minute.items()]
        return [Finding(check="rates", outcome="ok", found=" and ".join(rates))] if rates else []
    counted = {"pu": deployment.pu_per_minute, "requests": deployment.requests_per_minute}
    findings = []
    for kind, told in allowance.per_minute.items():
        if math.isclose(told, counted[kind], rel_tol=0.01):
            continue
        is_less = told < counted[kind]
        effect = "requests will be answered 429" if is_less else "a build could go faster"
        findings.append(
            Finding(
                check="rates",
                outcome="warning" if is_less else "note",
                found=f"the account has {_say(told, kind)} a minute, and the job counts on {counted[kind]:g}: {effect}",
                cure=f"write {kind}_per_minute = {told:g} in [service]",
            )
        )
    return findings


def quota_unknown(deployment: Deployment, cost: Cost | None) -> Finding:
    """What can be said where the account cannot be asked. Pure."""
    found = "not known: the deployment does not tell"
    if cost is not None and cost.months > 1:
        counted = [
            f"{amount:g} {unit}"
            for amount, unit in ((deployment.pu_per_month, "PU"), (deployment.requests_per_month, "requests"))
            if amount is not None
        ]
        found += f"; at {' and '.join(counted)} a month the plan takes {cost.months:.1f} months"
    return Finding(check="quota", outcome="note", found=found, cure=NOT_TOLD)


def _least_left(levels: Mapping[str, float]) -> float:
    return min((float(level) for period, level in levels.items() if period_s(period) >= LONG_S), default=math.inf)


def _per_minute(policies: list[Mapping[str, Any]]) -> float | None:
    rates = [
        float(policy["capacity"]) * MINUTE_S / period_s(policy["samplingPeriod"])
        for policy in policies
        if 0 < period_s(policy["samplingPeriod"]) < LONG_S
    ]
    return min(rates, default=None)


def period_s(text: str) -> float:
    """Seconds of an ISO 8601 period of days and less; infinite for ``PT0S``, which is said of what never refills. Pure.

    Raises ValueError for anything else.
    """
    match = _PERIOD.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is no period")
    days, hours, minutes, seconds = (float(part or 0) for part in match.groups())
    return days * 86_400 + hours * 3600 + minutes * 60 + seconds or math.inf


def _say(amount: float, kind: str) -> str:
    unit = "PU" if kind == "pu" else "requests"
    if math.isinf(amount):
        return f"{unit} without end"
    return f"{amount:,.2f} {unit}" if kind == "pu" else f"{amount:,.0f} {unit}"
