"""What a build has done so far, and in the end: values for displays, logs and whoever called.

Refuses to count.
"""

from __future__ import annotations

import html
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from shdask.errors import BuildError

SHOWN_FAILURES = 5
INTERRUPTED = 130
"""Exit code after Ctrl-C and SIGTERM."""
SUMS = (
    "tiles", "written", "empty", "failed", "skipped", "requests", "rejected", "pu_spent", "pu_projected", "nbytes",
    "seconds", "pu_unknown", "unrecorded", "pu_unrecorded", "nbytes_projected", "answers", "answers_s",
    "seconds_projected", "jobs",
)  # fmt: skip  # a list
"""Of a report's figures, those that add up over groups."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildReport:
    """What one run of a build did. Its repr is the summary a person reads."""

    tiles: int
    """Tiles of the plan."""
    written: int
    """Tiles written in this run."""
    empty: int
    """Tiles found to hold no data in this run."""
    failed: int
    """Tiles that failed in this run; the next run tries them again."""
    skipped: int
    """Tiles that were done before this run."""
    requests: int
    """Process requests sent, retries included."""
    rejected: int
    """Requests answered 429."""
    pu_spent: float
    """Processing units of this run, as the service's answers stated them."""
    pu_projected: float
    """Processing units the plan foresaw for what was left to do."""
    nbytes: int
    """Bytes received."""
    seconds: float
    store: str
    pu_unknown: float = 0.0
    """What may have been charged beyond ``pu_spent`` for requests whose answers never came; as projected."""
    unrecorded: int = 0
    """Tiles that were in flight when an earlier run was killed: what they cost stands in no row."""
    pu_unrecorded: float = 0.0
    """What those may have cost, in processing units: as projected, so rather more than less."""
    nbytes_projected: int = 0
    """Of the tiles that came in this run, before compression."""
    seconds_projected: float = 0.0
    """What was left to do was to take, at the account's rates."""
    answers: int = 0
    """Pictures whose time was taken."""
    answers_s: float = 0.0
    """From sending their requests until they were there, of all together."""
    jobs: int = 0
    """Jobs of Async Process that were accepted in this run."""
    failures: Mapping[Any, str] = field(default_factory=dict, repr=False)
    """Tile index -> the last error's text; in a cube of several groups, the group's path and the index."""
    notes: tuple[str, ...] = ()
    """What the catalogue has that the cube has not, with what it would cost, and what was bought of it."""
    groups: Mapping[str, BuildReport] = field(default_factory=dict, repr=False)
    """The reports of a cube's groups, by path, of which this is the sum; none where the root is the only one."""
    drawing: Callable[[], str] | None = field(default=None, repr=False, compare=False)
    """Makes HTML of the cube that was built, for notebooks; no part of what happened."""

    @property
    def complete(self) -> bool:
        """Whether every tile of the plan is written or known to be empty."""
        return self.written + self.empty + self.skipped == self.tiles

    @property
    def latency_s(self) -> float | None:
        """Mean seconds until a picture was there; None where none was timed."""
        return self.answers_s / self.answers if self.answers else None

    def raise_for_failures(self) -> None:
        """Raise BuildError naming the failed tiles, if there are any."""
        if self.failed:
            raise BuildError(self.failure_text(), self.failures)

    def failure_text(self) -> str:
        """Which tiles failed, why, and what to do."""
        shown = "; ".join(f"tile {tile}: {text}" for tile, text in list(self.failures.items())[:SHOWN_FAILURES])
        more = f" (and {self.failed - SHOWN_FAILURES} more)" if self.failed > SHOWN_FAILURES else ""
        return (
            f"{self.failed} of {self.tiles} tiles failed: {shown}{more}. The rest is kept in {self.store}; "
            f"build again to retry only what failed"
        )

    def as_dict(self) -> dict[str, object]:
        """The report as JSON-able values; ``groups`` only where there are several."""
        told = asdict(replace(self, groups={}, drawing=None))
        del told["groups"], told["drawing"]
        groups = {"groups": {path: report.as_dict() for path, report in self.groups.items()}} if self.groups else {}
        return {**told, **groups}

    def summary(self) -> list[tuple[str, str]]:
        """(label, value) rows for people."""
        return [
            *((path or "/", f"{one.tiles_text()}, {one.pu_spent:.2f} PU") for path, one in self.groups.items()),
            ("tiles", self.tiles_text()),
            ("requests", f"{self.requests} ({self.rejected} answered 429)"),
            *([("jobs", f"{self.jobs} of Async Process")] if self.jobs else []),
            ("PU", f"{self.pu_spent:.2f} spent, {self.pu_projected:.2f} projected{self._unsure_text()}"),
            ("time", f"{_duration(self.seconds)}, {_duration(self.seconds_projected)} projected{self._latency_text()}"),
            ("received", f"{self.nbytes / 1e6:.1f} MB of {self.nbytes_projected / 1e6:.1f} MB before compression"),
            *(("note", note) for note in self.notes),
            ("cube", self.store),
        ]

    def tiles_text(self) -> str:
        """How many tiles there are, and how many in which state."""
        states = f"{self.written} written, {self.empty} empty, {self.skipped} done before, {self.failed} failed"
        return f"{self.tiles}: {states}"

    def _latency_text(self) -> str:
        return "" if self.latency_s is None else f"; {self.latency_s:.2f} s an answer"

    def _unsure_text(self) -> str:
        text = ""
        if self.pu_unknown:
            text += f"; up to {self.pu_unknown:.2f} more may have been charged for answers that never came"
        if self.unrecorded:
            text += f"; up to {self.pu_unrecorded:.2f} more for {self.unrecorded} tiles in flight when a run was killed"
        return text

    def __str__(self) -> str:
        width = max(9, *(len(label) for label, _ in self.summary()))
        return "\n".join(f"{label:>{width}}  {value}" for label, value in self.summary())

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><th>{html.escape(label)}</th><td>{html.escape(value)}</td></tr>" for label, value in self.summary()
        )
        return f"<table>{rows}</table>{'' if self.drawing is None else self.drawing()}"


