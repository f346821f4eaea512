"""What a plan costs, told once for terminals, JSON and notebooks: as values, as JSON types, and as rows of words.

Pure. Refuses to draw.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from shdask.plan.cost import add_costs
from shdask.plan.months import QuotaMonths, cost_by_month, spread_over_months
from shdask.plan.naive import WholeBoxes, add_boxes, price_whole_boxes
from shdask.plan.wording import counted, duration, size, weigh

if TYPE_CHECKING:
    from shdask.plan.cost import Cost
    from shdask.plan.cube import CubePlan
    from shdask.plan.group import GroupPlan
    from shdask.plan.measured import Measured

SHOWN_MONTHS = 24
"""Of the data and of the quota each; JSON has all of them."""
LIMITS: Mapping[str, str] = MappingProxyType(
    {
        "requests_per_minute": "the requests per minute bind",
        "pu_per_minute": "the PU per minute bind",
        "requests_per_month": "the requests per month bind",
        "pu_per_month": "the PU per month bind",
        "jobs_at_once": "the jobs at once bind",
    }
)
RATES: Mapping[str, str] = MappingProxyType(
    {"requests": "requests_per_minute", "pu": "pu_per_minute", "jobs": "jobs_at_once"}
)
"""What takes longest -> the limit that it takes so long by."""

Row = tuple[str, str]
"""(label, words); rows of a group's own begin with one without words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupSummary:
    """What one group costs."""

    path: str
    plan: GroupPlan
    tiles: int
    cost: Cost
    boxes: WholeBoxes
    """The same in whole boxes."""
    by_month: Mapping[str, Cost]
    """By the month of the data, ``2024-06``; nothing without a time axis."""
    measured: Measured | None
    """What earlier runs of its kind have shown."""

    def as_dict(self) -> dict[str, Any]:
        """As JSON types. Pure."""
        months = {month: cost_json(cost) for month, cost in self.by_month.items()}
        learned = {} if self.measured is None else {"learned": _learned_json(self.measured)}
        return {
            **cost_json(self.cost),
            "tiles": self.tiles,
            **({} if self.plan.routing is None else {"routing": self.plan.routing.as_dict()}),
            "whole_boxes": boxes_json(self.boxes, self.cost),
            **({"by_month": months} if months else {}),
            **({} if self.plan.all_dates is None else {"all_dates": cost_json(self.plan.all_dates)}),
            **learned,
        }

    def rows(self) -> Iterator[Row]:
        """For people: what is asked for, and what it costs. Pure."""
        plan = self.plan
        (height, width), (rx, ry) = plan.grid.shape, plan.grid.resolution
        yield "grid", f"{width} x {height} px of {rx:g}{'' if rx == ry else f' x {ry:g}'} in {plan.grid.crs}"
        yield "bands", ", ".join(band.name for band in plan.layer.bands) + f" of {plan.layer.collection}"
        if plan.timeline is not None:
            times = [step.time for step in plan.timeline.steps]
            days = f"{min(times):%Y-%m-%d} to {max(times):%Y-%m-%d}"
            yield "steps", f"{len(times)} ({plan.layer.cadence}), {days}"
        yield "tiles", f"{self.tiles} of {plan.store.tile_px} px{self._left_out()}"
        if plan.routing is not None:
            yield from (("route", line) for line in plan.routing.lines())
        yield from cost_rows(self.cost, self.boxes, is_most=self._may_be_less)
        yield from _shown(
            [
                (month, f"{counted(cost.requests, 'request')}, {cost.pu:.2f} PU, {size(cost.nbytes_down)}")
                for month, cost in self.by_month.items()
            ],
            SHOWN_MONTHS,
        )
        if plan.all_dates is not None:
            yield "composite", weigh(self.cost, plan.all_dates, dates=plan.layer.leading.samples)
        yield from (("note", note) for note in plan.notes)

    @property
    def _may_be_less(self) -> bool:
        return self.plan.clear is not None and self.plan.tile_set.cloudy is None

    def _left_out(self) -> str:
        plan = self.plan
        trimmed = plan.windows.by_cell.keys.size
        unreached, declined = plan.tile_set.unreached().size, plan.tile_set.not_chosen().size
        return "".join(
            f"; {count} {words}"
            for count, words in (
                (trimmed, "at the border, trimmed to the area"),
                (unreached, "more that no scene reaches are not bought"),
                (declined, "more that scenes reach were not chosen"),
            )
            if count
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanSummary:
    """What a whole plan costs, group by group and in all."""

    groups: tuple[GroupSummary, ...]
    tiles: int
    cost: Cost
    boxes: WholeBoxes
    quota_months: tuple[QuotaMonths, ...]
    """Which groups are paid in which months of the account's quota; one entry where one month is enough."""
    notes: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """As JSON types; ``groups`` by path, only where there is more than the root. Pure."""
        only = self.groups[0] if [each.path for each in self.groups] == [""] else None
        if only is not None:
            told = only.as_dict()
        else:
            told = {
                **cost_json(self.cost),
                "tiles": self.tiles,
                "whole_boxes": boxes_json(self.boxes, self.cost),
                "groups": {each.path: each.as_dict() for each in self.groups},
            }
        return {
            **told,
            "quota_months": [_months_json(months) for months in self.quota_months],
            "notes": [*self.notes, *(note for each in self.groups for note in each.plan.notes)],
        }

    def rows(self) -> Iterator[Row]:
        """For people: notes, each group's rows, all groups' together, and the months of the quota. Pure."""
        yield from (("note", note) for note in self.notes)
        for each in self.groups:
            if len(self.groups) > 1 or each.path:
                yield each.path or each.plan.layer.name, ""
            yield from each.rows()
        if len(self.groups) > 1:
            yield "in all", ""
            yield "tiles", f"{self.tiles}"
            yield from cost_rows(self.cost, self.boxes)
        if self.cost.months > 1:
            yield "calendar", ""
            yield from _shown([_calendar_row(months) for months in self.quota_months], SHOWN_MONTHS)


def summarize(plan: CubePlan) -> PlanSummary:
    """What ``plan`` costs. Pure; looks at every tile several times."""
    groups = tuple(
        GroupSummary(
            path=path,
            plan=group,
            tiles=group.tile_count,
            cost=group.cost,
            boxes=price_whole_boxes(group),
            by_month=cost_by_month(group),
            measured=plan.measured.get(path),
        )
        for path, group in plan.groups.items()
    )
    return PlanSummary(
        groups=groups,
        tiles=sum(each.tiles for each in groups),
        cost=add_costs([each.cost for each in groups]),
        boxes=add_boxes([each.boxes for each in groups]),
        quota_months=spread_over_months({each.path: each.cost for each in groups}, groups[0].plan.deployment),
        notes=plan.notes,
    )


def cost_json(cost: Cost) -> dict[str, Any]:
    """A cost as JSON types: the promised names first. Pure."""
    return {
        "requests": cost.requests,
        "pu": cost.pu,
        "minutes": cost.minutes,
        "nbytes": cost.nbytes_down,
        "nbytes_stored": cost.nbytes_stored,
        "minutes_by_requests": cost.minutes_by_requests,
        "minutes_by_pu": cost.minutes_by_pu,
        "months": cost.months,
        "months_by_requests": cost.months_by_requests,
        "months_by_pu": cost.months_by_pu,
        "limit": cost.limit,
    }


def boxes_json(boxes: WholeBoxes, cost: Cost) -> dict[str, Any]:
    """What whole boxes would cost, and what is saved, as JSON types. Pure."""
    return {
        "box_px": boxes.box_px,
        "requests": boxes.requests,
        "pu": boxes.pu,
        "minutes": boxes.minutes,
        "pu_saved_percent": 100 * boxes.pu_saved(cost),
        "minutes_saved_percent": 100 * boxes.minutes_saved(cost),
    }


def cost_rows(cost: Cost, boxes: WholeBoxes, *, is_most: bool = False) -> Iterator[Row]:
    """For people: a cost and the same in whole boxes. ``is_most`` says that it may turn out less. Pure."""
    most = "at most " if is_most else ""
    yield "requests", f"{most}{cost.requests}"
    yield "price", f"{most}{cost.pu:.2f} PU"
    by_requests, by_pu = duration(cost.minutes_by_requests * 60), duration(cost.minutes_by_pu * 60)
    both = f"requests {by_requests}, PU {by_pu}"
    if cost.jobs:
        both = f"requests {by_requests}, jobs {duration(cost.minutes_by_jobs * 60)}"
    rate = LIMITS[RATES[cost.binding]]
    yield "time", f"about {duration(cost.minutes * 60)} at the account's rates ({both}); {rate}"
    if cost.months:
        shares = f"{_share(cost.months_by_requests)} of a month's requests, {_share(cost.months_by_pu)} of its PU"
        yield "quota", shares if cost.months <= 1 else f"{shares}: {cost.months:.1f} months; {LIMITS[cost.limit]}"
    yield "download", f"at most {size(cost.nbytes_down)}; {size(cost.nbytes_stored)} stored before compression"
    naive = f"{counted(boxes.requests, 'request')}, {boxes.pu:.2f} PU, {duration(boxes.minutes * 60)}"
    yield "whole boxes", f"{naive} in boxes of {boxes.box_px} px; {_saved(boxes.pu_saved(cost))}"


def _saved(share: float) -> str:
    return f"{_share(share)} of their PU saved" if share >= 0 else f"this plan takes {_share(-share)} more PU"


def _share(share: float) -> str:
    return f"{share:.1%}" if share < 0.1 else f"{share:.0%}"  # noqa: PLR2004  # a tenth


def _calendar_row(months: QuotaMonths) -> Row:
    name = f"month {months.first}" if months.first == months.last else f"months {months.first} to {months.last}"
    layers = ", ".join(path or "all of it" for path in months.groups)
    return name, f"{counted(months.requests, 'request')}, {months.pu:.2f} PU: {layers}"


def _shown(rows: list[Row], most: int) -> list[Row]:
    return rows if len(rows) <= most else [*rows[:most], ("...", f"and {len(rows) - most} more; --json has all")]


def _months_json(months: QuotaMonths) -> dict[str, Any]:
    return {
        "first": months.first,
        "last": months.last,
        "requests": months.requests,
        "pu": months.pu,
        "groups": list(months.groups),
    }


def _learned_json(measured: Measured) -> dict[str, Any]:
    return {
        "runs": measured.runs,
        "pu_ratio": measured.pu_ratio,
        "time_ratio": measured.time_ratio,
        "nbytes_ratio": measured.nbytes_ratio,
        "latency_s": measured.latency_s,
    }
