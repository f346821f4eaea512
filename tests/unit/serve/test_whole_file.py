"""Small files, and what stands where one could not be written."""

from __future__ import annotations

from pathlib import Path

import pytest

from shdask.errors import StoreUnavailable
from shdask.serve.whole_file import write_whole


def test_a_file_that_fails_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """As on a full disk; nothing is left beside it."""

    def write_a_part(path: Path, data: bytes) -> None:
        path.write_text(data.decode()[:1])
        raise OSError(28, "No space left on device")

    write_whole(tmp_path / "item.json", b"before")
    monkeypatch.setattr(Path, "write_bytes", write_a_part)
    with pytest.raises(StoreUnavailable, match=r"item\.json: No space left on device; make room there or choose"):
        write_whole(tmp_path / "item.json", b"after")
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"before"]
