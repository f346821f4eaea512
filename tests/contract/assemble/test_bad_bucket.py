"""What is wrong with a bucket, as the command line tells it."""

from __future__ import annotations

import pytest

from tests.contract.assemble.conftest import READER, use_keys


@pytest.fixture
def account(work, environ: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Credentials, and a service where nobody listens: nothing may be sent."""
    environ.setenv("SH_CLIENT_ID", "id")
    environ.setenv("SH_CLIENT_SECRET", "secret")
    environ.setenv("SH_BASE_URL", "http://127.0.0.1:9")
    environ.setenv("SH_TOKEN_URL", "http://127.0.0.1:9/token")
    return environ


@pytest.mark.parametrize(
    ("variable", "value", "expected", "message"),
    [
        ("AWS_SECRET_ACCESS_KEY", "wr0ng", 2, "the secret key is wrong; correct AWS_SECRET_ACCESS_KEY"),
        ("AWS_ACCESS_KEY_ID", "nobody", 2, "the access key is not known there; correct AWS_ACCESS_KEY_ID"),
        ("AWS_ENDPOINT_URL", "http://127.0.0.1:9", 5, "no S3 answers there; correct AWS_ENDPOINT_URL"),
        ("AWS_ENDPOINT_URL", "http://s3.example.com", 2, "SHDASK_ALLOW_HTTP"),
    ],
)
@pytest.mark.parametrize("words", [["build", "job.toml"], ["status"], ["verify"]], ids=lambda words: words[0])
def test_wrong_keys_and_endpoints_are_told(
    run, write_job, account, url: str, words, variable, value, expected, message
) -> None:
    """By the variable that is wrong, and without the secret; 5 where the same command may work later."""
    write_job()
    account.setenv(variable, value)
    code, out, err = run(*words, url)
    assert (code, out) == (expected, ""), err
    assert message in err
    assert "wr0ng" not in err


@pytest.mark.parametrize("words", [["build", "job.toml"], ["status"]], ids=lambda words: words[0])
def test_a_missing_bucket_is_told(run, write_job, account, words: list[str]) -> None:
    """With the cure."""
    write_job()
    code, _, err = run(*words, "s3://no-such-bucket/cube")
    assert code == 2
    assert "there is no such bucket; create it, or correct its name" in err


def test_keys_that_may_only_read_are_told(run, write_job, account, url: str) -> None:
    """Before anything is bought."""
    use_keys(account, READER)
    code, _, err = run("build", write_job(), url)
    assert code == 2
    assert "these keys may not do that; allow them to list, read, write and delete under the prefix" in err
