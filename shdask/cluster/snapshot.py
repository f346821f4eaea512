"""What the cluster knows of one build at one moment: the plain values that page and metrics show.

Refuses to count; holds no secret, and no name of an account but the one that tells nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from shdask.model import TileState


class TileMark(IntEnum):
    """What a map shows of a tile: what is known of it, and two things more; the numbers of `TileState` are the same."""

    UNTRIED = TileState.UNTRIED
    WRITTEN = TileState.WRITTEN
    EMPTY = TileState.EMPTY
    FAILED = TileState.FAILED
    IN_WORK = 4
    """On a worker: waiting there, at the service, or being written."""
    OUTSIDE = 5
    """No tile: nothing of the area is there, or nothing is bought of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorKind:
    """Tiles that failed for one reason."""

    kind: str
    """Name of the error's class."""
    count: int
    """Failures of this run; a tile that failed twice counts twice."""
    message: str
    """Of the last one."""
    tile: int
    """The last one's."""
    told: float
    """POSIX time of the last one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SlowTile:
    """A tile that took long."""

    tile: int
    step: int
    row: int
    column: int
    seconds: float
    """From its first request until it was durable."""
    worker: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerLoad:
    """What one worker has to do with a build, as of its last heartbeat."""

    address: str
    host: str
    tiles: int
    """In its hands."""
    in_flight: int
    """Bundles of tiles, each bought with one request at a time, of which a request was sent."""
    oldest_s: float
    """How long the oldest of them has been under way; 0 without any."""
    spool_nbytes: int
    """What its host's disk keeps of pixels that the store refuses."""
    heard_s: float
    """Since its last heartbeat."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class BuildSnapshot:
    """One build, running or ended. Times are POSIX unless their name says seconds."""

    key: str
    """Names the build on this cluster."""
    store: str
    """Folder or ``s3://bucket/prefix`` of the group that is filled."""
    layer: str
    """Collection and bands."""
    account: str
    """A digest of deployment and OAuth client: builds of one account share their limits."""
    version: int
    """Another number wherever something has changed."""
    began: float
    heard: float
    """The owner's heartbeat."""
    ended: float | None
    """None while it runs."""
    end: str
    """How it ended, in words; empty while it runs."""
    grid_shape: tuple[int, int]
    """Rows and columns of tiles at one step."""
    steps: tuple[str, ...]
    """Dates of the time axis; empty without one."""
    states: NDArray[np.uint8]
    """(step, row, column) `TileMark`; a single step without a time axis. Read only."""
    tiles: Mapping[TileMark, int]
    """How many tiles are in each state; none is OUTSIDE."""
    pu_spent: float
    """Of this run, as the service's answers stated it."""
    pu_projected: float
    """Of what was left to do when the run began."""
    max_pu: float | None
    """What this run may spend; None without a cap."""
    requests: int
    """Sent in this run, retries included."""
    rejected: int
    """Answered 429."""
    requests_per_minute: float
    """Over the last minute."""
    pu_per_minute: float
    """Over the last minute."""
    seconds: float
    """How long the run has taken."""
    remaining_s: float | None
    """Projected; None until there is a pace."""
    waiting_for: str
    """What progress hangs on, in words."""
    dearness: float = 1.0
    """What finished tiles of this run cost, as a multiple of their projection."""
    limits: Mapping[str, float] = field(default_factory=dict)
    """`LimiterState.snapshot` of its account; empty where the scheduler does not know it."""
    jobs: Mapping[str, int] = field(default_factory=dict)
    """Jobs of Async Process by stage; empty where there are none."""
    errors: tuple[ErrorKind, ...] = ()
    """The most frequent first."""
    slowest: tuple[SlowTile, ...] = ()
    """Ten tiles of this run, the slowest first."""
    workers: tuple[WorkerLoad, ...] = ()
    explained: Mapping[int, str] = field(default_factory=dict)
    """Why tiles that somebody asked for are bought as they are, in lines."""

    @property
    def planned(self) -> int:
        """Tiles of the plan. Pure."""
        return sum(self.tiles.values())

    @property
    def done(self) -> int:
        """Tiles that are written or empty. Pure."""
        return self.tiles[TileMark.WRITTEN] + self.tiles[TileMark.EMPTY]

    @property
    def in_flight(self) -> int:
        """Bundles of tiles at the service or being written, on all workers. Pure."""
        return sum(worker.in_flight for worker in self.workers)

    @property
    def oldest_in_flight_s(self) -> float:
        """How long the oldest request has been under way; 0 without any. Pure."""
        return max((worker.oldest_s for worker in self.workers), default=0.0)

    @property
    def spool_nbytes(self) -> int:
        """What the workers' disks keep, those of one host counted once. Pure."""
        by_host = {worker.host: worker.spool_nbytes for worker in self.workers}
        return sum(by_host.values())
