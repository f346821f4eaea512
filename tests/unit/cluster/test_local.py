"""A cluster that several builds share."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from shdask.cluster.local import share_client


def test_a_shared_cluster_is_opened_once_and_closed_with_the_block() -> None:
    """Each use gets the same client, and none of them closes it."""
    told: list[str] = []

    @contextmanager
    def open_cluster() -> Iterator[object]:
        told.append("open")
        yield told
        told.append("close")

    with share_client(open_cluster) as share:  # type: ignore[arg-type]  # anything stands for a client
        with share() as first:
            pass
        with share() as second:
            pass
        assert first is second
        assert told == ["open"]
    assert told == ["open", "close"]


def test_a_cluster_that_nobody_uses_is_not_opened() -> None:
    """A build with nothing left to do starts no process."""
    told: list[str] = []

    @contextmanager
    def open_cluster() -> Iterator[object]:
        told.append("open")
        yield told

    with share_client(open_cluster):  # type: ignore[arg-type]  # anything stands for a client
        pass
    assert told == []
