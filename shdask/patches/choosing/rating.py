"""How much of a patch is valid and clear, at which date; and which patches are good enough.

Refuses to know pixels: asks an index.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, Protocol

import numpy as np

from shdask.errors import PlanError
from shdask.patches.choosing.draft import join_drafts

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from shdask.patches.choosing.draft import Draft
    from shdask.patches.choosing.places import Ground

    Shares = NDArray[np.float32]
    Times = NDArray[np.datetime64]
    Rows = NDArray[np.intp]

Dates = Literal["all", "each", "clearest"]
"""For which dates a patch is: for all of the cube, one patch for each, or one for the date at which it is clearest."""
BATCH = 4_000_000
"""Shares that are held at once."""


class ShareIndex(Protocol):
    """What tells shares without reading pixels; see `CubeIndex`."""

    def dates(self, zone: str, layer: str) -> Times:
        """(t,): ascending; one NaT where there is no time axis."""

    def shares(
        self, zone: str, layer: str, y0: NDArray[np.int64], x0: NDArray[np.int64], size_px: int
    ) -> tuple[Shares, Shares]:
        """(n, t) valid, and clear of the valid."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which patches are good enough."""

    layers: tuple[str, ...]
    """The first one that has dates gives them; of several, a patch has the least shares."""
    dates: Dates = "all"
    min_valid: float | None = None
    """None: at least one pixel."""
    min_clear: float | None = None
    within_days: int = 0
    """How far the date of a label may be from that of its patch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejected:
    """How many were not good enough, and why."""

    shares: int = 0
    dates: int = 0
    """Labels without a date within the days, or with none that is good enough."""


def check_wanted(wanted: Wanted, ground: Ground) -> None:
    """Raise PlanError for what cannot be asked of a cube."""
    for name, share in (("min_valid", wanted.min_valid), ("min_clear", wanted.min_clear)):
        if share is not None and not 0.0 <= share <= 1.0:
            raise PlanError(f"{name} = {share:g}: it is a share, from 0 to 1")
    missing = [layer for layer in wanted.layers if layer not in ground.layers]
    if missing:
        raise PlanError(f"layers: the cube has no layer {missing[0]!r}; it has {', '.join(ground.layers)}")
    if wanted.within_days < 0:
        raise PlanError(f"within_days = {wanted.within_days}: it counts days before and after, from 0")


def rate(
    draft: Draft, grounds: Sequence[Ground], index: ShareIndex, wanted: Wanted, size_px: int
) -> tuple[Draft, Rejected]:
    """The patches that are good enough, with their date and shares, in their order; and how many are not."""
    parts: list[Draft] = []
    places: list[Rows] = []
    without_date = 0
    for number, ground in enumerate(grounds):
        rows = np.flatnonzero(draft.ground == number)
        if not rows.size:
            continue
        axis = _Axis.of(ground, index, wanted)
        for start in range(0, rows.size, step := max(1, BATCH // axis.times.size)):
            some = rows[start : start + step]
            rated, kept, lost = _rate(draft.take(some), ground, index, wanted, axis=axis, size_px=size_px)
            parts.append(rated)
            places.append(some[kept])
            without_date += lost
    if not parts:
        return draft, Rejected()
    order = np.argsort(np.concatenate(places), kind="stable")
    gone = len(draft) - np.unique(np.concatenate(places)).size - without_date
    return join_drafts(parts).take(order), Rejected(shares=gone, dates=without_date)


def match_dates(draft: Draft, grounds: Sequence[Ground], layers: Sequence[str], within_days: int) -> tuple[Draft, int]:
    """Dated patches moved to the nearest date of a plan, where it knows its dates; and how many have none near. Pure.

    Of two as near the earlier one.
    """
    date, kept = draft.date.copy(), np.ones(len(draft), np.bool_)
    for number, ground in enumerate(grounds):
        times = next((ground.dates[layer] for layer in layers if layer in ground.dates), None)
        rows = np.flatnonzero((draft.ground == number) & ~np.isnat(draft.date))
        if times is None or not rows.size:
            continue
        far = _days_apart(draft.date[rows], times)
        nearest = np.argmin(far, axis=1)
        date[rows] = times[nearest]
        kept[rows] = far[np.arange(rows.size), nearest] <= within_days
    return replace(draft, date=date).take(kept), int((~kept).sum())


def find_dated_layer(ground: Ground, index: ShareIndex, layers: Sequence[str]) -> str:
    """The layer whose dates patches have: the first of ``layers`` with dates, or the first where none has."""
    dated = (layer for layer in layers if not np.isnat(index.dates(ground.zone, layer)).all())
    return next(dated, layers[0])


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Axis:
    """The layer whose dates patches have."""

    layer: str
    times: Times
    newest: NDArray[np.bool_]
    """(t,): False for a date that was bought again later."""

    @classmethod
    def of(cls, ground: Ground, index: ShareIndex, wanted: Wanted) -> _Axis:
        layer = find_dated_layer(ground, index, wanted.layers)
        times = index.dates(ground.zone, layer)
        return cls(layer=layer, times=times, newest=_are_newest(times))

    @property
    def has_time(self) -> bool:
        return not bool(np.isnat(self.times).all())


def _rate(
    draft: Draft, ground: Ground, index: ShareIndex, wanted: Wanted, *, axis: _Axis, size_px: int
) -> tuple[Draft, Rows, int]:
    """The good ones of one grid, their rows in ``draft``, and how many labels have no date."""
    valid, clear = index.shares(ground.zone, axis.layer, draft.y0, draft.x0, size_px)
    valid, clear = valid[:, axis.newest], clear[:, axis.newest]
    times = axis.times[axis.newest]
    floor_valid, floor_clear = _shares_of_others(draft, ground, index, wanted, axis=axis, size_px=size_px)
    has_date = ~np.isnat(draft.date) if axis.has_time else np.zeros(len(draft), np.bool_)
    is_single = has_date | (wanted.dates != "all" and axis.has_time)
    mean_valid, mean_clear = _over_dates(valid, clear)
    found_valid = np.minimum(valid, floor_valid[:, np.newaxis])
    found_clear = np.minimum(clear, floor_clear[:, np.newaxis])
    good = _is_good(found_valid, found_clear, wanted) & is_single[:, np.newaxis]
    if has_date.any():
        good[has_date] &= _days_apart(draft.date[has_date], times) <= wanted.within_days
    lost = int((has_date & ~good.any(axis=1)).sum())
    row, column = _pick(
        good, found_valid * found_clear, asked=draft.date, times=times, has_date=has_date, dates=wanted.dates
    )
    whole = np.flatnonzero(
        ~is_single & _is_good(np.minimum(mean_valid, floor_valid), np.minimum(mean_clear, floor_clear), wanted)
    )
    dated = replace(
        draft.take(row), date=times[column], valid_share=found_valid[row, column], clear_share=found_clear[row, column]
    )
    rest = replace(
        draft.take(whole),
        date=np.full(whole.size, "NaT", "datetime64[s]"),
        valid_share=np.minimum(mean_valid, floor_valid)[whole],
        clear_share=np.minimum(mean_clear, floor_clear)[whole],
    )
    return join_drafts([dated, rest]), np.concatenate((row, whole)), lost


def _pick(
    good: NDArray[np.bool_], merit: Shares, *, asked: Times, times: Times, has_date: NDArray[np.bool_], dates: Dates
) -> tuple[Rows, Rows]:
    """(row, column) of the dates that patches are for: of labels the nearest, the clearer and earlier of equals."""
    if dates == "each" and not has_date.any():
        row, column = np.nonzero(good)
        return row, column
    score = np.where(good, merit.astype(np.float64), -np.inf)
    if has_date.any():
        score[has_date] -= 2.0 * _days_apart(asked[has_date], times)
    some = np.flatnonzero(good.any(axis=1) & (has_date | (dates != "each")))
    row, column = some, np.argmax(score[some], axis=1)
    if dates == "each":
        more, at = np.nonzero(good & ~has_date[:, np.newaxis])
        row, column = np.concatenate((row, more)), np.concatenate((column, at))
    return row, column


def _shares_of_others(
    draft: Draft, ground: Ground, index: ShareIndex, wanted: Wanted, *, axis: _Axis, size_px: int
) -> tuple[Shares, Shares]:
    """The least shares of the other layers, each over all its dates; 1 where there is none."""
    valid, clear = np.ones(len(draft), np.float32), np.ones(len(draft), np.float32)
    for layer in wanted.layers:
        if layer != axis.layer:
            newest = _are_newest(index.dates(ground.zone, layer))
            shares = index.shares(ground.zone, layer, draft.y0, draft.x0, size_px)
            told = _over_dates(*(each[:, newest] for each in shares))
            valid, clear = np.minimum(valid, told[0]), np.minimum(clear, told[1])
    return valid, clear


def _are_newest(times: Times) -> NDArray[np.bool_]:
    """(t,): False for a date that was bought again later."""
    return np.append(times[1:] != times[:-1], True)


def _over_dates(valid: Shares, clear: Shares) -> tuple[Shares, Shares]:
    """(n,): valid pixels of all, and clear ones of the valid, over all dates."""
    count = valid.sum(axis=1, dtype=np.float64)
    clear_count = (valid * clear).sum(axis=1, dtype=np.float64)
    share = np.divide(clear_count, count, out=np.zeros_like(count), where=count > 0)
    return (count / valid.shape[1]).astype(np.float32), share.astype(np.float32)


def _is_good(valid: Shares, clear: Shares, wanted: Wanted) -> NDArray[np.bool_]:
    good = valid > 0.0 if wanted.min_valid is None else valid >= np.float32(wanted.min_valid)
    return np.asarray(good if wanted.min_clear is None else good & (clear >= np.float32(wanted.min_clear)))


def _days_apart(dates: Times, times: Times) -> NDArray[np.int64]:
    """(n, t): whole days between calendar days."""
    days = dates.astype("datetime64[D]").astype(np.int64)
    return np.asarray(np.abs(days[:, np.newaxis] - times.astype("datetime64[D]").astype(np.int64)))
