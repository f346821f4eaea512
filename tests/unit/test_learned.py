"""The file of what was learned: kept whole, and never in the way."""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from pathlib import Path

import pytest

from shdask import learned as module
from shdask.learned import Learned
from shdask.plan.measured import Measured, RunFigures
from tests.unit.figures import RUN


@pytest.fixture
def learned(tmp_path: Path) -> Learned:
    return Learned(file=tmp_path / "state" / "learned.json")


def keep(learned: Learned, *runs: RunFigures) -> None:
    for run in runs:
        learned.add(run)


def text_of(learned: Learned) -> str:
    assert learned.file is not None
    return learned.file.read_text()


def test_what_a_run_has_shown_is_read_by_the_next_plan(learned) -> None:
    """By the kind of the run."""
    learned.add(RUN)
    assert learned.read() == {RUN.kind: Measured().after(RUN)}


def test_runs_of_one_kind_add_up_and_others_stay(learned) -> None:
    """The latest kind is last."""
    other = replace(RUN, kind="elsewhere sentinel-2-l2a bands", pu_spent=9.0)
    keep(learned, RUN, other, RUN)
    assert list(learned.read().items()) == [
        (other.kind, Measured().after(other)),
        (RUN.kind, Measured().after(RUN).after(RUN)),
    ]


def test_the_file_is_in_the_user_s_state_folder() -> None:
    """As the XDG base directories have it."""
    assert Learned.of_this_user({"XDG_STATE_HOME": "/state"}).file == Path("/state/shdask/learned.json")


@pytest.mark.parametrize("word", ["0", "off", " False "])
def test_learning_can_be_turned_off(word: str, learned) -> None:
    """Then nothing is read or written."""
    off = Learned.of_this_user({"XDG_STATE_HOME": str(learned.file.parent), "SHDASK_LEARN": word})
    off.add(RUN)
    assert (off.read(), learned.file.parent.exists()) == ({}, False)


def test_a_run_that_bought_nothing_says_nothing(learned) -> None:
    """Not even that there was one."""
    learned.add(replace(RUN, pu_formula=0.0))
    assert learned.read() == {}


def test_a_missing_file_is_no_trouble(learned, caplog) -> None:
    """It is the rule at first."""
    assert learned.read() == {}
    assert caplog.records == []


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", '{"version": 2, "kinds": {}}', '{"version": 1, "kinds": {"a": {"runs": "many"}}}', "\ud800"],
    ids=["empty", "cut", "list", "newer", "figures", "no text"],
)
def test_a_damaged_file_is_told_in_one_line_and_written_anew(learned, caplog, text: str) -> None:
    """A build goes on, and its figures are the first again."""
    learned.file.parent.mkdir()
    learned.file.write_bytes(text.encode("utf-8", "surrogatepass"))
    assert learned.read() == {}
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    learned.add(RUN)
    assert learned.read() == {RUN.kind: Measured().after(RUN)}


def test_a_folder_that_cannot_be_written_is_told_in_one_line(tmp_path, caplog) -> None:
    """A build goes on."""
    (tmp_path / "file").write_text("in the way")
    Learned(file=tmp_path / "file" / "learned.json").add(RUN)
    assert "the next plan learns nothing of this run" in caplog.records[-1].message
    assert caplog.records[-1].levelno == logging.WARNING


def test_a_write_that_fails_leaves_the_file_as_it_was(learned, monkeypatch) -> None:
    """And nothing beside it."""
    learned.add(RUN)
    before = text_of(learned)
    monkeypatch.setattr(Path, "replace", refuse)
    learned.add(RUN)
    assert text_of(learned) == before
    assert list(learned.file.parent.iterdir()) == [learned.file]


def refuse(*_: object) -> None:
    raise OSError(28, "No space left on device")


def test_the_file_is_the_user_s_alone(learned) -> None:
    """It tells which collections somebody buys."""
    learned.add(RUN)
    assert (learned.file.stat().st_mode & 0o777, learned.file.parent.stat().st_mode & 0o777) == (0o600, 0o700)


def test_the_oldest_kinds_are_forgotten(learned, monkeypatch) -> None:
    """A script that is changed a thousand times does not fill the file."""
    monkeypatch.setattr(module, "MOST_KINDS", 2)
    keep(learned, *(replace(RUN, kind=name) for name in ("a", "b", "c")))
    assert list(json.loads(text_of(learned))["kinds"]) == ["b", "c"]
