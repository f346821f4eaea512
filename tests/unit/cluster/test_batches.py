"""Batches: every tile once, in order, and enough of them in flight."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from shdask.cluster.batches import TileQueue, fetch_threads
from shdask.settings import DEPLOYMENTS


def batches_of(
    tiles: NDArray[np.intp],
    requests_per_s: float,
    *clusters: tuple[int, int],
    bundles: NDArray[np.intp] | None = None,
) -> list[list[int]]:
    """All batches; the cluster is of (task threads, requests in flight) in turn."""
    queue, batches = TileQueue(tiles, requests_per_s, bundles), []
    sizes = itertools.cycle(clusters)
    while not queue.is_empty:
        task_threads, in_flight = next(sizes)
        batches.append(queue.next_batch(task_threads=task_threads, in_flight=in_flight))
    return batches


@given(
    count=st.integers(0, 3000),
    clusters=st.lists(st.tuples(st.integers(1, 64), st.integers(1, 256)), min_size=1, max_size=4),
    tiles_per_s=st.floats(0.01, 1000),
)
def test_batches_hold_every_tile_once_in_order(count, clusters, tiles_per_s) -> None:
    """Joined together, the batches are the tiles, however the cluster changes meanwhile."""
    tiles = np.arange(0, 3 * count, 3)
    assert [tile for batch in batches_of(tiles, tiles_per_s, *clusters) for tile in batch] == tiles.tolist()


@given(
    sizes=st.lists(st.integers(1, 60), max_size=200),
    clusters=st.lists(st.tuples(st.integers(1, 64), st.integers(1, 256)), min_size=1, max_size=4),
    requests_per_s=st.floats(0.01, 1000),
)
def test_no_batch_tears_a_bundle(sizes, clusters, requests_per_s) -> None:
    """Each bundle is in one batch, whole and in order, however the cluster changes meanwhile."""
    bundles = np.repeat(np.arange(len(sizes))[::-1], sizes)
    tiles = np.arange(bundles.size)
    batches = batches_of(tiles, requests_per_s, *clusters, bundles=bundles)
    assert [tile for batch in batches for tile in batch] == tiles.tolist()
    assert [bundle for batch in batches for bundle in dict.fromkeys(bundles[batch].tolist())] == sorted(
        range(len(sizes)), reverse=True
    )


def test_a_batch_is_bounded_however_fast_the_service_is() -> None:
    """A worker holds a few hundred tiles that wait for their turn, not a hundred thousand."""
    assert max(map(len, batches_of(np.arange(100_000), 1e6, (8, 64)))) == 500


def test_a_batch_is_measured_in_requests() -> None:
    """Two bundles of three dates each are as much for a thread as two tiles."""
    bundles = np.repeat(np.arange(4), 3)
    batches = batches_of(np.arange(12), 0.1, (2, 2), bundles=bundles)
    assert [len(batch) for batch in batches] == [6, 3, 3]


@given(count=st.integers(1, 5000), task_threads=st.integers(1, 64), in_flight=st.integers(1, 256))
def test_first_batches_fill_the_threads(count, task_threads, in_flight) -> None:
    """One batch per thread is enough to have all asked-for tiles in flight, as far as there are tiles."""
    batches = batches_of(np.arange(count), 5.0, (task_threads, in_flight))
    assert sum(len(batch) for batch in batches[:task_threads]) >= min(count, in_flight) / 2


def test_million_tiles_make_few_batches() -> None:
    """At 600 requests a minute on 8 threads a batch lasts some ten seconds."""
    batches = batches_of(np.arange(1_000_000), 10.0, (8, 40))
    assert (len(batches[0]), len(batches[-1])) == (13, 1)


def test_tiles_that_came_back_are_next() -> None:
    """They are a batch of their own, and the queue is not empty before they are out."""
    queue = TileQueue(np.arange(2), 1.0)
    queue.next_batch(task_threads=1, in_flight=9)
    queue.put_back([7, 5])
    assert not queue.is_empty
    assert queue.next_batch(task_threads=1, in_flight=9) == [7, 5]
    assert queue.is_empty


def test_cleared_queue_gives_out_nothing() -> None:
    """Neither what was left nor what had come back."""
    queue = TileQueue(np.arange(5), 1.0)
    queue.put_back([7])
    queue.clear()
    assert (queue.is_empty, queue.next_batch(task_threads=1, in_flight=1)) == (True, [])


@pytest.mark.parametrize(
    ("requests_per_minute", "workers", "threads"), [(300, 1, 20), (300, 2, 10), (600, 2, 20), (10, 4, 4), (1e6, 2, 32)]
)
def test_fetch_threads_fill_rate_times_latency(requests_per_minute, workers, threads) -> None:
    """Requests in flight are rate x 4 s over all workers, between 4 and 32 each."""
    deployment = replace(DEPLOYMENTS["services"], requests_per_minute=requests_per_minute)
    assert fetch_threads(deployment, workers) == threads
