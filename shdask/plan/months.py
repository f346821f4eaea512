"""A plan's cost by month: of the data, and of the account's quota.

Pure. Refuses to know today's date: months of the quota are counted from the first.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import floor, inf
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from shdask.plan.cost import Cost
    from shdask.plan.group import GroupPlan
    from shdask.settings import Deployment

DUST = 1e-9
"""Of a quota: less of it is what sums are rounded by."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QuotaMonths:
    """One month of the account, or several alike in a row."""

    first: int
    """Counts from 1, the month in which the build begins."""
    last: int
    requests: int
    """In all of them together."""
    pu: float
    """In all of them together."""
    groups: tuple[str, ...]
    """Paths of the groups that are bought in them."""


def cost_by_month(plan: GroupPlan) -> dict[str, Cost]:
    """The cost of ``plan`` by the month of its dates, ``2024-06``, ascending; nothing without a time axis. Pure.

    A request that brings dates of several months counts in the first of them.
    """
    if plan.timeline is None:
        return {}
    names = [f"{step.time:%Y-%m}" for step in plan.timeline.steps]
    months, number = np.unique(names, return_inverse=True)
    tiles = plan.tile_set.indices()
    costs = plan.cost_by(tiles, number[tiles // plan.tile_set.cell_count], months.size)
    return {str(month): cost for month, cost in zip(months, costs, strict=True) if cost.requests or cost.pu}


def spread_over_months(costs: Mapping[str, Cost], account: Deployment) -> tuple[QuotaMonths, ...]:
    """In which months of the quota groups, by path and one after the other, can be paid; all of them at once. Pure.

    Each month begins with all of its quota, and a group that does not fit is cut where either is used up.
    """
    spread = _Spread(
        requests=inf if account.requests_per_month is None else account.requests_per_month,
        pu=inf if account.pu_per_month is None else account.pu_per_month,
    )
    for path, cost in costs.items():
        spread.add(path, cost)
    return spread.close()


@dataclass(slots=True, kw_only=True)
class _Spread:
    """Months that are filled one after the other."""

    requests: float
    pu: float
    month: int = 1
    used: tuple[float, float] = (0.0, 0.0)
    groups: tuple[str, ...] = ()
    rounded: float = 0.0
    """What months before have over whole requests."""
    rows: list[QuotaMonths] = field(default_factory=list)

    def add(self, path: str, cost: Cost) -> None:
        """Pay for a group: in what is left of this month, in whole months, and in a part of the last."""
        if not cost.requests and not cost.pu:
            return
        here = max(cost.requests / self.requests, cost.pu / self.pu)
        left = 1.0
        while left > DUST:
            room = min(
                left,
                (self.requests - self.used[0]) / cost.requests if cost.requests else inf,
                (self.pu - self.used[1]) / cost.pu if cost.pu else inf,
            )
            if room * here > DUST or not here:
                self._use(path, cost, room)
                left -= room
            if left <= DUST:
                return
            self._end()
            whole = floor(left * here + DUST)
            if whole:
                share = min(left, whole / here)
                self._use(path, cost, share)
                self._end(whole)
                left -= share

    def _use(self, path: str, cost: Cost, share: float) -> None:
        self.used = self.used[0] + share * cost.requests, self.used[1] + share * cost.pu
        self.groups = (*self.groups, path) if path not in self.groups else self.groups

    def _end(self, count: int = 1) -> None:
        if self.groups:
            exact = self.used[0] + self.rounded
            requests = round(exact)
            self.rounded = exact - requests
            self.rows.append(
                QuotaMonths(
                    first=self.month,
                    last=self.month + count - 1,
                    requests=requests,
                    pu=self.used[1],
                    groups=self.groups,
                )
            )
            self.month += count
        self.used, self.groups = (0.0, 0.0), ()

    def close(self) -> tuple[QuotaMonths, ...]:
        """All months."""
        self._end()
        return tuple(self.rows)
