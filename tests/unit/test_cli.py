"""Words that the command line refuses before anything runs."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from shdask import cli


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    """Runs the command line in this process; gives its exit code, stdout and stderr."""
    monkeypatch.setattr(cli.signal, "signal", lambda *_: None)
    monkeypatch.setenv("COLUMNS", "500")

    def run(*words: object) -> tuple[object, str, str]:
        monkeypatch.setattr(cli.sys, "argv", ["shdask", *map(str, words)])
        with pytest.raises(SystemExit) as end:
            cli.main()
        return end.value.code, *capsys.readouterr()

    return run


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


def test_a_bucket_is_no_place_for_a_cube(run) -> None:
    """A URL is refused instead of becoming a folder with its name."""
    code, _, err = run("status", "s3://bucket/cube.zarr")
    assert code == 2
    assert "folders on disk; give a path" in err


def test_help_of_build_tells_the_exit_codes(run) -> None:
    """So that a script's author need not look elsewhere."""
    code, out, _ = run("build", "--help")
    assert code == 0
    assert "4 when the budget or quota is reached" in out
