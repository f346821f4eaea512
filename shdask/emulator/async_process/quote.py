"""What an order asks to be rendered, and what that costs.

Refuses to charge for it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime

from shdask.emulator.async_process.body import ASYNC_SIZES, Order
from shdask.emulator.config import EmulatorConfig
from shdask.emulator.process.job import RenderJob, itemize, make_job
from shdask.emulator.process.price import ELSEWHERE, price_async_pu
from shdask.emulator.process.reply import TAR, choose_reply
from shdask.emulator.refusal import bad_payload
from shdask.emulator.render.survey import Surveyor
from shdask.emulator.source import Source


class Quotes:
    """Reads orders as the Process API reads its requests, with the sizes and prices of jobs."""

    def __init__(
        self,
        *,
        config: EmulatorConfig,
        sources: Mapping[str, Source],
        surveyor: Surveyor,
        clock: Callable[[], float],
    ) -> None:
        """``clock`` tells POSIX time."""
        self._config = config
        self._sources = sources
        self._surveyor = surveyor
        self._clock = clock

    def draft(self, order: Order) -> RenderJob:
        """What is to be rendered, without the script where it is in a bucket; raises Refusal."""
        body = order.body
        # every output is a file of its own, in the format it was asked for
        reply = choose_reply(body.output.responses, TAR, self._config.several_without_tar)
        now = datetime.fromtimestamp(self._clock(), UTC)
        job = make_job(body, self._sources, reply, now, self._config, sizes=ASYNC_SIZES)
        if len(job.inputs) > 1 and any(data.weight == ELSEWHERE for data in job.inputs):
            raise bad_payload(
                "Collections of several deployments can be fused by the Process API alone.", "input->data"
            )
        return job

    async def price(self, job: RenderJob) -> float:
        """Processing units of a job whose script is known; raises Refusal (400) for one that cannot be."""
        surveyed = await self._surveyor.survey(job)
        priced = itemize(job, surveyed.setup, surveyed.samples)
        return price_async_pu(priced, discounted=self._config.async_discount, floor=self._config.async_floor)

    @staticmethod
    def complete(job: RenderJob, script: str) -> RenderJob:
        """The job with the script that was found in a bucket. Pure."""
        return replace(job, script=script)
