"""A file is there whole, or as it was."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from shdask.sentinelhub.files import write_whole


def test_a_file_and_its_folders_are_made(tmp_path: Path):
    """With what was given, and nothing beside it."""
    write_whole(tmp_path / "a" / "b.json", b"new")
    assert (tmp_path / "a" / "b.json").read_bytes() == b"new"
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["b.json"]


def test_a_file_is_replaced_in_one_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Until then it is the old one, whole; where that step fails it stays so, and no part lies about."""
    path = tmp_path / "b.json"
    path.write_bytes(b"old")

    def fail(self: Path, target: Path) -> None:
        raise OSError(
            f"{target.name} still holds {target.read_bytes().decode()}, {self.read_bytes().decode()} is ready"
        )

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(OSError, match=r"b\.json still holds old, new is ready"):
        write_whole(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("mode", [0o600, 0o666])
def test_a_file_has_the_mode_that_was_asked_for(tmp_path: Path, mode: int):
    """Less what the process never gives, as everywhere."""
    mask = os.umask(0o022)
    os.umask(mask)
    write_whole(tmp_path / "one", b"", mode=mode)
    assert stat.S_IMODE((tmp_path / "one").stat().st_mode) == mode & ~mask
