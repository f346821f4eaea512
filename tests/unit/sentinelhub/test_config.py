"""SHConfig: where settings come from, that reading writes nothing, and that secrets stay secret."""

from __future__ import annotations

import dataclasses
import json
import pickle
import stat
import tomllib
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shdask.sentinelhub.config import SHConfig
from shdask.sentinelhub.exceptions import SHDeprecationWarning, SHUserWarning

SECRET = "a-very-secret-secret-of-36-characters"
VARIABLES = ("SH_PROFILE", "SH_CLIENT_ID", "SH_CLIENT_SECRET")
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty config folder, and none of the variables."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    return tmp_path


@pytest.fixture
def write(folder: Path) -> Callable[[str], Path]:
    """Writes the profile file."""

    def put(text: str) -> Path:
        path = folder / "sentinelhub" / "config.toml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        return path

    return put


def test_fields_and_defaults_are_sentinelhub_pys(theirs: ModuleType):
    """Every field by name and in order, with the same default."""
    expected = theirs.SHConfig(use_defaults=True)
    found = {field.name: getattr(SHConfig(), field.name) for field in dataclasses.fields(SHConfig)}
    assert list(found.items()) == list(dataclasses.asdict(expected).items())


def test_reading_writes_nothing(folder: Path):
    """Neither a file nor a folder appears."""
    SHConfig()
    SHConfig.load()
    assert list(folder.iterdir()) == []


def test_the_profile_is_read(write: Callable[[str], Path]):
    """Settings of the default profile, and defaults for the rest."""
    write('[default-profile]\nsh_client_id = "file"\ndownload_sleep_time = 1.5\n')
    config = SHConfig()
    assert (config.sh_client_id, config.download_sleep_time, config.max_download_attempts) == ("file", 1.5, 4)


def test_the_environment_wins_over_the_profile(write: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch):
    """Credentials of the environment, other settings of the file."""
    write('[default-profile]\nsh_client_id = "file"\nsh_base_url = "https://file.example"\n')
    monkeypatch.setenv("SH_CLIENT_ID", "environment")
    config = SHConfig()
    assert (config.sh_client_id, config.sh_base_url) == ("environment", "https://file.example")


def test_arguments_win_over_everything(write: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch):
    """What is passed is what is used."""
    write('[default-profile]\nsh_client_id = "file"\n')
    monkeypatch.setenv("SH_CLIENT_ID", "environment")
    assert SHConfig(sh_client_id="argument").sh_client_id == "argument"


def test_loading_is_the_file_alone(write: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch):
    """``load`` does not mix the environment in."""
    write('[default-profile]\nsh_client_id = "file"\n')
    monkeypatch.setenv("SH_CLIENT_ID", "environment")
    assert SHConfig.load().sh_client_id == "file"


def test_a_profile_is_chosen_by_argument_then_variable(write: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch):
    """``SHConfig("cdse")`` over ``SH_PROFILE``."""
    write('[one]\nsh_client_id = "1"\n[two]\nsh_client_id = "2"\n')
    monkeypatch.setenv("SH_PROFILE", "one")
    assert (SHConfig().sh_client_id, SHConfig("two").sh_client_id) == ("1", "2")


@pytest.mark.parametrize("text", ["", '[default-profile]\nsh_client_id = "x"\n'])
def test_a_profile_that_is_not_there_is_a_key_error(theirs: ModuleType, write: Callable[[str], Path], text: str | None):
    """As in sentinelhub-py, with and without a file."""
    write("" if text is None else text)
    with pytest.raises(KeyError):
        theirs.SHConfig("absent")
    with pytest.raises(KeyError, match="absent"):
        SHConfig("absent")


def test_defaults_need_neither_file_nor_environment(write: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch):
    """``use_defaults`` looks at neither."""
    write("this is no TOML")
    monkeypatch.setenv("SH_CLIENT_ID", "environment")
    assert SHConfig(use_defaults=True).sh_client_id == ""


def test_a_file_that_is_no_toml_is_a_value_error(write: Callable[[str], Path]):
    """It is not taken for an empty one."""
    write("this is no TOML")
    with pytest.raises(ValueError, match="Expected"):
        SHConfig()


def test_an_unknown_field_is_a_type_error():
    """A misspelled argument is not lost."""
    with pytest.raises(TypeError, match="sh_cleint_id"):
        SHConfig(sh_cleint_id="x")  # type: ignore[call-arg]  # the test's point


