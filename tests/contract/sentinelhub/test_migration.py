"""The migration page: its script runs with either import, and it names all that is left out."""

from __future__ import annotations

import json
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import shdask.sentinelhub as ours
from shdask.emulator.launch import EmulatorProcess

PAGE = (Path(__file__).parents[3] / "docs" / "migration.md").read_text()
SETUP, PICTURE, JOB = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)


def write_profile(folder: Path, patch: pytest.MonkeyPatch, *, base_url: str, token_url: str) -> None:
    """A profile "cdse" of the page that is a server on loopback, and the emulator's credentials."""
    (folder / "sentinelhub").mkdir()
    (folder / "sentinelhub" / "config.toml").write_text(
        f'[cdse]\nsh_base_url = "{base_url}"\nsh_token_url = "{token_url}"\n'
    )
    patch.setenv("XDG_CONFIG_HOME", str(folder))
    patch.setenv("SH_CLIENT_ID", "emulator")
    patch.setenv("SH_CLIENT_SECRET", "emulator")
    # sentinelhub-py's login library knows no loopback
    patch.setenv("OAUTHLIB_INSECURE_TRANSPORT", "1")
    patch.chdir(folder)


def run(*blocks: str, package: str = "shdask.sentinelhub") -> dict[str, Any]:
    """The names that blocks of the page leave behind."""
    names: dict[str, Any] = {}
    exec("\n".join(blocks).replace("shdask.sentinelhub", package), names)  # noqa: S102  # our own page
    return names


def test_the_picture_is_the_same_before_and_after(
    theirs: ModuleType, emulator: EmulatorProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The script gives equal pixels with either import, and both would keep them under one name."""
    write_profile(tmp_path, monkeypatch, base_url=emulator.base_url, token_url=emulator.token_url)
    after = run(SETUP, PICTURE)
    (tmp_path / "cache").rename(tmp_path / "ours")
    # 0.29 is the page's example of what is mended
    before = run(SETUP.replace("maxcc=0.29", "maxcc=0.295"), PICTURE, package=theirs.__name__)
    assert after["image"].shape == (110, 155, 3)
    assert after["image"].max() > after["image"].min()
    np.testing.assert_array_equal(after["image"], before["image"])
    assert after["request"].get_filename_list() == before["request"].get_filename_list()


def test_the_job_is_submitted_and_asked_for(
    script: Any, reply: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The page's job is sent once, and its status read."""
    server = script(reply(body=b'{"id": "7", "status": "RUNNING"}'), reply(status=404))
    write_profile(tmp_path, monkeypatch, base_url=server.url, token_url=f"{server.url}/token")
    # a name has one definition, and the ports differ
    found = run(SETUP.replace("S2_CDSE", "S2_JOB"), JOB)
    assert found["running"] == {"7": False}
    assert [seen.path for seen in server.seen] == ["/token", "/api/v1/async/process", "/api/v1/async/process/7"]
    assert json.loads(server.seen[1].body)["output"]["delivery"]["s3"]["iamRoleARN"] == "arn:aws:iam::1:role/deliver"


def test_every_name_is_here_or_listed(theirs: ModuleType) -> None:
    """What sentinelhub-py exports is exported here too, or stands in the page's list; never both."""
    public = {
        name
        for name, value in vars(theirs).items()
        if not name.startswith("_") and getattr(value, "__module__", "").startswith(theirs.__name__)
    }
    listed = set(re.findall(r"`(\w+)`", PAGE.split("## Left out")[1])) - {"create_request"}
    assert public - set(ours.__all__) == listed


@pytest.mark.parametrize("name", sorted(set(re.findall(r"^\| `(\w+)`", PAGE, flags=re.MULTILINE))))
def test_every_row_is_of_a_name_that_is_here(name: str) -> None:
    """The call by call table tells of names that can be imported."""
    assert name in ours.__all__
