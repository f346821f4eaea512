"""The emulator's page: every block of it runs, and its table of switches is true."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Literal, get_args, get_origin, get_type_hints

import pytest

from shdask.cli.app import app
from shdask.emulator.account.plans import PLANS
from shdask.emulator.config import EmulatorConfig
from shdask.emulator.faults.rules import KINDS
from shdask.emulator.faults.text import read_faults

pytest_plugins = ["pytester"]

PAGE = (Path(__file__).parents[3] / "docs" / "emulator.md").read_text()
PYTHON = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
SCRIPTS = [block for block in PYTHON if not block.startswith("# ")]
FILES = {block.split()[1]: block for block in PYTHON if block.startswith("# ")}
TOML = dict(re.findall(r"```toml\n# (\S+)\n(.*?)```", PAGE, re.DOTALL))
COMMANDS = re.findall(r"^shdask emulator.*$", "\n".join(re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL)), re.MULTILINE)
SWITCHES = dict(re.findall(r"^\| `(\w+)` \| `(.*?)` \|", PAGE, re.MULTILINE))


@pytest.mark.parametrize("number", range(len(SCRIPTS)))
def test_scripts_run(number, tmp_path):
    """Each by itself, in a folder of its own, without a warning."""
    command = [sys.executable, "-W", "error", "-c", SCRIPTS[number]]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_tests_pass(pytester):
    """The page's conftest.py and test_mine.py are a run that passes."""
    pytester.makepyfile(**{name.removesuffix(".py"): text for name, text in FILES.items()})
    pytester.path.joinpath("config").mkdir()
    outcomes = pytester.runpytest_subprocess("-W", "error", "-p", "no:cacheprovider").parseoutcomes()
    assert (sorted(FILES), outcomes) == (["conftest.py", "test_mine.py"], {"passed": 2})


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_are_accepted(command, tmp_path, monkeypatch):
    """Every option exists, and every value is a good one."""
    served = []
    monkeypatch.setattr("shdask.emulator.server.run_server", lambda config, **_: served.append(config))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "scenes").mkdir()
    (tmp_path / "scenes" / "B04.tif").touch()
    (tmp_path / "faults.toml").write_text(TOML["faults.toml"])
    app(shlex.split(command)[1:], standalone_mode=False)
    assert len(served) == 1


def test_the_file_of_faults_is_read(tmp_path):
    """As many rules as it holds."""
    (tmp_path / "faults.toml").write_text(TOML["faults.toml"])
    assert len(read_faults(str(tmp_path / "faults.toml"))) == len(tomllib.loads(TOML["faults.toml"])["faults"]) == 2


def test_switches_are_told_with_their_defaults():
    """The table's defaults are the configuration's."""
    config = EmulatorConfig()
    assert {name: json.loads(told) for name, told in SWITCHES.items()} == {
        name: getattr(config, name) for name in SWITCHES
    }


def test_no_switch_is_kept_quiet():
    """Every choice among words that the configuration has is in the table, with all its words."""
    hints = get_type_hints(EmulatorConfig)
    choices = {name: get_args(hint) for name, hint in hints.items() if get_origin(hint) is Literal}
    del choices["compression"]  # the pixels are the same
    rows = {name: PAGE.split(f"| `{name}` |")[1].split("\n")[0] for name in choices}
    assert {name: [word for word in words if str(word) not in rows[name]] for name, words in choices.items()} == {
        name: [] for name in choices
    }


@pytest.mark.parametrize("name", [*KINDS, *PLANS])
def test_kinds_and_plans_are_all_named(name):
    """Each kind of fault and each plan stands on the page."""
    assert f"`{name}`" in PAGE
