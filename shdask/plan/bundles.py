"""Which dates of a cell are bought with one request: as few in one as keep requests from being the bottleneck.

Pure. Refuses to know how such a request is written.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet
from datetime import date, timedelta
from itertools import combinations
from math import ceil
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from shdask.plan.layer import LayerPlan
    from shdask.plan.reach import Reach
    from shdask.plan.timeline import Step, Timeline
    from shdask.settings import Deployment

MAX_DATES = 60
"""Of one request. No limit of output bands is published; every date takes those of its part and a mask."""
MAX_NBYTES = 64_000_000
"""Of one answer before compression: it is held in memory, whole, by every thread that fetches."""
MAX_MINUTE_SHARE = 0.25
"""Of what a minute may cost: a request dearer than the whole bucket is never served."""
TICK = timedelta(milliseconds=1)


def choose_bundles(
    timeline: Timeline,
    reach: Reach,
    layer: LayerPlan,
    shape: tuple[int, int],
    deployment: Deployment,
    *,
    apart: AbstractSet[date] = frozenset(),
    bought_px: float | None = None,
) -> tuple[int, ...]:
    """For each step the number of its bundle, that of its first step; empty where every tile is bought alone. Pure.

    ``shape`` is (rows, columns) of a whole tile. Tiles of one cell whose steps share a bundle come with one ORBIT
    request, which tells scenes apart by UTC days only. So a step is alone where it crosses midnight, where it shares
    its day with another that reaches a common cell, on the days ``apart``, and where it buys something again.
    Bundles follow the time, and no cell has more dates in one than `most_dates`, nor many more than are needed for
    requests to take no longer than processing units, at the deployment's rates; these count ``bought_px`` pixels of a
    tile, None: all.
    """
    most = most_dates(layer, shape, deployment)
    if most == 1 or not layer.can_share_requests:
        return ()
    tiles = sum(int(np.count_nonzero(reach.mask(index))) for index in range(reach.step_count))
    pixels = np.array([shape[0] * shape[1] if bought_px is None else bought_px], np.float64)
    by_pu = tiles * float(layer.price_pixels(pixels)[0]) / deployment.pu_per_minute
    are_alone = _find_alone(timeline.steps, reach, apart)
    dates = 1
    numbers, bundles = list(range(reach.step_count)), tiles
    while True:
        by_requests = bundles * len(layer.parts) / deployment.requests_per_minute
        if by_requests <= by_pu or dates == most:
            return tuple(numbers) if dates > 1 and bundles < tiles else ()
        dates = min(most, max(dates + 1, ceil(dates * by_requests / by_pu)))
        numbers, bundles = _bundle(timeline.steps, reach, are_alone, dates)


def most_dates(layer: LayerPlan, shape: tuple[int, int], deployment: Deployment) -> int:
    """How many dates of (rows, columns) pixels one request may bring, at least one. Pure."""
    nbytes = shape[0] * shape[1] * max(part.nbytes_per_px for part in layer.parts)
    price = max(layer.part_price(part, shape) for part in layer.parts)
    by_price = MAX_MINUTE_SHARE * deployment.pu_per_minute / price
    return max(1, min(MAX_DATES, MAX_NBYTES // nbytes, int(by_price)))


def _bundle(steps: Sequence[Step], reach: Reach, are_alone: Iterable[bool], dates: int) -> tuple[list[int], int]:
    """Numbers by step, with at most ``dates`` of any cell in a bundle; and how many requests for a part they make."""
    numbers, bundles = list(range(len(steps))), 0
    first, last = 0, None
    counts = np.zeros(reach.mask(0).shape, np.int32)
    for index, (step, is_alone) in enumerate(zip(steps, are_alone, strict=True)):
        reached = reach.mask(index)
        if is_alone:
            bundles += int(np.count_nonzero(reached))
            continue
        is_full = bool((counts[reached] >= dates).any())
        if last is None or is_full or step.interval.start < last:
            bundles += int(np.count_nonzero(counts))
            counts[:] = 0
            first = index
        numbers[index], last = first, step.interval.start
        counts += reached
    return numbers, bundles + int(np.count_nonzero(counts))


def _find_alone(steps: Sequence[Step], reach: Reach, apart: AbstractSet[date]) -> list[bool]:
    are_alone = [
        bool(step.revision) or _first_day(step) != _last_day(step) or _first_day(step) in apart for step in steps
    ]
    by_day: dict[date, list[int]] = defaultdict(list)
    for index, step in enumerate(steps):
        for day in {_first_day(step), _last_day(step)}:
            by_day[day].append(index)
    for same_day in by_day.values():
        for one, two in combinations(same_day, 2):
            if (reach.mask(one) & reach.mask(two)).any():
                are_alone[one] = are_alone[two] = True
    return are_alone


def _first_day(step: Step) -> date:
    return step.interval.start.date()


def _last_day(step: Step) -> date:
    return (step.interval.end - TICK).date()
