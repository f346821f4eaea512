"""Ten thousand tiles whose fetch returns at once: what a million asks of each process, in its small form."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.scale import ENVIRONMENT, Watch, build

TILES = 10_000


@pytest.fixture(scope="module")
def watch(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watch]:
    """A build, watched when a half and when all of its tiles were recorded."""
    folder: Path = tmp_path_factory.mktemp("scale")
    with pytest.MonkeyPatch.context() as patch:
        [patch.setenv(name, value) for name, value in ENVIRONMENT.items()]
        yield build(folder, TILES, shares=(0.5, 1.0), engine_alone=True)


def test_every_tile_is_told_once(watch) -> None:
    """However fast they come, and however many share a message."""
    assert watch.told == bytearray([1]) * TILES


def test_no_process_grows_with_its_tiles(watch) -> None:
    """Client, scheduler and workers hold a few bytes for a tile that is done; the rest is the moment's."""
    grown = {name: slope["rss_bytes"] for name, slope in watch.slopes().items()}
    assert {name: nbytes for name, nbytes in grown.items() if nbytes > 1000} == {}


def test_the_first_tile_comes_within_seconds(watch) -> None:
    """Between the call and the first record is no work that waits for all tiles."""
    assert watch.first_s < 15
