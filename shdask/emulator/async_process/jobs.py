"""The jobs: each waits, renders, delivers and is forgotten, whatever happens to it on the way.

Refuses to know HTTP, and what the calls that ask about jobs may.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import tempfile
import uuid
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from shdask.emulator.async_process.body import Order
from shdask.emulator.async_process.delivery import Courier, DeliveryFailed, Parcel
from shdask.emulator.async_process.quote import Quotes
from shdask.emulator.async_process.till import Till
from shdask.emulator.config import EmulatorConfig
from shdask.emulator.faults.rules import Strike
from shdask.emulator.process.area import MAX_PX
from shdask.emulator.process.body import check_script
from shdask.emulator.process.job import RenderJob
from shdask.emulator.process.reply import EXTENSIONS
from shdask.emulator.refusal import Refusal
from shdask.emulator.render.pool import RendererPool

State = Literal["queued", "running", "delivered", "failed", "vanished", "undeliverable"]
STATES: tuple[State, ...] = ("queued", "running", "delivered", "failed", "vanished", "undeliverable")
"""Undeliverable: neither the files nor error.json could be put into the bucket."""
KEPT_JOBS = 1000
PROCESS_AREA_PX = MAX_PX * MAX_PX

logger = logging.getLogger(__name__)


@dataclass(slots=True, kw_only=True)
class Job:
    """One accepted order."""

    id: str
    order: Order
    render: RenderJob
    pu: float | None
    """None until its script is known."""
    strikes: tuple[Strike, ...]
    created: float
    """POSIX time."""
    state: State = "queued"
    alive: bool = True
    """Its status can be asked for."""
    ended: float | None = None
    message: str | None = None
    """What went wrong."""

    def struck(self, kind: str) -> bool:
        """Whether a fault of this kind befell it. Pure."""
        return any(strike.fault.kind == kind for strike in self.strikes)

    def delay_s(self, kind: str) -> float:
        """How long the faults of this kind last together; 0 without any. Pure."""
        return sum(strike.fault.delay_s for strike in self.strikes if strike.fault.kind == kind)

    def key(self, output: str, extension: str) -> str:
        """Where an output goes in the bucket. Pure."""
        return self.order.delivery.key(self.id, output, extension)

    def told(self) -> dict[str, Any]:
        """The job as JSON, without keys. Pure."""
        return {
            "id": self.id,
            "state": self.state,
            "alive": self.alive,
            "created": _write_time(self.created),
            "ended": None if self.ended is None else _write_time(self.ended),
            "width": self.render.lattice.width,
            "height": self.render.lattice.height,
            "collections": [data.collection for data in self.render.inputs],
            "pu": self.pu,
            "bucket": self.order.delivery.bucket,
            "keys": [self.key(each.identifier, EXTENSIONS[each.format]) for each in self.render.reply.renditions],
            "faults": [strike.fault.kind for strike in self.strikes],
            "message": self.message,
        }


@dataclass(slots=True, kw_only=True)
class Jobs:
    """Accepts orders and works on them; lives on one event loop."""

    config: EmulatorConfig
    quotes: Quotes
    pool: RendererPool
    """Of jobs alone; started with the first."""
    courier: Courier
    till: Till
    clock: Callable[[], float]
    _jobs: dict[str, Job] = field(default_factory=dict)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)
    _slots: asyncio.Semaphore | None = None

    @property
    def full(self) -> bool:
        """Whether as many jobs live as may."""
        limit = self.config.async_concurrency
        return limit is not None and sum(job.alive for job in self._jobs.values()) >= limit

    def is_running(self, job_id: str) -> bool:
        """Whether a job of this id waits or runs; one that ended is as unknown as one that never was."""
        return job_id in self._jobs and self._jobs[job_id].alive

    def accept(self, order: Order, render: RenderJob, pu: float | None, strikes: Sequence[Strike]) -> Job:
        """A new job, which works by itself from now on; ``pu`` is None while its script is not known."""
        if pu is not None:
            self.till.taken_on(pu)
        self.pool.start()
        if self._slots is None:
            self._slots = asyncio.Semaphore(self.config.async_renderers)
        job = Job(id=str(uuid.uuid4()), order=order, render=render, pu=pu, strikes=tuple(strikes), created=self.clock())
        self._jobs[job.id] = job
        self._forget_oldest()
        task = asyncio.create_task(self._work(job, self._slots))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return job

    def told(self) -> list[dict[str, Any]]:
        """The latest jobs as JSON, oldest first."""
        return [job.told() for job in self._jobs.values()]

    def counts(self) -> dict[str, int]:
        """How many of the latest jobs are in each state."""
        return {**dict.fromkeys(STATES, 0), **Counter(job.state for job in self._jobs.values())}

    def reset(self) -> None:
        """Forget the jobs that ended; the others go on."""
        self._jobs = {job_id: job for job_id, job in self._jobs.items() if job.ended is None}

    async def close(self) -> None:
        """Give up what is not done."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self.courier.close()
        self.pool.close()

    async def _work(self, job: Job, slots: asyncio.Semaphore) -> None:
        try:
            with tempfile.TemporaryDirectory(prefix="shdask-job-", ignore_cleanup_errors=True) as folder:
                await self._copy_request(job)
                await asyncio.sleep(self.config.async_queue_s)
                async with slots:
                    job.state = "running"
                    parcels = await self._make(job, Path(folder))
                await asyncio.sleep(job.delay_s("slow"))
                await self._leave(job, parcels)
        except Exception:
            logger.exception("the emulator failed at a job")
            job.state, job.message = "failed", "The emulator failed; its own log says how."
        finally:
            job.alive, job.ended = False, self.clock()

    async def _make(self, job: Job, folder: Path) -> list[Parcel]:
        """The job's files; none where it fails, with the reason in its message."""
        try:
            if job.struck("vanish"):
                return []
            _fail_if_struck(job)
            if job.order.script is not None:
                await self._find_script(job)
            lattice = job.render.lattice
            patience = max(1.0, lattice.width * lattice.height / PROCESS_AREA_PX)
            spooled = await self.pool.spool(job.render, str(folder), patience)
        except (Refusal, DeliveryFailed) as error:
            job.message = error.message if isinstance(error, Refusal) else str(error)
            return []
        return [
            Parcel(key=job.key(identifier, EXTENSIONS[kind]), path=Path(path), media_type=kind)
            for identifier, path, kind in spooled.files
        ]

    async def _find_script(self, job: Job) -> None:
        place = job.order.script
        if place is None:
            raise ValueError("the script is in no bucket")
        raw = await self.courier.read(place, self.config.max_body_nbytes)
        script = raw.decode(errors="replace")
        check_script(script)
        job.render = self.quotes.complete(job.render, script)
        job.pu = await self.quotes.price(job.render)
        self.till.taken_on(job.pu)

    async def _leave(self, job: Job, parcels: Sequence[Parcel]) -> None:
        """Deliver and end, in the order that faults ask for."""
        if job.struck("vanish"):
            job.state = "vanished"
            return
        if late_s := job.delay_s("late"):
            job.alive = False
            await asyncio.sleep(late_s)
        state = await self._deliver(job, parcels)
        await asyncio.sleep(job.delay_s("early"))
        job.state = state

    async def _deliver(self, job: Job, parcels: Sequence[Parcel]) -> State:
        place = job.order.delivery
        if job.message is None:
            try:
                for parcel in parcels:
                    await self.courier.send(place, parcel)
            except DeliveryFailed as error:
                job.message = str(error)
        if job.message is None:
            self.till.delivered(job.pu or 0.0)
            await self._copy_request(job, status="DONE")
            return "delivered"
        try:
            await self.courier.write(place, job.key("error", "json"), json.dumps(self._error_body(job)).encode())
        except DeliveryFailed:
            return "undeliverable"
        await self._copy_request(job, status="FAILED")
        return "failed"

    def _error_body(self, job: Job) -> dict[str, Any]:
        refusal = Refusal(500, "RENDERER_EXCEPTION", job.message or "")
        return refusal.body() if self.config.async_error_body == "wrapped" else {"message": refusal.message}

    async def _copy_request(self, job: Job, status: str = "RUNNING") -> None:
        if not self.config.async_copies_request:
            return
        copy: dict[str, Any] = {"id": job.id, "status": status, "created": _write_time(job.created)}
        if status != "RUNNING" and job.pu is not None:
            copy["costPU"] = job.pu
        copy["request"] = job.order.told
        # a bucket that cannot be written shows when the files are due
        with contextlib.suppress(DeliveryFailed):
            await self.courier.write(job.order.delivery, job.key("request", "json"), json.dumps(copy).encode())

    def _forget_oldest(self) -> None:
        ended = [job_id for job_id, job in self._jobs.items() if job.ended is not None]
        for job_id in ended[: max(0, len(self._jobs) - KEPT_JOBS)]:
            del self._jobs[job_id]


def _fail_if_struck(job: Job) -> None:
    if job.struck("fail"):
        raise Refusal(500, "RENDERER_EXCEPTION", "The job failed: the storage did not answer.")


def _write_time(posix_s: float) -> str:
    return datetime.fromtimestamp(posix_s, UTC).isoformat(timespec="milliseconds")
