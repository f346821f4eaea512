"""Words that the command line refuses before anything runs."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from shdask.emulator.config import EmulatorConfig


@pytest.fixture
def taken_port():
    """A port that somebody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


def test_a_taken_port_is_refused_with_the_cure(run, taken_port) -> None:
    """Two emulators cannot share one."""
    code, out, err = run("emulator", "--port", taken_port)
    assert (code, out) == (2, "")
    assert f"cannot serve on 127.0.0.1:{taken_port}: Address already in use; choose another --port" in err


def test_a_port_that_does_not_exist_is_refused(run) -> None:
    """The option names its range."""
    code, _, err = run("emulator", "--port", 65536)
    assert code == 2
    assert "'--port'" in err


@pytest.mark.parametrize("text", ["sentinel-2-l1c", "sentinel-2-l1c=", "={}", "sentinel-2-l1c={}/nothing"])
def test_an_archive_needs_a_name_and_a_folder(run, tmp_path: Path, text: str) -> None:
    """Else the form is shown."""
    code, _, err = run("emulator", "--archive", text.format(tmp_path))
    assert code == 2
    assert "expected COLLECTION=DIR with a folder that exists" in err


def test_an_archive_without_rasters_is_refused(run, tmp_path: Path) -> None:
    """With what such a folder holds."""
    code, _, err = run("emulator", "--archive", f"sentinel-2-l1c={tmp_path}")
    assert code == 2
    assert "holds no GeoTIFF: expected one file per band" in err


@pytest.mark.parametrize("name", ["../up", "a/b", "a b", ".hidden", "<script>", "%2e%2e", "a\nb"])
def test_a_hostile_collection_name_is_refused(run, tmp_path: Path, name: str) -> None:
    """A collection's name becomes part of URLs."""
    code, _, err = run("emulator", "--archive", f"{name}={tmp_path}")
    assert code == 2
    assert "a collection is named by letters, digits" in err


def test_an_archive_that_leads_elsewhere_is_refused(run, tmp_path: Path) -> None:
    """A link in an archive cannot show files that lie outside of it."""
    (tmp_path / "secret.tif").write_bytes(b"")
    (tmp_path / "archive").mkdir()
    (tmp_path / "archive" / "B02.tif").symlink_to(tmp_path / "secret.tif")
    code, _, err = run("emulator", "--archive", f"byoc-a={tmp_path / 'archive'}")
    assert code == 2
    assert "lies outside of" in err


def test_an_archive_folder_that_is_a_link_elsewhere_is_refused(run, tmp_path: Path) -> None:
    """Nor can an acquisition's folder be a link that leaves."""
    (tmp_path / "private").mkdir()
    (tmp_path / "private" / "B02.tif").write_bytes(b"")
    (tmp_path / "archive").mkdir()
    (tmp_path / "archive" / "2024-06-01").symlink_to(tmp_path / "private")
    code, _, err = run("emulator", "--archive", f"byoc-a={tmp_path / 'archive'}")
    assert code == 2
    assert "lies outside of" in err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--plan", "gold"], "there is no plan 'gold'; there are test-user, trial"),
        (["--faults", "burst:0.1"], "there is no kind 'burst'; there are 500"),
        (["--faults", "nothing.toml"], "nothing.toml cannot be read: No such file or directory"),
        (["--record", "/proc/nothing/here"], "--record /proc/nothing/here: No such file or directory"),
        (["--record-answers"], "--record-answers is for --record DIR"),
        (["--retry-after", "h"], "is not one of"),
        (["--s3-endpoint", "127.0.0.1:8333"], "expected http://HOST:PORT or https://HOST"),
        (["--s3-endpoint", "http://key:secret@host"], "expected http://HOST:PORT or https://HOST"),
        (["--s3-role", "arn:aws:iam::1:role/a"], "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"),
        (["--async-concurrency", "0"], "should be greater than or equal to 1"),
    ],
)
def test_a_wrong_option_of_the_emulator_is_named(run, words: list[str], message: str, monkeypatch) -> None:
    """Before anything is served, with what would be right."""
    monkeypatch.delenv("AWS_ACCESS_KEY_ID", raising=False)
    code, out, err = run("emulator", *words)
    assert (code, out) == (2, "")
    assert message in err


def test_options_reach_the_emulator(run, tmp_path: Path, monkeypatch) -> None:
    """Each is a field of its configuration."""
    served = []
    monkeypatch.setattr("shdask.emulator.server.run_server", lambda config, **_: served.append(config))
    code, _, _ = run(
        *("emulator", "--plan", "trial", "--pu-per-month", 5, "--retry-after", "s", "--token-lifetime", 60),
        *("--latency", 0.1, "--faults", "503:0.5", "--seed", 3, "--renderers", 1, "--record", tmp_path / "calls"),
    )
    assert code == 0
    assert served == [
        EmulatorConfig(
            plan="trial",
            pu_per_month=5,
            retry_after_unit="s",
            token_lifetime_s=60,
            latency_s=0.1,
            faults="503:0.5",
            seed=3,
            fault_seed=3,
            renderers=1,
            record=str(tmp_path / "calls"),
        )
    ]
    assert (tmp_path / "calls").is_dir()


def test_options_of_jobs_reach_the_emulator(run, monkeypatch) -> None:
    """Roles have the keys of the environment."""
    served = []
    monkeypatch.setattr("shdask.emulator.server.run_server", lambda config, **_: served.append(config))
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    code, _, _ = run(
        *("emulator", "--s3-endpoint", "http://127.0.0.1:8333", "--s3-role", "arn:a", "--s3-role", "arn:b"),
        *("--async-concurrency", 3, "--async-queue", 0.5, "--async-discount", "--async-renderers", 2),
    )
    assert code == 0
    assert served == [
        EmulatorConfig(
            s3_endpoint="http://127.0.0.1:8333",
            s3_roles={"arn:a": ("key", "secret"), "arn:b": ("key", "secret")},
            async_concurrency=3,
            async_queue_s=0.5,
            async_discount=True,
            async_renderers=2,
            faults="",
        )
    ]
    assert "secret" not in repr(served[0])


def test_people_are_told_where_to_look(run, capsys, monkeypatch) -> None:
    """The exports go to stdout, the inspection page's address to stderr."""
    place = {"base_url": "http://127.0.0.1:1", "token_url": "t", "client_id": "i", "client_secret": "s", "pid": 7}
    monkeypatch.setattr("shdask.emulator.server.run_server", lambda _, announce: announce(place))
    code, out, err = run("emulator")
    assert code == 0
    assert out.splitlines()[0] == "export SH_BASE_URL=http://127.0.0.1:1"
    assert "look at http://127.0.0.1:1/emulator/" in err


def test_a_url_of_another_kind_is_no_place_for_a_cube(run) -> None:
    """It is refused instead of becoming a folder with its name."""
    code, _, err = run("status", "gs://bucket/cube.zarr")
    assert code == 2
    assert "in a folder on disk or under s3://bucket/prefix" in err


def test_help_of_build_tells_the_exit_codes(run) -> None:
    """So that a script's author need not look elsewhere."""
    code, out, _ = run("build", "--help")
    assert code == 0
    assert "4 when the budget or quota is reached" in " ".join(out.split())
