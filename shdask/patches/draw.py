"""Chance that is the same everywhere: numbers from a seed and from what they are drawn for.

Pure. Refuses to know numpy's generators, whose streams may change from one version to the next.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

# SplitMix64: Steele, Lea and Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014
_STEP = np.uint64(0x9E3779B97F4A7C15)
_MIX = ((np.uint64(30), np.uint64(0xBF58476D1CE4E5B9)), (np.uint64(27), np.uint64(0x94D049BB133111EB)))
_LAST = np.uint64(31)
_FLOAT_BITS = np.uint64(11)


def draw(seed: int, purpose: str, *numbers: NDArray[np.integer]) -> NDArray[np.uint64]:
    """One number of 64 bits for each row of ``numbers``, arrays of one length: all that it depends on. Pure.

    Draws for another ``purpose``, such as ``"split"``, have nothing to do with each other.
    """
    start = np.array([seed & (2**64 - 1), zlib.crc32(purpose.encode())], np.uint64)
    state = _mix(_mix(start[:1]) + start[1:])
    for column in numbers:
        state = _mix(state + np.asarray(column, np.int64).view(np.uint64))
    return state


def share_of(drawn: NDArray[np.uint64]) -> NDArray[np.float64]:
    """``drawn`` as numbers from 0 to below 1. Pure."""
    return np.asarray((drawn >> _FLOAT_BITS) * 2.0**-53)


def below(drawn: NDArray[np.uint64], limit: NDArray[np.int64] | int) -> NDArray[np.int64]:
    """``drawn`` as whole numbers from 0 to below ``limit``, which is under 2**53. Pure."""
    return np.asarray(share_of(drawn) * limit, np.int64)


def _mix(state: NDArray[np.uint64]) -> NDArray[np.uint64]:
    state = state + _STEP
    for shift, factor in _MIX:
        state = (state ^ (state >> shift)) * factor
    return np.asarray(state ^ (state >> _LAST))
