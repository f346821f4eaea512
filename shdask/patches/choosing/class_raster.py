"""The class of a patch by the pixels under it: of a raster file of classes, or of a class band of the cube.

Reads those pixels block by block, and no others. Refuses to know what classes mean.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np
import zarr

from shdask.assemble.store import find_marks
from shdask.assemble.template import DATA_MASK
from shdask.assemble.verify import CubeTiles
from shdask.errors import PlanError
from shdask.model import Window
from shdask.patches.groups import find_groups
from shdask.patches.reading.group_reader import Axis

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from shdask.assemble.place import Place
    from shdask.patches.choosing.draft import Draft
    from shdask.patches.choosing.places import Ground
    from shdask.patches.groups import LayerGroup

    Ints = NDArray[np.int64]
    Rows = NDArray[np.intp]

ClassRule = Literal["majority", "presence"]
"""Majority: the class that most pixels have, of equals the lower number. Presence: of the classes that enough of its
pixels have, the one that the fewest patches hold."""
PRESENT = 0.05
"""The share of pixels that is a presence unless told otherwise."""
BLOCK_PX = 2048
"""Side of the squares of the grid that are read at once."""
MOST_CLASSES = 256
"""Each is counted by itself, so that heights or reflectances, taken for classes, would take days."""
SUFFIXES = (".tif", ".tiff", ".vrt")


class ClassPixels(Protocol):
    """Classes on a grid of the cube."""

    def read(self, window: Window) -> tuple[Ints, NDArray[np.bool_]]:
        """(y, x) classes, and where they are known."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Counts:
    """How many pixels of which class: one entry for each class that a patch holds."""

    patch: Rows
    label: Ints
    count: Ints


def count_in_raster(path: Path, draft: Draft, grounds: Sequence[Ground], size_px: int) -> Counts:
    """Pixels of a raster file's first band under each patch, the nearest to each of the cube's. Its nodata counts not.

    Raises PlanError where it cannot be read, or holds no whole numbers, or too many.
    """
    parts = []
    for number, ground in enumerate(grounds):
        rows = np.flatnonzero(draft.ground == number)
        if rows.size:
            with _open_raster(path, ground) as pixels:
                parts.append(count_classes(pixels, draft, rows, size_px, name=str(path)))
    return _join(parts)


def count_in_band(
    store: Place, band: str, draft: Draft, grounds: Sequence[Ground], *, size_px: int, layers: Sequence[str]
) -> Counts:
    """Valid pixels of a class band of the cube under each patch: at its date, or at all dates together.

    Of a date that was bought again each tile counts as it was bought last. Read is the first of ``layers`` that has the
    band; the first of them all is the one whose dates patches have. Raises PlanError where none has such a band, or one
    of other dates than the patches', or it holds no whole numbers, or too many; StoreError.
    """
    parts = []
    groups = {(group.zone, group.layer): group for group in find_groups(store)}
    for number, ground in enumerate(grounds):
        fitting = [
            groups[ground.zone, layer] for layer in layers if band in groups[ground.zone, layer].attributes["bands"]
        ]
        if not fitting:
            raise PlanError(f"labels: {band} is neither a file nor a band of {', '.join(layers)}")
        rows = np.flatnonzero(draft.ground == number)
        bands = _open_band(fitting[0], band)
        if fitting[0].layer != layers[0] and bands.has_time and not np.isnat(draft.date[rows]).all():
            raise PlanError(
                f"labels: {band} is a band of {fitting[0].layer}, and patches have the dates of {layers[0]}; give "
                f"layers with {fitting[0].layer} first, or a class band of {layers[0]}"
            )
        for steps, some in _by_step(bands, draft.date[rows]):
            parts.append(count_classes(_BandPixels(bands=bands, steps=steps), draft, rows[some], size_px, name=band))
    return _sum(_join(parts))


def choose_classes(counts: Counts, patches: int, size_px: int, rule: ClassRule, min_share: float | None) -> Ints:
    """(patch,): the class of each by ``rule``, -1 for one that no class has enough of. Pure.

    Shares are of all the patch's pixels where they are counted once, and of those counted otherwise. Without
    ``min_share`` a presence is a twentieth, and a majority may be of any size.
    """
    least = (PRESENT if rule == "presence" else 0.0) if min_share is None else min_share
    counted = np.bincount(counts.patch, weights=counts.count, minlength=patches)
    share = counts.count / np.maximum(counted, size_px**2)[counts.patch]
    enough = share >= least
    patch, label, count = counts.patch[enough], counts.label[enough], counts.count[enough]
    names, number = np.unique(label, return_inverse=True)
    merit = count if rule == "majority" else -np.bincount(number, minlength=names.size)[number]
    order = np.lexsort((label, -merit, patch))
    chosen = np.full(patches, -1, np.int64)
    chosen[patch[order][::-1]] = label[order][::-1]  # of a patch the last one that is written stays: its first
    return chosen


