"""What the page says beside its map."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from shdask.cluster import dashboard_html as words
from shdask.cluster.snapshot import BuildSnapshot, ErrorKind, SlowTile, TileMark, WorkerLoad


@pytest.fixture
def snapshot() -> BuildSnapshot:
    """A build of six tiles, half done, at 100 s."""
    return BuildSnapshot(
        key="k",
        store="/c.zarr",
        layer="s2: B02",
        account="a",
        version=1,
        began=0.0,
        heard=99.0,
        ended=None,
        end="",
        grid_shape=(2, 3),
        steps=(),
        states=np.zeros((1, 2, 3), np.uint8),
        tiles={
            TileMark.UNTRIED: 1,
            TileMark.WRITTEN: 2,
            TileMark.EMPTY: 1,
            TileMark.FAILED: 1,
            TileMark.IN_WORK: 1,
        },
        pu_spent=1.5,
        pu_projected=3.0,
        max_pu=4.0,
        requests=1234,
        rejected=0,
        requests_per_minute=600.0,
        pu_per_minute=12.0,
        seconds=90.0,
        remaining_s=7260.0,
        waiting_for="answers",
        limits={
            "requests_available": 75.0,
            "requests_burst": 300.0,
            "requests_per_s": 10.0,
            "pu_available": 10.0,
            "pu_burst": 20.0,
            "pu_per_s": 5.0,
            "rate_share": 1.0,
        },
    )


def test_a_running_build_says_what_it_waits_for(snapshot) -> None:
    """With what it builds."""
    text = words.say_state(snapshot, 100.0)
    assert ">running<" in text
    assert "s2: B02" in text
    assert "waits for answers" in text


@pytest.mark.parametrize(
    ("change", "now", "word", "more"),
    [
        ({}, 120.0, "silent", "the owner was not heard of for 21 s"),
        ({"ended": 99.0, "end": "done"}, 500.0, "done", ""),
        ({"ended": 99.0, "end": "AuthError: no"}, 500.0, "ended", "AuthError: no"),
    ],
)
def test_other_builds_say_how_they_are(snapshot, change, now, word, more) -> None:
    """An owner that is silent, one that is done, and one that has met an error."""
    text = words.say_state(replace(snapshot, **change), now)
    assert f">{word}<" in text
    assert more in text


def test_the_legend_counts_tiles(snapshot) -> None:
    """Each state with its colour."""
    text = words.legend(snapshot)
    assert f'background:{words.COLOURS[TileMark.WRITTEN]}"></i>written <b>2</b>' in text
    assert f'background:{words.COLOURS[TileMark.FAILED]}"></i>failed <b>1</b>' in text


def test_the_cards_say_how_far_it_is(snapshot) -> None:
    """Share, time left, requests and pace."""
    text = words.cards(snapshot, 100.0)
    assert "50.0%" in text
    assert "3 of 6 tiles" in text
    assert "2 h 01 min" in text
    assert "1,234" in text
    assert "600 a minute" in text


def test_jobs_are_told_by_stage(snapshot) -> None:
    """Those that are done of all, and where the others stand."""
    text = words.cards(replace(snapshot, jobs={"waits": 2, "runs": 3, "done": 5}), 100.0)
    assert "5 of 10 done" in text
    assert "2 waits, 3 runs" in text


def test_the_bar_of_spending_ends_at_the_cap(snapshot) -> None:
    """Spent 1.5 of a plan of 3 under a cap of 4."""
    text = words.spending(snapshot)
    assert f'width:37.5%;background:{words.COLOURS[TileMark.WRITTEN]}"' in text
    assert "left:calc(75.0% - 2px)" in text
    assert "left:calc(100.0% - 2px)" in text
    assert "<b>1.50</b> spent of 3.00 planned" in text
    assert "cap 4.00" in text


def test_a_cap_far_away_does_not_shrink_the_bar(snapshot) -> None:
    """The plan is its end then."""
    text = words.spending(replace(snapshot, max_pu=500.0))
    assert "width:50.0%" in text
    assert "cap 500" in text


@pytest.mark.parametrize("change", [{"pu_spent": 3.7}, {"pu_spent": 2.1, "max_pu": 2.0}])
def test_spending_too_much_is_seen(snapshot, change) -> None:
    """A fifth above the plan, or above the cap."""
    assert f"background:{words.COLOURS[TileMark.FAILED]}" in words.spending(replace(snapshot, **change))


def test_nothing_planned_divides_nothing(snapshot) -> None:
    """Before the owner's first note."""
    assert "width:0.0%" in words.spending(replace(snapshot, pu_spent=0.0, pu_projected=0.0, max_pu=None))


def test_both_buckets_are_drawn(snapshot) -> None:
    """What they hold, and pace and rate a minute."""
    text = words.buckets(snapshot)
    assert "width:25.0%" in text
    assert "75 of 300 requests</span><span>600 of 600 a minute" in text
    assert "10 of 20 PU</span><span>12 of 300 a minute" in text
    assert "slowed" not in text


def test_a_slowed_rate_is_seen(snapshot) -> None:
    """After answers 429."""
    slowed = replace(snapshot, limits={**snapshot.limits, "rate_share": 0.9})
    assert "slowed to 90% by 429" in words.buckets(slowed)


def test_limits_may_not_be_known(snapshot) -> None:
    """Of an account that the scheduler has forgotten."""
    assert "not known" in words.buckets(replace(snapshot, limits={}))


def test_errors_are_escaped(snapshot) -> None:
    """A service's page of HTML is text here."""
    error = ErrorKind(kind="DecodeError", count=3, message='<script>"&', tile=4, told=1.0)
    text = words.errors(replace(snapshot, errors=(error,)))
    assert "&lt;script&gt;&quot;&amp;" in text
    assert "<script>" not in text


def test_tables_show_what_there_is(snapshot) -> None:
    """Slow tiles, and workers, the busiest first."""
    slow = SlowTile(tile=7, step=0, row=2, column=1, seconds=3.25, worker="tcp://w")
    idle, busy = (
        WorkerLoad(address=name, host="h", tiles=3, in_flight=count, oldest_s=1.5, spool_nbytes=0, heard_s=0.0)
        for name, count in (("tcp://a", 0), ("tcp://b", 2))
    )
    loaded = replace(snapshot, slowest=(slow,), workers=(idle, busy))
    assert "<td>7</td><td>2, 1</td><td>3.2</td><td>tcp://w</td>" in words.slowest(loaded)
    assert words.workers(loaded).index("tcp://b") < words.workers(loaded).index("tcp://a")


def test_an_empty_table_says_so(snapshot) -> None:
    """No error is good news."""
    assert "none" in words.errors(snapshot)


@pytest.mark.parametrize(
    ("tile", "change", "text"),
    [
        (None, {}, "Click on a tile"),
        (3, {}, "the owner is asked"),
        (3, {"explained": {3: "worth < 1 PU"}}, "<pre>worth &lt; 1 PU</pre>"),
        (3, {"ended": 1.0}, "shdask plan JOB --explain 3"),
    ],
)
def test_a_tile_is_explained_once_its_owner_has_said_so(snapshot, tile, change, text) -> None:
    """Before it says what to do, or what is waited for."""
    assert text in words.explanation(replace(snapshot, **change), tile)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, "&ndash;"), (0.4, "0 s"), (59.0, "59 s"), (61.0, "1 min"), (7140.0, "119 min"), (7260.0, "2 h 01 min")],
)
def test_times_read_as_people_say_them(seconds, text) -> None:
    """In the unit that fits."""
    assert words.duration(seconds) == text
