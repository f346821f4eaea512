"""Which dates of a layer become the steps of a sample, so that all samples have as many and several layers agree.

Pure. Refuses to know pixels and files.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Literal, Protocol

import numpy as np

from shdask.errors import PlanError
from shdask.model import TimeInterval
from shdask.plan.cadence import ACQUISITION, check_cadence, find_spans

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Times = NDArray[np.datetime64]

Reduce = Literal["median", "mean", "first"]
"""How several dates become one step: of a pixel's clear values, else of its valid ones; ``first`` is the earliest."""
NO_DATE = np.datetime64("NaT", "s")
_DAY_S = 86400.0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Aligned:
    """The steps of one sample of one layer."""

    members: tuple[tuple[int, ...], ...]
    """For each step the positions on the layer's axis that it is made of; none where it is padding."""
    times: Times
    """(step,), UTC to the second; NaT where it is padding."""
    reduce: Reduce = "first"


class Alignment(Protocol):
    """A rule that chooses steps; its instances are small, picklable values."""

    @property
    def needs_shares(self) -> bool:
        """Whether it chooses by how clear dates are."""

    def align(self, times: Times, *, shares: NDArray[np.float32] | None, leader: Times | None) -> Aligned:
        """Choose among ``times`` ((date,), ascending, to the second). Pure.

        ``shares`` (date,) is the clear part of the patch at each; ``leader`` are the times of the step or steps that a
        rule follows.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class AllDates:
    """Every date, in order; with ``count`` the first so many, padded at the end where there are fewer."""

    count: int | None = None
    needs_shares: bool = field(default=False, init=False)

    def __post_init__(self) -> None:
        _check_count(self.count)

    def align(
        self,
        times: Times,
        *,
        shares: NDArray[np.float32] | None = None,  # noqa: ARG002  # the protocol's
        leader: Times | None = None,  # noqa: ARG002  # the protocol's
    ) -> Aligned:
        """See `Alignment`. Pure."""
        return _singles(list(range(times.size))[: self.count], times, self.count or times.size)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExactDates:
    """A step for each of these days: the layer's first date of that day, padding where it has none."""

    days: tuple[date | str | np.datetime64, ...]
    needs_shares: bool = field(default=False, init=False)

    def __post_init__(self) -> None:
        try:
            np.asarray(self.days, "datetime64[D]")
        except (ValueError, TypeError) as error:
            raise PlanError(f"days {self.days} are no days, such as ('2024-06-01', '2024-06-11')") from error

    def align(
        self,
        times: Times,
        *,
        shares: NDArray[np.float32] | None = None,  # noqa: ARG002  # the protocol's
        leader: Times | None = None,  # noqa: ARG002  # the protocol's
    ) -> Aligned:
        """See `Alignment`. Pure."""
        days = times.astype("datetime64[D]")
        wanted = np.asarray(self.days, "datetime64[D]")
        found = [np.flatnonzero(days == day)[:1].tolist() for day in wanted]
        return _singles([position[0] if position else -1 for position in found], times, len(found))


@dataclass(frozen=True, slots=True, kw_only=True)
class ClearestDates:
    """The ``count`` dates at which most of the patch is clear, in order of time, padded at the end.

    Of dates that are equally clear the earlier are taken; dates with no clear pixel never.
    """

    count: int
    needs_shares: bool = field(default=True, init=False)

    def __post_init__(self) -> None:
        _check_count(self.count)

    def align(
        self,
        times: Times,
        *,
        shares: NDArray[np.float32] | None,
        leader: Times | None = None,  # noqa: ARG002  # the protocol's
    ) -> Aligned:
        """See `Alignment`. Pure."""
        if shares is None:
            raise PlanError("clearest dates are chosen by an index: give open_reader(..., index=open_index(store))")
        clear = np.nan_to_num(np.asarray(shares, np.float64), nan=0.0)
        best = np.argsort(-clear, kind="stable")[: self.count]
        return _singles(sorted(best[clear[best] > 0].tolist()), times, self.count)


