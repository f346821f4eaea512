"""The lease of the one process that builds a cube: held by a lock, kept alive by a heartbeat, lost by silence.

Refuses to know what the owner does with the cube, and how a place locks.
"""

from __future__ import annotations

import json
import logging
import os
import secrets
import socket
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import Any, Self

from shdask.assemble.lock import Lock, LockHeld, LockLost
from shdask.assemble.place import Place
from shdask.errors import CubeOwned, StoreError

logger = logging.getLogger(__name__)

FOLDER = ".shdask"
"""Inside the cube's place: lease and ledger. Zarr readers that list the folder pass over it with a warning."""
OWNER = f"{FOLDER}/owner.json"
STOP = f"{FOLDER}/stop.json"
"""Stands there while the owner, whoever it is, is asked to end; see `stop`."""
BEAT_S = 10.0
DEAD_S = 60.0
"""An owner that has not been heard of for so long has lost the cube."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """The process that holds, or last held, a cube's lease."""

    host: str
    pid: int
    build: str = ""
    """Of the one run of a build, and of no other."""
    started: float = 0.0
    """POSIX time."""
    beat: float = 0.0
    """POSIX time of the last heartbeat, by the owner's clock."""
    note: Mapping[str, Any] = field(default_factory=dict)
    """What the owner said of its state: small JSON, such as what it waits for."""

    @classmethod
    def here(cls) -> Owner:
        """The calling process, as the owner of a new build."""
        now = time.time()
        return cls(host=socket.gethostname(), pid=os.getpid(), build=secrets.token_hex(8), started=now, beat=now)

    @property
    def lives_here(self) -> bool | None:
        """Whether its process lives; None where it is another machine's."""
        if self.host != socket.gethostname():
            return None
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return False
        except PermissionError:
            return True
        return True

    def is_dead(self, silent_s: float) -> bool:
        """Whether the owner is gone, ``silent_s`` after its last heartbeat."""
        return self.lives_here is False or silent_s > DEAD_S

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}"


class Lease:
    """Exclusive ownership of a cube, from `acquire` until `release` or the end of the process."""

    def __init__(self, place: Place, lock: Lock, owner: Owner) -> None:
        self.place = place
        self.owner = owner
        self._lock = lock
        self._lost: StoreError | None = None
        self._note: Mapping[str, Any] = {}
        self.stop_asked = False
        """Whether somebody asks this build to end; heard with each beat."""
        self._over = threading.Event()
        self._beating = threading.Lock()
        self._thread: threading.Thread | None = None

    @classmethod
    def acquire(cls, place: Place, *, beat_s: float = BEAT_S) -> Lease:
        """Own the cube at ``place``, which is made if need be, and go on saying so every ``beat_s`` seconds.

        A dead owner's lease is taken over: one whose process is gone, or that was not heard of for 60 s.
        Raises CubeOwned that names host, pid and age of a live owner, StoreError where the place cannot be written.
        """
        owner = Owner.here()
        try:
            lock = place.lock(OWNER, _text(owner), is_dead=_is_dead)
        except LockHeld as held:
            raise CubeOwned(
                f"{place.name} is being built by {_describe(_parse(held.text))}, heard of {held.age_s:.0f} s ago; wait "
                f"for it, or stop it (what it has written is kept), then build again"
            ) from None
        lease = cls(place, lock, owner)
        lease._thread = threading.Thread(target=lease._beat_on, args=(beat_s,), name="shdask-lease", daemon=True)
        lease._thread.start()
        return lease

    def say(self, note: Mapping[str, Any]) -> None:
        """Let the next heartbeats carry ``note``: small JSON for whoever asks how the build is."""
        self._note = dict(note)

    def check(self) -> None:
        """Raise StoreError where the lease was lost: another process took over while this one slept."""
        if self._lost is not None:
            raise self._lost

    @property
    def lost(self) -> bool:
        """Whether another process has taken over."""
        return self._lost is not None

    def beat(self) -> None:
        """Say now that the owner lives. A place that does not answer is tried again with the next beat."""
        with self._beating:
            if self._over.is_set() or self._lost is not None:
                return
            self.owner = replace(self.owner, beat=time.time(), note=self._note)
            try:
                self._lock.renew(_text(self.owner))
                self.stop_asked = self.place.exists(STOP)
            except LockLost as lost:
                self._lost = StoreError(
                    f"{self.place.name} was taken over by {_describe(_parse(lost.text))} while this process was not "
                    f"heard of; what was bought is kept, and the other one goes on"
                )
            except StoreError as error:
                logger.warning("no heartbeat: %s", error)

    def _beat_on(self, beat_s: float) -> None:
        while not self._over.wait(beat_s):
            self.beat()

    def release(self) -> None:
        """Let others own the cube. Again: does nothing."""
        with self._beating:
            if self._over.is_set():
                return
            self._over.set()
            try:
                self._lock.release()
            except StoreError as error:  # it is dead for others in a minute
                logger.warning("the lease is not given back: %s", error)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


def read_owner(place: Place) -> Owner | None:
    """Who owns the cube at ``place``, or died owning it; None where no build was cut short or none is running."""
    return _parse(place.read(OWNER) or b"")


def _text(owner: Owner) -> bytes:
    row = {"host": owner.host, "pid": owner.pid, "build": owner.build, "started": owner.started, "beat": owner.beat}
    return json.dumps({**row, "note": dict(owner.note)}, default=str).encode()


def _parse(text: bytes) -> Owner | None:
    try:
        row = json.loads(text)
        return Owner(
            host=str(row["host"]),
            pid=int(row["pid"]),
            build=str(row.get("build", "")),
            started=float(row.get("started", 0.0)),
            beat=float(row.get("beat", 0.0)),
            note=dict(row.get("note", {})),
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def _is_dead(text: bytes, silent_s: float) -> bool:
    owner = _parse(text)
    return silent_s > DEAD_S if owner is None else owner.is_dead(silent_s)


def _describe(owner: Owner | None) -> str:
    return "another process" if owner is None else str(owner)
