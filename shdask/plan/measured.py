"""What runs have cost and taken against what was foreseen, as values; and the rate that a latency allows.

Pure. Refuses to know where they are kept, how they were measured, and what plans make of them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Self

from shdask.settings import Deployment

EXPECTED_LATENCY_S = 4.0
"""A large request's answer, until one was measured; decides how many are in flight to fill the rate."""
LEAST_IN_FLIGHT = 4
WEIGHT_OF_EARLIER = 0.5
"""What the runs before weigh after one that is far dearer than all of them; see `Measured.after`."""
_TIMES = "seconds", "seconds_projected"
SANE = 0.01, 100.0
"""A ratio beyond says that something else went wrong."""
_MINUTE_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFigures:
    """What one run of a group has shown. Prices and bytes are of the tiles that came, written or empty."""

    kind: str
    """See `learning.kind_of`."""
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
    """The tiles that came were to take, at the account's rates; 0 where ``seconds`` says nothing of that."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """Sums over runs of one kind, later ones weighing more; each ratio is of two of them, so dear runs weigh more."""

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
        """The sums with one run more, which takes from the weight of those before as much as it is dear beside them.

        Their times stay as they are where its own says nothing. Pure.
        """
        pu = self.pu_formula + run.pu_formula
        weight = WEIGHT_OF_EARLIER ** (run.pu_formula / pu) if pu else 1.0
        names = {item.name for item in fields(self)} - {"runs", *(() if run.seconds_projected else _TIMES)}
        sums = {name: weight * getattr(self, name) + getattr(run, name) for name in names}
        return replace(self, runs=self.runs + 1, **sums)

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
