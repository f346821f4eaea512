"""A nanny that is told to end gives its worker the time to write what it has in flight; by itself it kills after 4 s.

Refuses to know what the worker does.
"""

from __future__ import annotations

import asyncio
import contextlib

from distributed import Nanny
from distributed.diagnostics.plugin import NannyPlugin

from shdask.cluster.worker_plugin import DRAIN_S

ANSWER_S = 3.0
"""A worker that does not even say its name by then is frozen, and no time is given to it."""


class PatientNanny(NannyPlugin):
    """Closes the worker before the nanny kills it."""

    name = "shdask-patient-nanny"
    idempotent = True

    async def teardown(self, nanny: Nanny) -> None:
        """Ask the worker to close, and wait for it."""
        if nanny.worker_address is None or not nanny.is_alive():
            return
        with contextlib.suppress(OSError, TimeoutError):
            async with nanny.rpc(nanny.worker_address) as worker:
                await asyncio.wait_for(worker.identity(), ANSWER_S)
                await asyncio.wait_for(worker.terminate(reason="nanny-closes", nanny=False), DRAIN_S + 2)
