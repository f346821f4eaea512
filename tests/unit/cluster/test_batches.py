"""Batches: every tile once, in order, and enough of them in flight."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shdask.cluster.executor import cut_batches, fetch_threads
from shdask.settings import DEPLOYMENTS


@given(
    count=st.integers(0, 5000),
    task_threads=st.integers(1, 64),
    in_flight=st.integers(1, 256),
    tiles_per_s=st.floats(0.01, 1000),
)
def test_batches_hold_every_tile_once_in_order(count, task_threads, in_flight, tiles_per_s) -> None:
    """Joined together, the batches are the tiles."""
    tiles = np.arange(0, 3 * count, 3)
    batches = cut_batches(tiles, task_threads=task_threads, in_flight=in_flight, tiles_per_s=tiles_per_s)
    assert [tile for batch in batches for tile in batch] == tiles.tolist()


@given(count=st.integers(1, 5000), task_threads=st.integers(1, 64), in_flight=st.integers(1, 256))
def test_first_batches_fill_the_threads(count, task_threads, in_flight) -> None:
    """One batch per thread is enough to have all asked-for tiles in flight, as far as there are tiles."""
    batches = list(cut_batches(np.arange(count), task_threads=task_threads, in_flight=in_flight, tiles_per_s=5))
    assert sum(len(batch) for batch in batches[:task_threads]) >= min(count, in_flight) / 2


def test_million_tiles_make_few_batches() -> None:
    """At 600 requests a minute on 8 threads a batch lasts some ten seconds."""
    batches = list(cut_batches(np.arange(1_000_000), task_threads=8, in_flight=40, tiles_per_s=10))
    assert (len(batches[0]), len(batches[-1])) == (13, 1)


@pytest.mark.parametrize(
    ("requests_per_minute", "workers", "threads"), [(300, 1, 20), (300, 2, 10), (600, 2, 20), (10, 4, 4), (1e6, 2, 32)]
)
def test_fetch_threads_fill_rate_times_latency(requests_per_minute, workers, threads) -> None:
    """Requests in flight are rate x 4 s over all workers, between 4 and 32 each."""
    deployment = replace(DEPLOYMENTS["services"], requests_per_minute=requests_per_minute)
    assert fetch_threads(deployment, workers) == threads
