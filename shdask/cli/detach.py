"""`shdask build --detach`: a build goes on, on a running cluster or on this machine, and the command returns.

Refuses to wait for its end; `shdask status` tells of it, and stops it.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from shdask.assemble.place import open_place
from shdask.assemble.stop import read_owners
from shdask.errors import SettingsError, StoreError
from shdask.learned import state_folder

if TYPE_CHECKING:
    from shdask.display import Where
    from shdask.plan.cube import CubePlan

BEGIN_S = 30.0
"""So long a build of this machine is waited for until it owns its cube, or has failed."""
LOOK_S = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Detached:
    """What is told of a build that goes on by itself."""

    store: str
    tiles: int
    scheduler: str | None = None
    build: str | None = None
    """Its name on the cluster."""
    pid: int | None = None
    """Of its process, where it runs on this machine."""
    log: str | None = None
    """What that says."""

    @property
    def watch(self) -> str:
        """The words of a shell that tell how it is."""
        return shlex.join(["shdask", "status", self.store])

    @property
    def stop(self) -> str:
        """The words of a shell that end it."""
        return shlex.join(["shdask", "status", self.store, "--stop"])

    def as_dict(self) -> dict[str, object]:
        """The same as JSON-able values."""
        known = {name: value for name, value in asdict(self).items() if value is not None}
        return {**known, "detached": True, "watch": self.watch, "stop": self.stop}

    def __str__(self) -> str:
        where = f"process {self.pid}; it writes to {self.log}" if self.build is None else f"build {self.build} there"
        place = "on this machine" if self.scheduler is None else f"on {self.scheduler}"
        return f"{self.store} is being built {place}: {where}\n  look  {self.watch}\n  stop  {self.stop}"


def detach_on_cluster(
    made: CubePlan,
    store: str,
    where: Where,
    *,
    max_pu: float | None,
    update: bool,
    job: str,
    options: Sequence[str],
) -> Detached:
    """Hand the build to the cluster at ``where.scheduler``. Raises as `start_build` does."""
    from shdask.cluster.detached import start_build
    from shdask.display import capped

    with where.open() as client:
        begun = start_build(
            made,
            store,
            client,
            credentials=where.find_credentials(),
            max_pu=max_pu,
            update=update,
            job=job,
            options=(*where.options(), "--detach", *capped(max_pu), *options),
        )
    return Detached(store=begun.store, tiles=made.tile_count, scheduler=begun.scheduler, build=begun.name)


def detach_here(made: CubePlan, store: str, job: str, options: Sequence[str]) -> Detached:
    """Build in a process of its own, in no terminal's session, and wait until it owns the cube.

    Raises SettingsError where its log cannot be written; exits with its code, and with what it said, where it has
    failed by then.
    """
    name = open_place(store).name
    log = _log_file()
    words = [sys.executable, "-m", "shdask", "build", job, name, "--yes", *options]
    with log.open("wb") as said:
        process = subprocess.Popen(  # noqa: S603  # this program
            words, stdin=subprocess.DEVNULL, stdout=said, stderr=said, start_new_session=True
        )
    until = time.monotonic() + BEGIN_S
    while process.poll() is None and not _owns(process.pid, name) and time.monotonic() < until:
        time.sleep(LOOK_S)
    if process.returncode:
        sys.stderr.write(log.read_text(errors="replace"))
        raise SystemExit(process.returncode)
    return Detached(store=name, tiles=made.tile_count, pid=process.pid, log=str(log))


def _owns(pid: int, store: str) -> bool:
    try:
        owners = read_owners(store)
    except StoreError:  # it is yet to be created
        return False
    return any(owner.pid == pid and owner.lives_here is True for owner in owners)


def _log_file() -> Path:
    state = state_folder(os.environ)
    if state is None:
        raise SettingsError("there is no home for the log of a detached build; set XDG_STATE_HOME to a folder")
    file = state / "builds" / f"{time.strftime('%Y%m%dT%H%M%S', time.gmtime())}-{os.getpid()}.log"
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        file.touch(mode=0o600)
    except OSError as error:
        raise SettingsError(f"{file} cannot be written: {error.strerror}; set XDG_STATE_HOME to a folder") from error
    return file
