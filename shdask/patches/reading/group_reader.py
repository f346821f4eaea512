"""Windows of one layer of a cube as pixels with their masks, straight from its chunks: no graph, no Dataset.

Refuses to know samples, and which dates are wanted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import zarr

from shdask.assemble.template import DATA_MASK
from shdask.assemble.time_axis import frozen_timeline
from shdask.model import Window
from shdask.patches.groups import LayerGroup
from shdask.patches.reading.alignment import NO_DATE, Aligned, Reduce
from shdask.patches.reading.chunks import ArrayLayout, ChunkCache, ChunkSource
from shdask.patches.reading.pool import Readers
from shdask.patches.reading.sample_dict import LayerPixels
from shdask.patches.reading.states import TileStates
from shdask.plan.clear_bands import ClearBand, find_clear_band

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from shdask.assemble.place import Place

    Piece = tuple[ArrayLayout, NDArray[Any], tuple[int, ...], Window]
    """(array, where its pixels go, chunk, pixels of it)."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Look:
    """Which pixels of a window are valid at some dates."""

    window: Window
    states: TileStates
    """Those that they are of; see there."""
    valid: NDArray[np.bool_]
    """(step, y, x)."""
    cells: tuple[tuple[int, tuple[int, ...], Window], ...]
    """(step, chunk, pixels of it): every chunk of which any pixel in the window is valid."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Axis:
    """The dates of a layer, each once; of one that was bought again every tile counts as it was bought last."""

    times: NDArray[np.datetime64]
    """(date,) ascending, UTC to the second; one NaT where the layer has no time axis."""
    steps: tuple[tuple[int, ...], ...]
    """Where each stands in the arrays, the newest first where it was bought again."""

    @classmethod
    def read(cls, place: Place) -> Axis:
        """That of the group at ``place``. Raises StoreError."""
        timeline = frozen_timeline(place)
        if timeline is None:
            return cls(times=np.array([NO_DATE]), steps=((0,),))
        stamps = np.array([step.time.replace(tzinfo=None) for step in timeline.steps], "datetime64[s]")
        order = np.lexsort((np.array([step.revision for step in timeline.steps]), stamps))
        times, firsts = np.unique(stamps[order], return_index=True)
        ends = np.append(firsts[1:], order.size)[: firsts.size]  # a layer may have no date yet
        parts = zip(firsts.tolist(), ends.tolist(), strict=True)
        steps = tuple(tuple(order[first:end][::-1].tolist()) for first, end in parts)
        return cls(times=times, steps=steps)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class GroupReader:
    """One layer in one zone, opened. Picklable; threads may share it."""

    group: LayerGroup
    axis: Axis
    arrays: dict[str, ArrayLayout]
    source: ChunkSource
    readers: Readers
    clear_band: ClearBand | None
    has_time: bool = field(default=True)

    @classmethod
    def open(cls, group: LayerGroup, cache: ChunkCache, readers: Readers) -> GroupReader:
        """Read what ``group`` says of its arrays. Raises StoreError."""
        place = group.place
        bands = tuple(group.attributes["bands"])
        tile_px = int(group.attributes["layout"]["tile_px"])
        with place.errors():
            root = zarr.open_group(place.zarr_store(read_only=True), mode="r")
            arrays = {name: _layout(root, name, place, tile_px) for name in (*bands, DATA_MASK)}
        return cls(
            group=group,
            axis=Axis.read(place),
            arrays=arrays,
            source=ChunkSource(place, cache, may_change=not group.attributes.get("complete", False)),
            readers=readers,
            clear_band=find_clear_band(bands),
            has_time=len(arrays[DATA_MASK].shape) == len(("time", "y", "x")),
        )

    def read(
        self,
        bands: Sequence[str],
        aligned: Aligned,
        window: Window,
        *,
        states: TileStates,
        image: NDArray[np.float32] | None = None,
    ) -> LayerPixels:
        """The pixels of ``window`` at the steps of ``aligned``, as they are stored but float32.

        A tile that is not written is not valid, and so is what lies beyond the arrays. What is not finite is 0. They
        are read straight into ``image`` (step, band, y, x) where that has their shape and no step is made of several
        dates. Raises StoreError; TileReplaced where ``states`` have seen a tile in another state.
        """
        chosen, place_of = _flatten(aligned)
        look = self.look(chosen, window, states)
        valid = look.valid
        clear = valid
        if self.clear_band is not None:
            clear = valid & self.clear_band.is_clear(self.read_codes(self.clear_band.name, look))
        shape = (len(chosen), len(bands), *window.shape)
        if image is None or image.shape != shape or place_of is not None:
            image = np.empty(shape, np.float32)
        self._fill([(name, image[:, channel]) for channel, name in enumerate(bands)], look)
        for step in range(len(chosen)):
            if not valid[step].all():
                np.copyto(image[step], 0.0, where=~valid[step])
        for channel, name in enumerate(bands):
            if self.arrays[name].dtype.kind == "f":  # a script may divide by nothing where pixels are valid
                np.copyto(image[:, channel], 0.0, where=~np.isfinite(image[:, channel]))
        present = np.array([bool(dates) for dates in aligned.members], np.bool_)
        if place_of is None:
            return LayerPixels(image=image, valid=valid, clear=clear, present=present, times=aligned.times)
        shown = [_reduce(aligned.reduce, image[part], valid[part], clear[part]) for part in place_of]
        images, valids, clears = (np.stack(parts) for parts in zip(*shown, strict=True))
        return LayerPixels(image=images, valid=valids, clear=clears, present=present, times=aligned.times)

    def look(self, dates: Sequence[int], window: Window, states: TileStates) -> Look:
        """The masks of ``window`` at positions on the axis, -1 for none. Before bands, as they commit tiles.

        Raises StoreError; TileReplaced where ``states`` have seen a tile in another state.
        """
        mask = self.arrays[DATA_MASK]
        valid = np.zeros((len(dates), *window.shape), np.bool_)
        under = list(mask.cells(window))
        jobs = [(step, cell, pixels) for step, date in enumerate(dates) if date >= 0 for cell, pixels in under]
        found: list[tuple[int, tuple[int, ...], Window]] = []

        def read(job: tuple[int, tuple[int, int], Window]) -> None:
            step, cell, pixels = job
            for position in self._positions(dates[step], cell):
                chunk = self.source.mask(mask, position, states)
                if chunk is not None:
                    target = valid[step][pixels.within(window).slices]
                    np.not_equal(_part(mask, chunk, position, pixels), 0, out=target)
                    if target.any():
                        found.append((step, position, pixels))
                    return

        self.readers.run(read, jobs)
        return Look(window=window, states=states, valid=valid, cells=tuple(found))

    def _positions(self, date: int, cell: tuple[int, int]) -> Iterator[tuple[int, ...]]:
        """Where a chunk of a date may stand, the newest first."""
        if not self.has_time:
            yield cell
            return
        for step in self.axis.steps[date]:
            yield step, *cell

    def read_codes(self, band: str, look: Look) -> NDArray[Any]:
        """(step, y, x) of a band as it is stored, of no meaning where it is not valid. Raises StoreError."""
        codes = np.zeros(look.valid.shape, self.arrays[band].dtype)
        self._fill([(band, codes)], look)
        return codes

    def _fill(self, targets: Sequence[tuple[str, NDArray[Any]]], look: Look) -> None:
        """Write the pixels of chunks with any valid one into (step, y, x) arrays."""

        def copy(piece: Piece) -> None:
            array, target, position, pixels = piece
            chunk = self.source.chunk(array, position, look.states)
            target[...] = array.fill_value if chunk is None else _part(array, chunk, position, pixels)

        self.readers.run(copy, self._pieces(targets, look))

    def _pieces(self, targets: Sequence[tuple[str, NDArray[Any]]], look: Look) -> Iterator[Piece]:
        for step, position, pixels in look.cells:
            where = pixels.within(look.window).slices
            for name, target in targets:
                yield self.arrays[name], target[step][where], position, pixels


def _part(array: ArrayLayout, chunk: NDArray[Any], position: tuple[int, ...], pixels: Window) -> NDArray[Any]:
    """The ``pixels`` of the array that are in its chunk at ``position``."""
    y, x = position[-2] * array.chunk_px, position[-1] * array.chunk_px
    return chunk[pixels.y0 - y : pixels.y1 - y, pixels.x0 - x : pixels.x1 - x]


def _layout(root: zarr.Group, name: str, place: Place, tile_px: int) -> ArrayLayout:
    array = root[name]
    if not isinstance(array, zarr.Array):
        raise TypeError(f"{name} is no array")
    return ArrayLayout.of(array, place, tile_px=tile_px)


def _flatten(aligned: Aligned) -> tuple[list[int], list[slice] | None]:
    """The dates to read, -1 for padding; and, where a step is made of several, which of them are each step's."""
    if all(len(dates) <= 1 for dates in aligned.members):
        return [dates[0] if dates else -1 for dates in aligned.members], None
    padded = [dates or (-1,) for dates in aligned.members]
    ends = np.cumsum([len(dates) for dates in padded]).tolist()
    parts = [slice(end - len(dates), end) for end, dates in zip(ends, padded, strict=True)]
    return [date for dates in padded for date in dates], parts


def _reduce(
    how: Reduce, image: NDArray[np.float32], valid: NDArray[np.bool_], clear: NDArray[np.bool_]
) -> tuple[NDArray[np.float32], NDArray[np.bool_], NDArray[np.bool_]]:
    """(band, y, x), (y, x), (y, x) of several dates: of a pixel's clear values, else of its valid ones. Pure."""
    is_clear = np.asarray(clear.any(axis=0))
    used = np.where(is_clear, clear, valid)
    found = np.asarray(used.any(axis=0))
    if how == "first":
        first = used.argmax(axis=0)
        picked = np.take_along_axis(image, first[np.newaxis, np.newaxis], axis=0)[0]
    else:
        combine: Callable[..., Any] = np.ma.median if how == "median" else np.ma.mean
        unused = np.broadcast_to(~used[:, np.newaxis], image.shape)
        picked = np.ma.filled(combine(np.ma.masked_array(image, unused), axis=0), 0.0).astype(np.float32)
    return np.where(found, picked, np.float32(0)), found, is_clear
