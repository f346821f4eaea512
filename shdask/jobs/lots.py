"""Which jobs bring which tiles in this run, what of them is paid for already, and what the rest costs.

Pure. Refuses to know how jobs are sent and watched.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from shdask.assemble.job_rows import JobRecord
from shdask.fetch.process import window_body
from shdask.model import Window
from shdask.plan.cost import price_async
from shdask.plan.group import GroupPlan
from shdask.plan.jobs import Job, make_jobs
from shdask.request.digest import request_digest


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Lot:
    """Tiles of one step that are brought by the same window of pixels: a job for each part of the layer."""

    tiles: tuple[int, ...]
    """Ascending."""
    window: Window
    orders: tuple[Order, ...]
    """In the order of parts."""

    @property
    def pu(self) -> float:
        """Projected processing units of what is not paid for."""
        return sum(order.job.pu for order in self.orders if order.open is None)


def make_lots(plan: GroupPlan, tiles: NDArray[np.intp], records: Mapping[str, JobRecord]) -> list[Lot]:
    """The lots that bring ``tiles``, where the plan goes by jobs; else only those that are paid for, if in part. Pure.

    ``records`` is what the cube's ledger knows. A lot with an open job takes its window, if that holds what is needed,
    so that all its jobs bring the same pixels.
    """
    records = records if plan.delivery is not None else {}
    if not plan.is_by_jobs and not any(record.is_open for record in records.values()):
        return []
    by_tiles = groupby(make_jobs(plan, tiles), key=lambda job: job.tiles)
    lots = [_make_lot(plan, some, list(jobs), records) for some, jobs in by_tiles]
    return lots if plan.is_by_jobs else [lot for lot in lots if any(order.open for order in lot.orders)]


def _make_lot(plan: GroupPlan, tiles: tuple[int, ...], jobs: list[Job], records: Mapping[str, JobRecord]) -> Lot:
    needed = jobs[0].window
    usable = [
        record
        for job in jobs
        if (record := records.get(job.key)) is not None
        and record.is_open
        and _is_here(plan, record)
        and _holds(record.intent.window, needed)
        and record.intent.digest == digest_of(plan, job.part, record.intent.window, tiles[0])
    ]
    window = usable[0].intent.window if usable else needed
    known = {record.intent.key: record for record in usable if record.intent.window == window}
    orders = tuple(
        Order(
            job=job if window == needed else replace(job, window=window, pu=_price(plan, job.part, window)),
            digest=digest_of(plan, job.part, window, tiles[0]),
            next_attempt=records[job.key].intent.attempt + 1 if job.key in records else 1,
            open=known.get(job.key),
        )
        for job in jobs
    )
    return Lot(tiles=tiles, window=window, orders=orders)


def digest_of(plan: GroupPlan, part: int, window: Window, tile: int) -> str:
    """What a job asks for, without where it delivers; ``tile`` is any of its step. Pure."""
    return request_digest([window_body(plan, plan.layer.parts[part], window, [plan.tile(tile)])])


def _is_here(plan: GroupPlan, record: JobRecord) -> bool:
    """Whether it delivers to where jobs of now do."""
    return plan.delivery is not None and record.intent.url.startswith(f"{plan.delivery.s3_url}/")


def _holds(outer: Window, inner: Window) -> bool:
    return outer.y0 <= inner.y0 and outer.x0 <= inner.x0 and outer.y1 >= inner.y1 and outer.x1 >= inner.x1


def _price(plan: GroupPlan, part: int, window: Window) -> float:
    layer = plan.layer
    return price_async(layer.part_price(layer.parts[part], window.shape), prices=layer.prices)


def project_pu(plan: GroupPlan, tiles: NDArray[np.intp], records: Mapping[str, JobRecord]) -> float:
    """Processing units that ``tiles`` are projected to cost from now on: what open jobs bring is paid for. Pure."""
    if not any(record.is_open for record in records.values()):
        return float(plan.prices(tiles).sum())
    lots = make_lots(plan, tiles, records)
    by_lots = np.concatenate([np.empty(0, np.intp), *(np.array(lot.tiles, np.intp) for lot in lots)])
    rest = np.setdiff1d(tiles, by_lots, assume_unique=True)
    return sum(lot.pu for lot in lots) + (float(plan.prices(rest).sum()) if rest.size else 0.0)
