"""The sums of a cube of several groups: its report, and its progress while one group is being built."""

from __future__ import annotations

from dataclasses import replace

import pytest

from shdask.report import BuildReport, Progress, add_progress, add_reports


def a_report(**fields: object) -> BuildReport:
    none = dict.fromkeys(["tiles", "written", "empty", "failed", "skipped", "requests", "rejected", "nbytes"], 0)
    return BuildReport(**{**none, "pu_spent": 0.0, "pu_projected": 0.0, "seconds": 0.0, "store": "s", **fields})


HERE = Progress(
    tiles=10, done=4, failed=1, requests=8, rejected=1, pu_spent=2.0, pu_projected=4.0, seconds=10.0,
    requests_per_minute=48.0, remaining_s=20.0, waiting_for="answers",
)  # fmt: skip  # one row


def test_a_whole_report_sums_its_groups() -> None:
    """Tiles, requests and prices are added; each group's own report stays at hand."""
    radar = a_report(tiles=3, written=2, failed=1, requests=4, pu_spent=1.5, failures={7: "cut"}, notes=("late",))
    whole = add_reports({"s2": a_report(tiles=2, skipped=2), "s1": radar}, store="cube")
    assert (whole.tiles, whole.written, whole.skipped, whole.requests, whole.pu_spent) == (5, 2, 2, 4, 1.5)
    assert (whole.failures, whole.notes, whole.store) == ({"s1 7": "cut"}, ("s1: late",), "cube")
    assert whole.groups["s1"] is radar


def test_a_report_tells_what_was_projected_beside_what_was_measured() -> None:
    """Price, time and bytes; an answer's seconds are a mean."""
    report = a_report(
        pu_spent=1.5, pu_projected=1.0, seconds=90.0, seconds_projected=30.0, nbytes=4_000_000,
        nbytes_projected=10_000_000, answers=4, answers_s=2.0,
    )  # fmt: skip  # one row
    told = dict(report.summary())
    assert told["PU"] == "1.50 spent, 1.00 projected"
    assert told["time"] == "1.5 min, 30.0 s projected; 0.50 s an answer"
    assert told["received"] == "4.0 MB of 10.0 MB before compression"


def test_a_whole_report_has_the_mean_answer_of_all_groups() -> None:
    """Not the mean of their means."""
    whole = add_reports({"a": a_report(answers=1, answers_s=5.0), "b": a_report(answers=4, answers_s=5.0)}, store="c")
    assert whole.latency_s == 2.0


def test_a_whole_report_is_complete_when_all_groups_are() -> None:
    """One failed tile of one group is enough to miss it."""
    done, failed = a_report(tiles=2, written=2), a_report(tiles=1, failed=1)
    assert add_reports({"a": done, "b": done}, store="cube").complete
    assert not add_reports({"a": done, "b": failed}, store="cube").complete


def test_progress_counts_groups_before_and_after() -> None:
    """What is done, and what is still to come, belongs to the whole."""
    before = a_report(tiles=5, written=3, skipped=2, requests=6, pu_spent=1.0, pu_projected=1.0, seconds=5.0)
    whole = add_progress(HERE, "s1", before=[before], later=[(20, 6.0)], max_pu=50)
    assert (whole.tiles, whole.done, whole.failed, whole.requests) == (35, 9, 1, 14)
    assert (whole.pu_spent, whole.pu_projected, whole.max_pu) == (3.0, 11.0, 50)
    assert whole.requests_per_minute == pytest.approx(14 / 15 * 60)


def test_what_remains_goes_on_at_the_price_per_second_of_now() -> None:
    """2 PU in 20 s are left here, so 6 PU more are a minute more."""
    whole = add_progress(HERE, "s1", before=[], later=[(20, 6.0)], max_pu=None)
    assert whole.remaining_s == pytest.approx(80.0)


def test_what_remains_is_not_known_before_there_is_a_pace() -> None:
    """Neither of the group nor of the whole."""
    assert (
        add_progress(replace(HERE, remaining_s=None), "s1", before=[], later=[(1, 1.0)], max_pu=None).remaining_s
        is None
    )
