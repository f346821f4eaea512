"""A build that is killed anywhere, then the same build again: same bytes, and nothing paid is bought again."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

import shdask
from shdask.assemble.layout import object_key
from shdask.assemble.place import Place, open_place
from shdask.assemble.verify import verify_cube
from shdask.emulator.launch import EmulatorProcess
from tests.cluster.specs import earth_spec

ARRAYS = ("B02", "B08", "data_mask")
KILLED_BUILD = """
import os, signal, sys
import shdask
from shdask.assemble.store import CubeStore
from tests.cluster.specs import earth_spec

put, left = CubeStore._put, [int(sys.argv[2])]

def write_some(*pixels):
    left[0] -= 1
    if left[0] < 0:
        os.kill(os.getpid(), signal.SIGKILL)
    put(*pixels)

CubeStore._put = write_some
shdask.build_cube(earth_spec(), sys.argv[1], executor=shdask.SerialExecutor())
"""


@pytest.fixture
def account(earth: EmulatorProcess, monkeypatch: pytest.MonkeyPatch) -> EmulatorProcess:
    """The service, with nothing bought yet."""
    [monkeypatch.setenv(name, value) for name, value in earth.environment().items()]
    earth.reset()
    return earth


@pytest.fixture(scope="module")
def undisturbed(earth: EmulatorProcess, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What the cube's objects hold when nothing goes wrong."""
    with pytest.MonkeyPatch.context() as environ:
        [environ.setenv(name, value) for name, value in earth.environment().items()]
        path = tmp_path_factory.mktemp("undisturbed") / "cube"
        shdask.build_cube(earth_spec(), path, executor=shdask.SerialExecutor())
    return objects(open_place(path))


def objects(place: Place) -> dict[str, bytes]:
    """Every shard."""
    keys = [object_key(name, position) for name in ARRAYS for position in place.list_objects(name).tolist()]
    return {key: place.read(key) or b"" for key in keys}


@pytest.fixture
def store(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A place that nobody else uses."""
    return str(tmp_path / "cube") if request.param == "disk" else request.getfixturevalue("url")


@pytest.mark.parametrize(
    ("store", "writes", "done"),
    [
        pytest.param("disk", 0, 0, id="first"),
        pytest.param("disk", 7, 2, id="band"),
        pytest.param("disk", 8, 2, id="mark"),
        pytest.param("s3", 0, 0, id="s3-first", marks=pytest.mark.long),
        pytest.param("s3", 7, 2, id="s3-band"),
        pytest.param("s3", 8, 2, id="s3-mark", marks=pytest.mark.long),
    ],
    indirect=["store"],
)
def test_a_killed_build_repeats_one_tile(store, account, undisturbed, writes, done) -> None:
    """Killed before any write, between two bands, and before a commit mark: what was in flight is bought again."""
    code = [sys.executable, "-c", KILLED_BUILD, store, str(writes)]
    assert subprocess.run(code, check=False).returncode == -signal.SIGKILL
    report = shdask.build_cube(earth_spec(), store, executor=shdask.SerialExecutor())
    assert (report.skipped, report.written) == (done, 7 - done)
    assert 1 <= report.unrecorded <= 2  # in a bucket the row of a tile that is written may follow within a second
    assert len(account.requests()) == 7 + 1
    assert objects(open_place(store)) == undisturbed
    found = verify_cube(store)
    assert (found.whole, found.sound + len(found.unrecorded)) == (True, 7)


def test_a_cluster_builds_the_same_cube_in_a_bucket(url, account, undisturbed) -> None:
    """Workers read keys from their own environment; shards and checksums are those of a serial build on a disk."""
    report = shdask.build_cube(earth_spec(), url)
    assert (report.written, report.failed, len(account.requests())) == (7, 0, 7)
    assert objects(open_place(url)) == undisturbed
    assert verify_cube(url).sound == 7
