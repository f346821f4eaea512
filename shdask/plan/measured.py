"""What runs have cost and taken against what was foreseen, and what plans make of it.

Pure. Refuses to know where it is kept, and how it was measured.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import asdict, dataclass, fields, replace
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlsplit

from shdask.settings import Deployment, may_use_plain_http

if TYPE_CHECKING:
    from collections.abc import Mapping

    from shdask.plan.group import GroupPlan
    from shdask.plan.layer import LayerPlan

EXPECTED_LATENCY_S = 4.0
"""A large request's answer, until one was measured; decides how many are in flight to fill the rate."""
LEAST_IN_FLIGHT = 4
WEIGHT_OF_EARLIER = 0.5
"""Each run halves what those before it weigh, so that a service that changes is believed after a few."""
SANE = 0.01, 100.0
"""A ratio beyond says that something else went wrong."""
ALIKE = 0.01
"""Prices that differ by less are the same but for rounding: the service states them as 32 bit floats."""
LOOPBACK = "loopback"
_DIGEST_CHARS = 16
_MINUTE_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFigures:
    """What one run of a group has shown. Prices and bytes are of the tiles that came, written or empty."""

    kind: str
    """See `kind_of`."""
    pu_spent: float
    """As the answers stated it."""
    pu_projected: float
    """As the plan foresaw it."""
    pu_formula: float
    """The same by the published formula alone, where the plan had learned something."""
    nbytes: int
    """Received."""
    nbytes_projected: int
    """Before compression."""
    requests: int
    """All that were sent, retries included."""
    answers: int
    """Pictures whose time was taken."""
    answers_s: float
    """From sending until they were whole, of all together."""
    seconds: float
    """The run took."""
    seconds_projected: float
    """The tiles that came were to take, at the account's rates."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """Sums over runs of one kind, the newest weighing most; each ratio is of two of them, so dear runs weigh more."""

    runs: int = 0
    pu_spent: float = 0.0
    pu_formula: float = 0.0
    nbytes: float = 0.0
    nbytes_projected: float = 0.0
    answers: float = 0.0
    answers_s: float = 0.0
    seconds: float = 0.0
    seconds_projected: float = 0.0

    @classmethod
    def from_json(cls, told: Mapping[str, Any]) -> Self:
        """What `as_json` gave. Raises ValueError where it is anything else."""
        names = {item.name for item in fields(cls)}
        numbers = {name: value for name, value in told.items() if type(value) in {int, float}}
        if set(told) != names or set(numbers) != names or not all(0 <= value < math.inf for value in numbers.values()):
            raise ValueError(f"these are no figures of earlier runs: {sorted(map(str, told))}")
        return cls(**numbers)

    def as_json(self) -> dict[str, float]:
        """As JSON types. Pure."""
        return asdict(self)

    def after(self, run: RunFigures) -> Measured:
        """The sums with one run more. Pure."""
        sums = {
            item.name: WEIGHT_OF_EARLIER * getattr(self, item.name) + getattr(run, item.name)
            for item in fields(self)
            if item.name != "runs"
        }
        return Measured(runs=self.runs + 1, **sums)

    @property
    def pu_ratio(self) -> float | None:
        """Spent over the published formula; None where nothing was bought."""
        return _ratio(self.pu_spent, self.pu_formula)

    @property
    def time_ratio(self) -> float | None:
        """Measured over projected time; None where nothing was bought."""
        return _ratio(self.seconds, self.seconds_projected)

    @property
    def nbytes_ratio(self) -> float | None:
        """Bytes received over those before compression; None where none were."""
        return _ratio(self.nbytes, self.nbytes_projected)

    @property
    def latency_s(self) -> float | None:
        """Mean seconds from sending a request until its picture was there; None where none was timed."""
        return self.answers_s / self.answers if self.answers else None


def _ratio(found: float, foreseen: float) -> float | None:
    if found <= 0 or foreseen <= 0:
        return None
    return min(max(found / foreseen, SANE[0]), SANE[1])


def effective_rate(deployment: Deployment, latency_s: float | None) -> float:
    """Requests per minute that a build can reach: the account's, or what is in flight over the latency. Pure.

    ``latency_s`` are seconds until an answer is whole; None, where none was measured, takes the account's rate.
    """
    if latency_s is None or latency_s <= 0:
        return deployment.requests_per_minute
    return min(deployment.requests_per_minute, requests_in_flight(deployment) * _MINUTE_S / latency_s)


def requests_in_flight(deployment: Deployment) -> int:
    """How many requests a build with workers enough has in flight, to fill the account's rate. Pure."""
    return max(LEAST_IN_FLIGHT, math.ceil(deployment.requests_per_minute / _MINUTE_S * EXPECTED_LATENCY_S))


