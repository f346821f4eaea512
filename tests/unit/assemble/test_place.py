"""Which place a name means, and what a bucket says in our words, without a bucket."""

from __future__ import annotations

from pathlib import Path

import pytest
from obstore.exceptions import GenericError, PermissionDeniedError

from shdask.assemble.place import Place, open_place
from shdask.assemble.s3 import S3Place
from shdask.errors import StoreError, StoreUnavailable, WrongStore
from shdask.s3_access import open_s3_store, s3_error

KEYS = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "canary"}


@pytest.mark.parametrize(
    "store", ["s3://bucket/a/cube.zarr", "s3://bucket/a/cube.zarr/", Path("s3://bucket/a/cube.zarr")]
)
def test_a_bucket_is_named_by_its_url(store: str | Path):
    """Also after a Path was made of it."""
    assert open_place(store).name == "s3://bucket/a/cube.zarr"


def test_a_place_is_opened_as_itself(tmp_path: Path):
    """Rooms hand places to each other."""
    place = open_place(tmp_path)
    assert isinstance(place, Place)
    assert open_place(place) is place


@pytest.mark.parametrize("url", ["s3://", "s3://bucket", "s3://bucket/", "s3://key:secret@bucket/a", "s3://b/a?x=1"])
def test_a_bucket_without_a_prefix_or_with_more_is_refused(url: str):
    """A cube does not fill a whole bucket, and keys do not stand in a name."""
    with pytest.raises(WrongStore, match="given as s3://bucket/prefix"):
        open_place(url)


def test_the_missing_package_is_named(monkeypatch: pytest.MonkeyPatch):
    """With the command that installs it."""
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    with pytest.raises(WrongStore, match=r"pip install 'shdask\[s3\]'"):
        open_place("s3://bucket/cube")


def test_places_are_equal_by_name():
    """A pickled one is the same place."""
    assert open_place("s3://bucket/cube") == S3Place("bucket", "cube")
    assert hash(open_place("s3://bucket/cube")) == hash(S3Place("bucket", "cube"))


@pytest.mark.parametrize("endpoint", ["http://minio.example:9000", "ftp://127.0.0.1", "minio.example:9000"])
def test_plain_http_to_another_machine_is_refused(endpoint: str):
    """Pixels and signatures would cross the network for all to read."""
    with pytest.raises(WrongStore, match="SHDASK_ALLOW_HTTP"):
        open_s3_store("bucket", "cube", {**KEYS, "AWS_ENDPOINT_URL": endpoint})


@pytest.mark.parametrize(
    "environ",
    [
        {"AWS_ENDPOINT_URL": "http://127.0.0.1:9000"},
        {"AWS_ENDPOINT_URL": "http://localhost:9000/"},
        {"AWS_ENDPOINT_URL": "http://minio.example:9000", "SHDASK_ALLOW_HTTP": "other,minio.example"},
        {"AWS_ENDPOINT_URL": "https://minio.example:9000"},
        {},
    ],
)
def test_https_loopback_and_named_hosts_are_accepted(environ: dict[str, str]):
    """The store's own configuration holds no key."""
    store = open_s3_store("bucket", "cube", {**KEYS, **environ})
    assert "canary" not in repr((store, store.config))


def test_a_profile_without_boto3_is_told(monkeypatch: pytest.MonkeyPatch):
    """With both cures."""
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    with pytest.raises(WrongStore, match="pip install boto3, or set AWS_ACCESS_KEY_ID"):
        open_s3_store("bucket", "cube", {"AWS_PROFILE": "work"})


def answer(status: int, code: str) -> GenericError:
    return GenericError(
        f"Generic S3 error: Error performing PUT https://s3/b/k in 1ms, after 3 retries - Server returned non-2xx "
        f'status code: {status} Reason: <?xml version="1.0"?>\n<Error><Code>{code}</Code></Error>\n\nDebug source: ...'
    )


@pytest.mark.parametrize(
    ("error", "cure"),
    [
        (answer(404, "NoSuchBucket"), r"there is no such bucket.*\(NoSuchBucket\)"),
        (answer(403, "AccessDenied"), "allow them to list, read, write and delete"),
        (answer(403, "InvalidAccessKeyId"), "correct AWS_ACCESS_KEY_ID"),
        (answer(403, "SignatureDoesNotMatch"), "correct AWS_SECRET_ACCESS_KEY"),
        (answer(400, "ExpiredToken"), "AWS_SESSION_TOKEN"),
        (answer(301, "PermanentRedirect"), "set AWS_REGION"),
        (answer(403, "RequestTimeTooSkewed"), "clock is wrong"),
        (PermissionDeniedError("... status code: 403 Forbidden"), "these keys may not do that"),
        (GenericError("error performing PUT http://169.254.169.254/latest/api/token"), "set AWS_ACCESS_KEY_ID"),
    ],
)
def test_what_will_not_pass_is_told_with_its_cure(error: Exception, cure: str):
    """It names the cube; while a cube is opened it is a wrong argument."""
    found = s3_error("s3://bucket/cube", error, opening=True)
    with pytest.raises(WrongStore, match=f"^s3://bucket/cube: .*{cure}"):
        raise found
    assert not s3_error("s3://bucket/cube", error).retryable


@pytest.mark.parametrize(
    "error",
    [
        answer(503, "SlowDown"),
        answer(500, "InternalError"),
        answer(429, "TooManyRequests"),
        GenericError("Generic S3 error: ... HTTP error: error sending request\n\nDebug source"),
        GenericError("Generic S3 error: ... HTTP error: request or response body error: operation timed out"),
    ],
)
def test_what_may_pass_is_worth_another_try(error: Exception):
    """Throttling, 5xx and silence."""
    assert isinstance(s3_error("s3://bucket/cube", error), StoreUnavailable)


def test_what_is_not_known_is_told_in_one_line():
    """Without the library's own source of the error."""
    found = s3_error("s3://bucket/cube", answer(418, "Teapot"))
    assert type(found) is StoreError
    assert "Debug source" not in str(found)
    assert "418" in str(found)
