"""The keys that the service may be given, and which setting an error of a bucket tells to change."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
from obstore.exceptions import GenericError

from shdask.errors import SettingsError, WrongStore
from shdask.s3_access import S3Keys, open_s3_store, s3_error

PAIR = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "canary"}


def test_keys_are_the_environments_own():
    """As boto3 names them."""
    assert S3Keys.load(PAIR) == S3Keys(access_key="key", secret_access_key="canary")


def test_keys_are_shown_and_sent_to_nobody():
    """They stand in no repr, and refuse to be pickled."""
    keys = S3Keys.load(PAIR)
    assert "canary" not in repr(keys)
    with pytest.raises(TypeError, match="do not travel"):
        pickle.dumps(keys)


def test_keys_are_a_profiles_where_none_are_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Of the file that boto3 reads."""
    file = tmp_path / "credentials"
    file.write_text("[work]\naws_access_key_id = theirs\naws_secret_access_key = canary\n")
    environ = {"AWS_PROFILE": "work", "AWS_SHARED_CREDENTIALS_FILE": str(file)}
    [monkeypatch.delenv(name, raising=False) for name in PAIR]
    [monkeypatch.setenv(name, value) for name, value in environ.items()]
    assert S3Keys.load(environ) == S3Keys(access_key="theirs", secret_access_key="canary")


def test_an_unknown_profile_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """By its name."""
    environ = {"AWS_PROFILE": "nobodys", "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "none")}
    [monkeypatch.setenv(name, value) for name, value in environ.items()]
    with pytest.raises(WrongStore, match="AWS_PROFILE 'nobodys' has no keys"):
        S3Keys.load(environ)


@pytest.mark.parametrize("environ", [{}, {"AWS_ACCESS_KEY_ID": "key"}, {**PAIR, "AWS_SECRET_ACCESS_KEY": ""}])
def test_missing_keys_are_told_with_both_cures(environ: dict[str, str]):
    """A pair of keys, or a role."""
    with pytest.raises(SettingsError, match=r"AWS_SECRET_ACCESS_KEY to a lasting pair.*delivery\.iam_role_arn"):
        S3Keys.load(environ)


def test_temporary_keys_are_refused():
    """The service's request has no place for their token, so that the job would fail after it was paid for."""
    with pytest.raises(SettingsError, match="takes no session token"):
        S3Keys.load({**PAIR, "AWS_SESSION_TOKEN": "token"})


def test_a_job_files_endpoint_and_region_go_before_the_environments():
    """Cubes may lie elsewhere than deliveries."""
    environ = {**PAIR, "AWS_ENDPOINT_URL": "https://cubes.example", "AWS_REGION": "eu-west-1"}
    store = open_s3_store("bucket", "", environ, endpoint_url="https://jobs.example", region="eu-central-1")
    assert (store.config["endpoint"], store.config["region"]) == ("https://jobs.example", "eu-central-1")


def test_plain_http_in_a_job_file_is_refused_by_its_name():
    """What is to be changed stands there."""
    with pytest.raises(WrongStore, match=r"^delivery\.endpoint_url is http://jobs\.example.*SHDASK_ALLOW_HTTP"):
        open_s3_store("bucket", "", PAIR, endpoint_url="http://jobs.example")


@pytest.mark.parametrize(("endpoint", "told"), [(None, "AWS_ENDPOINT_URL"), ("https://s", r"delivery\.endpoint_url")])
def test_a_wrong_endpoint_is_told_by_where_it_stands(endpoint: str | None, told: str):
    """In the environment, or in the job file."""
    missing = GenericError("... status code: 404 Reason: <Error><Code>NoSuchBucket</Code></Error>")
    with pytest.raises(WrongStore, match=f"correct its name or {told}"):
        raise s3_error("s3://bucket", missing, opening=True, endpoint_url=endpoint)
