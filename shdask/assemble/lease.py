"""The lease of the one process that builds a cube: an exclusive lock that dies with its holder.

Refuses to know what the owner does with the cube.
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from shdask.assemble.disk import disk_errors
from shdask.errors import WrongStore

FOLDER = ".shdask"
"""Inside the cube's folder: the lease and the ledger. Zarr readers that list the folder pass over it with a warning."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """The process that holds, or last held, a cube's lease."""

    host: str
    pid: int


class Lease:
    """Exclusive ownership of the cube at a path, from `acquire` until `release` or the end of the process."""

    def __init__(self, path: Path, fd: int) -> None:
        self.path = path
        self._fd: int | None = fd

    @classmethod
    def acquire(cls, path: Path) -> Lease:
        """Own the cube at ``path``; its folder is made if need be.

        The lock is the kernel's (flock): it is gone the moment its holder dies, however it dies.
        Raises StoreError that names host and pid of another owner.
        """
        folder = path / FOLDER
        with disk_errors(folder, opening=True):
            folder.mkdir(parents=True, exist_ok=True)
            fd = os.open(folder / "owner.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(fd)
            raise WrongStore(
                f"{path} is being built by {_describe(read_owner(path))}; wait for it, or stop it "
                f"(what it has written is kept), then build again"
            ) from None
        with disk_errors(folder):
            (folder / "owner.json").write_text(json.dumps({"host": socket.gethostname(), "pid": os.getpid()}))
        return cls(path, fd)

    def release(self) -> None:
        """Let others own the cube. Again: does nothing."""
        if self._fd is not None:
            (self.path / FOLDER / "owner.json").unlink(missing_ok=True)
            os.close(self._fd)
            self._fd = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


def read_owner(path: Path) -> Owner | None:
    """Who owns the cube at ``path``, or died owning it; None where no build was cut short or none is running."""
    try:
        row = json.loads((path / FOLDER / "owner.json").read_text())
        return Owner(host=str(row["host"]), pid=int(row["pid"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _describe(owner: Owner | None) -> str:
    return "another process" if owner is None else f"process {owner.pid} on {owner.host}"
