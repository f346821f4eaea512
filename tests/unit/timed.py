"""Plans along a few dates, without a catalogue."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import numpy as np
import shapely
from numpy.typing import NDArray

from shdask.model import TimeInterval
from shdask.plan.acquisition import Acquisition
from shdask.plan.group import GroupPlan
from shdask.plan.tile_set import TileSet
from shdask.plan.timeline import Step, Timeline

FIRST = datetime(2024, 6, 3, tzinfo=UTC)
EVERY = timedelta(days=5)
JUNE = TimeInterval(start=datetime(2024, 6, 1, tzinfo=UTC), end=datetime(2024, 7, 1, tzinfo=UTC))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Reached:
    """Stands for a plan's reach: a table (step, row, column) of cells that hold data."""

    table: NDArray[np.bool_]

    @property
    def step_count(self) -> int:
        """Length of the time axis."""
        return len(self.table)

    def mask(self, step: int) -> NDArray[np.bool_]:
        """(row, column) of one step."""
        return np.asarray(self.table[step])

    def cells(self, step: int, rows: NDArray[np.int64], columns: NDArray[np.int64]) -> NDArray[np.bool_]:
        """One entry for each pair of a row and a column."""
        return np.asarray(self.table[step, rows, columns])


def make_days(count: int) -> Timeline:
    """Steps of a UTC day each: 3 June 2024, 8 June, ..."""
    days = [FIRST + step * EVERY for step in range(count)]
    steps = [
        Step(
            interval=TimeInterval(start=day, end=day + timedelta(days=1)),
            time=day,
            acquisitions=(
                Acquisition(
                    id=f"scene-{day:%d}", time=day + timedelta(hours=10), footprint=shapely.box(13, 44, 17, 47)
                ),
            ),
        )
        for day in days
    ]
    return Timeline(cadence="day", interval=JUNE, steps=tuple(steps))


def along_days(plan: GroupPlan, table: NDArray[np.bool_], bundles: Sequence[int] = ()) -> GroupPlan:
    """The plan along `make_days`, its tiles where ``table`` (step, row, column) has them."""
    tiles = TileSet(runs=plan.tile_set.runs, reach=Reached(table=table), bundles=tuple(bundles))
    return replace(plan, timeline=make_days(len(table)), tile_set=tiles)


def everywhere(plan: GroupPlan, steps: int) -> NDArray[np.bool_]:
    """A table for `along_days` in which every step reaches every cell."""
    return np.ones((steps, *plan.tile_set.grid_shape), np.bool_)
