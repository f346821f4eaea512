"""What lies where a job delivers, sorted out from names alone, and rows of tiles put together from its files."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import obstore
import pytest
from hypothesis import given
from hypothesis import strategies as st
from obstore.store import MemoryStore

from shdask.fetch import bucket as bucket_room
from shdask.fetch.bucket import Bucket
from shdask.fetch.delivery import Found, find_delivery, read_error

ID = "8ea4f0b2-5a11-4a7e-9d3b-0c1d2e3f4a5b"
OTHER = "00000000-5a11-4a7e-9d3b-0c1d2e3f4a5b"


@pytest.fixture
def look(monkeypatch: pytest.MonkeyPatch) -> Any:
    """What is found of a job among these objects."""

    def find(objects: Mapping[str, bytes], outputs: tuple[str, ...] = ("default",), **options: Any) -> Found:
        store = MemoryStore()
        for key, content in objects.items():
            obstore.put(store, key, content)
        monkeypatch.setattr(bucket_room, "open_s3_store", lambda *_, **__: store)
        return find_delivery(Bucket("deliveries", ""), "cube/job", outputs, **options)

    return find


def test_nothing_is_found_of_another_job(look: Any):
    """Nor of one whose prefix begins alike."""
    assert look({f"cube/job2/{ID}/default.tif": b"", f"cube/{ID}/default.tif": b""}) == Found()


@pytest.mark.parametrize(
    "name", [f"{ID}/request.json", f"{ID}/copy", f"request-{ID}.json", f"{ID}.json", f"x/{ID}/y/z"]
)
def test_any_object_tells_the_id(look: Any, name: str):
    """The name of the request's copy is not documented."""
    assert look({f"cube/job/{name}": b"{}"}) == Found(id=ID)


def test_an_id_of_another_form_is_a_folder(look: Any):
    """Nobody has promised UUIDs."""
    assert look({"cube/job/job-7/request.json": b"{}"}) == Found(id="job-7")


def test_an_object_of_no_job_tells_nothing(look: Any):
    """It lies there for another reason."""
    assert look({"cube/job/readme.txt": b"{}"}) == Found()


@pytest.mark.parametrize("ending", ["tif", "tiff"])
def test_a_job_with_a_file_of_every_output_is_complete(look: Any, ending: str):
    """Whatever else is there, an error too."""
    objects = {f"cube/job/{ID}/{name}": b"" for name in (f"a.{ending}", f"b.{ending}", "error.json", "userdata.json")}
    keys = {"a": f"cube/job/{ID}/a.{ending}", "b": f"cube/job/{ID}/b.{ending}"}
    assert look(objects, ("a", "b")) == Found(id=ID, keys=keys, complete=True)


def test_a_job_that_lacks_a_file_is_not_complete(look: Any):
    """Files come one after the other."""
    objects = {f"cube/job/{ID}/a.tif": b"", f"cube/job/{ID}/b.json": b""}
    assert look(objects, ("a", "b")) == Found(id=ID, keys={"a": f"cube/job/{ID}/a.tif"})


def test_a_failed_job_tells_why(look: Any):
    """Though it has delivered some of its files."""
    objects = {f"cube/job/{ID}/a.tif": b"", f"cube/job/{ID}/error.json": b'{"message": "no storage"}'}
    found = look(objects, ("a", "b"))
    assert (found.id, found.complete, found.error) == (ID, False, "no storage")


@pytest.mark.parametrize(
    ("objects", "best"),
    [
        ({f"{ID}/error.json": b"{}", f"{OTHER}/default.tif": b""}, OTHER),
        ({f"{ID}/default.tif": b"", f"{OTHER}/request.json": b""}, ID),
        ({f"{ID}/error.json": b"{}", f"{OTHER}/request.json": b""}, OTHER),
        ({f"{ID}/request.json": b"{}", f"{OTHER}/request.json": b""}, OTHER),
    ],
)
def test_of_two_jobs_the_better_one_is_taken(look: Any, objects: dict[str, bytes], best: str):
    """A lost order may have been accepted after all: complete before running before failed, and always the same one."""
    assert look({f"cube/job/{name}": content for name, content in objects.items()}).id == best


def test_the_job_that_is_asked_for_is_taken_alone(look: Any):
    """Where its id is known."""
    objects = {f"cube/job/{ID}/error.json": b"{}", f"cube/job/{OTHER}/default.tif": b""}
    assert look(objects, job_id=ID) == Found(id=ID, error="(no message)")


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b'{"message": "no storage"}', "no storage"),
        (b'{"error": {"status": 500, "message": "no\\n  storage"}}', "no storage"),
        (b'{"error": "no storage"}', "no storage"),
        (b'"no storage"', "no storage"),
        (b"no storage", "(no message)"),
        (b'{"code": 5}', "(no message)"),
        (b"[1]", "(no message)"),
        (b"", "(no message)"),
    ],
)
def test_an_error_is_read_in_any_shape(body: bytes, told: str):
    """One line; only ``message`` is documented."""
    assert read_error(body) == told


def test_keys_that_were_lent_are_not_told_again(look: Any, monkeypatch: pytest.MonkeyPatch):
    """The service repeats the order in its error."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAOURSALONE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "not-to-be/told+again")
    monkeypatch.delenv("AWS_SESSION_TOKEN", raising=False)
    body = json.dumps({"message": "AKIAOURSALONE with not-to-be/told+again may not write"}).encode()
    assert look({f"cube/job/{ID}/error.json": body}).error == "*** with *** may not write"


@given(
    st.one_of(
        st.binary(), st.recursive(st.none() | st.integers() | st.text(), st.lists).map(json.dumps).map(str.encode)
    )
)
def test_no_error_is_unreadable(body: bytes):
    """Whatever lies there."""
    assert 0 < len(read_error(body)) <= 500
