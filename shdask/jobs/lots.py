"""Which jobs bring which tiles in this run, what of them is paid for already, and what the rest costs.

Pure. Refuses to know how jobs are sent and watched.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count, groupby

import numpy as np
from numpy.typing import NDArray

from shdask.assemble.job_rows import JobRecord
from shdask.jobs.paid import PaidWindow, digest_of, find_paid
from shdask.model import Window
from shdask.plan.cost import price_async
from shdask.plan.group import GroupPlan
from shdask.plan.jobs import Job, make_jobs

_NO_TILES: NDArray[np.intp] = np.empty(0, np.intp)


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """One job of this run."""

    job: Job
    digest: str
    """Of what it asks for; see `JobIntent`."""
    next_attempt: int
    """That no earlier run has used."""
    open: JobRecord | None = None
    """An earlier run's, which may be collected in its place."""

    @property
    def pu(self) -> float:
        """Projected processing units from now on: nobody knows whether one without an id was charged. Pure."""
        return 0.0 if self.open is not None and self.open.id is not None else self.job.pu


@dataclass(frozen=True, slots=True, kw_only=True)
class Lot:
    """Tiles of one step that are brought by the same window of pixels: a job for each part of the layer."""

    tiles: tuple[int, ...]
    """Ascending."""
    window: Window
    orders: tuple[Order, ...]
    """In the order of parts; those of the layer that are left out are bought by Process."""
    rest_pu: float = 0.0
    """Projected for the parts that are left out."""

    @property
    def pu(self) -> float:
        """Projected processing units of what is not paid for."""
        return self.rest_pu + sum(order.pu for order in self.orders)


def make_lots(plan: GroupPlan, tiles: NDArray[np.intp], records: Mapping[str, JobRecord]) -> list[Lot]:
    """The lots that bring ``tiles``, where the plan goes by jobs; else only those that are paid for, if in part. Pure.

    ``records`` is what the cube's ledger knows. An open job brings every tile whose windows lie in its own, whatever it
    was ordered for; parts of which no job is open for the same window are ordered for it, or bought by Process where
    that is the plan's way. Other tiles have jobs of their own, whose keys are those of no open job.
    """
    records = records if plan.delivery is not None else {}
    paid = find_paid(plan, tiles, records)
    keys = _Keys(records)
    lots = [_paid_lot(plan, each, keys) for each in paid]
    if plan.is_by_jobs:
        rest = np.setdiff1d(tiles, tiles_of(lots))
        by_tiles = groupby(make_jobs(plan, rest), key=lambda job: job.tiles)
        lots += [_new_lot(plan, list(jobs), keys) for _, jobs in by_tiles]
    return sorted(lots, key=lambda lot: lot.tiles[0])


def tiles_of(lots: Sequence[Lot]) -> NDArray[np.intp]:
    """Indices of all tiles of lots. Pure."""
    return np.concatenate([_NO_TILES, *(np.array(lot.tiles, np.intp) for lot in lots)])


class _Keys:
    """Names for jobs that supersede no open one of the ledger, and no other of this run."""

    def __init__(self, records: Mapping[str, JobRecord]) -> None:
        self._records = records
        self._taken = {key for key, record in records.items() if record.is_open}

    def take(self, key: str) -> tuple[str, int]:
        """The key, or one like it, and the number of its next attempt."""
        found = next(name for name in _like(key) if name not in self._taken)
        self._taken.add(found)
        return found, self._records[found].next_attempt if found in self._records else 1


def _like(key: str) -> Iterator[str]:
    yield key
    yield from (f"{key}-n{number}" for number in count(2))


def _new_lot(plan: GroupPlan, jobs: Sequence[Job], keys: _Keys) -> Lot:
    tiles, window = jobs[0].tiles, jobs[0].window
    return Lot(tiles=tiles, window=window, orders=tuple(_order(plan, job, keys) for job in jobs))


def _order(plan: GroupPlan, job: Job, keys: _Keys) -> Order:
    key, attempt = keys.take(job.key)
    digest = digest_of(plan, job.part, job.window, job.tiles[0])
    return Order(job=replace(job, key=key), digest=digest, next_attempt=attempt)


def _paid_lot(plan: GroupPlan, paid: PaidWindow, keys: _Keys) -> Lot:
    """What is paid for, and the parts that lack."""
    orders, rest_pu = list[Order](), 0.0
    for named in make_jobs(plan, paid.tiles[:1]):
        job = replace(named, tiles=paid.tiles, window=paid.window, pu=_price(plan, named.part, paid))
        record = paid.records.get(named.part)
        if record is not None:
            key, attempt = record.intent.key, record.next_attempt
            orders.append(
                Order(job=replace(job, key=key), digest=record.intent.digest, next_attempt=attempt, open=record)
            )
        elif plan.is_by_jobs:
            orders.append(_order(plan, job, keys))
        else:
            rest_pu += _price_by_process(plan, named.part, paid.tiles)
    return Lot(tiles=paid.tiles, window=paid.window, orders=tuple(orders), rest_pu=rest_pu)


def _price(plan: GroupPlan, part: int, paid: PaidWindow) -> float:
    layer = plan.layer
    step = plan.tile(paid.tiles[0]).step
    return price_async(plan.part_pu(layer.parts[part], paid.window, [step]), prices=layer.prices)


def _price_by_process(plan: GroupPlan, part: int, tiles: Sequence[int]) -> float:
    places = [(window, tile.step) for tile in map(plan.tile, tiles) for window in tile.windows]
    return sum(plan.part_pu(plan.layer.parts[part], window, [step]) for window, step in places)


def project_pu(plan: GroupPlan, tiles: NDArray[np.intp], records: Mapping[str, JobRecord]) -> float:
    """Processing units that ``tiles`` are projected to cost from now on: what open jobs bring is paid for. Pure."""
    if not any(record.is_open for record in records.values()):
        return float(plan.prices(tiles).sum())
    lots = make_lots(plan, tiles, records)
    rest = np.setdiff1d(tiles, tiles_of(lots), assume_unique=True)
    return sum(lot.pu for lot in lots) + (float(plan.prices(rest).sum()) if rest.size else 0.0)
