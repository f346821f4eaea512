"""Tiles of one bundle from request to shard: the whole story of what a task does.

Refuses to know where tasks run, how HTTP is spoken, or how Zarr is laid out.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Self

import numpy as np
from numpy.typing import NDArray

from shdask.about import get_logger, log_about
from shdask.assemble.spool import Spool, spool_name
from shdask.assemble.store import CubeStore, StoredTile
from shdask.assemble.write import UnfitPixels
from shdask.errors import BudgetExceeded, BuildError, ShdaskError
from shdask.fetch.client import ServiceClient, Spent
from shdask.fetch.delivery import fetch_delivered
from shdask.fetch.process import Purchase, RunCpu, fetch_tiles, tile_bodies
from shdask.fetch.retry import call_with_retries
from shdask.jobs.deliveries import Deliveries, Delivery
from shdask.model import Tile, TileData, TileEvent, TileState, Window
from shdask.plan.group import GroupPlan
from shdask.request.digest import request_digest
from shdask.tally import STORE_RETRIES, tile_text

logger = get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class TileWork:
    """What any tile of a plan needs: the plan, the open cube, a client, a way onto the decode pool, and a spool."""

    plan: GroupPlan
    cube: CubeStore
    client: ServiceClient
    run_cpu: RunCpu
    build: str | None = None
    """What logs call the build; None where the thread has said so."""
    deliveries: Deliveries = field(default_factory=Deliveries)
    """Tiles that are read from a bucket rather than bought."""
    await_turn: Callable[[], AbstractContextManager[object]] = nullcontext
    """Entered for as long as a row of delivered tiles is in memory."""
    spool: Spool = field(default_factory=Spool.of_this_user)
    """Where pixels that the store refuses wait on this machine."""
    sleep: Callable[[float], object] = time.sleep
    """Between tries to write; may raise a ShdaskError where the build is over."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TileOutcome:
    """A tile's event, and the error that makes going on pointless, if that is what it met."""

    event: TileEvent
    fatal: ShdaskError | None = None


def run_tile(work: TileWork, index: int) -> TileOutcome:
    """`run_tiles` of one tile."""
    return run_tiles(work, [index])[0]


def run_tiles(work: TileWork, indices: Sequence[int]) -> list[TileOutcome]:
    """Tiles of one bundle: ask which are durable, fetch the others, clip and write each, say what became of it.

    Pixels that are spooled on this machine are not bought again, nor are those of a tile's first requests where a later
    one failed. What was spent stands in the first row for requests
    and bytes, and is shared out for processing units. Never raises a ShdaskError: a failed tile is an
    outcome. Anything else is a fault of ours and propagates.
    """
    delivery = work.deliveries.of(indices[0])
    with nullcontext() if delivery is None else work.await_turn():
        started = time.monotonic()
        attempts = [_Attempt.of(work, index) for index in indices]
        with log_about(build=work.build, tiles=indices, request=attempts[0].request):
            return _run_tiles(work, attempts, delivery, started)


def _run_tiles(
    work: TileWork, attempts: Sequence[_Attempt], delivery: Delivery | None, started: float
) -> list[TileOutcome]:
    shares: dict[int, Spent] = {}
    for attempt in attempts:
        attempt.look(work)
    missing = [attempt for attempt in attempts if attempt.is_open]
    for together in _by_windows(missing) if delivery is None else filter(None, [missing]):
        spent = Spent()
        if delivery is None:
            _fetch(work, together, spent)
        else:
            _collect(work, together, delivery, spent)
        shares |= {id(attempt): _share(spent, len(together), first=attempt is together[0]) for attempt in together}
    for attempt in attempts:
        attempt.write(work)
    return [attempt.outcome(shares.get(id(attempt), Spent()), time.monotonic() - started) for attempt in attempts]


