"""Reading side by side: threads that belong to the process that uses them.

Refuses to know what is read.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import TypeVar

from shdask.errors import StoreError

Job = TypeVar("Job")


class Readers:
    """Threads that read; 0 is the caller's own alone. Pickles without them, and begins anew in a forked process."""

    def __init__(self, threads: int, *, may_fork: bool) -> None:
        self.threads = threads
        self.may_fork = may_fork
        """Whether what reads works in a forked process: clients of S3 do not."""
        self._process = os.getpid()
        self._pool: ThreadPoolExecutor | None = None

    def __reduce__(self) -> tuple[Callable[[int, bool], Readers], tuple[int, bool]]:
        return _make, (self.threads, self.may_fork)

    def run(self, read: Callable[[Job], None], jobs: Iterable[Job]) -> None:
        """Call ``read`` of every job; raises what the first that failed raised, and StoreError after a fork.

        When it is done no job runs any more, however it ends: those that have not begun never do.
        """
        if self._process != os.getpid():
            if not self.may_fork:
                raise StoreError(
                    "a bucket cannot be read in a forked process: give DataLoader multiprocessing_context='spawn'"
                )
            self._process, self._pool = os.getpid(), None
        if not self.threads:
            for job in jobs:
                read(job)
            return
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self.threads, thread_name_prefix="shdask-patch")
        begun: list[Future[None]] = []
        try:
            begun.extend(self._pool.submit(read, job) for job in jobs)
            for each in begun:
                each.result()
        finally:
            wait([each for each in begun if not each.cancel()])


def _make(threads: int, may_fork: bool) -> Readers:
    return Readers(threads, may_fork=may_fork)
