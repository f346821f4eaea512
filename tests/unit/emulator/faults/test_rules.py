"""Which call a fault hits: by probability, by a script, by what the call says."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shdask.emulator.faults.rules import KINDS, Fault, FaultBook


def make_book(*faults: Fault, seed: int = 7) -> FaultBook:
    return FaultBook(faults, seed=seed, now=0.0)


def hit_calls(book: FaultBook, calls: int = 12, *, now: float = 0.0, service: str = "process") -> list[int]:
    """The numbers of the calls that were hit, from 1."""
    return [call for call in range(1, calls + 1) if book.strike(service, b"", now)]


@pytest.mark.parametrize(
    ("rule", "hit"),
    [
        ({}, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]),
        ({"first": 3, "last": 3}, [3]),
        ({"first": 3, "last": 5}, [3, 4, 5]),
        ({"first": 11}, [11, 12]),
        ({"every": 5}, [5, 10]),
        ({"times": 2}, [1, 2]),
        ({"every": 2, "first": 5, "times": 2}, [6, 8]),
        ({"probability": 0.0}, []),
    ],
)
def test_a_script_names_the_calls(rule, hit):
    """Calls are counted from 1; a range, every so-many-th and a number of times go together."""
    assert hit_calls(make_book(Fault(kind="503", **rule))) == hit


@given(st.floats(0, 1), st.integers(0, 2**64))
def test_the_same_seed_hits_the_same_calls(probability, seed):
    """What a probability hits depends on the seed and the number of the call alone."""
    fault = Fault(kind="reset", probability=probability)
    assert hit_calls(make_book(fault, seed=seed)) == hit_calls(make_book(fault, seed=seed))


def test_a_higher_probability_hits_the_same_calls_and_more():
    """Luck is drawn per call: turning a probability up keeps what it hit before."""
    few, many = (hit_calls(make_book(Fault(kind="503", probability=p)), 1000) for p in (0.1, 0.3))
    assert set(few) < set(many)


def test_a_probability_is_kept_in_the_long_run():
    """Of 20,000 calls 5 % are hit, give or take four standard deviations (31)."""
    assert abs(len(hit_calls(make_book(Fault(kind="503", probability=0.05)), 20_000)) - 1000) < 4 * 31


def test_another_seed_is_other_luck():
    """The luck of one seed is not that of another."""
    fault = Fault(kind="503", probability=0.5)
    assert hit_calls(make_book(fault, seed=1), 64) != hit_calls(make_book(fault, seed=2), 64)


def test_rules_of_one_probability_are_independent():
    """Two rules do not share their luck: where both are even chances, both hit some calls."""
    book = make_book(Fault(kind="503", probability=0.5), Fault(kind="reset", probability=0.5))
    hit_calls(book, 200)
    assert sum(book.counts().values()) == pytest.approx(150, abs=4 * 6.2)


def test_the_first_rule_that_hits_wins():
    """One fault a call; the other rules count the call all the same."""
    book = make_book(Fault(kind="503", first=2, last=2), Fault(kind="reset", first=2, last=3))
    hit_calls(book, 3)
    assert book.rules() == [
        {"kind": "503", "first": 2, "last": 2, "calls": 3, "struck": 1},
        {"kind": "reset", "first": 2, "last": 3, "calls": 3, "struck": 1},
    ]


def test_only_calls_of_the_service_count():
    """A rule for tokens neither hits nor counts a Process call."""
    book = make_book(Fault(kind="503", service="token", first=1, last=1))
    assert hit_calls(book, 3) == []
    assert hit_calls(book, 3, service="token") == [1]


def test_a_rule_may_be_for_any_service():
    """Calls of all services are counted together."""
    book = make_book(Fault(kind="503", service="any", first=2, last=2))
    assert hit_calls(book, 1, service="token") == []
    assert hit_calls(book, 1, service="catalog") == [1]


def test_only_calls_count_whose_body_holds_the_text():
    """The second call for one tile is hit, whatever comes between."""
    book = make_book(Fault(kind="503", contains="500000.0", first=2, last=2))
    bodies = [b"[500000.0, 1]", b"[600000.0, 1]", b"[500000.0, 1]"]
    assert [bool(book.strike("process", body, 0.0)) for body in bodies] == [False, False, True]


@pytest.mark.parametrize(("now", "struck"), [(0.9, False), (1.0, True), (2.9, True), (3.0, False)])
def test_a_rule_strikes_within_its_time(now, struck):
    """From after_s on, for for_s, counted from when the rule was set."""
    book = make_book(Fault(kind="503", after_s=1.0, for_s=2.0))
    assert bool(book.strike("process", b"", now)) is struck


def test_added_rules_count_from_when_they_were_added():
    """Adding keeps the rules there are, with their counts."""
    book = make_book(Fault(kind="503", first=2, last=2))
    hit_calls(book, 1)
    book.add([Fault(kind="reset", first=1, last=1, for_s=1.0)], now=10.0)
    assert book.strike("process", b"", 10.5).fault.kind == "503"
    assert [rule["calls"] for rule in book.rules()] == [2, 1]


def test_replacing_forgets_rules_but_not_what_struck():
    """The counts by kind outlive their rules."""
    book = make_book(Fault(kind="503"))
    hit_calls(book, 2)
    book.replace([], now=0.0)
    assert (book.armed, book.rules(), book.counts()) == (False, [], {"503": 2})


def test_a_restart_repeats_the_run():
    """After a restart the same calls are hit again, and the time starts anew."""
    book = make_book(Fault(kind="503", probability=0.3), Fault(kind="reset", for_s=1.0, every=4))
    before = hit_calls(book, 40)
    book.restart(now=100.0)
    assert (book.counts(), hit_calls(book, 40, now=100.5)) == ({}, before)


@pytest.mark.parametrize("kind", KINDS)
def test_kinds_that_spoil_an_answer_need_it(kind):
    """Only they work before they go wrong, unless the work is to be charged."""
    faults: Any = [Fault(kind=kind), Fault(kind=kind, charged=True)]
    assert [fault.needs_answer for fault in faults] == [KINDS[kind].spoils, True]


def test_all_that_is_due_befalls_a_job():
    """Several rules at once, each counted by itself; a call takes the first alone."""
    book = make_book(
        Fault(kind="slow", service="job"), Fault(kind="late", service="job", every=2), Fault(kind="503", service="any")
    )
    struck = [[strike.fault.kind for strike in book.strike_job(b"", 0.0)] for _ in range(2)]
    assert struck == [["slow"], ["slow", "late"]]
    assert [rule["struck"] for rule in book.rules()] == [2, 1, 0]
    assert book.counts() == {"slow": 2, "late": 1}


def test_faults_of_calls_befall_no_job():
    """Nor those of jobs a call."""
    book = make_book(Fault(kind="503", service="any"), Fault(kind="fail", service="job"))
    assert [strike.fault.kind for strike in book.strike_job(b"", 0.0)] == ["fail"]
    assert book.strike("async", b"", 0.0).fault.kind == "503"


def test_a_job_is_told_by_its_body():
    """As a call is."""
    book = make_book(Fault(kind="fail", service="job", contains="first"))
    assert [len(book.strike_job(body, 0.0)) for body in (b"the first", b"the second")] == [1, 0]