@dataclass(slots=True, kw_only=True)
class _Attempt:
    """One tile on its way from request to shard."""

    tile: Tile
    request: str
    spooled_as: str
    data: TileData | None = None
    part: tuple[TileData, NDArray[np.bool_]] | None = None
    """What an earlier run bought of it, and `Purchase.bought` of that."""
    stored: StoredTile | None = None
    skipped: bool = False
    resumed: bool = False
    error: ShdaskError | None = None

    @classmethod
    def of(cls, work: TileWork, index: int) -> Self:
        tile = work.plan.tile(index)
        request = whole = request_digest(tile_bodies(work.plan, tile))
        if tile.windows != (tile.extent,):  # cut otherwise tomorrow, at another rate, the pixels are the same
            whole = request_digest(tile_bodies(work.plan, replace(tile, windows=(tile.extent,))))
        return cls(
            tile=tile,
            request=request,
            spooled_as=spool_name(work.cube, tile, whole),
        )

    @property
    def is_open(self) -> bool:
        """Whether its pixels are still to be bought."""
        return self.error is None and not self.skipped and self.data is None

    def fail(self, error: ShdaskError) -> None:
        self.error = error
        # the last two are no fault of the tile: the build is over
        level = logging.INFO if isinstance(error, BudgetExceeded | BuildError) else logging.WARNING
        with log_about(tiles=(self.tile.index,), request=self.request):
            logger.log(level, "failed: %s: %s", type(error).__name__, error)

    def look(self, work: TileWork) -> None:
        """Find out whether the tile is durable, or its pixels wait on this machine."""
        try:
            self.skipped = call_with_retries(lambda: work.cube.is_durable(self.tile), STORE_RETRIES, sleep=work.sleep)
        except ShdaskError as error:
            self.fail(error)
        if self.is_open:
            shape = (len(work.plan.layer.bands), *self.tile.extent.shape)
            self.data = work.spool.take(self.spooled_as, shape=shape)
        if self.is_open:
            self.part = work.spool.take_part(self.spooled_as, shape=shape, parts=len(work.plan.layer.parts))
        self.resumed = self.data is not None or self.part is not None

    def write(self, work: TileWork) -> None:
        """Store the pixels, or keep them on this machine where the store refuses."""
        data, self.data = self.data, None
        if data is None or self.error is not None:
            return
        try:
            self.stored = call_with_retries(
                lambda: work.run_cpu(partial(work.cube.write_tile, self.tile, data)), STORE_RETRIES, sleep=work.sleep
            )
        except UnfitPixels as error:  # it would hold for the same pixels tomorrow
            work.spool.drop(self.spooled_as)
            self.fail(error)
        except ShdaskError as error:
            error.add_note(work.spool.keep(self.spooled_as, data))
            self.fail(error)
        else:
            work.spool.drop(self.spooled_as)

    def outcome(self, spent: Spent, seconds: float) -> TileOutcome:
        """What became of the tile."""
        stored, error = self.stored or StoredTile(state=TileState.FAILED), self.error
        event = TileEvent(
            tile=self.tile.index,
            state=TileState.WRITTEN if self.skipped else stored.state,
            requests=spent.requests,
            rejected=spent.rejected,
            pu_spent=spent.pu,
            pu_unknown=spent.pu_unknown,
            nbytes=spent.nbytes,
            answers=spent.answers,
            answers_s=round(spent.answers_s, 3),
            seconds=seconds,
            finished=time.time(),
            skipped=self.skipped,
            resumed=self.resumed,
            error=None if error is None else f"{type(error).__name__}: {error}",
            request=self.request,
            checksum=stored.checksum,
        )
        if error is None:
            with log_about(tiles=(event.tile,), request=event.request):
                logger.debug("%s in %.1f s", tile_text(event), seconds)
        return TileOutcome(event=event, fatal=error if error is not None and error.stops_build else None)


