"""What the command asks before it buys for much, on a terminal and off it; the emulator says what was bought."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

LOW = "\n[service]\nconfirm_above_pu = 0.1\n"
PU = 0.56
"""Of the job's one tile, in PU, by `shdask plan`."""


class Terminal(io.StringIO):
    """A stream that people sit at."""

    def isatty(self) -> bool:
        """It is one."""
        return True


@pytest.fixture
def answer(run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[Any, str, str]]:
    """Runs a command on a terminal where somebody types; gives its exit code, stdout, and what the terminal shows."""

    def answer(typed: str, *words: object) -> tuple[Any, str, str]:
        terminal = Terminal()
        monkeypatch.setattr("sys.stdin", Terminal(typed))
        monkeypatch.setattr("sys.stderr", terminal)
        code, out, _ = run(*words)
        return code, out, terminal.getvalue()

    return answer


@pytest.mark.parametrize("command", [("build", "job.toml", "cube"), ("build", "job.toml", "cube", "--json")])
def test_off_a_terminal_nothing_is_bought_without_yes(service, run, write_job, command) -> None:
    """Exit code 4, with the price and the word that is missing; nothing is sent, and nothing made on disk."""
    write_job(extra=LOW)
    code, out, err = run(*command)
    assert (code, out) == (4, "")
    assert f"costs {PU} PU, which is more than the 0.1 of service.confirm_above_pu; nothing was sent. Pass --yes" in err
    assert service.requests() == []
    assert not Path("cube").exists()


def test_yes_buys_without_a_question(service, run, write_job) -> None:
    """Off a terminal, as in a script."""
    code, _, err = run("build", write_job(extra=LOW), "cube", "--yes")
    assert code == 0, err
    assert len(service.requests()) == 1


def test_a_cheap_build_asks_nothing(service, run, write_job) -> None:
    """Below a hundred PU, where the job says nothing of it."""
    assert run("build", write_job(), "cube")[0] == 0


@pytest.mark.parametrize("typed", ["n\n", "\n", ""], ids=["no", "return", "end of input"])
def test_a_build_that_is_not_confirmed_buys_nothing(service, answer, write_job, typed) -> None:
    """No is what is meant unless somebody says yes."""
    code, out, shown = answer(typed, "build", write_job(extra=LOW), "cube")
    assert (code, out) == (4, "")
    assert "not confirmed; nothing was sent" in shown
    assert service.requests() == []


def test_a_build_that_is_confirmed_is_built(service, answer, write_job) -> None:
    """The question names the price, and stands on stderr: stdout holds the answer to ``--json`` alone."""
    code, out, shown = answer("y\n", "build", write_job(extra=LOW), "cube", "--json")
    assert code == 0, shown
    assert f"Buy for {PU} PU, which is more than the 0.1" in shown
    assert json.loads(out)["written"] == 1


def test_only_what_is_left_to_buy_is_asked_for(service, run, write_job) -> None:
    """A cube that is finished costs nothing, whatever the plan does."""
    run("build", write_job(extra=LOW), "cube", "--yes")
    assert run("build", "job.toml", "cube")[0] == 0


def test_a_cap_below_the_price_is_told_before_anybody_is_asked(service, answer, write_job) -> None:
    """A question whose yes would be refused is none."""
    code, _, shown = answer("y\n", "build", write_job(extra=LOW), "cube", "--max-pu", 0.2)
    assert code == 4
    assert "and max_pu is 0.2; nothing was sent" in shown
    assert "Buy for" not in shown


@pytest.mark.parametrize("words", [(), ("--json",)])
def test_a_repair_asks_too(service, run, write_job, words) -> None:
    """Off a terminal it stops before a mark is removed; with --yes it repairs."""
    run("build", write_job(extra=LOW), "cube", "--yes")
    shard = next(path for path in Path("cube/B02/c").rglob("*") if path.is_file())
    shard.write_bytes(shard.read_bytes()[:-1] + b"\0")
    service.reset()
    code, _, err = run("verify", "cube", "--repair", *words)
    assert code == 4
    assert "Pass --yes to buy it" in err
    assert service.requests() == []
    assert run("verify", "cube", "--repair", "--yes", *words)[0] == 0
    assert run("verify", "cube")[0] == 0


@pytest.mark.parametrize("amount", ["-1", "nan", '"much"'])
def test_an_amount_that_is_none_is_refused(service, run, write_job, amount) -> None:
    """With its place in the file."""
    code, _, err = run("plan", write_job(extra=f"\n[service]\nconfirm_above_pu = {amount}\n"))
    assert code == 2
    assert "service.confirm_above_pu" in err