def test_an_unknown_setting_of_a_profile_is_told(write: Callable[[str], Path]):
    """A profile of another version can be read, and says what means nothing."""
    write('[default-profile]\nsh_client_id = "file"\nold_setting = 3\n')
    with pytest.warns(SHUserWarning, match="old_setting"):
        assert SHConfig().sh_client_id == "file"


@pytest.mark.parametrize("name", ["max_wfs_records_per_query", "max_opensearch_records_per_query"])
def test_limits_of_the_service_hold(name: str):
    """A figure beyond them is refused."""
    with pytest.raises(ValueError, match=name):
        SHConfig(**{name: 501})  # type: ignore[arg-type]  # a field by its name


def test_the_old_login_url_is_translated():
    """``sh_auth_base_url`` becomes the token URL, and the user is told."""
    with pytest.warns(SHDeprecationWarning, match="sh_token_url"):
        config = SHConfig(sh_auth_base_url="https://login.example")
    assert config.sh_token_url == "https://login.example/oauth/token"


@pytest.mark.parametrize("show", [repr, str, lambda config: json.dumps(config.to_dict())])
@pytest.mark.parametrize("name", SHConfig.CREDENTIALS)
def test_no_view_shows_a_secret(show: Callable[[SHConfig], str], name: str):
    """Credentials are masked in repr, str and dict."""
    assert SECRET not in show(SHConfig(**{name: SECRET}))  # type: ignore[arg-type]  # a field by its name


@given(secret=TEXT)
def test_masking_is_sentinelhub_pys(theirs: ModuleType, secret: str):
    """The same letters are hidden, the same keys told."""
    ours = SHConfig(use_defaults=True, sh_client_secret=secret).to_dict()
    assert ours == theirs.SHConfig(use_defaults=True, sh_client_secret=secret).to_dict()


def test_the_dict_is_plain_where_it_is_asked_for():
    """Without masking it can be given back to the constructor."""
    config = SHConfig(sh_client_id="cid", sh_client_secret=SECRET)
    assert SHConfig(use_defaults=True, **config.to_dict(mask_credentials=False)) == config


def test_a_saved_profile_is_read_by_sentinelhub_py(theirs: ModuleType):
    """Both find the same settings in the file."""
    SHConfig(sh_client_id="cid", max_retries=3, download_sleep_time=0.25).save("mine")
    expected = theirs.SHConfig.load("mine").to_dict(mask_credentials=False)
    assert SHConfig.load("mine").to_dict(mask_credentials=False) == expected
    assert (expected["sh_client_id"], expected["max_retries"], expected["download_sleep_time"]) == ("cid", 3, 0.25)


def test_saving_keeps_the_other_profiles(write: Callable[[str], Path]):
    """Only the profile that is saved changes, and only what differs from the defaults is written."""
    path = write('[one]\nsh_client_id = "1"\nmax_retries = 2\n["a b"]\ninstance_id = "x"\n')
    SHConfig("one", sh_client_id="new").save("two")
    assert tomllib.loads(path.read_text()) == {
        "one": {"sh_client_id": "1", "max_retries": 2},
        "a b": {"instance_id": "x"},
        "two": {"sh_client_id": "new", "max_retries": 2},
    }


def test_the_saved_file_is_its_owners(folder: Path):
    """Nobody else may read the secrets in it."""
    SHConfig(sh_client_secret=SECRET).save()
    assert stat.S_IMODE((folder / "sentinelhub" / "config.toml").stat().st_mode) == 0o600


@given(value=TEXT, profile=TEXT)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
def test_any_text_survives_the_file(value: str, profile: str):
    """What is saved is what is loaded, whatever letters it has."""
    SHConfig(use_defaults=True, instance_id=value).save(profile)
    assert SHConfig.load(profile).instance_id == value


def test_a_copy_goes_its_own_way():
    """Changing it leaves the first one alone."""
    first = SHConfig(sh_client_id="one")
    second = first.copy()
    assert second == first
    second.sh_client_id = "two"
    assert first.sh_client_id == "one"


def test_a_config_survives_pickling():
    """It travels to worker processes, as sentinelhub-py's does."""
    config = SHConfig(sh_client_id="cid", max_retries=3)
    assert pickle.loads(pickle.dumps(config)) == config  # noqa: S301  # our own bytes


def test_the_file_is_where_sentinelhub_py_has_it(theirs: ModuleType, monkeypatch: pytest.MonkeyPatch):
    """With the variable and without."""
    assert SHConfig.get_config_location() == theirs.SHConfig.get_config_location()
    monkeypatch.delenv("XDG_CONFIG_HOME")
    assert SHConfig.get_config_location() == theirs.SHConfig.get_config_location()