def count_classes(pixels: ClassPixels, draft: Draft, rows: Rows, size_px: int, *, name: str) -> Counts:
    """Pixels by class under the windows of ``rows``, in blocks of 2048 x 2048 pixels at most, each read once.

    Raises PlanError where there are more than 256 classes; ``name`` is what holds them.
    """
    parts: list[Counts] = []
    found: set[int] = set()
    for some, y0, x0, y1, x1 in _by_block(draft.y0[rows], draft.x0[rows], size_px):
        window = Window(y0=int(y0.min()), x0=int(x0.min()), y1=int(y1.max()), x1=int(x1.max()))
        values, known = pixels.read(window)
        labels = np.unique(values[known]).tolist()
        found.update(labels)
        if len(found) > MOST_CLASSES:
            raise PlanError(
                f"labels: {name} holds {len(found)} classes or more, and patches can be of at most {MOST_CLASSES}; "
                f"give a raster of classes, or group its values into fewer first"
            )
        edges = (y0 - window.y0, x0 - window.x0, y1 - window.y0, x1 - window.x0)
        for label in labels:
            count = _window_sums(known & (values == label), *edges)
            has = count > 0
            parts.append(
                Counts(patch=rows[some[has]], label=np.full(int(has.sum()), label, np.int64), count=count[has])
            )
    return _sum(_join(parts))


