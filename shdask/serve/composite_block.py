"""The arithmetic of composites on arrays in memory: which dates count at a pixel, and which value is taken.

Pure. Refuses to know xarray, Dask and where pixels come from.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from shdask.plan.clear_bands import ClearBand
from shdask.request.composite import CompositeMethod, are_alike

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Doubles = NDArray[np.float64]
    Bools = NDArray[np.bool_]

DAY_US = 86_400_000_000

Step = tuple[float, float]
"""(scale, offset): a value is a whole number x scale + offset, as it was sent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockRule:
    """How the arrays of one block become one picture."""

    method: CompositeMethod
    bands: int
    """How many of the values are stored: the first."""
    values: int
    """How many arrays are values; then come the codes, where ``clear``, and the mask, where ``has_mask``."""
    red_nir: tuple[int, ...] | None
    """Positions among the values."""
    steps: tuple[Step | None, ...]
    """Of each array of values: what its numbers are counted in; None where they are counted as they are."""
    clear: ClearBand | None
    has_mask: bool
    has_origin: bool
    times: tuple[int, ...]
    """Of the dates: microseconds since 1970-01-01 UTC, ascending; equal ones are of a date that was bought again."""
    dtype: np.dtype[Any]
    """Of the picture."""
    is_float: tuple[bool, ...]
    """Of each band that is stored: whether it has a NaN for nothing."""


def composite_block(*arrays: NDArray[Any], rule: BlockRule) -> NDArray[Any]:
    """(band, y, x) of (time, y, x) arrays: the bands, how many dates counted, and the day of origin. Pure."""
    values = arrays[: rule.values]
    counts = _find_clear(arrays, rule)
    number = counts.sum(axis=0)
    if rule.method == "median":
        days, found = (
            None,
            [_middle(*each, counts, number) for each in zip(values, rule.steps[: rule.bands], strict=False)],
        )
    else:
        dates = _pick(values, counts, number, rule)
        days = np.array(rule.times)[dates] // DAY_US
        found = [np.take_along_axis(each, dates[None], axis=0)[0] for each in values[: rule.bands]]
    picture = np.empty((len(found) + (2 if rule.has_origin else 1), *number.shape), rule.dtype)
    for plane, band, is_float in zip(picture, found, rule.is_float, strict=False):
        plane[...] = np.where(number > 0, band, np.nan if is_float else 0)
    picture[len(found)] = number
    if rule.has_origin and days is not None:
        picture[-1] = np.where(number > 0, days, 0)
    return picture


def _find_clear(arrays: Sequence[NDArray[Any]], rule: BlockRule) -> Bools:
    """(time, y, x): True where a date counts."""
    values = arrays[: rule.values]
    found = np.ones(values[0].shape, np.bool_)
    for each in values:
        if each.dtype.kind == "f":
            found &= np.isfinite(each)
    valid = arrays[-1] == 1 if rule.has_mask else found.copy()
    found &= valid
    if rule.clear is not None:
        found &= rule.clear.is_clear(arrays[rule.values])
    for position in range(len(rule.times) - 2, -1, -1):
        if rule.times[position] == rule.times[position + 1]:
            # what was bought again holds from here on, clear or not
            found[position] &= ~valid[position + 1]
            valid[position] |= valid[position + 1]
    return found


def _middle(values: NDArray[Any], step: Step | None, counts: Bools, number: NDArray[np.intp]) -> Doubles:
    """(y, x): the median as the service sends it: rounded half up, to integers or to the band's step."""
    numbers, is_left = _count_steps(values, step, counts)
    middle = _median(numbers, counts, number)
    if values.dtype.kind == "f" and step is None:
        return middle
    scale, offset = step or (1.0, 0.0)
    return np.where(is_left, middle, np.floor(middle + 0.5) * scale + offset)


def _count_steps(values: NDArray[Any], step: Step | None, counts: Bools) -> tuple[NDArray[Any], Bools]:
    """``values`` as the whole numbers that were sent, and (y, x): at which pixels they are not, and left as they are.

    A pixel is left where one of its dates that count is not of that step; no other pixel has a say in it.
    """
    if step is None:
        return values, np.zeros(counts.shape[1:], np.bool_)
    scale, offset = step
    with np.errstate(invalid="ignore"):  # infinities, which do not count
        numbers = np.floor((values - np.float64(offset)) / scale + 0.5)
        is_off = (numbers * scale + offset).astype(values.dtype) != values
    is_left = (is_off & counts).any(axis=0)
    return np.where(is_left, values, numbers), is_left


def _median(values: NDArray[Any], counts: Bools, number: NDArray[np.intp]) -> Doubles:
    """(y, x); without a meaning where no date counts."""
    ordered = np.where(counts, values, np.inf).astype(np.float64, copy=False)
    ordered.sort(axis=0)
    low, high = (np.take_along_axis(ordered, each[None], axis=0)[0] for each in ((number - 1) // 2, number // 2))
    middle: Doubles = (low + high) / 2
    return middle


def _pick(values: Sequence[NDArray[Any]], counts: Bools, number: NDArray[np.intp], rule: BlockRule) -> NDArray[np.intp]:
    """(y, x): the position of the date that is taken."""
    if rule.red_nir is not None:
        red, nir = _of_ndvi([(values[position], rule.steps[position]) for position in rule.red_nir], counts)
        with np.errstate(invalid="ignore"):  # infinities, which do not count
            total = nir + red
            score = np.divide(red - nir, total, out=np.ones_like(total), where=total != 0)
    else:
        score = np.zeros(counts.shape)
        for each, step in zip(values, rule.steps[: rule.bands], strict=False):
            numbers, is_left = _count_steps(each, step, counts)
            off = np.where(counts, numbers, 0.0) - np.where(number > 0, _median(numbers, counts, number), 0.0)
            score += off * off * np.where(is_left, 1.0, 1.0 if step is None else step[0] ** 2)
    return np.asarray(np.where(counts, score, np.inf).argmin(axis=0))


def _of_ndvi(red_nir: Sequence[tuple[NDArray[Any], Step | None]], counts: Bools) -> list[Doubles]:
    """Red and nir, each (time, y, x), by the service's rule: as they were sent where both count alike."""
    counted = [_count_steps(values, step, counts) for values, step in red_nir]
    steps = [step or (1.0, 0.0) for _, step in red_nir]
    as_sent = ~np.logical_or(*(is_left for _, is_left in counted)) & are_alike(steps)
    return [
        np.where(as_sent | is_left, numbers, numbers * np.float64(scale) + offset)
        for (numbers, is_left), (scale, offset) in zip(counted, steps, strict=True)
    ]
