"""Where credentials and deployments come from, and what is refused on the way."""

from __future__ import annotations

import os
import subprocess

import pytest

from shdask.errors import SettingsError
from shdask.settings import Credentials, keep_secret_from_children, make_deployment

GIVEN = {"SH_CLIENT_ID": "id", "SH_CLIENT_SECRET": "secret"}
STORED = b'[default-profile]\nsh_client_id = "stored"\nsh_client_secret = "hidden"\n'


@pytest.fixture
def profile(tmp_path):
    """Writes the profile file; gives the environment that leads to it."""

    def write(text: bytes) -> dict[str, str]:
        folder = tmp_path / "sentinelhub"
        folder.mkdir()
        (folder / "config.toml").write_bytes(text)
        return {"XDG_CONFIG_HOME": str(tmp_path)}

    return write


def test_profile_fills_what_the_environment_leaves_open(profile) -> None:
    """The environment wins over the profile, field by field."""
    found = Credentials.load(environ={**profile(STORED), "SH_CLIENT_ID": "mine"})
    assert (found.client_id, found.client_secret) == ("mine", "hidden")


def test_profile_is_not_read_where_it_is_not_needed(profile) -> None:
    """A broken profile file is no business of who names both credentials."""
    assert Credentials.load(environ={**profile(b"\xff not TOML"), **GIVEN}).client_id == "id"


@pytest.mark.parametrize("text", [b"\xff", b"[default-profile"])
def test_profile_that_cannot_be_read_is_named(profile, text) -> None:
    """Bytes that are no TOML are an error of the settings."""
    with pytest.raises(SettingsError, match=r"config\.toml"):
        Credentials.load(environ=profile(text))


def test_profile_that_is_a_folder_is_named(tmp_path) -> None:
    """What the disk refuses is an error of the settings too."""
    (tmp_path / "sentinelhub" / "config.toml").mkdir(parents=True)
    with pytest.raises(SettingsError, match="cannot be read"):
        Credentials.load(environ={"XDG_CONFIG_HOME": str(tmp_path)})


def test_secret_in_a_url_is_refused_unseen() -> None:
    """A URL is written into the cube; one that holds a password is refused, and not repeated."""
    with pytest.raises(SettingsError, match="user name") as refused:
        make_deployment(environ={"SH_BASE_URL": "https://me:canary@host", "SH_TOKEN_URL": "https://host/token"})
    assert "canary" not in str(refused.value)


@pytest.mark.parametrize("url", ["https://[host", "host", "ftp://host", "https://"])
def test_what_is_no_url_is_refused(url) -> None:
    """Only https, and http where it is allowed, lead to a service."""
    with pytest.raises(SettingsError, match="not a URL"):
        make_deployment(environ={"SH_BASE_URL": url, "SH_TOKEN_URL": "https://host/token"})


def test_hosts_that_may_be_plain_can_be_spaced() -> None:
    """A list is a list with or without blanks."""
    urls = {"SH_BASE_URL": "http://b", "SH_TOKEN_URL": "http://a/token"}
    assert make_deployment(environ={**urls, "SHDASK_ALLOW_HTTP": "a, b"}).base_url == "http://b"


def test_children_inherit_no_secret(monkeypatch) -> None:
    """A process that is started in the block knows the client and not its secret; afterwards all is as it was."""
    [monkeypatch.setenv(name, value) for name, value in GIVEN.items()]
    with keep_secret_from_children():
        child = subprocess.run(["env"], capture_output=True, text=True, check=True)
    assert "SH_CLIENT_ID=id" in child.stdout
    assert "SH_CLIENT_SECRET" not in child.stdout
    assert os.environ["SH_CLIENT_SECRET"] == "secret"


@pytest.mark.parametrize(
    ("told", "guessed"),
    [
        ({}, (True, True)),
        ({"requests_per_minute": 1200.0}, (False, True)),
        ({"pu_per_minute": 1000.0}, (True, False)),
        ({"requests_per_minute": 1200.0, "pu_per_minute": 1000.0}, (False, False)),
    ],
)
def test_a_rate_that_is_not_told_is_a_guess_whatever_is_told_of_the_other(told, guessed) -> None:
    """The one is kept to, and more of the other is used where more is granted."""
    deployment = make_deployment("services", environ={}, **told)
    assert (deployment.requests_guessed, deployment.pu_guessed) == guessed
