"""How far a cube is, read from its place alone: no plan, no cluster, no service.

Refuses to change anything, and to guess what the place does not say.
"""

from __future__ import annotations

import math
import os
import shlex
import time
from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shdask.assemble.job_rows import JobRecord
from shdask.assemble.lease import DEAD_S, Owner, read_owner
from shdask.assemble.ledger import read_ledger
from shdask.assemble.outlook import eta_s, next_step, next_words, share_left
from shdask.assemble.place import Place, open_place
from shdask.assemble.pyramid import outdated_tiles
from shdask.assemble.rows import LedgerSummary
from shdask.assemble.spool import Spool, spool_prefix
from shdask.assemble.store import read_cube_attributes
from shdask.assemble.verify import CubeTiles
from shdask.model import TileState

SHOWN_ERRORS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class CubeStatus:
    """What a cube's place says of its build."""

    store: str
    complete: bool
    tiles: int
    written: int
    empty: int
    failed: int
    untried: int
    not_bought: dict[str, int]
    """How many tile-dates of the area are no tiles, by why: ``not_chosen``, ``too_cloudy``, ``no_acquisition``."""
    requests: int
    """Of all runs."""
    pu_spent: float
    """Of all runs."""
    pu_left: float
    """Projected for the tiles that are neither written nor empty."""
    in_flight: int
    """Tiles that were given out and of which nothing was heard since."""
    pu_in_flight: float
    """What those are projected to cost; after a kill, what may have been paid for nothing."""
    jobs: dict[str, int]
    """Jobs of Async Process that are paid for and whose tiles are not all there: how many are ``running``,
    ``delivered``, or ``unknown``, since no answer to their order came."""
    pu_in_jobs: float
    """What those have cost, which ``pu_left`` lacks."""
    owner: str | None
    """``host:pid`` of the process that builds it now, or died building it."""
    owner_state: str
    """``none``, ``living``, ``gone``, or ``unknown``: it exists here or elsewhere, and is silent for too long."""
    heartbeat_s: float | None
    """Seconds since the owner was last heard of, by this machine's clock."""
    waiting_for: str | None
    """What a living owner said it waits for, at its last heartbeat."""
    run: dict[str, Any]
    """What a living owner said of this run: ``pu_spent``, ``max_pu``, ``requests_per_minute``, ``rejected``."""
    eta_s: tuple[float, float] | None
    """(low, high) seconds until a living owner ends, from the pace of the last tiles; None without one."""
    last_row_s: float | None
    """Seconds since the last tile was recorded."""
    ended: dict[str, Any] | None
    """How the last run ended: ``at``, ``exit_code``, ``error``, ``resume_at``, and ``figures``, what it has shown (see
    `RunFigures`); None where it goes on or was killed."""
    errors: dict[Any, str]
    """Tile index -> last error, of the tiles that failed last; of several groups, path and index."""
    spooled: int
    """Tiles of the cube that were paid for and wait on this machine's disk for the store."""
    spool: str | None
    """The folder where they wait."""
    job: str | None
    """The job file that the last run was given."""
    next: str
    """What to do."""
    command: str | None
    """The same as words for a shell; None where nothing is to be run."""

    @property
    def running(self) -> bool:
        """Whether a process builds the cube now."""
        return self.owner_state == "living"

    def as_dict(self) -> dict[str, object]:
        """The status as JSON-able values."""
        return {**asdict(self), "running": self.running}

    def __str__(self) -> str:
        return "\n".join(f"{label:<9} {text}" if label else text for label, text in _lines(self))


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """All that was read of a group for its status."""

    place: Place
    attributes: dict[str, Any]
    ledger: LedgerSummary
    tiles: CubeTiles
    states: NDArray[np.uint8]
    """Of the cube's tiles, in the order of ``tiles.indices``."""
    owner: Owner | None
    now: float
    spooled: list[os.PathLike[str]] = field(default_factory=list)

    @classmethod
    def read(cls, place: Place) -> Found:
        """What stands at ``place``. Raises StoreError where there is no cube of ours."""
        attributes = read_cube_attributes(place)
        owner = read_owner(place)  # before the rows: what it has written when it goes is then read as well
        ledger = read_ledger(place)
        tiles = CubeTiles.of(place, attributes)
        states = tiles.states()
        rows = ledger.states[: states.size]
        states[: rows.size] = np.where(rows == TileState.UNTRIED, states[: rows.size], rows)
        states = states[tiles.indices]
        spooled = Spool.of_this_user().files(spool_prefix(place.name, attributes["identity"]))
        return cls(
            place=place,
            attributes=attributes,
            ledger=ledger,
            tiles=tiles,
            states=states,
            owner=owner,
            now=time.time(),
            spooled=list(spooled),
        )

    def count(self, state: TileState) -> int:
        """How many tiles are in a state."""
        return int(np.count_nonzero(self.states == state))

    @property
    def silent_s(self) -> float | None:
        """Since the owner was last heard of."""
        return None if self.owner is None else max(0.0, self.now - self.owner.beat)

    @property
    def owner_state(self) -> str:
        """See `CubeStatus.owner_state`."""
        if self.owner is None or self.silent_s is None:
            return "none"
        if self.owner.lives_here is False:
            return "gone"
        return "living" if self.silent_s <= DEAD_S else "unknown"

    @property
    def left(self) -> NDArray[np.bool_]:
        """Whether a tile is neither written nor empty, in the order of ``states``."""
        return np.asarray((self.states != TileState.WRITTEN) & (self.states != TileState.EMPTY))

    @property
    def pu_left(self) -> float:
        """Projected for those."""
        projected = float(self.attributes["spec"]["projected"]["pu"])
        whole = projected * share_left(self.tiles.layout, self.tiles.rows, self.tiles.columns, self.left)
        return max(0.0, whole - self.pu_in_jobs)

    @property
    def open_jobs(self) -> list[JobRecord]:
        """Jobs that may be paid for and whose tiles are not all there."""
        left = set(self.tiles.indices[self.left].tolist())
        return [job for job in self.ledger.jobs.values() if job.is_open and not left.isdisjoint(job.tiles)]

    @property
    def pu_in_jobs(self) -> float:
        """What those have cost."""
        return math.fsum(job.pu for job in self.open_jobs)

    def count_outdated(self) -> int:
        """How many tiles the overviews, if there are any, show as they no longer are. Raises StoreError."""
        outdated = outdated_tiles(self.place, self.attributes, self.ledger)
        return 0 if outdated is None else int(outdated.sum())

    @property
    def last_begun(self) -> float:
        """POSIX time at which the last run began; 0 where there was none."""
        return self.ledger.runs[-1].started if self.ledger.runs else 0.0


