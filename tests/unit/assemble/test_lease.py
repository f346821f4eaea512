"""One owner per cube."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from shdask.assemble.lease import Lease, read_owner
from shdask.assemble.place import open_place
from shdask.errors import StoreError


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