def _duration(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 60 else f"{seconds / 60:.1f} min"  # noqa: PLR2004  # a minute


def add_reports(reports: Mapping[str, BuildReport], *, store: str) -> BuildReport:
    """The report of a cube of several groups, by their paths. Pure."""
    sums: dict[str, Any] = {name: sum(getattr(report, name) for report in reports.values()) for name in SUMS}
    failures = {
        f"{path} {tile}".lstrip(): text for path, report in reports.items() for tile, text in report.failures.items()
    }
    notes = tuple(f"{path}: {note}" if path else note for path, report in reports.items() for note in report.notes)
    return BuildReport(**sums, store=store, failures=failures, notes=notes, groups=dict(reports))


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """The state of a running build, for displays."""

    tiles: int
    done: int
    """Written or empty, in this run or before."""
    failed: int
    requests: int
    rejected: int
    pu_spent: float
    pu_projected: float
    seconds: float
    requests_per_minute: float
    """Over this run."""
    remaining_s: float | None
    """Projected from this run's pace; None until there is one."""
    waiting_for: str
    max_pu: float | None = None
    """What this run may spend; None without a cap."""
    dearness: float = 1.0
    """What finished tiles of this run cost, as a multiple of their projection; of the group that is being built."""
    jobs: Mapping[str, int] = field(default_factory=dict)
    """Jobs of Async Process by stage; empty where there are none."""

    def note(self) -> dict[str, object]:
        """What the owner's heartbeat carries for `status`; of this run. Pure."""
        return {
            "waiting_for": self.waiting_for,
            "pu_spent": round(self.pu_spent, 4),
            "pu_projected": round(self.pu_projected, 4),
            "max_pu": self.max_pu,
            "requests_per_minute": round(self.requests_per_minute, 1),
            "rejected": self.rejected,
            "seconds": round(self.seconds, 1),
        }


def add_progress(
    now: Progress, path: str, *, before: Sequence[BuildReport], later: Sequence[tuple[int, float]], max_pu: float | None
) -> Progress:
    """The progress of a whole cube while its group at ``path`` is being built. Pure.

    ``before`` are the reports of the groups that came before; ``later`` the tiles and the projected processing units of
    those that follow. What remains is taken to go on at the price per second of the group that is being built.
    """
    seconds = now.seconds + sum(report.seconds for report in before)
    requests = now.requests + sum(report.requests for report in before)
    pu_later = sum(pu for _, pu in later)
    pu_here = now.pu_projected - now.pu_spent
    remaining_s = now.remaining_s
    if remaining_s is not None and pu_later:
        remaining_s = remaining_s * (1 + pu_later / pu_here) if pu_here > 0 else None
    return replace(
        now,
        tiles=now.tiles + sum(report.tiles for report in before) + sum(tiles for tiles, _ in later),
        done=now.done + sum(report.written + report.empty + report.skipped for report in before),
        failed=now.failed + sum(report.failed for report in before),
        requests=requests,
        rejected=now.rejected + sum(report.rejected for report in before),
        pu_spent=now.pu_spent + sum(report.pu_spent for report in before),
        pu_projected=now.pu_projected + sum(report.pu_projected for report in before) + pu_later,
        seconds=seconds,
        requests_per_minute=requests / seconds * 60 if seconds else 0.0,
        remaining_s=remaining_s,
        waiting_for=f"{now.waiting_for} ({path})",
        max_pu=max_pu,
    )
