"""What a job's price depends on: its script's setup and the samples of a pixel, each script looked at once.

Refuses to render, and to know what anything costs.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping

from shdask.emulator.evalscript.setup import ScriptSetup
from shdask.emulator.process.job import RenderJob, check_bands, pair_inputs
from shdask.emulator.render.messages import Surveyed
from shdask.emulator.render.pool import RendererPool
from shdask.emulator.source import Source

KNOWN_SCRIPTS = 256


class Surveyor:
    """Asks renderers about scripts, and remembers those that were asked about of late."""

    def __init__(self, pool: RendererPool, sources: Mapping[str, Source]) -> None:
        self._pool = pool
        self._sources = sources
        self._setups: OrderedDict[str, ScriptSetup] = OrderedDict()

    async def survey(self, job: RenderJob) -> Surveyed:
        """The job's setup and samples; raises Refusal (400) for a script that cannot be, or does not fit its data."""
        setup = await self._describe(job.script)
        for data, item in pair_inputs(job, setup):
            check_bands(item, self._sources[data.collection])
        if setup.varies:
            return await self._pool.survey(job)
        return Surveyed(setup=setup, samples=(1,) * len(setup.inputs))

    async def _describe(self, script: str) -> ScriptSetup:
        if script not in self._setups:
            self._setups[script] = await self._pool.describe(script)
            if len(self._setups) > KNOWN_SCRIPTS:
                self._setups.popitem(last=False)
        return self._setups[script]
