"""Small files, and what stands where one could not be written."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from shdask.errors import StoreUnavailable
from shdask.serve.whole_file import write_whole


def test_a_file_that_fails_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """As on a full disk, which may tell of it only when all must be there; nothing is left beside it."""

    def refuse(_file: int) -> None:
        raise OSError(28, "No space left on device")

    write_whole(tmp_path / "item.json", b"before")
    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(StoreUnavailable, match=r"item\.json: No space left on device; make room there or choose"):
        write_whole(tmp_path / "item.json", b"after")
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"before"]


def test_a_link_stays_a_link(tmp_path: Path):
    """The file that it points to is written, also where there is none yet."""
    (tmp_path / "link").symlink_to(tmp_path / "file")
    write_whole(tmp_path / "link", b"first")
    write_whole(tmp_path / "link", b"second")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "file").read_bytes() == b"second"


def test_what_is_no_file_is_written_to(tmp_path: Path):
    """As /dev/stdout, which nobody wants replaced."""
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    write_whole(tmp_path / "pipe", b"picture")
    assert os.read(reader, 99) == b"picture"
    os.close(reader)
    assert (tmp_path / "pipe").is_fifo()


def test_others_may_write_the_same_file(tmp_path: Path):
    """What one of them has begun is left to it."""
    (tmp_path / ".item.json.partial").write_bytes(b"theirs")
    write_whole(tmp_path / "item.json", b"ours")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {
        ".item.json.partial": b"theirs",
        "item.json": b"ours",
    }