def _by_windows(attempts: Sequence[_Attempt]) -> list[list[_Attempt]]:
    """Those that lack the same pixels of their cell, together: all, but where an area has grown, or some are there."""
    groups: dict[tuple[tuple[Window, ...], bytes], list[_Attempt]] = {}
    for attempt in attempts:
        bought = b"" if attempt.part is None else attempt.part[1].tobytes()
        groups.setdefault((attempt.tile.windows, bought), []).append(attempt)
    return list(groups.values())


def _fetch(work: TileWork, attempts: Sequence[_Attempt], spent: Spent) -> None:
    """Buy the pixels of ``attempts`` together, clipped to what is bought; where that fails, all of them have."""
    tiles = [attempt.tile for attempt in attempts]
    purchase = Purchase.begin(work.plan, tiles)
    for position, attempt in enumerate(attempts):
        if attempt.part is not None:
            purchase.resume(position, *attempt.part)
            attempt.part = None
    try:
        fetched = fetch_tiles(work.plan, tiles, work.client, run_cpu=work.run_cpu, spent=spent, purchase=purchase)
        levels = [work.plan.reopened.levels.get(tile.index) for tile in tiles]
        one_of = dict(zip(levels, tiles, strict=True))
        inside = {level: work.run_cpu(partial(work.plan.bought_mask, tile)) for level, tile in one_of.items()}
    except ShdaskError as error:
        if spent.pu and purchase.bought.any():
            for position, attempt in enumerate(attempts):
                error.add_note(work.spool.keep_part(attempt.spooled_as, purchase.tile(position), purchase.bought))
        for attempt in attempts:
            attempt.fail(error)
        return
    for attempt, data, level in zip(attempts, fetched, levels, strict=True):
        attempt.data = replace(data, data_mask=data.data_mask & inside[level])


def _collect(work: TileWork, attempts: Sequence[_Attempt], delivery: Delivery, spent: Spent) -> None:
    """Read the pixels of ``attempts``, a row of tiles, from the bucket, and buy the parts that were not delivered."""
    tiles = [attempt.tile for attempt in attempts]
    purchases = [Purchase.begin(work.plan, [tile]) for tile in tiles]
    for attempt, purchase in zip(attempts, purchases, strict=True):
        if attempt.part is not None:
            purchase.resume(0, *attempt.part)
            attempt.part = None
    try:
        fetch_delivered(
            work.plan,
            tiles,
            delivery.window,
            delivery.files,
            delivery.bucket,
            run_cpu=work.run_cpu,
            spent=spent,
            purchases=purchases,
        )
    except ShdaskError as error:
        for attempt in attempts:
            attempt.fail(error)
        return
    for attempt, purchase in zip(attempts, purchases, strict=True):
        _complete(work, attempt, purchase, spent)


def _complete(work: TileWork, attempt: _Attempt, purchase: Purchase, spent: Spent) -> None:
    """Buy what ``purchase`` lacks of a tile by itself, and clip it; what that has cost is kept where it fails."""
    tile, before = attempt.tile, spent.pu
    try:
        (data,) = fetch_tiles(work.plan, [tile], work.client, run_cpu=work.run_cpu, spent=spent, purchase=purchase)
        inside = work.run_cpu(partial(work.plan.bought_mask, tile))
        attempt.data = replace(data, data_mask=data.data_mask & inside)
    except ShdaskError as error:
        if spent.pu > before:
            error.add_note(work.spool.keep_part(attempt.spooled_as, purchase.tile(0), purchase.bought))
        attempt.fail(error)


def _share(spent: Spent, count: int, *, first: bool) -> Spent:
    """The part of one of ``count`` tiles; what cannot be divided is the first one's."""
    shared = Spent(pu=spent.pu / count, pu_unknown=spent.pu_unknown / count)
    if first:
        shared.requests, shared.rejected, shared.nbytes = spent.requests, spent.rejected, spent.nbytes
        shared.answers, shared.answers_s = spent.answers, spent.answers_s
    return shared
