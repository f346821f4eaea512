"""What is kept of an account's burst between two clusters of one user."""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from pathlib import Path

import pytest

from shdask.cluster import learned_bursts as module
from shdask.cluster.learned_bursts import LearnedBursts

LIMITS = {"burst_s": 58.0, "burst_searching": 0.0, "burst_used_s": 40.0, "permits": 900.0}


@pytest.fixture
def learned(tmp_path: Path) -> LearnedBursts:
    return LearnedBursts(file=tmp_path / "state" / "bursts.json", clock=lambda: 1000.0)


def later(learned: LearnedBursts, seconds: float) -> LearnedBursts:
    return replace(learned, clock=lambda: 1000.0 + seconds)


def test_the_next_cluster_begins_where_the_last_one_was(learned) -> None:
    """Ten seconds later 30 of the 40 s in use are still missing in the service's bucket; an hour later none."""
    learned.add("a", LIMITS)
    assert later(learned, 10).find("a") == {"known_s": 58.0, "searching": 0.0, "used_s": 30.0}
    assert later(learned, 3600).find("a") == {"known_s": 58.0, "searching": 0.0, "used_s": 0.0}


def test_a_burst_found_a_day_ago_is_searched_again(learned) -> None:
    """One 429 that another program caused does not ruin every later run; runs in between make it no younger."""
    small = {**LIMITS, "burst_s": 0.25, "burst_used_s": 0.0}
    learned.add("a", small)
    later(learned, 80_000).add("a", small)
    assert later(learned, 86_399).find("a")["searching"] == 0.0
    assert later(learned, 86_400).find("a") == {"known_s": 0.25, "searching": 1.0, "used_s": 0.0}


def test_a_burst_found_again_is_believed_for_another_day(learned) -> None:
    """The run that searched it for its age was refused at the same size."""
    small = {**LIMITS, "burst_s": 0.25}
    learned.add("a", small)
    later(learned, 90_000).add("a", small)
    assert later(learned, 170_000).find("a")["searching"] == 0.0


def test_accounts_are_kept_apart(learned) -> None:
    """What one has found does not help the other."""
    learned.add("a", LIMITS)
    learned.add("b", {**LIMITS, "burst_s": 0.5})
    assert (learned.find("a")["known_s"], learned.find("b")["known_s"], learned.find("c")) == (58.0, 0.5, {})


def test_a_clock_that_was_set_back_costs_a_minute_at_most(learned) -> None:
    """No bucket of the service takes longer."""
    learned.add("a", LIMITS)
    assert later(learned, -1e6).find("a")["used_s"] == 60.0


def test_the_latest_accounts_are_kept(learned, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file does not grow for ever."""
    monkeypatch.setattr(module, "MOST_ACCOUNTS", 2)
    _ = [learned.add(name, LIMITS) for name in ("a", "b", "c")]
    assert [bool(learned.find(name)) for name in ("a", "b", "c")] == [False, True, True]


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        '{"version": 1, "accounts": 5}',
        '{"version": 1, "accounts": {"a": 5}}',
        '{"version": 1, "accounts": {"a": {"known_s": 1e9, "searching": false, "full_at": 0}}}',
        '{"version": 1, "accounts": {"a": {"known_s": "much", "searching": false, "full_at": 0}}}',
    ],
)
def test_a_damaged_file_is_as_none(learned, text: str, caplog: pytest.LogCaptureFixture) -> None:
    """The burst is found anew, and the log says why."""
    learned.file.parent.mkdir()
    learned.file.write_text(text)
    with caplog.at_level(logging.WARNING):
        assert learned.find("a") == {}
    assert "is not used" in caplog.text


def test_a_file_of_another_version_is_not_read(learned) -> None:
    """Nobody knows what it means."""
    learned.file.parent.mkdir()
    learned.file.write_text(json.dumps({"version": 2, "accounts": {"a": {}}}))
    assert learned.find("a") == {}


def test_a_folder_that_cannot_be_written_is_told_and_no_more(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A run does not fail for it."""
    (tmp_path / "state").write_text("in the way")
    with caplog.at_level(logging.WARNING):
        LearnedBursts(file=tmp_path / "state" / "bursts.json").add("a", LIMITS)
    assert "cannot be written" in caplog.text


def test_it_is_off_where_learning_is_off() -> None:
    """And beside the other file where it is on."""
    assert LearnedBursts.of_this_user({"SHDASK_LEARN": "0", "XDG_STATE_HOME": "/state"}).file is None
    assert LearnedBursts.of_this_user({"XDG_STATE_HOME": "/state"}).file == Path("/state/shdask/bursts.json")
