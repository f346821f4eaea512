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
from shdask.patches.alignment import NO_DATE, Aligned, Reduce
from shdask.patches.chunks import ArrayLayout, ChunkCache, ChunkSource
from shdask.patches.groups import LayerGroup
from shdask.patches.pool import Readers
from shdask.patches.sample_dict import LayerPixels
from shdask.plan.clear_bands import ClearBand, find_clear_band

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from shdask.assemble.place import Place

    Piece = tuple[ArrayLayout, NDArray[Any], tuple[int, ...], Window]
    """(array, where its pixels go, chunk, pixels of it)."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Axis:
    """The dates of a layer, without those that were bought again."""

    times: NDArray[np.datetime64]
    """(date,) ascending, UTC to the second; one NaT where the layer has no time axis."""
    steps: NDArray[np.intp]
    """Where each stands in the arrays."""
    ranks: NDArray[np.intp]
    """Where each stands among all dates by time and revision, as an index of the cube counts them."""

    @classmethod
    def read(cls, place: Place) -> Axis:
        """That of the group at ``place``. Raises StoreError."""
        timeline = frozen_timeline(place)
        if timeline is None:
            return cls(times=np.array([NO_DATE]), steps=np.zeros(1, np.intp), ranks=np.zeros(1, np.intp))
        stamps = [step.time.replace(tzinfo=None) for step in timeline.steps]
        times = np.array(stamps, "datetime64[s]")
        order = np.lexsort((np.array([step.revision for step in timeline.steps]), times))
        newest = np.flatnonzero(np.append(np.diff(times[order]) != np.timedelta64(0, "s"), True)[: order.size])
        return cls(times=times[order][newest], steps=np.asarray(order[newest], np.intp), ranks=newest)


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
        with place.errors():
            root = zarr.open_group(place.zarr_store(read_only=True), mode="r")
            arrays = {name: _layout(root, name, place) for name in (*bands, DATA_MASK)}
        return cls(
            group=group,
            axis=Axis.read(place),
            arrays=arrays,
            source=ChunkSource(place, cache),
            readers=readers,
            clear_band=find_clear_band(bands),
            has_time=len(arrays[DATA_MASK].shape) == len(("time", "y", "x")),
        )

    def read(self, bands: Sequence[str], aligned: Aligned, window: Window) -> LayerPixels:
        """The pixels of ``window`` at the steps of ``aligned``, as they are stored but float32. Raises StoreError.

        A tile that is not written is not valid, and so is what lies beyond the arrays. What is not finite is 0.
        """
        chosen, place_of = _flatten(aligned)
        valid = self.read_valid(chosen, window)
        clear = valid if self.clear_band is None else valid & self._read_clear(self.clear_band, chosen, window, valid)
        image = np.zeros((len(chosen), len(bands), *window.shape), np.float32)
        seen = _any_pixel(valid)
        targets = [(name, image[:, channel]) for channel, name in enumerate(bands)]
        self._fill(targets, [date if seen[step] else -1 for step, date in enumerate(chosen)], window)
        if not valid.all():
            np.copyto(image, 0.0, where=~valid[:, np.newaxis])
        for name, target in targets:
            if self.arrays[name].dtype.kind == "f":  # a script may divide by nothing where pixels are valid
                np.copyto(target, 0.0, where=~np.isfinite(target))
        present = np.array([bool(dates) for dates in aligned.members], np.bool_)
        if place_of is None:
            return LayerPixels(image=image, valid=valid, clear=clear, present=present, times=aligned.times)
        shown = [_reduce(aligned.reduce, image[part], valid[part], clear[part]) for part in place_of]
        images, valids, clears = (np.stack(parts) for parts in zip(*shown, strict=True))
        return LayerPixels(image=images, valid=valids, clear=clears, present=present, times=aligned.times)

    def read_valid(self, dates: Sequence[int], window: Window) -> NDArray[np.bool_]:
        """(step, y, x) of ``window`` at positions on the axis, -1 for none. Read before bands, as it commits a tile."""
        mask = np.zeros((len(dates), *window.shape), np.uint8)
        self._fill([(DATA_MASK, mask)], dates, window)
        return np.asarray(mask != 0)

    def read_codes(self, band: str, dates: Sequence[int], window: Window) -> NDArray[Any]:
        """(step, y, x) of a band as it is stored, 0 where nothing is."""
        codes = np.zeros((len(dates), *window.shape), self.arrays[band].dtype)
        self._fill([(band, codes)], dates, window)
        return codes

    def _read_clear(
        self, rule: ClearBand, dates: Sequence[int], window: Window, valid: NDArray[np.bool_]
    ) -> NDArray[np.bool_]:
        seen = _any_pixel(valid)
        wanted = [date if seen[step] else -1 for step, date in enumerate(dates)]
        return rule.is_clear(self.read_codes(rule.name, wanted, window))

    def _fill(self, targets: Sequence[tuple[str, NDArray[Any]]], dates: Sequence[int], window: Window) -> None:
        """Write pixels into (step, y, x) arrays; what is not stored, or is no date, stays as it is."""
        self.readers.run(self._copy, self._pieces(targets, dates, window))

    def _pieces(
        self, targets: Sequence[tuple[str, NDArray[Any]]], dates: Sequence[int], window: Window
    ) -> Iterator[Piece]:
        cells = list(self.arrays[DATA_MASK].cells(window))
        for step, date in enumerate(dates):
            if date < 0:
                continue
            where = (int(self.axis.steps[date]),) if self.has_time else ()
            for name, target in targets:
                for cell, pixels in cells:
                    yield self.arrays[name], target[step][pixels.within(window).slices], (*where, *cell), pixels

    def _copy(self, piece: Piece) -> None:
        array, target, position, pixels = piece
        chunk = self.source.chunk(array, position)
        if chunk is None:
            target[...] = array.fill_value
            return
        y, x = (part * array.chunk_px for part in position[-2:])
        target[...] = chunk[pixels.y0 - y : pixels.y1 - y, pixels.x0 - x : pixels.x1 - x]


def _layout(root: zarr.Group, name: str, place: Place) -> ArrayLayout:
    array = root[name]
    if not isinstance(array, zarr.Array):
        raise TypeError(f"{name} is no array")
    return ArrayLayout.of(array, place)


def _any_pixel(mask: NDArray[np.bool_]) -> list[bool]:
    """For each step of (step, y, x) whether any pixel is True."""
    found: list[bool] = np.asarray(mask.any(axis=(1, 2))).tolist()
    return found


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