def _by_block(y0: Ints, x0: Ints, size_px: int) -> Iterator[tuple[Rows, Ints, Ints, Ints, Ints]]:
    """By block of the grid the windows that reach into it, and y0, x0, y1, x1 of their parts in it."""
    steps = range((size_px - 1) // BLOCK_PX + 2)
    met = []
    for down, right in product(steps, steps):
        block_y, block_x = y0 // BLOCK_PX + down, x0 // BLOCK_PX + right
        reached = np.flatnonzero((block_y * BLOCK_PX < y0 + size_px) & (block_x * BLOCK_PX < x0 + size_px))
        met.append(np.stack((block_y[reached], block_x[reached], reached)))
    block_y, block_x, window = np.concatenate(met, axis=1)
    order = np.lexsort((window, block_x, block_y))
    block_y, block_x, window = block_y[order], block_x[order], window[order]
    ends = np.flatnonzero((block_y[1:] != block_y[:-1]) | (block_x[1:] != block_x[:-1])) + 1
    for some in np.split(np.arange(window.size), ends) if window.size else ():
        top, left, own = block_y[some[0]] * BLOCK_PX, block_x[some[0]] * BLOCK_PX, window[some]
        yield (
            own,
            np.maximum(y0[own], top),
            np.maximum(x0[own], left),
            np.minimum(y0[own] + size_px, top + BLOCK_PX),
            np.minimum(x0[own] + size_px, left + BLOCK_PX),
        )


def _window_sums(marked: NDArray[np.bool_], y0: Ints, x0: Ints, y1: Ints, x1: Ints) -> Ints:
    along = np.zeros((marked.shape[0], marked.shape[1] + 1), np.int32)
    np.cumsum(marked, axis=1, dtype=np.int32, out=along[:, 1:])
    # on a lattice few columns are edges of windows: only those are added up
    edges, place = np.unique(np.concatenate((x0, x1)), return_inverse=True)
    left, right = place[: x0.size], place[x0.size :]
    sums = np.zeros((marked.shape[0] + 1, edges.size), np.int64)
    np.cumsum(along[:, edges], axis=0, out=sums[1:])
    return np.asarray(sums[y1, right] - sums[y0, right] - sums[y1, left] + sums[y0, left])


def _join(parts: Sequence[Counts]) -> Counts:
    nothing = np.empty(0, np.int64)
    return Counts(
        patch=np.concatenate([nothing.astype(np.intp), *(part.patch for part in parts)]),
        label=np.concatenate([nothing, *(part.label for part in parts)]),
        count=np.concatenate([nothing, *(part.count for part in parts)]),
    )


def _sum(counts: Counts) -> Counts:
    """One entry for each patch and class."""
    order = np.lexsort((counts.label, counts.patch))
    patch, label, count = counts.patch[order], counts.label[order], counts.count[order]
    first = np.append(True, (patch[1:] != patch[:-1]) | (label[1:] != label[:-1]))[: patch.size]
    starts = np.flatnonzero(first)
    total = np.add.reduceat(count, starts) if starts.size else count
    return Counts(patch=patch[starts], label=label[starts], count=total)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _RasterPixels:
    raster: Any
    """A raster of rasterio on the grid, its last band alpha."""

    def read(self, window: Window) -> tuple[Ints, NDArray[np.bool_]]:
        from rasterio.windows import Window as Part

        rows, columns = window.shape
        part = Part(window.x0, window.y0, columns, rows)
        classes, alpha = self.raster.read([1, self.raster.count], window=part)
        return classes.astype(np.int64), alpha != 0


@contextmanager
def _open_raster(path: Path, ground: Ground) -> Iterator[_RasterPixels]:
    import rasterio
    from affine import Affine
    from rasterio.enums import ColorInterp, Resampling
    from rasterio.errors import RasterioError
    from rasterio.vrt import WarpedVRT

    height, width = ground.grid.shape
    with ExitStack() as opened:
        try:
            raster = opened.enter_context(rasterio.open(path))
        except RasterioError as error:
            raise PlanError(f"labels: {path} cannot be read as a raster: {error}") from error
        if raster.crs is None:
            raise PlanError(f"labels: {path} has no CRS; assign one")
        if np.dtype(raster.dtypes[0]).kind not in "iu":
            raise PlanError(f"labels: {path} holds {raster.dtypes[0]}; classes are whole numbers; save it as uint8")
        warped = WarpedVRT(
            raster,
            crs=ground.grid.crs,
            transform=Affine(*ground.grid.transform),
            height=height,
            width=width,
            resampling=Resampling.nearest,
            add_alpha=ColorInterp.alpha not in raster.colorinterp,  # it tells nodata, and what lies beyond the raster
        )
        yield _RasterPixels(raster=opened.enter_context(closing(warped)))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Bands:
    values: zarr.Array[Any]
    mask: zarr.Array[Any]
    axis: Axis
    written: NDArray[np.bool_]
    """(step, tile_y, tile_x); none where no date was bought again."""
    tile_px: int
    place: Place

    @property
    def has_time(self) -> bool:
        return self.mask.ndim == len(("time", "y", "x"))

    def read(self, step: int, window: Window) -> tuple[Ints, NDArray[np.bool_]]:
        where = (step, *window.slices) if self.has_time else window.slices
        with self.place.errors():
            values, valid = np.asarray(self.values[where]), np.asarray(self.mask[where]) == 1
        return values.astype(np.int64), valid


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _BandPixels:
    bands: _Bands
    steps: tuple[int, ...]
    """Of one date as it was bought, and bought again: the newest first."""

    def read(self, window: Window) -> tuple[Ints, NDArray[np.bool_]]:
        """Each tile as it was bought last."""
        if len(self.steps) == 1:
            return self.bands.read(self.steps[0], window)
        classes, known = np.zeros(window.shape, np.int64), np.zeros(window.shape, np.bool_)
        side = self.bands.tile_px
        rows = range(window.y0 // side, -(-window.y1 // side))
        columns = range(window.x0 // side, -(-window.x1 // side))
        for row, column in product(rows, columns):
            step = next((step for step in self.steps if self.bands.written[step, row, column]), None)
            if step is None:
                continue
            part = Window(
                y0=max(row * side, window.y0),
                y1=min((row + 1) * side, window.y1),
                x0=max(column * side, window.x0),
                x1=min((column + 1) * side, window.x1),
            )
            inside = part.within(window).slices
            classes[inside], known[inside] = self.bands.read(step, part)
        return classes, known


def _open_band(group: LayerGroup, band: str) -> _Bands:
    place, axis = group.place, Axis.read(group.place)
    with place.errors():
        root = zarr.open_group(place.zarr_store(read_only=True), mode="r")
        values, mask = root[band], root[DATA_MASK]
        if not isinstance(values, zarr.Array) or not isinstance(mask, zarr.Array):
            raise TypeError(f"{band} is no array")
    if np.dtype(values.dtype).kind not in "iu":
        raise PlanError(f"labels: {band} holds {values.dtype}; a class band holds whole numbers")
    written, layout = np.zeros((0, 0, 0), np.bool_), CubeTiles.of(place, dict(group.attributes)).layout
    if any(len(steps) > 1 for steps in axis.steps):
        written = find_marks(place, layout, mask.shape[0], has_time=True)
    return _Bands(values=values, mask=mask, axis=axis, written=written, tile_px=layout.tile_px, place=place)


def _by_step(bands: _Bands, dates: NDArray[np.datetime64]) -> Iterator[tuple[tuple[int, ...], Rows]]:
    """The steps of each date, and the patches that they count for."""
    for time, steps in zip(bands.axis.times, bands.axis.steps, strict=True):
        some = np.flatnonzero(np.isnat(dates) | (dates == time) | (not bands.has_time))
        if some.size:
            yield steps, some
