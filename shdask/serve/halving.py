"""A picture at half its size: measurements averaged over valid pixels, classes by the commonest of four.

Pure. Refuses to know cubes and files.
"""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

QUARTERS = tuple(product((0, 1), (0, 1)))
"""(row, column) of the four pixels that become one, in the order that settles ties between classes."""


def pad_even(values: NDArray[Any]) -> NDArray[Any]:
    """``values`` (y, x) with a row and a column of zeros (False) where a side is odd. Pure."""
    height, width = values.shape
    return np.pad(values, ((0, height % 2), (0, width % 2))) if height % 2 or width % 2 else values


def halve_mask(valid: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """(y / 2, x / 2), rounded up: whether any of the four pixels is valid. Pure."""
    even = pad_even(valid)
    halved: NDArray[np.bool_] = np.logical_or.reduce([even[y::2, x::2] for y, x in QUARTERS])
    return halved


def halve_measurements(values: NDArray[Any], valid: NDArray[np.bool_], fill_value: float) -> NDArray[Any]:
    """The mean of the valid of each four pixels, in the type of ``values``; ``fill_value`` where none is. Pure.

    Integers are rounded half up.
    """
    values, valid = pad_even(values), pad_even(valid)
    height, width = valid.shape
    total = np.zeros((height // 2, width // 2), np.float64)
    count = np.zeros(total.shape, np.uint8)
    for y, x in QUARTERS:
        here = valid[y::2, x::2]
        np.add(total, values[y::2, x::2], out=total, where=here)
        count += here
    np.divide(total, count, out=total, where=count > 0)
    if values.dtype.kind in "iu":
        np.floor(total + 0.5, out=total)
    total[count == 0] = fill_value
    return total.astype(values.dtype)


def halve_classes(values: NDArray[Any], valid: NDArray[np.bool_], fill_value: float) -> NDArray[Any]:
    """The commonest class among the valid of each four pixels, ties to the first of `QUARTERS`. Pure."""
    values, valid = pad_even(values), pad_even(valid)
    codes = [values[y::2, x::2] for y, x in QUARTERS]
    known = [valid[y::2, x::2] for y, x in QUARTERS]
    best = np.full(codes[0].shape, fill_value, values.dtype)
    most = np.zeros(best.shape, np.uint8)
    for code, is_known in zip(codes, known, strict=True):
        votes = np.zeros(best.shape, np.uint8)
        for other, counts in zip(codes, known, strict=True):
            votes += (other == code) & counts
        votes[~is_known] = 0
        wins = votes > most
        best[wins], most[wins] = code[wins], votes[wins]
    return best
