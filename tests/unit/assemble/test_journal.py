"""When lines become objects."""

from __future__ import annotations

import pytest

from shdask.assemble import journal
from shdask.assemble.journal import FOLDER, SegmentJournal, read_segments
from shdask.errors import StoreUnavailable


class Shelf:
    """Objects in a dictionary."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.full = False
        self.now = 100.0

    def read(self, key: str) -> bytes | None:
        """One of them."""
        return self.objects.get(key)

    def write(self, key: str, data: bytes) -> None:
        """One of them, unless the shelf is full."""
        if self.full:
            raise StoreUnavailable("full")
        self.objects[key] = data

    def names(self, folder: str = "") -> list[str]:
        """In no useful order."""
        return [key.removeprefix(f"{folder}/") for key in reversed(self.objects) if key.startswith(f"{folder}/")]

    def text(self) -> bytes:
        """All lines."""
        return b"".join(read_segments(self))


@pytest.fixture
def shelf() -> Shelf:
    return Shelf()


@pytest.fixture
def lines(shelf: Shelf) -> SegmentJournal:
    return SegmentJournal(shelf, "run", 0, clock=lambda: shelf.now)


def test_a_line_is_there_when_append_returns(shelf, lines):
    """Unless it may wait."""
    lines.append(b"a\n")
    assert shelf.text() == b"a\n"


def test_lines_that_may_wait_are_put_once_a_second(shelf, lines):
    """By the first append after that, even of nothing."""
    lines.append(b"a\n", may_wait=True)
    lines.append(b"b\n", may_wait=True)
    assert shelf.text() == b"a\n"
    shelf.now += 1.0
    lines.append(b"", may_wait=True)
    assert shelf.text() == b"a\nb\n"


def test_a_line_that_may_not_wait_takes_those_along_that_do(shelf, lines):
    """Their order stays."""
    lines.append(b"a\n", may_wait=True)
    lines.append(b"b\n", may_wait=True)
    lines.append(b"c\n")
    assert shelf.text() == b"a\nb\nc\n"


def test_closing_puts_what_waits(shelf, lines):
    """Nothing is lost at the end."""
    lines.append(b"a\n", may_wait=True)
    lines.append(b"b\n", may_wait=True)
    lines.close()
    assert shelf.text() == b"a\nb\n"


def test_nothing_is_put_for_nothing(shelf, lines):
    """A run that has nothing to say leaves no segment."""
    lines.append(b"", may_wait=True)
    lines.close()
    assert shelf.objects == {}


def test_a_full_segment_is_followed_by_another(shelf, lines, monkeypatch):
    """A long ledger is not written anew with each flush."""
    monkeypatch.setattr(journal, "SEGMENT_NBYTES", 6)
    [lines.append(b"abc\n") for _ in range(5)]
    assert sorted(shelf.objects.items()) == [
        (f"{FOLDER}/00000000-run.jsonl", b"abc\nabc\n"),
        (f"{FOLDER}/00000001-run.jsonl", b"abc\nabc\n"),
        (f"{FOLDER}/00000002-run.jsonl", b"abc\n"),
    ]


def test_a_refused_line_is_taken_back_and_an_older_one_kept(shelf, lines):
    """Its caller tries it again; the older one was counted."""
    lines.append(b"a\n")
    lines.append(b"b\n", may_wait=True)
    shelf.full = True
    with pytest.raises(StoreUnavailable):
        lines.append(b"c\n")
    shelf.full = False
    lines.append(b"c\n")
    assert shelf.text() == b"a\nb\nc\n"


def test_a_run_begins_after_what_stands_there(shelf):
    """In the order of runs, whatever they are called."""
    SegmentJournal.open(shelf, "z").append(b"first\n")
    SegmentJournal.open(shelf, "a").append(b"second\n")
    assert shelf.text() == b"first\nsecond\n"


def test_more_segments_than_are_read_at_once_come_in_order(shelf):
    """None is left out."""
    [SegmentJournal.open(shelf, "run").append(b"%d\n" % number) for number in range(40)]
    assert shelf.text() == b"".join(b"%d\n" % number for number in range(40))
