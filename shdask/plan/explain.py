"""Why one tile is asked for as it is: where it is, its windows and what they cost, and what that was weighed against.

Pure. Refuses to decide anything; it reads a plan.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from shdask.model import Window
from shdask.plan.cost import pu_minutes, request_minutes
from shdask.plan.jobs import make_jobs
from shdask.plan.windows import WORTHS
from shdask.plan.wording import counted, duration

if TYPE_CHECKING:
    from datetime import datetime

    from shdask.model import Tile
    from shdask.plan.grid import Bounds
    from shdask.plan.group import GroupPlan
    from shdask.settings import Deployment


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplainedWindow:
    """One window of a tile."""

    window: Window
    """In the array."""
    bounds: Bounds
    """(left, bottom, right, top) in CRS units."""
    pu: float
    """Of all parts, at one time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplainedPart:
    """What one request of every window brings."""

    bands: tuple[str, ...]
    sample_type: str
    resampling: str
    pu: float
    """Of all the tile's windows, at one time."""


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class TileExplanation:
    """What a plan buys of a tile, for what price, and why. Its repr is what a person reads."""

    group: str
    """Path of the tile's group; empty for the root."""
    tile: int
    row: int
    column: int
    time: datetime | None
    """The date of its step, UTC; None without a time axis."""
    crs: str
    extent: Window
    """In the array."""
    bounds: Bounds
    """(left, bottom, right, top) of the tile in CRS units."""
    left_out: str
    """Why it is not bought at all; empty where it is."""
    windows: tuple[ExplainedWindow, ...]
    parts: tuple[ExplainedPart, ...]
    requests: int
    """Where it is bought alone, or with ``dates``: one for each window and part."""
    pu: float
    """What it counts in the plan's price, one date's share of those requests."""
    area_px: int
    """Pixels of the area in it."""
    area_pu: float
    """What just so many pixels would cost in one request a part."""
    whole_pu: float
    """What the whole tile would cost in one request a part."""
    worth_pu: float
    """What one request more was taken to be worth; infinite where tiles are trimmed and never cut."""
    why: str
    """Where that comes from."""
    dates: tuple[datetime, ...]
    """Dates that come with the same requests, its own among them; empty where it is bought alone."""
    is_trimmed_to_swath: bool
    """Whether the scenes of its date end inside it, and windows leave out what they do not reach."""
    min_clear_share: float | None
    """It is bought only where a coarse look finds at least this share clear; None buys it always."""
    standing_areas: int | None
    """Of how many of the cube's earlier areas its pixels are there; None of a tile that is not reopened."""
    jobs: tuple[str, ...] = ()
    """The jobs of Async Process that bring it, one for each part, instead of windows; none where Process does."""
    route: str = ""
    """Why its group takes the route that it takes; empty where there is no choice."""

    def as_dict(self) -> dict[str, Any]:
        """As JSON types; a request that is never worth cutting for has no ``worth_pu``. Pure."""
        told = asdict(self)
        told["time"] = None if self.time is None else self.time.isoformat()
        told["dates"] = [date.isoformat() for date in self.dates]
        told["worth_pu"] = self.worth_pu if math.isfinite(self.worth_pu) else None
        return told

    def lines(self) -> list[str]:
        """What people want to know of it, a line each. Pure."""
        rows, columns = self.extent.shape
        date = "" if self.time is None else f", {self.time:%Y-%m-%d %H:%M}"
        left, bottom, right, top = (f"{edge:.10g}" for edge in self.bounds)
        where = [
            f"tile {self.tile}{f' of {self.group}' if self.group else ''}: row {self.row}, column {self.column}{date}",
            f"{columns} x {rows} px from row {self.extent.y0} and column {self.extent.x0} of the array",
            f"{left} {bottom} {right} {top} in {self.crs}",
        ]
        if self.left_out:
            return [*where, f"not bought: {self.left_out}"]
        if self.jobs:
            by_jobs = f"{self.pu:.4f} PU, its share of {' and '.join(self.jobs)} of Async Process: {self.route}"
            return [*where, by_jobs, *self._rule_lines()]
        return [*where, *self._window_lines(), *self._price_lines(), *self._rule_lines()]

    def _window_lines(self) -> list[str]:
        lines = []
        for each in self.windows:
            (height, width), window = each.window.shape, each.window.within(self.extent)
            place = f"at row {window.y0} and column {window.x0} of the tile"
            lines.append(f"window of {width} x {height} px {place}: {each.pu:.4f} PU")
        if len(self.parts) > 1:
            lines += [
                f"part {', '.join(part.bands)} ({part.sample_type}, {part.resampling}): {part.pu:.4f} PU"
                for part in self.parts
            ]
        return lines

    def _price_lines(self) -> list[str]:
        share = self.area_px / self.extent.pixel_count
        return [
            f"{self.pu:.4f} PU in {counted(self.requests, 'request')}",
            f"the area's own pixels, {share:.1%} of it, would cost {self.area_pu:.4f} PU; all, {self.whole_pu:.4f} PU",
            f"a request was taken to be worth {_amount(self.worth_pu)}: {self.why}",
        ]

    def _rule_lines(self) -> list[str]:
        lines = []
        if self.dates:
            first, last = min(self.dates), max(self.dates)
            lines.append(
                f"comes with {counted(len(self.dates), 'date')} from {first:%Y-%m-%d} to {last:%Y-%m-%d} in one"
            )
        if self.is_trimmed_to_swath:
            lines.append("trimmed to where the scenes of its date hold data")
        if self.min_clear_share is not None:
            lines.append(f"bought only where a coarse look finds at least {self.min_clear_share:.0%} clear")
        if self.standing_areas is not None:
            again = "only what the area has gained is bought" if self.standing_areas else "bought anew as a whole"
            lines.append(f"it stands in the cube; {again}")
        return lines

    def __repr__(self) -> str:
        return "\n  ".join(self.lines())


