"""The soak in its small form: what is open after 100 tiles is what is open after twice or four times as many."""

from __future__ import annotations

import pytest

from tests.cluster.soak import soak


@pytest.mark.parametrize("tiles", [200, pytest.param(400, marks=pytest.mark.long)])
def test_nothing_is_left_open_by_tiles(monkeypatch: pytest.MonkeyPatch, tiles: int) -> None:
    """Client, scheduler and workers hold as many files, threads and connections at the end, give or take the moment."""
    [monkeypatch.setenv(name, "") for name in ("SH_BASE_URL", "SH_TOKEN_URL", "SH_CLIENT_ID", "SH_CLIENT_SECRET")]
    samples = soak(tiles, (100, tiles))["samples"]
    growth = {
        (process, figure): samples[tiles][process][figure] - held
        for process, figures in samples[100].items()
        for figure, held in figures.items()
        if figure != "rss_mb"
    }
    assert {name: grown for name, grown in growth.items() if grown > 5} == {}
