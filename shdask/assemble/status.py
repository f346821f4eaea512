"""How far a cube is, read from its place alone: no plan, no cluster, no service.

Refuses to change anything, and to guess what the place does not say.
"""

from __future__ import annotations

import os
import time
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import zarr

from shdask.assemble.conventions import OUTSIDE_AREA
from shdask.assemble.lease import read_owner
from shdask.assemble.ledger import read_ledger
from shdask.assemble.place import Place, open_place
from shdask.assemble.store import read_cube_attributes
from shdask.assemble.template import TILE_STATE
from shdask.model import TileState

SHOWN_ERRORS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class CubeStatus:
    """What a cube's place says of its build; the repr is the text for people."""

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
    in_flight: int
    """Tiles that were given out and of which nothing was heard since."""
    pu_in_flight: float
    """What those are projected to cost; after a kill, what may have been paid for nothing."""
    owner: str | None
    """``host:pid`` of the process that builds it now, or died building it."""
    running: bool
    """Whether that process lives: it exists here, or was heard of in the last minute."""
    heartbeat_s: float | None
    """Seconds since the owner was last heard of, by this machine's clock."""
    note: dict[str, Any]
    """What the owner said of its state: what it waits for, when it goes on."""
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
        if self.in_flight:
            lines.append(f"in flight {self.in_flight} tiles, of up to {self.pu_in_flight:.2f} PU")
        lines += [f"{key:<9} {value}" for key, value in self.note.items()]
        if self.last_row_s is not None:
            lines.append(f"last tile {self.last_row_s:.0f} s ago")
        lines += [f"{_tiles_text(tiles)}: {text}" for text, tiles in _by_text(self.errors).items()]
        return "\n".join([*lines, f"next      {self.next}"])


def read_status(store: str | os.PathLike[str] | Place) -> CubeStatus:
    """The status of the cube at ``store``. Raises StoreError where there is no cube of ours."""
    place = open_place(store)
    attributes = read_cube_attributes(place)
    ledger = read_ledger(place)
    with place.errors():
        cells = np.asarray(zarr.open_array(place.zarr_store(read_only=True), path=TILE_STATE, mode="r")[...])
    states = cells[cells != OUTSIDE_AREA]
    rows = ledger.states[: states.size]
    states[: rows.size] = np.where(rows == TileState.UNTRIED, states[: rows.size], rows)
    counts = {state: int(np.count_nonzero(states == state)) for state in TileState}
    owner = read_owner(place)
    silent_s = 0.0 if owner is None else max(0.0, time.time() - owner.beat)
    running = owner is not None and not owner.is_dead(silent_s)
    complete = bool(attributes.get("complete"))
    return CubeStatus(
        store=place.name,
        complete=complete,
        tiles=int(states.size),
        written=counts[TileState.WRITTEN],
        empty=counts[TileState.EMPTY],
        failed=counts[TileState.FAILED],
        untried=counts[TileState.UNTRIED],
        requests=ledger.requests,
        pu_spent=ledger.pu_spent,
        in_flight=len(ledger.in_flight),
        pu_in_flight=sum(ledger.in_flight.values()),
        owner=None if owner is None else f"{owner.host}:{owner.pid}",
        running=running,
        heartbeat_s=None if owner is None else silent_s,
        note={} if owner is None else dict(owner.note),
        last_row_s=None if ledger.last_row is None else max(0.0, time.time() - ledger.last_row),
        errors=dict(list(ledger.errors.items())[-SHOWN_ERRORS:]),
        next=_next_step(complete=complete, running=running),
    )


def _owner_text(status: CubeStatus) -> str:
    if status.owner is None:
        return "none; no build is running"
    if not status.running:
        return f"{status.owner}, gone without a goodbye"
    heard = "" if status.heartbeat_s is None else f", heard of {status.heartbeat_s:.0f} s ago"
    return f"{status.owner}, building{heard}"


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
