"""Predictions of overlapping patches brought back onto the grid of their cube, blended where they overlap.

Refuses to know models: it calls what predicts a patch, and holds a band of rows at a time.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from shdask.errors import PlanError
from shdask.patches.table import Patch, Patches

if TYPE_CHECKING:
    from numpy.typing import NDArray

Predict = Callable[[Patch], "NDArray[Any]"]
"""Gives (class, y, x) scores of a patch, or (y, x) values; NaN where it does not know."""
STRIP_PX = 512


def window_weights(size_px: int) -> NDArray[np.float64]:
    """(y, x) weights of a patch's pixels: a pyramid, highest in the middle and above 0 at the edge. Pure.

    Patches that overlap by half, laid side by side, so add up to the same everywhere.
    """
    side = np.arange(size_px, dtype=np.float64)
    ramp = np.minimum(side + 0.5, size_px - side - 0.5)
    return np.outer(ramp, ramp)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Strip:
    """Finished rows [y0, y0 + rows) of the grid."""

    y0: int
    values: NDArray[np.float32]
    """(class, y, x), or (1, y, x) of plain values: the weighted mean; NaN where no patch tells."""
    counts: NDArray[np.uint16]
    """(y, x): how many patches tell of each pixel."""
    has_classes: bool
    """Whether predictions are scores of classes rather than plain values."""


def blend_patches(
    patches: Patches, predict: Predict, *, shape: tuple[int, int], strip_px: int = STRIP_PX
) -> Iterator[Strip]:
    """Strips of ``strip_px`` rows of an array of ``shape`` (y, x), from the north, those without a patch left out.

    Each patch is predicted once, from the north to the south. A pixel is the mean of all that patches say of it, by
    `window_weights`; where only one does, it is what that says, to the bit of a float32. As many rows as a strip and a
    patch have are in memory, of the columns that patches reach: 8 bytes a pixel and class, and 4 for those of a strip;
    1 GB for 10 classes, patches of 256 px and an array 10,980 px wide.
    Raises PlanError for predictions of another shape than the first's, and for patches beyond the array or of several
    grids or dates.
    """
    _check_patches(patches, shape)
    order = np.lexsort((patches.x0, patches.y0))
    left = int(patches.x0.min())
    width = int((patches.x0 + patches.size_px).max()) - left
    band = _Band(height=strip_px + patches.size_px, width=width, size_px=patches.size_px)
    waiting = deque(order.tolist())
    y0 = int(patches.y0.min()) // strip_px * strip_px
    while waiting or band.is_used:
        if not band.is_used:  # nothing reaches down to here
            y0 = max(y0, int(patches.y0[waiting[0]]) // strip_px * strip_px)
        while waiting and patches.y0[waiting[0]] < y0 + strip_px:
            patch = patches[waiting.popleft()]
            band.add(patch, np.asarray(predict(patch)), row=patch.y0 - y0, column=patch.x0 - left)
        rows = min(strip_px, shape[0] - y0)
        yield band.take(y0, rows, left=left, columns=shape[1])
        band.move_up(strip_px)
        y0 += strip_px


def _check_patches(patches: Patches, shape: tuple[int, int]) -> None:
    if not len(patches):
        raise PlanError("there are no patches to blend; give those that were predicted")
    if np.unique(patches.epsg).size > 1:
        raise PlanError(
            "patches lie on several grids; blend those of each zone by itself: patches.take(patches.zone == ...)"
        )
    if np.unique(patches.date).size > 1:
        raise PlanError("patches are of several dates; blend each date by itself: patches.take(patches.date == ...)")
    beyond = (patches.y0 + patches.size_px > shape[0]) | (patches.x0 + patches.size_px > shape[1])
    wrong = np.flatnonzero(beyond | (patches.y0 < 0) | (patches.x0 < 0))
    if wrong.size:
        patch = patches[int(wrong[0])]
        raise PlanError(
            f"patch {patch.key} at row {patch.y0} and column {patch.x0} reaches beyond the {shape[0]} x {shape[1]} px "
            f"of the array; give the cube that it was chosen in"
        )


class _Band:
    """Sums over the rows that are being filled; they move up as strips are finished."""

    def __init__(self, *, height: int, width: int, size_px: int) -> None:
        self._shape = height, width
        self._weights = window_weights(size_px)
        self._sums: NDArray[np.float64] | None = None
        self._has_classes = False
        self._weight = np.zeros(self._shape)
        self._counts = np.zeros(self._shape, np.uint16)

    @property
    def is_used(self) -> bool:
        return bool(self._counts.any())

    def add(self, patch: Patch, predicted: NDArray[Any], *, row: int, column: int) -> None:
        side = patch.size_px
        scores = (predicted if predicted.ndim == 3 else predicted[None]).astype(np.float64)  # noqa: PLR2004  # classes
        if self._sums is None:
            self._sums = np.zeros((len(scores), *self._shape))
            self._has_classes = predicted.ndim == 3  # noqa: PLR2004  # class, y, x
        if scores.shape != (len(self._sums), side, side):
            raise PlanError(
                f"patch {patch.key}: a prediction has the shape {predicted.shape}; give ({len(self._sums)}, {side}, "
                f"{side}) for every patch, or ({side}, {side})"
            )
        known = np.isfinite(scores).all(axis=0)
        here = slice(row, row + side), slice(column, column + side)
        weights = np.where(known, self._weights, 0.0)
        self._sums[:, *here] += np.where(known, scores, 0.0) * weights
        self._weight[here] += weights
        self._counts[here] += known

    def take(self, y0: int, rows: int, *, left: int, columns: int) -> Strip:
        if self._sums is None:
            raise TypeError("a strip without a patch")
        _, width = self._shape
        values = np.full((len(self._sums), rows, columns), np.nan, np.float32)
        counts = np.zeros((rows, columns), np.uint16)
        inside = slice(left, left + width)
        counts[:, inside] = self._counts[:rows]
        some = self._weight[:rows] > 0
        for number, sums in enumerate(self._sums):  # one at a time: all together would take as much as the sums
            mean = np.full((rows, width), np.nan)
            values[number, :, inside] = np.divide(sums[:rows], self._weight[:rows], out=mean, where=some)
        return Strip(y0=y0, values=values, counts=counts, has_classes=self._has_classes)

    def move_up(self, rows: int) -> None:
        if self._sums is None:
            return
        for array in (self._weight, self._counts, *self._sums):
            array[:-rows] = array[rows:].copy()
            array[-rows:] = 0
