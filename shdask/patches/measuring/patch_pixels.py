"""All pixels of patches, each once: cut into pieces that lie in one tile each, and measured side by side.

Refuses to know how what is measured is told.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np

from shdask.assemble.template import DATA_MASK
from shdask.assemble.time_axis import frozen_timeline
from shdask.assemble.verify import CubeTiles
from shdask.errors import PlanError
from shdask.model import Window
from shdask.patches.fit import refuse_misfits
from shdask.patches.groups import LayerGroup, find_group
from shdask.patches.measuring.counting import READERS, stamps_now
from shdask.patches.measuring.counts import UNCOUNTED
from shdask.patches.measuring.moments import Moments
from shdask.patches.measuring.stored_arrays import StoredArrays
from shdask.plan.clear_bands import find_clear_band

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from shdask.assemble.place import Place
    from shdask.patches.table import Patches
    from shdask.plan.clear_bands import ClearBand

MAX_PIECE_PX = 1024
_AT_ONCE = 4 * READERS


@dataclass(frozen=True, slots=True, kw_only=True)
class PixelPass:
    """Which pixels are measured, and of what."""

    layer: str
    bands: tuple[str, ...] | None
    """None: all."""
    clear_only: bool


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Piece:
    """A part of one date of a tile, and the patches over it."""

    step: int
    window: Window
    y0: NDArray[np.int64]
    x0: NDArray[np.int64]
    """(n,) each: of patches of ``size_px``."""
    size_px: int

    def inside(self) -> NDArray[np.bool_]:
        """(y, x) of the window: whether a pixel lies in any patch."""
        inside = np.zeros(self.window.shape, np.bool_)
        tops, lefts = self.y0 - self.window.y0, self.x0 - self.window.x0
        for top, left in zip(tops.tolist(), lefts.tolist(), strict=True):
            inside[max(0, top) : top + self.size_px, max(0, left) : left + self.size_px] = True
        return inside


def measure_bands(place: Place, patches: Patches, what: PixelPass, *, all_dates: bool) -> dict[str, Moments]:
    """Moments of each band over the pixels of ``patches``; see `measure_statistics`. Raises PlanError, StoreError."""
    total: dict[str, Moments] = {}
    for zone in np.unique(patches.zone).tolist():
        group = find_group(place, zone, what.layer)
        some = patches.take(patches.zone == zone)
        refuse_misfits(place.name, group.attributes, some)
        reader = _PieceReader.of(group, what)
        for found in reader.measure(_pieces(group, some, all_dates=all_dates)):
            total = {name: total[name].merge(found[name]) if total else found[name] for name in found}
    return total


@dataclass(frozen=True, slots=True, kw_only=True)
class _PieceReader:
    bands: tuple[str, ...]
    arrays: StoredArrays
    clear_band: ClearBand | None
    """None where clouds count too, and where no band tells them."""

    @classmethod
    def of(cls, group: LayerGroup, what: PixelPass) -> _PieceReader:
        stored = tuple(group.attributes["bands"])
        bands = stored if what.bands is None else what.bands
        unknown = [band for band in bands if band not in stored]
        if unknown or not bands:
            raise PlanError(f"layer {what.layer!r} has no band {', '.join(unknown)}; it has {', '.join(stored)}")
        clear_band = find_clear_band(stored) if what.clear_only else None
        names = {DATA_MASK, *bands, *(() if clear_band is None else (clear_band.name,))}
        return cls(bands=bands, arrays=StoredArrays.open(group.place, names), clear_band=clear_band)

    def measure(self, pieces: Iterator[_Piece]) -> Iterator[dict[str, Moments]]:
        """Of each piece, in order; first of all of none, so that every band is named."""
        yield {band: Moments.of(np.empty(0), self.arrays.arrays[band].dtype) for band in self.bands}
        with ThreadPoolExecutor(READERS, thread_name_prefix="shdask-statistics") as pool:
            while some := list(islice(pieces, _AT_ONCE)):
                yield from pool.map(self._measure_piece, some)

    def _measure_piece(self, piece: _Piece) -> dict[str, Moments]:
        counts = piece.inside() & (self.arrays.read(DATA_MASK, piece.step, piece.window) != 0)
        if self.clear_band is not None and counts.any():
            counts &= self.clear_band.is_clear(self.arrays.read(self.clear_band.name, piece.step, piece.window))
        if not counts.any():
            return {band: Moments.of(np.empty(0), self.arrays.arrays[band].dtype) for band in self.bands}
        found = {}
        for band in self.bands:
            values = self.arrays.read(band, piece.step, piece.window)[counts]
            finite = values[np.isfinite(values)] if values.dtype.kind == "f" else values
            found[band] = Moments.of(finite, values.dtype)
        return found


def _pieces(group: LayerGroup, patches: Patches, *, all_dates: bool) -> Iterator[_Piece]:
    """By date, then by row and column; none of tiles that are not written, and each as it was bought last."""
    tiles = CubeTiles.of(group.place, dict(group.attributes))
    written = stamps_now(group.place, tiles) != UNCOUNTED
    layout, size_px = tiles.layout, patches.size_px
    side = _piece_px(layout.tile_px, layout.chunk_px)
    for steps, rows in _rows_by_date(group, patches, len(written), all_dates=all_dates):
        for cell, y0, x0 in _by_cell(patches.y0[rows], patches.x0[rows], size_px, side, layout.shape):
            here = written[:, cell[0] * side // layout.tile_px, cell[1] * side // layout.tile_px]
            step = next((step for step in steps if here[step]), None)
            if step is None:
                continue
            window = Window(
                y0=max(cell[0] * side, int(y0.min())),
                y1=min((cell[0] + 1) * side, int(y0.max()) + size_px, layout.shape[0]),
                x0=max(cell[1] * side, int(x0.min())),
                x1=min((cell[1] + 1) * side, int(x0.max()) + size_px, layout.shape[1]),
            )
            yield _Piece(step=step, window=window, y0=y0, x0=x0, size_px=size_px)


def _piece_px(tile_px: int, chunk_px: int) -> int:
    """Whole chunks that part a tile evenly, at most 1024 px or one chunk."""
    sides = [chunk_px * count for count in range(1, tile_px // chunk_px + 1) if (tile_px // chunk_px) % count == 0]
    return max(side for side in sides if side <= max(MAX_PIECE_PX, chunk_px))


def _rows_by_date(
    group: LayerGroup, patches: Patches, step_count: int, *, all_dates: bool
) -> Iterator[tuple[list[int], NDArray[np.intp]]]:
    """(steps, positions of the patches that count at them) of each date: the newest first where it was bought again."""
    timeline = frozen_timeline(group.place)
    if timeline is None:
        yield [0], np.arange(len(patches))
        return
    times = np.array([step.time.replace(tzinfo=None) for step in timeline.steps], "datetime64[s]")
    revisions = np.array([step.revision for step in timeline.steps])
    dates = patches.date.astype("datetime64[s]")
    everywhere = np.isnat(dates) | all_dates
    missing = dates[~everywhere & ~np.isin(dates, times)]
    if missing.size:
        raise PlanError(
            f"{missing[0]} is no date of layer {group.layer!r}; take all dates of the layer (all_dates=True)"
        )
    for time in np.unique(times):
        steps = np.flatnonzero(times == time)
        steps = steps[np.argsort(-revisions[steps], kind="stable")]
        yield steps[steps < step_count].tolist(), np.flatnonzero(everywhere | (dates == time))


def _by_cell(
    y0: NDArray[np.int64], x0: NDArray[np.int64], size_px: int, side: int, shape: tuple[int, int]
) -> Iterator[tuple[tuple[int, int], NDArray[np.int64], NDArray[np.int64]]]:
    """((row, column), y0, x0): the patches over each cell of ``side`` px that holds any, by row and column."""
    across = -(-shape[1] // side)
    steps = np.arange(-(-size_px // side) + 1)
    rows = (y0 // side)[:, None, None] + steps[None, :, None]
    columns = (x0 // side)[:, None, None] + steps[None, None, :]
    touched = (rows * side < np.minimum(y0 + size_px, shape[0])[:, None, None]) & (
        columns * side < np.minimum(x0 + size_px, shape[1])[:, None, None]
    )
    touched &= (rows >= 0) & (columns >= 0)
    patch = np.broadcast_to(np.arange(y0.size)[:, None, None], touched.shape)[touched]
    cells = np.broadcast_to(rows * across + columns, touched.shape)[touched]
    order = np.argsort(cells, kind="stable")
    found, starts = np.unique(cells[order], return_index=True)
    ends = [*starts[1:].tolist(), order.size]
    for cell, start, end in zip(found.tolist(), starts.tolist(), ends if found.size else (), strict=True):
        members = order[start:end]
        some = patch[members]
        yield divmod(cell, across), y0[some], x0[some]