def read_status(store: str | os.PathLike[str] | Place) -> CubeStatus:
    """The status of the cube at ``store``, whose root is its only group. Raises StoreError where there is none."""
    found = Found.read(open_place(store))
    outdated = 0 if found.left.any() else found.count_outdated()
    return make_status(found, store=found.place.name, pu_left=found.pu_left, more_left=False, outdated=outdated)


def make_status(found: Found, *, store: str, pu_left: float, more_left: bool, outdated: int) -> CubeStatus:
    """The status of a group; what to do is told of the whole cube at ``store``, of which ``pu_left`` is left to pay.

    ``more_left`` tells that another group of it is not complete, ``outdated`` is how many tiles of it are newer than
    its overviews.
    """
    ledger, owner_state = found.ledger, found.owner_state
    living = owner_state == "living"
    owner = None if found.owner is None else f"{found.owner.host}:{found.owner.pid}"
    note = dict(found.owner.note) if living and found.owner is not None else {}
    left, spooled = int(np.count_nonzero(found.left)), len(found.spooled)
    step, command = "nothing; open it with shdask.open_cube", None
    if left or living or more_left:
        step = next_step(ledger, owner=owner, owner_state=owner_state, pu_left=pu_left, spooled=spooled)
        command = shlex.join(next_words(ledger, store=store, owner_state=owner_state, pu_left=pu_left))
    elif outdated > 0:
        step = f"bring its overviews up to date: {outdated} tiles are newer than they"
        command = shlex.join(["shdask", "overviews", store])
    return CubeStatus(
        store=found.place.name,
        complete=bool(found.attributes.get("complete")),
        tiles=int(found.states.size),
        written=found.count(TileState.WRITTEN),
        empty=found.count(TileState.EMPTY),
        failed=found.count(TileState.FAILED),
        untried=found.count(TileState.UNTRIED),
        not_bought={why: count for why, count in found.tiles.not_bought().items() if count},
        requests=ledger.requests,
        pu_spent=ledger.pu_spent,
        pu_left=found.pu_left,
        jobs=dict(Counter(map(_job_state, found.open_jobs))),
        pu_in_jobs=found.pu_in_jobs,
        in_flight=len(ledger.in_flight),
        pu_in_flight=math.fsum(ledger.in_flight.values()),
        owner=owner,
        owner_state=owner_state,
        heartbeat_s=found.silent_s,
        waiting_for=note.pop("waiting_for", None),
        run=note,
        eta_s=eta_s(ledger.pace, left, found.now) if living else None,
        last_row_s=None if ledger.last_row is None else max(0.0, found.now - ledger.last_row),
        ended=None if ledger.end is None or living else asdict(ledger.end),
        errors=dict(list(ledger.errors.items())[-SHOWN_ERRORS:]),
        spooled=spooled,
        spool=str(Spool.of_this_user().folder) if spooled else None,
        job=ledger.runs[-1].job if ledger.runs else None,
        next=step,
        command=command,
    )


