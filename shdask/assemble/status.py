"""How far a cube is, read from its folder alone: no plan, no cluster, no service.

Refuses to change anything, and to guess what the folder does not say.
"""

from __future__ import annotations

import os
import socket
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import zarr

from shdask.assemble.conventions import OUTSIDE_AREA
from shdask.assemble.disk import cube_path, disk_errors, open_zarr_store
from shdask.assemble.lease import Owner, read_owner
from shdask.assemble.ledger import read_ledger
from shdask.assemble.store import read_root_attributes
from shdask.assemble.template import TILE_STATE
from shdask.errors import WrongStore
from shdask.model import TileState

SHOWN_ERRORS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class CubeStatus:
    """What a cube's folder says of its build; the repr is the text for people."""

    store: str
    complete: bool
    tiles: int
    written: int
    empty: int
    failed: int
    untried: int
    requests: int
    """Of all runs."""
    pu_spent: float
    """Of all runs."""
    owner: str | None
    """``host:pid`` of the process that builds it now, or died building it."""
    running: bool
    """Whether that process lives; of another host only that it has not said goodbye."""
    last_row_s: float | None
    """Seconds since the last tile was recorded."""
    errors: dict[int, str]
    """Tile index -> last error, of the tiles that failed last."""
    next: str
    """What to do."""

    def as_dict(self) -> dict[str, object]:
        """The status as JSON-able values."""
        return asdict(self)

    def __str__(self) -> str:
        counted = f"{self.written} written, {self.empty} empty, {self.failed} failed, {self.untried} untried"
        lines = [
            f"{self.store}: {'complete' if self.complete else 'not complete'}",
            f"tiles     {self.tiles}: {counted}",
            f"PU        {self.pu_spent:.2f} spent in {self.requests} requests, all runs",
            f"owner     {_owner_text(self)}",
        ]
        if self.last_row_s is not None:
            lines.append(f"last tile {self.last_row_s:.0f} s ago")
        lines += [f"{_tiles_text(tiles)}: {text}" for text, tiles in _by_text(self.errors).items()]
        return "\n".join([*lines, f"next      {self.next}"])


def read_status(store: str | Path) -> CubeStatus:
    """The status of the cube at ``store``. Raises StoreError where there is no cube of ours."""
    path = cube_path(store)
    if not (path / "zarr.json").exists():
        raise WrongStore(f"{path} holds no cube; name the folder that shdask build was given")
    attributes = read_root_attributes(path)
    if "shdask_version" not in attributes:
        raise WrongStore(f"{path} is a Zarr store that shdask did not make")
    if "identity" not in attributes:
        raise WrongStore(f"{path} was cut short while it was created; run its build again")
    ledger = read_ledger(path)
    with disk_errors(path):
        cells = np.asarray(zarr.open_array(open_zarr_store(path), path=TILE_STATE, mode="r")[...])
    states = cells[cells != OUTSIDE_AREA]
    rows = ledger.states[: states.size]
    states[: rows.size] = np.where(rows == TileState.UNTRIED, states[: rows.size], rows)
    counts = {state: int(np.count_nonzero(states == state)) for state in TileState}
    owner = read_owner(path)
    running = owner is not None and _may_live(owner)
    complete = bool(attributes.get("complete"))
    return CubeStatus(
        store=str(path),
        complete=complete,
        tiles=int(states.size),
        written=counts[TileState.WRITTEN],
        empty=counts[TileState.EMPTY],
        failed=counts[TileState.FAILED],
        untried=counts[TileState.UNTRIED],
        requests=ledger.requests,
        pu_spent=ledger.pu_spent,
        owner=None if owner is None else f"{owner.host}:{owner.pid}",
        running=running,
        last_row_s=None if ledger.last_row is None else max(0.0, time.time() - ledger.last_row),
        errors=dict(list(ledger.errors.items())[-SHOWN_ERRORS:]),
        next=_next_step(complete=complete, running=running),
    )


def _may_live(owner: Owner) -> bool:
    if owner.host != socket.gethostname():
        return True
    try:
        os.kill(owner.pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _owner_text(status: CubeStatus) -> str:
    if status.owner is None:
        return "none; no build is running"
    return f"{status.owner}, {'building' if status.running else 'gone without a goodbye'}"


def _by_text(errors: dict[int, str]) -> dict[str, list[int]]:
    tiles: dict[str, list[int]] = {}
    for tile, text in errors.items():
        tiles.setdefault(text, []).append(tile)
    return tiles


def _tiles_text(tiles: list[int]) -> str:
    return f"tile{'s' if len(tiles) > 1 else ''} {', '.join(map(str, sorted(tiles)))}"


def _next_step(*, complete: bool, running: bool) -> str:
    if complete:
        return "nothing; open it with shdask.open_cube"
    if running:
        return "wait for the build"
    return "run shdask build with the same job and store; it continues"
