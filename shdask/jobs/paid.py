"""What of a run's tiles lies in the windows of jobs that are paid for, whatever these were ordered for.

Pure. Refuses to know what else is ordered.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shdask.assemble.job_rows import JobIntent, JobRecord
from shdask.fetch.process import window_body
from shdask.model import Window
from shdask.plan.group import GroupPlan
from shdask.plan.jobs import bought_boxes
from shdask.request.digest import request_digest


@dataclass(frozen=True, slots=True, kw_only=True)
class PaidWindow:
    """Pixels of one step that open jobs were ordered for, and the tiles that can be made of them."""

    window: Window
    records: Mapping[int, JobRecord]
    """By the part of the layer; at least one."""
    tiles: tuple[int, ...]
    """Of this run, ascending; at least one."""


def find_paid(plan: GroupPlan, tiles: NDArray[np.intp], records: Mapping[str, JobRecord]) -> list[PaidWindow]:
    """Which of ``tiles`` can be made of what open jobs bring, each tile in one window at most. Pure.

    Where several could bring a tile, it is made of what the most parts are paid for of, then of what has been
    delivered, then of the smaller window.
    """
    by_window: dict[tuple[int, Window], dict[int, JobRecord]] = {}
    for record in sorted(_usable(plan, records), key=_preference):
        step = record.intent.tiles[0] // plan.tile_set.cell_count
        part = part_of(plan, record.intent)
        if part is not None:
            by_window.setdefault((step, record.intent.window), {}).setdefault(part, record)
    wanted = np.zeros(plan.tile_set.index_count, np.bool_)
    wanted[tiles] = True
    found = []
    for (step, window), parts in sorted(by_window.items(), key=lambda item: _rank(item[0][1], item[1])):
        stale = frozenset[int]().union(*(record.stale for record in parts.values()))
        some = [tile for tile in _tiles_within(plan, step, window, wanted) if tile not in stale]
        wanted[some] = False
        if some:
            found.append(PaidWindow(window=window, records=parts, tiles=tuple(some)))
    return found


def _usable(plan: GroupPlan, records: Mapping[str, JobRecord]) -> list[JobRecord]:
    cells = plan.tile_set.index_count
    return [
        record
        for record in records.values()
        if record.is_open and is_here(plan, record.intent) and record.tiles and max(record.intent.tiles) < cells
    ]


def _preference(record: JobRecord) -> tuple[bool, bool, str]:
    return record.end != "done", record.id is None, record.intent.key


def _rank(window: Window, parts: Mapping[int, JobRecord]) -> tuple[int, tuple[bool, bool], int]:
    worst = max((record.end != "done", record.id is None) for record in parts.values())
    return -len(parts), worst, window.pixel_count


def _tiles_within(plan: GroupPlan, step: int, window: Window, wanted: NDArray[np.bool_]) -> list[int]:
    """Those of ``wanted`` at a step whose windows lie in ``window``, ascending."""
    side, columns = plan.store.tile_px, plan.tile_set.grid_shape[1]
    rows = np.arange(window.y0 // side, -(-window.y1 // side))
    across = np.arange(window.x0 // side, -(-window.x1 // side))
    near = (step * plan.tile_set.cell_count + rows[:, np.newaxis] * columns + across).ravel()
    near = near[wanted[near]]
    if not near.size:
        return []
    y0, y1, x0, x1 = bought_boxes(plan, near).T
    within = (y0 >= window.y0) & (y1 <= window.y1) & (x0 >= window.x0) & (x1 <= window.x1)
    return [int(tile) for tile in near[within]]


def is_here(plan: GroupPlan, intent: JobIntent) -> bool:
    """Whether a job delivers to where jobs of now do. Pure."""
    return plan.delivery is not None and intent.url.startswith(f"{plan.delivery.s3_url}/")


def part_of(plan: GroupPlan, intent: JobIntent) -> int | None:
    """The part of the layer that a job brings; None where it asks for something that the plan does not. Pure."""
    parts = range(len(plan.layer.parts))
    tile = intent.tiles[0]
    return next((part for part in parts if digest_of(plan, part, intent.window, tile) == intent.digest), None)


def digest_of(plan: GroupPlan, part: int, window: Window, tile: int) -> str:
    """What a job asks for, without where it delivers; ``tile`` is any of its step. Pure."""
    return request_digest([window_body(plan, plan.layer.parts[part], window, [plan.tile(tile)])])