def kind_of(layer: LayerPlan, deployment: Deployment) -> str:
    """What a layer's runs have in common with others: the service, its collections, and who wrote the script. Pure.

    All services of this machine are one, whatever their port, and no other's.
    """
    collections = "+".join(sorted({each.collection for each in layer.inputs}))
    scripts = "\0".join(part.script for part in layer.parts if part.script is not None)
    written = f"script {hashlib.sha256(scripts.encode()).hexdigest()[:_DIGEST_CHARS]}" if scripts else "bands"
    return f"{_place(deployment)} {collections} {written}"


def _place(deployment: Deployment) -> str:
    parts = urlsplit(deployment.base_url)
    if may_use_plain_http(parts.hostname or "", {}):  # nobody has named it: it is this machine
        return LOOPBACK
    return parts.netloc.lower() + parts.path


def is_guessed(layer: LayerPlan) -> bool:
    """Whether the price hangs on how many scenes a script finds at a pixel, which nobody knows before. Pure."""
    return layer.mosaicking != "SIMPLE" and any(part.script is not None for part in layer.parts)


def with_learned(plan: GroupPlan, measured: Measured) -> GroupPlan:
    """The plan whose guessed price is multiplied by what such guesses turned out to be worth; else as it is. Pure."""
    ratio = measured.pu_ratio
    if ratio is None or not is_guessed(plan.layer):
        return plan
    inputs = tuple(replace(each, learned_ratio=ratio) for each in plan.layer.inputs)
    return replace(plan, layer=replace(plan.layer, inputs=inputs))


def learned_notes(plan: GroupPlan, measured: Measured) -> tuple[str, ...]:
    """What earlier runs let expect of ``plan``, which `with_learned` has made, for the user to read. Pure."""
    if not measured.runs:
        return ()
    cost, told, warnings = plan.cost, [], []
    runs = f"{measured.runs} run{'s' if measured.runs > 1 else ''}"
    if measured.pu_ratio is not None and is_guessed(plan.layer):
        told.append(f"price x{measured.pu_ratio:.2f} of what is guessed, counted in")
    elif measured.pu_ratio is not None:
        told.append(f"price x{measured.pu_ratio:.2f} -> about {cost.pu * measured.pu_ratio:.2f} PU")
        if abs(measured.pu_ratio - 1) > ALIKE:
            warnings.append(
                f"the service charged {measured.pu_ratio:.2f} times the published formula in {runs}; "
                f"max_pu is held against what the formula says"
            )
    if measured.time_ratio is not None:
        told.append(f"time x{measured.time_ratio:.2f} -> about {cost.minutes * measured.time_ratio:.1f} min")
    if measured.nbytes_ratio is not None:
        nbytes = cost.nbytes_down * measured.nbytes_ratio
        told.append(f"{measured.nbytes_ratio:.0%} of the bytes -> about {nbytes / 1e6:,.1f} MB")
    if measured.latency_s is not None:
        told.append(f"{measured.latency_s:.2f} s an answer")
        rate = effective_rate(plan.deployment, measured.latency_s)
        if rate < plan.deployment.requests_per_minute:
            warnings.append(f"answers of {measured.latency_s:.1f} s let no more than {rate:.0f} requests/min through")
    return (f"learned from {runs}: {'; '.join(told)}", *warnings) if told else ()