def explain_tile(plan: GroupPlan, index: int, *, group: str = "") -> TileExplanation:
    """Why the tile at ``index`` is asked for as it is. Pure. Raises IndexError outside the array."""
    index, tiles = int(index), plan.tile_set
    tile, left_out = plan.tile(index), _why_left_out(plan, index)
    steps = () if left_out or plan.timeline is None else _bundled_steps(plan, index)
    is_by_jobs = plan.is_by_jobs and not left_out
    windows = () if left_out or is_by_jobs else tile.windows
    jobs = [job for job in make_jobs(plan, tiles.indices()) if index in job.tiles] if is_by_jobs else []
    return TileExplanation(
        group=group,
        tile=index,
        row=tile.row,
        column=tile.column,
        time=None if plan.timeline is None or tile.step is None else plan.timeline.steps[tile.step].time,
        crs=plan.grid.crs,
        extent=tile.extent,
        bounds=plan.grid.bounds(tile.extent),
        left_out=left_out,
        windows=tuple(
            ExplainedWindow(window=window, bounds=plan.grid.bounds(window), pu=plan.window_pu(window, tile.step))
            for window in windows
        ),
        parts=_parts(plan, windows, tile.step),
        requests=len(jobs) or len(windows) * len(plan.layer.parts),
        pu=0.0 if left_out else _share_of(plan, tile, steps),
        area_px=int(np.count_nonzero(plan.area_mask(tile.extent))),
        area_pu=_price(plan, int(np.count_nonzero(plan.area_mask(tile.extent)))),
        whole_pu=plan.window_pu(tile.extent, tile.step),
        worth_pu=plan.windows.worth_pu,
        why=_why_worth(plan),
        dates=tuple(plan.timeline.steps[step].time for step in steps) if plan.timeline and len(steps) > 1 else (),
        is_trimmed_to_swath=_is_trimmed_to_swath(plan, tile),
        min_clear_share=None if plan.clear is None else plan.clear.min_share,
        standing_areas=plan.reopened.levels.get(index),
        jobs=tuple(f"job {job.key} for {counted(len(job.tiles), 'tile')}" for job in jobs),
        route="" if plan.routing is None else plan.routing.why,
    )


