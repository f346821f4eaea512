"""What a look at account and job has found: a line for each check, with its cure, and what looking has cost.

Refuses to look.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal, Self

from shdask.errors import ShdaskError
from shdask.plan.wording import counted

Outcome = Literal["ok", "note", "warning", "failed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What one check has found."""

    check: str
    """What was looked at, such as ``login`` or ``bands``."""
    outcome: Outcome
    """``note``: neither good nor bad. ``warning``: a build would run, perhaps not as it is meant to."""
    found: str
    cure: str = ""
    """What to do; empty where there is nothing to be done."""
    layer: str | None = None
    """The job's layer that it is about; None for what concerns the whole."""
    exit_code: int = 0
    """What a build would end with; 0 unless it failed."""

    @classmethod
    def of_error(
        cls, check: str, error: ShdaskError, *, found: str = "", cure: str = "", layer: str | None = None
    ) -> Self:
        """A check that ended with ``error``; ``found`` and ``cure`` go before what its message says. Pure."""
        told, _, advice = str(error).rpartition("; ")
        return cls(
            check=check,
            outcome="failed",
            found=found or told or advice,
            cure=cure or (advice if told else ""),
            layer=layer,
            exit_code=error.exit_code,
        )

    @property
    def name(self) -> str:
        """The check and what it is about, for people."""
        return self.check if self.layer is None else f"{self.check} of {self.layer}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """All findings, in the order in which they were made. Its text has a line for each."""

    findings: tuple[Finding, ...]
    requests: int
    """Sent to the Process API."""
    pu_spent: float
    """Processing units of those, as the service's answers stated them."""

    @property
    def exit_code(self) -> int:
        """0 where nothing failed; else that of the first check which did: later ones may follow from it."""
        return next((finding.exit_code for finding in self.findings if finding.outcome == "failed"), 0)

    def as_dict(self) -> dict[str, Any]:
        """The diagnosis as JSON-able values."""
        return {**asdict(self), "findings": [asdict(each) for each in self.findings], "exit_code": self.exit_code}

    def __str__(self) -> str:
        width = max((len(finding.name) for finding in self.findings), default=0)
        lines = [line for finding in self.findings for line in _lines(finding, width)]
        return "\n".join([*lines, f"looking cost {self.pu_spent:.4f} PU in {counted(self.requests, 'request')}"])


def _lines(finding: Finding, width: int) -> list[str]:
    first, *more = finding.found.splitlines() or [""]
    indent = " " * (width + 10)
    told = [f"{finding.outcome:<8} {finding.name:<{width}} {first}", *(indent + line for line in more)]
    return told + ([f"{indent}-> {finding.cure}"] if finding.cure else [])
