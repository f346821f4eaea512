"""Who computes next: what is urgent, else who came first."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait

import pytest

from shdask.cluster.compute_pool import ComputePool


def run_behind(pool: ComputePool, works: list[tuple[Callable[[], object], bool]]) -> None:
    """Let ``works`` come one after the other while the pool's only thread is busy, and end."""
    busy, go_on = threading.Event(), threading.Event()

    def block() -> None:
        busy.set()
        go_on.wait()

    with ThreadPoolExecutor(len(works) + 1) as callers:
        calls: list[Future[object]] = [callers.submit(pool.run, block)]
        busy.wait()
        for work, urgent in works:
            calls.append(callers.submit(pool.run, work, urgent=urgent))
            while pool._waiting.qsize() < len(calls) - 1:
                threading.Event().wait(0.001)
        go_on.set()
        wait(calls)


def test_what_is_urgent_goes_before_what_came_earlier():
    """A tile that is in memory is written before another one is decoded."""
    heard: list[str] = []
    works = [("decode 1", False), ("decode 2", False), ("write", True), ("decode 3", False)]
    run_behind(ComputePool(1), [(lambda name=name: heard.append(name), urgent) for name, urgent in works])
    assert heard == ["write", "decode 1", "decode 2", "decode 3"]


def test_what_is_raised_reaches_who_asked():
    """And the thread goes on with the next."""
    pool = ComputePool(1)
    with pytest.raises(ZeroDivisionError):
        pool.run(lambda: 1 // 0)
    assert pool.run(lambda: 7) == 7


def test_no_more_threads_compute_than_there_are():
    """Two threads meet at a barrier of two, which one of them alone would never pass."""
    pool, barrier = ComputePool(2), threading.Barrier(2, timeout=10)
    with ThreadPoolExecutor(4) as callers:
        names = list(
            callers.map(lambda _: pool.run(lambda: (barrier.wait(), threading.current_thread().name)[1]), "abcd")
        )
    assert len(set(names)) == 2
