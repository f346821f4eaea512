"""Answers on disk: the layout both libraries read, whole or absent, and free of secrets."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from shdask.sentinelhub.cache import read_response, write_response
from shdask.sentinelhub.constants import MimeType
from shdask.sentinelhub.exceptions import HashedNameCollisionException
from shdask.sentinelhub.models import DownloadRequest, DownloadResponse

SECRET = "a-very-secret-key"
PAYLOAD: dict[str, Any] = {
    "input": {"bounds": {"bbox": [1.0, 2.0, 3.0, 4.0]}, "data": [{"type": "dem"}]},
    "evalscript": "//VERSION=3",
    "output": {"delivery": {"s3": {"url": "s3://b", "secretAccessKey": SECRET}}, "width": 1, "height": 2},
}
ODD = {key: PAYLOAD[key] for key in ("output", "evalscript", "input")}


def request(folder: Path | str, payload: dict[str, Any] = PAYLOAD, **fields: Any) -> DownloadRequest:
    """A request whose answer is kept in ``folder``."""
    return DownloadRequest(
        url="https://service.example", post_values=payload, data_type=MimeType.JSON, data_folder=str(folder), **fields
    )


def answer(asked: DownloadRequest, content: bytes = b'{"a": 1}') -> DownloadResponse:
    """What the service said to it."""
    return DownloadResponse(
        request=asked, content=content, headers={"content-type": "application/json"}, status_code=200, elapsed=0.5
    )


def their_answer(theirs: ModuleType, folder: Path, payload: dict[str, Any] = PAYLOAD) -> Any:
    """The same answer in sentinelhub-py's hands."""
    asked = theirs.DownloadRequest(
        url="https://service.example", post_values=payload, data_type="json", data_folder=str(folder)
    )
    return theirs.download.models.DownloadResponse(
        request=asked, content=b'{"a": 1}', headers={"content-type": "application/json"}, status_code=200, elapsed=0.5
    )


def test_what_is_kept_is_read(tmp_path: Path):
    """Bytes, headers, status and time."""
    asked = request(tmp_path)
    write_response(answer(asked))
    assert read_response(asked) == answer(asked)


def test_nothing_kept_is_nothing_read(tmp_path: Path):
    """An empty folder has no answer, and neither has a request without a folder."""
    assert read_response(request(tmp_path)) is None
    assert read_response(DownloadRequest(url="https://service.example")) is None


def test_the_files_are_sentinelhub_pys(theirs: ModuleType, tmp_path: Path):
    """The same names in the same folders."""
    write_response(answer(request(tmp_path / "ours")))
    their_answer(theirs, tmp_path / "theirs").to_local()
    ours = sorted(path.relative_to(tmp_path / "ours") for path in (tmp_path / "ours").rglob("*"))
    assert ours == sorted(path.relative_to(tmp_path / "theirs") for path in (tmp_path / "theirs").rglob("*"))


def test_sentinelhub_py_reads_what_we_wrote(theirs: ModuleType, tmp_path: Path):
    """The same bytes and metadata."""
    write_response(answer(request(tmp_path)))
    expected = their_answer(theirs, tmp_path)
    assert type(expected).from_local(expected.request) == expected


@pytest.mark.parametrize("payload", [PAYLOAD, ODD])
def test_we_read_what_sentinelhub_py_wrote(theirs: ModuleType, tmp_path: Path, payload: dict[str, Any]):
    """Whatever order its payload had."""
    their_answer(theirs, tmp_path, payload).to_local()
    asked = request(tmp_path, payload)
    assert read_response(asked) == answer(asked)


def test_another_order_of_keys_finds_the_same_answer(tmp_path: Path):
    """It is the same request."""
    write_response(answer(request(tmp_path)))
    found = read_response(request(tmp_path, ODD))
    assert found is not None
    assert found.content == b'{"a": 1}'


def test_no_file_holds_a_secret(tmp_path: Path):
    """Neither of the payload nor of the headers."""
    asked = request(tmp_path, headers={"Authorization": f"Bearer {SECRET}"})
    write_response(answer(asked))
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) == 2
    assert SECRET not in "".join(path.read_text() for path in files)


def test_a_record_tells_the_request(tmp_path: Path):
    """What was asked and what was answered, as sentinelhub-py writes it."""
    asked = request(tmp_path, {"a": (1, 2)}, headers={"accept": "image/tiff"})
    write_response(answer(asked))
    record = json.loads(Path(str(asked.get_storage_paths()[0])).read_text())
    assert set(record["request"]) == {"url", "payload", "headers", "timestamp"}
    assert (record["request"]["payload"], record["request"]["headers"]) == ({"a": [1, 2]}, {"accept": "image/tiff"})
    assert record["response"] == {
        "headers": {"content-type": "application/json"},
        "status_code": 200,
        "elapsed": 0.5,
        "nbytes": 8,
    }


def test_a_truncated_answer_is_not_read(tmp_path: Path):
    """Its record knows how long it was."""
    asked = request(tmp_path)
    write_response(answer(asked))
    Path(str(asked.get_storage_paths()[1])).write_bytes(b'{"a"')
    assert read_response(asked) is None


@pytest.mark.parametrize("record", [b"", b"{", b"[]", b'{"request": 3}', b'{"request": {}, "response": 3}'])
def test_an_answer_without_a_readable_record_is_not_read(tmp_path: Path, record: bytes):
    """Nobody can tell what it answers."""
    asked = request(tmp_path)
    write_response(answer(asked))
    path = Path(str(asked.get_storage_paths()[0]))
    path.write_bytes(record)
    assert read_response(asked) is None


def test_an_answer_that_lost_its_record_is_not_read(tmp_path: Path):
    """As a run that was killed may leave it."""
    asked = request(tmp_path)
    write_response(answer(asked))
    Path(str(asked.get_storage_paths()[0])).unlink()
    assert read_response(asked) is None


def test_an_answer_to_another_request_is_refused(tmp_path: Path):
    """By sentinelhub-py's name for it."""
    asked = request(tmp_path)
    write_response(answer(asked))
    path = Path(str(asked.get_storage_paths()[0]))
    path.write_text(path.read_text().replace("https://service.example", "https://other.example"))
    with pytest.raises(HashedNameCollisionException, match=r"request\.json"):
        read_response(asked)


def test_a_file_of_the_users_own_name_has_no_record(tmp_path: Path):
    """Only the answer is written, where it was said."""
    asked = request(tmp_path, filename="sub/one.json")
    write_response(answer(asked))
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["one.json"]
    assert read_response(asked) == DownloadResponse(request=asked, content=b'{"a": 1}')


def test_a_write_that_fails_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The old answer stays whole, and no part of the new one lies about."""
    asked = request(tmp_path)
    write_response(answer(asked))

    def fail(self: Path, target: Path) -> None:
        raise OSError("the disk is full")

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(OSError, match="full"):
        write_response(answer(asked, b'{"b": 2}'))
    assert read_response(asked) == answer(asked)
    assert len([path for path in tmp_path.rglob("*") if path.is_file()]) == 2


def test_an_answer_is_never_there_without_its_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The record is in its place before the answer is."""
    order: list[str] = []
    replace = Path.replace

    def note(self: Path, target: Path) -> Path:
        order.append(Path(target).name)
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", note)
    write_response(answer(request(tmp_path)))
    assert order == ["request.json", "response.json"]
