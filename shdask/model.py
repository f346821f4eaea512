"""The nouns that rooms hand to each other: time intervals, windows, bands, tiles and what became of them.

Refuses to know how anything is planned, fetched or stored.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import IntEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeInterval:
    """A half-open span of UTC time, [start, end)."""

    start: datetime
    end: datetime

    def __post_init__(self) -> None:
        if self.start.utcoffset() != timedelta(0) or self.end.utcoffset() != timedelta(0):
            raise ValueError("a TimeInterval holds aware UTC datetimes")
        if self.start >= self.end:
            raise ValueError(f"a TimeInterval ends after it starts: {self.start} .. {self.end}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """Whole pixels of a grid: rows [y0, y1) and columns [x0, x1), counted from the array's upper left corner."""

    y0: int
    y1: int
    x0: int
    x1: int

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, columns)."""
        return self.y1 - self.y0, self.x1 - self.x0

    @property
    def pixel_count(self) -> int:
        """Rows times columns."""
        return (self.y1 - self.y0) * (self.x1 - self.x0)

    @property
    def slices(self) -> tuple[slice, slice]:
        """The window as an index into a (y, x) array."""
        return slice(self.y0, self.y1), slice(self.x0, self.x1)

    def within(self, outer: Window) -> Window:
        """The same pixels counted from the upper left corner of ``outer``."""
        return Window(y0=self.y0 - outer.y0, y1=self.y1 - outer.y0, x0=self.x0 - outer.x0, x1=self.x1 - outer.x0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Band:
    """One stored array of a layer."""

    name: str
    dtype: str
    """numpy name of the stored type, such as ``uint16``."""
    fill_value: float
    """Value on disk where ``data_mask`` is 0: 0 for integers, NaN for floats."""
    scale: float | None = None
    """Stored value = requested value x scale + offset; None stores what was sent."""
    offset: float = 0.0
    """In the stored unit; 0 where there is no scale."""
    units: str = ""
    """The stored unit as UDUNITS spells it; empty for a digital number, and where it is not known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tile:
    """The pixels of one shard, owned by one task, and the request windows that fill it."""

    index: int
    """Its number in the array of all tiles: by step, then by row from the north, then by column from the west."""
    step: int | None = None
    """Position on the time axis; None where the cube has none."""
    row: int
    column: int
    extent: Window
    """The tile's pixels, clipped at the array's lower and right edge."""
    windows: tuple[Window, ...]
    """What is requested: disjoint, inside ``extent``; together they hold every pixel of the area in it."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TileData:
    """The pixels of one window or tile."""

    values: NDArray[np.generic]
    """(band, y, x), as the service sent them."""
    data_mask: NDArray[np.bool_]
    """(y, x), True = valid."""


class TileState(IntEnum):
    """What is known of a tile; the numbers stand in the cube's ``tile_state`` array."""

    UNTRIED = 0
    WRITTEN = 1
    EMPTY = 2
    """Asked for, and no pixel of the area held data: nothing is stored, nothing is left to do."""
    FAILED = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class TileEvent:
    """What became of one tile in this run: the one stream that progress, ledger and reports read."""

    tile: int
    state: TileState
    requests: int = 0
    """Requests sent, retries included."""
    rejected: int = 0
    """How many of them were answered 429."""
    pu_spent: float = 0.0
    """Processing units as the service's answers stated them."""
    pu_unknown: float = 0.0
    """Projected price of the requests whose answer never came: they may have been charged as well."""
    nbytes: int = 0
    """Bytes received."""
    answers: int = 0
    """Pictures that came whole and whose time was taken."""
    answers_s: float = 0.0
    """From sending their requests until they were there, of all together."""
    seconds: float = 0.0
    """From the first request until the tile was durable."""
    finished: float = 0.0
    """POSIX time."""
    skipped: bool = False
    """The tile was found durable and nothing was asked for."""
    resumed: bool = False
    """Pixels of it, or all, waited on this machine from an earlier attempt: what was spent is not its whole price."""
    error: str | None = None
    """``ErrorClass: message`` where ``state`` is FAILED."""
    worker: str | None = None
    request: str | None = None
    """`request_digest` of the tile's requests."""
    checksum: int | None = None
    """CRC-32 of the pixels that were stored, as `assemble.checksum` counts it, where ``state`` is WRITTEN."""
    group: str | None = None
    """Path of the tile's group, in a cube that has several; a ledger, which is one group's, does not name it."""
