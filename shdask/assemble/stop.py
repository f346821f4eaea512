"""The word that asks whoever builds a cube to end: an object beside its lease, which the owner reads as it beats.

Refuses to know how a build ends.
"""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Callable

from shdask.assemble.lease import STOP, Owner, read_owner
from shdask.assemble.place import Place, open_place
from shdask.assemble.tree import begun_groups

WAIT_S = 60.0
"""A heartbeat until it is heard, what is in flight until it is written, and some more."""
LOOK_S = 0.5


def ask_to_stop(store: str | os.PathLike[str] | Place) -> None:
    """Ask the owner of the cube at ``store`` to end, as Ctrl-C does. Again: does nothing.

    Raises StoreError where there is no cube, or it cannot be written.
    """
    told = {"host": socket.gethostname(), "pid": os.getpid(), "at": time.time()}
    for place in begun_groups(open_place(store)).values():
        if not place.exists(STOP):
            place.write(STOP, json.dumps(told).encode())


def is_asked_to_stop(store: str | os.PathLike[str] | Place) -> bool:
    """Whether somebody has asked so, and no build has begun since. Raises StoreError where there is no cube."""
    return any(place.exists(STOP) for place in begun_groups(open_place(store)).values())


def forget_stop(place: Place) -> None:
    """Let a build begin that owns the group at ``place`` now, whoever was asked to end before."""
    place.remove(STOP)


def is_owned(store: str | os.PathLike[str] | Place) -> bool:
    """Whether the cube at ``store`` has an owner that lives, as far as can be seen from here."""
    return any(not owner.is_dead(time.time() - owner.beat) for owner in read_owners(store))


def read_owners(store: str | os.PathLike[str] | Place) -> list[Owner]:
    """Who builds the cube at ``store``, or did and left no goodbye, by its groups. Raises StoreError without a cube."""
    owners = [read_owner(place) for place in begun_groups(open_place(store)).values()]
    return [owner for owner in owners if owner is not None]


def stop_owner(
    store: str | os.PathLike[str] | Place,
    wait_s: float = WAIT_S,
    *,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], object] = time.sleep,
) -> bool:
    """`ask_to_stop`, and wait up to ``wait_s`` seconds until nobody builds the cube; whether that is so."""
    deadline = clock() + wait_s
    ask_to_stop(store)
    while is_owned(store):
        if clock() >= deadline:
            return False
        sleep(LOOK_S)
        ask_to_stop(store)  # the build of a further group has forgotten it when it began
    return True
