"""The soak in its small form: what is open after 200 tiles is what is open after 500."""

from __future__ import annotations

from benchmarks.soak import soak


def test_nothing_is_left_open_by_tiles() -> None:
    """Client, scheduler and workers hold as many files, threads and connections at the end, give or take the moment."""
    samples = soak(500, (200, 500))["samples"]
    growth = {
        (process, figure): samples[500][process][figure] - held
        for process, figures in samples[200].items()
        for figure, held in figures.items()
    }
    assert {name: grown for name, grown in growth.items() if grown > 5} == {}
