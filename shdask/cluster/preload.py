"""For ``dask scheduler --preload shdask.cluster.preload``: builds are watched before the first has begun.

Else the first build brings the watch, and its page, along. Refuses to know builds.
"""

from __future__ import annotations

from distributed import Scheduler

from shdask.cluster.watch import BuildWatch


async def dask_setup(scheduler: Scheduler) -> None:
    """What Dask calls when the scheduler starts."""
    await scheduler.register_scheduler_plugin(BuildWatch(), idempotent=True)