def _job_state(job: JobRecord) -> str:
    if job.id is None:
        return "unknown"
    return "running" if job.end is None else "delivered"


def _lines(status: CubeStatus) -> list[tuple[str, str]]:
    counted = f"{status.written} written, {status.empty} empty, {status.failed} failed, {status.untried} untried"
    lines = [
        ("", f"{status.store}: {'complete' if status.complete else 'not complete'}"),
        ("tiles", f"{status.tiles}: {counted}"),
        ("PU", f"{status.pu_spent:.2f} spent in {status.requests} requests, all runs; {status.pu_left:.2f} left"),
        ("owner", _owner_text(status)),
    ]
    if status.not_bought:
        why = ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in status.not_bought.items())
        lines.insert(2, ("not tiles", f"{why}: not bought"))
    if status.running:
        lines += _run_lines(status)
    if status.in_flight:
        lines.append(("in flight", f"{status.in_flight} tiles, of up to {status.pu_in_flight:.2f} PU"))
    if status.jobs:
        counted = ", ".join(f"{count} {state}" for state, count in status.jobs.items())
        then = "" if status.running else "; the next build takes them up"
        lines.append(("jobs", f"{counted}, of {status.pu_in_jobs:.2f} PU{then}"))
    if status.last_row_s is not None:
        lines.append(("last tile", f"{_ago(status.last_row_s)} ago"))
    if status.ended is not None and status.ended["error"]:
        lines.append(("stopped", f"{status.ended['error']} (exit code {status.ended['exit_code']})"))
    if status.ended is not None and status.ended["figures"]:
        lines.append(("last run", _figures_text(status.ended["figures"])))
    if status.spooled:
        lines.append(("spooled", f"{status.spooled}, paid for, in {status.spool}"))
    lines += [("", f"{_tiles_text(tiles)}: {text}") for text, tiles in _by_text(status.errors).items()]
    if status.failed > len(status.errors):
        lines.append(("", f"... {status.failed} failed tiles in all: --failed OUT.geojson"))
    lines.append(("next", status.next))
    return [*lines, *([("run", status.command)] if status.command else [])]


def _run_lines(status: CubeStatus) -> list[tuple[str, str]]:
    lines = [("waits for", status.waiting_for or "not said yet")]
    run = status.run
    if "pu_spent" in run:
        cap = "" if run.get("max_pu") is None else f", cap {run['max_pu']:g}"
        rate = f"{run['requests_per_minute']:.0f} requests/min, {run['rejected']} answered 429"
        lines.append(("this run", f"{run['pu_spent']:.2f} of {run['pu_projected']:.2f} PU{cap}; {rate}"))
    if status.eta_s is not None:
        lines.append(("ends in", f"{_ago(status.eta_s[0])} to {_ago(status.eta_s[1])}, at the last tiles' pace"))
    return lines


def _figures_text(run: dict[str, Any]) -> str:
    price = f"{run['pu_spent']:.2f} PU, {run['pu_projected']:.2f} projected"
    return f"{price}; {run['seconds'] / 60:.1f} min, {run['seconds_projected'] / 60:.1f} projected"


def _ago(seconds: float) -> str:
    for unit, length in (("d", 86400.0), ("h", 3600.0), ("min", 60.0)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"


def _owner_text(status: CubeStatus) -> str:
    if status.owner is None:
        return "none; no build is running"
    heard = "" if status.heartbeat_s is None else f", heard of {_ago(status.heartbeat_s)} ago"
    if status.owner_state == "gone":
        return f"{status.owner}, gone without a goodbye{heard}"
    if status.owner_state == "unknown":
        return f"{status.owner}, unknown{heard}: stopped, asleep or cut off"
    return f"{status.owner}, building{heard}"


def _by_text(errors: dict[Any, str]) -> dict[str, list[Any]]:
    tiles: dict[str, list[Any]] = {}
    for tile, text in errors.items():
        tiles.setdefault(text, []).append(tile)
    return tiles


def _tiles_text(tiles: list[Any]) -> str:
    return f"tile{'s' if len(tiles) > 1 else ''} {', '.join(map(str, sorted(tiles)))}"
