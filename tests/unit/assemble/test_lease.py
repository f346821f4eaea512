"""One owner per cube."""

from __future__ import annotations

import errno
import json
import os
import queue
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from shdask.assemble.disk import DiskPlace
from shdask.assemble.lease import OWNER, Lease, read_owner
from shdask.assemble.place import open_place
from shdask.errors import StoreError, StoreUnavailable


def test_a_second_owner_is_told_host_and_pid_of_the_first(tmp_path: Path):
    """Two builds cannot own one cube, and the second learns who does."""
    with (
        Lease.acquire(open_place(tmp_path)),
        pytest.raises(StoreError, match=f"process {os.getpid()} on {socket.gethostname()}"),
    ):
        Lease.acquire(open_place(tmp_path))


def test_a_released_lease_can_be_acquired_again(tmp_path: Path):
    """The lease ends with its block."""
    with Lease.acquire(open_place(tmp_path)):
        pass
    with Lease.acquire(open_place(tmp_path)):
        owner = read_owner(open_place(tmp_path))
        assert (owner.host, owner.pid) == (socket.gethostname(), os.getpid())


def test_the_lease_of_a_killed_owner_is_free(tmp_path: Path):
    """A lease dies with its process, however that ends."""
    code = (
        "import os, signal, sys\n"
        "from shdask.assemble.lease import Lease\n"
        "from shdask.assemble.place import open_place\n"
        "lease = Lease.acquire(open_place(sys.argv[1]))\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    killed = subprocess.run([sys.executable, "-c", code, tmp_path], check=False)
    assert killed.returncode == -9
    assert read_owner(open_place(tmp_path)) is not None
    Lease.acquire(open_place(tmp_path)).release()


def test_a_finished_owner_leaves_no_name(tmp_path: Path):
    """Nobody owns a cube whose build has ended."""
    Lease.acquire(open_place(tmp_path)).release()
    assert read_owner(open_place(tmp_path)) is None


def test_a_folder_that_cannot_be_made_is_a_store_error_with_a_cure(tmp_path: Path):
    """A file in the path's way is said to be one."""
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match=r"file.*choose another folder"):
        Lease.acquire(open_place(tmp_path / "file" / "cube.zarr"))


def test_a_second_owner_is_told_since_when_the_first_is_silent(tmp_path: Path):
    """By the file system's own clock."""
    place = open_place(tmp_path)
    with Lease.acquire(place):
        os.utime(tmp_path / OWNER, (time.time() - 30, time.time() - 30))
        with pytest.raises(StoreError, match=r"heard of (29|30|31) s ago"):
            Lease.acquire(place)


def test_a_heartbeat_goes_on_by_itself(tmp_path: Path):
    """A thread of its own says that the owner lives, with what the owner said last."""
    heard: queue.Queue[bytes] = queue.Queue()
    lease = Lease.acquire(_Listening(tmp_path, heard), beat_s=0.01)
    lease.say({"waiting_for": "answers"})
    heard.get(timeout=5)
    heard.get(timeout=5)
    assert json.loads(heard.get(timeout=5))["note"] == {"waiting_for": "answers"}
    lease.release()


def test_nothing_is_said_after_the_release(tmp_path: Path):
    """The next owner's name is not written over."""
    lease = Lease.acquire(open_place(tmp_path))
    lease.release()
    with Lease.acquire(open_place(tmp_path)) as other:
        lease.beat()
        assert read_owner(open_place(tmp_path)) == other.owner


@pytest.fixture
def no_flock(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system without flock."""

    def refuse(_fd: int, _operation: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("fcntl.flock", refuse)


@pytest.mark.usefixtures("no_flock")
def test_without_flock_a_live_owner_is_refused_by_its_heartbeat(tmp_path: Path):
    """On shared file systems that cannot lock."""
    with Lease.acquire(open_place(tmp_path)), pytest.raises(StoreError, match=f"process {os.getpid()} on"):
        Lease.acquire(open_place(tmp_path))


@pytest.mark.usefixtures("no_flock")
def test_without_flock_a_silent_owner_is_taken_over_and_learns_it(tmp_path: Path):
    """It stops before it writes another row, and leaves the new owner's name alone."""
    place = open_place(tmp_path)
    sleeper = Lease.acquire(place)
    os.utime(tmp_path / OWNER, (0, 0))
    taker = Lease.acquire(place)
    sleeper.beat()
    with pytest.raises(StoreError, match=rf"taken over by process {os.getpid()}"):
        sleeper.check()
    sleeper.release()
    assert read_owner(place) == taker.owner
    taker.release()


def test_a_lease_that_cannot_be_given_back_ends_all_the_same(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    """The build's result stands; others take over in a minute."""
    lease = Lease.acquire(open_place(tmp_path))
    lease._lock = _Stuck()
    lease.release()
    assert "not given back" in caplog.text


class _Stuck:
    """A lock in a place that does not answer."""

    def release(self) -> None:
        """Fails."""
        raise StoreUnavailable("no answer")


class _Listening(DiskPlace):
    """A disk that tells what is written."""

    def __init__(self, path: Path, heard: queue.Queue[bytes]) -> None:
        super().__init__(path=path)
        object.__setattr__(self, "heard", heard)

    def write(self, key: str, data: bytes) -> None:
        """Write and tell."""
        super().write(key, data)
        self.heard.put(data)  # type: ignore[attr-defined]  # set above
