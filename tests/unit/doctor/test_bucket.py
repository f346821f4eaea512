"""Whether jobs could deliver: what the doctor finds in a bucket; its objects are in memory here."""

from __future__ import annotations

import obstore
import pytest
from obstore.store import MemoryStore

from shdask.doctor.bucket import check_bucket
from shdask.fetch import bucket as room
from shdask.plan.delivery_spec import DeliveryOptions

PLACE = DeliveryOptions(s3_url="s3://bucket/jobs")
ROLE = "arn:aws:iam::123456789012:role/name"


@pytest.fixture(autouse=True)
def store(monkeypatch: pytest.MonkeyPatch) -> MemoryStore:
    """What the bucket is opened as, with keys in the environment."""
    store = MemoryStore()
    monkeypatch.setattr(room, "open_s3_store", lambda *_, **__: store)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hush")
    monkeypatch.delenv("AWS_SESSION_TOKEN", raising=False)
    return store


def test_a_bucket_that_works_is_fine(store: MemoryStore) -> None:
    """And nothing is left in it."""
    found = check_bucket(PLACE)
    assert (found.outcome, found.found) == ("ok", "s3://bucket/jobs can be listed, written and read")
    assert [entry for page in obstore.list(store) for entry in page] == []


def test_without_keys_there_is_a_cure(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before the bucket is asked."""
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_PROFILE", raising=False)
    found = check_bucket(PLACE)
    assert (found.outcome, found.exit_code > 0) == ("failed", True)
    assert "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY" in f"{found.found} {found.cure}"


def test_a_bucket_that_cannot_be_written_fails_with_the_cure(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before 10 PU are spent."""
    denied = PermissionError("status code: 403, <Code>AccessDenied</Code>")
    monkeypatch.setattr(obstore, "put", lambda *_, **__: (_ for _ in ()).throw(denied))
    found = check_bucket(PLACE)
    assert found.outcome == "failed"
    assert "these keys may not do that" in f"{found.found} {found.cure}"


def test_a_roles_rights_are_not_known(store: MemoryStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are not ours to try: nothing is written, and no keys for the service are looked for."""
    monkeypatch.setenv("AWS_SESSION_TOKEN", "token")
    found = check_bucket(PLACE.model_copy(update={"iam_role_arn": ROLE}))
    assert found.outcome == "note"
    assert ROLE in found.found
