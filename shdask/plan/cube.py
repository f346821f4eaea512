"""CubePlan: the whole of a job, a group for each layer, with the price of all of them.

Refuses to know how anything is fetched or stored.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from shdask.errors import PlanError
from shdask.plan.cost import Cost, add_costs
from shdask.plan.explain import TileExplanation, explain_tile
from shdask.plan.group import GroupPlan
from shdask.plan.measured import Measured
from shdask.plan.notebook import draw_plan
from shdask.plan.summary import PlanSummary, summarize
from shdask.plan.wording import counted

ROOT = ""
"""Path of the one group of a cube of one layer in one CRS."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CubePlan:
    """Everything a build needs to know but the credentials."""

    groups: Mapping[str, GroupPlan]
    """By the group's path below the cube, ``""`` for the root, in the order in which they are built."""
    max_pu: float | None = None
    notes: tuple[str, ...] = field(default=())
    """What was found out on the way, for the user to read."""
    measured: Mapping[str, Measured] = field(default_factory=dict)
    """What earlier runs of a group's kind have shown, by the group's path; nothing of those that were none."""

    @property
    def only(self) -> GroupPlan:
        """The one group. Raises PlanError where there are several."""
        if len(self.groups) != 1:
            raise PlanError(f"the plan has {len(self.groups)} groups, {', '.join(self.groups)}; pick one of them")
        return next(iter(self.groups.values()))

    @property
    def cost(self) -> Cost:
        """What all groups cost, bought one after the other."""
        return add_costs([group.cost for group in self.groups.values()])

    @property
    def tile_count(self) -> int:
        """Tiles of all groups."""
        return sum(group.tile_count for group in self.groups.values())

    def describe(self) -> dict[str, Any]:
        """Every group's `GroupPlan.describe`, by path. Pure."""
        return {path: group.describe() for path, group in self.groups.items()}

    def __reduce__(self) -> tuple[Any, ...]:
        return _make, (dict(self.groups), self.max_pu, self.notes, dict(self.measured))

    def __repr__(self) -> str:
        return "\n".join(["CubePlan", *(f"{indent}{line}" for indent, line in self._lines())])

    def explain(self, tile: int, *, group: str | None = None) -> TileExplanation:
        """Why a tile is asked for as it is, and at what price; ``group`` is its path, where there are several. Pure.

        Raises IndexError outside the array; PlanError for a path that is none of the plan's, and for a tile of
        several groups.
        """
        path = next(iter(self.groups)) if group is None and len(self.groups) == 1 else group
        if path is None:
            raise PlanError(f"tile {tile} is in each of the groups {', '.join(self.groups)}; name one of them")
        if path not in self.groups:
            raise PlanError(f"the plan has no group {path!r}; it has {', '.join(each or '/' for each in self.groups)}")
        return explain_tile(self.groups[path], tile, group=path)

    def summary(self) -> PlanSummary:
        """What it costs: as values, as JSON types, as rows for people. Pure."""
        return summarize(self)

    def _repr_html_(self) -> str:
        return draw_plan(self)

    def _lines(self) -> list[tuple[str, str]]:
        lines = [("", note) for note in self.notes]
        for path, group in self.groups.items():
            first, *rest = group.lines()
            lines += [("  ", f"{path}: {first}" if path else first), *(("    ", line) for line in rest)]
        if len(self.groups) > 1:
            cost = self.cost
            lines.append(
                ("  ", f"in all: {counted(cost.requests, 'request')}, {cost.pu:.2f} PU, {cost.minutes:.1f} min")
            )
        return lines


def make_cube_plan(
    groups: Mapping[str, GroupPlan],
    *,
    max_pu: float | None = None,
    notes: tuple[str, ...] = (),
    measured: Mapping[str, Measured] = MappingProxyType({}),
) -> CubePlan:
    """The plan of these groups. Pure."""
    return CubePlan(
        groups=MappingProxyType(dict(groups)), max_pu=max_pu, notes=notes, measured=MappingProxyType(dict(measured))
    )


def _make(
    groups: dict[str, GroupPlan], max_pu: float | None, notes: tuple[str, ...], measured: dict[str, Measured]
) -> CubePlan:
    return make_cube_plan(groups, max_pu=max_pu, notes=notes, measured=measured)
