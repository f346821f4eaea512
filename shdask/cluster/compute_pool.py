"""Threads that compute: what goes on with something goes before what begins something, so that little is in memory.

Refuses to know what is computed.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from queue import PriorityQueue
from typing import TypeVar

T = TypeVar("T")


class ComputePool:
    """Runs work on so many threads: the urgent first, else in the order in which it came."""

    def __init__(self, threads: int) -> None:
        self._waiting: PriorityQueue[tuple[bool, int, Callable[[], None]]] = PriorityQueue()
        self._numbers = itertools.count()
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="shdask-decode")

    def run(self, work: Callable[[], T], *, urgent: bool = False) -> T:
        """What ``work`` returns or raises; the calling thread waits, so that the queue cannot grow."""
        done: Future[T] = Future()

        def settle() -> None:
            try:
                done.set_result(work())
            except BaseException as error:  # noqa: BLE001  # the calling thread raises it
                done.set_exception(error)

        self._waiting.put((not urgent, next(self._numbers), settle))
        self._threads.submit(self._run_next)
        return done.result()

    def _run_next(self) -> None:
        *_, settle = self._waiting.get_nowait()  # there is one for each submission
        settle()