@dataclass(frozen=True, slots=True, kw_only=True)
class NearestDates:
    """For each step of another layer, or for the patch's own date, the nearest within so many days.

    The earlier of two that are equally near; padding where none is near enough. One date may serve several steps. Of a
    layer by day (or dekad, ...) a time is the beginning of its span.
    """

    within_days: float
    to: str | None = None
    """The layer that leads, which comes earlier in the sample; None: the patch's own date."""
    needs_shares: bool = field(default=False, init=False)

    def __post_init__(self) -> None:
        if not self.within_days >= 0:
            raise PlanError(f"within_days {self.within_days} is no number of days; give 0 or more")

    def align(
        self,
        times: Times,
        *,
        shares: NDArray[np.float32] | None = None,  # noqa: ARG002  # the protocol's
        leader: Times | None,
    ) -> Aligned:
        """See `Alignment`. Pure."""
        if leader is None:
            raise PlanError("nearest dates need something to be near to: a layer named in `to`, or patches with dates")
        return _singles([self._nearest(times, moment) for moment in leader], times, leader.size)

    def _nearest(self, times: Times, moment: np.datetime64) -> int:
        if not times.size or np.isnat(moment):
            return -1
        off_s = np.abs((times - moment) / np.timedelta64(1, "s"))
        best = int(np.argmin(off_s))
        return best if off_s[best] <= self.within_days * _DAY_S else -1


@dataclass(frozen=True, slots=True, kw_only=True)
class CalendarBins:
    """A step for each span of the calendar between two days: a composite of the dates in it, padding where none is.

    ``every`` is ``day``, ``dekad``, ``month`` or an ISO period such as ``P10D``, counted from ``first``. A step's time
    is the middle of its span, cut at ``first`` and ``last``.
    """

    every: str
    first: date
    last: date
    """Included."""
    reduce: Reduce = "median"
    needs_shares: bool = field(default=False, init=False)

    def __post_init__(self) -> None:
        check_cadence(self.every)
        if self.every == ACQUISITION or self.first > self.last:
            raise PlanError(
                f"bins every {self.every!r} from {self.first} to {self.last} are none; give day, dekad, month or a "
                f"period such as P10D, and a first day that is not after the last"
            )

    def align(
        self,
        times: Times,
        *,
        shares: NDArray[np.float32] | None = None,  # noqa: ARG002  # the protocol's
        leader: Times | None = None,  # noqa: ARG002  # the protocol's
    ) -> Aligned:
        """See `Alignment`. Pure."""
        starts, ends = self._edges()
        inside = [np.flatnonzero((times >= start) & (times < end)) for start, end in zip(starts, ends, strict=True)]
        members = tuple(tuple(positions.tolist()) for positions in inside)
        middles = starts + (ends - starts) // 2
        there = np.array([bool(positions) for positions in members], np.bool_)
        return Aligned(members=members, times=np.where(there, middles, NO_DATE), reduce=self.reduce)

    def _edges(self) -> tuple[Times, Times]:
        """(starts, ends) of the spans."""
        start = datetime(self.first.year, self.first.month, self.first.day, tzinfo=UTC)
        last = datetime(self.last.year, self.last.month, self.last.day, tzinfo=UTC)
        end = datetime.fromtimestamp(last.timestamp() + _DAY_S, UTC)
        spans: Callable[[datetime], TimeInterval] = find_spans(self.every, TimeInterval(start=start, end=end))
        edges = [start]
        while edges[-1] < end:
            edges.append(min(spans(edges[-1]).end, end))
        stamps = np.array([int(edge.timestamp()) for edge in edges], "datetime64[s]")
        return stamps[:-1], stamps[1:]


def _singles(positions: list[int], times: Times, count: int) -> Aligned:
    """One date a step, -1 for padding, padded to ``count``."""
    padded = np.array(positions + [-1] * (count - len(positions)), np.int64)
    there = padded >= 0
    chosen = np.full(padded.size, NO_DATE)
    chosen[there] = times[padded[there]]
    return Aligned(members=tuple((each,) if each >= 0 else () for each in padded.tolist()), times=chosen)


def _check_count(count: int | None) -> None:
    if count is not None and count < 1:
        raise PlanError(f"count {count}: a sample has one step at least")