def _is_trimmed_to_swath(plan: GroupPlan, tile: Tile) -> bool:
    windows = plan.windows
    whole = windows.by_cell.find(tile.index % plan.tile_set.cell_count) or (tile.extent,)
    own = windows.by_tile.find(tile.index)  # which composites have of whole tiles as well
    return bool(own) and sum(each.pixel_count for each in own) < sum(each.pixel_count for each in whole)


def _why_left_out(plan: GroupPlan, index: int) -> str:
    tiles = plan.tile_set
    step, row, column = tiles.place(index)
    if not tiles.runs.holds(row, column):
        return "it holds no pixel of the area"
    if tiles.declined is not None and tiles.declined.mask(step)[row, column]:
        return "it was not chosen: no patch in it is of its date"
    if tiles.reach is not None and not tiles.reach.mask(step)[row, column]:
        return "no scene of its date reaches it"
    if not tiles.holds(index):
        return "a coarse look has found too little clear ground"
    return ""


def _bundled_steps(plan: GroupPlan, index: int) -> list[int]:
    """The steps whose tiles of this cell come with the tile at ``index``, itself among them."""
    tiles = plan.tile_set
    step, _, _ = tiles.place(index)
    if not tiles.bundles:
        return [step]
    cell = index % tiles.cell_count
    same = [other for other, bundle in enumerate(tiles.bundles) if bundle == tiles.bundles[step]]
    return [other for other in same if tiles.holds(other * tiles.cell_count + cell)]


def _share_of(plan: GroupPlan, tile: Tile, steps: list[int] | tuple[()]) -> float:
    if plan.is_by_jobs:  # a job's price has a floor, which its tiles share
        planned = plan.tile_set.indices()
        return float(plan.prices(planned)[planned == tile.index][0])
    cells, cell = plan.tile_set.cell_count, tile.index % plan.tile_set.cell_count
    together = np.array([step * cells + cell for step in steps] or [tile.index], np.intp)
    return float(plan.prices(together)[together == tile.index][0])


def _parts(plan: GroupPlan, windows: tuple[Window, ...], step: int | None) -> tuple[ExplainedPart, ...]:
    layer = plan.layer
    return tuple(
        ExplainedPart(
            bands=tuple(layer.bands[position].name for position in part.bands),
            sample_type=part.sample_type,
            resampling=part.resampling,
            pu=math.fsum(plan.part_pu(part, window, [step]) for window in windows),
        )
        for part in layer.parts
    )


def _price(plan: GroupPlan, pixels: int) -> float:
    return float(plan.layer.price_pixels(np.array([pixels], np.float64))[0]) if pixels else 0.0


def _why_worth(plan: GroupPlan) -> str:
    account, cost = plan.deployment, plan.cost
    if plan.prefer == "requests":
        return 'prefer = "requests", so that tiles are trimmed and never cut'
    if plan.prefer == "pu":
        return 'prefer = "pu", so that tiles are cut wherever that saves PU worth the trouble'
    if not plan.windows.worth_pu:
        return "the area fills its tiles, and nothing is trimmed"
    requests, pu = 60 * request_minutes(cost.requests, account), 60 * pu_minutes(cost.pu, account)
    both = f"{cost.requests} requests take {duration(requests)}, {cost.pu:.2f} PU {duration(pu)}, by {_limits(account)}"
    if not math.isfinite(plan.windows.worth_pu):
        return f"requests bind even where no tile is cut; {both}"
    least = _price(plan, int(plan.ground.whole_px)) / 2**WORTHS
    if plan.windows.worth_pu <= least:
        return f"PU bind, and it is never taken to be worth less; {both}"
    return f"the least at which requests take no longer than PU; {both}"


def _limits(account: Deployment) -> str:
    per_minute = f"{account.requests_per_minute:g} requests and {account.pu_per_minute:g} PU a minute"
    quotas = ((account.requests_per_month, "requests"), (account.pu_per_month, "PU"))
    per_month = " and ".join(f"{quota:g} {unit}" for quota, unit in quotas if quota is not None)
    return f"{per_minute}, {per_month} a month" if per_month else per_minute


def _amount(pu: float) -> str:
    return f"{pu:.4f} PU" if math.isfinite(pu) else "more than any cut saves"
