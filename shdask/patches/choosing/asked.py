"""What may be asked of `sample_patches`: its words, looked at before anything is read.

Pure. Refuses to know cubes.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping

import numpy as np

from shdask.errors import PlanError

LARGEST_PX = 32768
MOST_PATCHES = 10**8
LARGEST_BLOCK_M = 20_000_000.0
"""From pole to pole."""
WORDS: Mapping[str, tuple[str | None, ...]] = {
    "scheme": ("grid", "random", "labels"),
    "class_rule": ("majority", "presence"),
    "dates": ("all", "each", "clearest"),
    "balance": ("class", None),
}


def check_numbers(numbers: Mapping[str, int | None], *, seed: int, class_share: float | None) -> None:
    """Raise PlanError for a size or count that is no whole number from 1, or a share that is none."""
    for name, value in numbers.items():
        largest = MOST_PATCHES if name in {"count", "per_class"} else LARGEST_PX
        if value is not None and not (isinstance(value, int | np.integer) and 0 < value <= largest):
            raise PlanError(f"{name} = {value}: give a whole number from 1 to {largest}")
    if not isinstance(seed, int | np.integer):
        raise PlanError(f"seed = {seed!r}: give a whole number")
    if class_share is not None and not 0.0 <= class_share <= 1.0:
        raise PlanError(f"class_share = {class_share:g}: it is a share, from 0 to 1")


def check_words(words: Mapping[str, str | None]) -> None:
    """Raise PlanError for a word that is none of those `WORDS` has for it."""
    for name, word in words.items():
        if word not in WORDS[name]:
            known = " or ".join(repr(each) for each in WORDS[name])
            raise PlanError(f"{name} = {word!r} is none of {known}")


def check_metres(block_m: float, guard_m: float) -> None:
    """Raise PlanError for what is no distance on the ground."""
    if not 1.0 <= block_m <= LARGEST_BLOCK_M or not guard_m >= 0.0 or not math.isfinite(guard_m):
        raise PlanError(
            f"block_m = {block_m:g} and guard_m = {guard_m:g} are metres, from 1 to 20,000,000 and from 0 on"
        )


def check_scheme(
    scheme: str, labels: object, columns: list[str], *, count: int | None, align_px: int, size_px: int
) -> None:
    """Raise PlanError for what does not go with a scheme."""
    if (count is None) == (scheme == "random"):
        raise PlanError('count: scheme = "random" needs it, and no other takes it')
    if scheme == "labels":
        if labels is None:
            raise PlanError('labels missing; scheme = "labels" needs a vector file, or GeoJSON')
        if align_px > size_px:
            raise PlanError(
                f"align_px = {align_px}: labels would lie beside patches; make it at most size_px = {size_px}"
            )
        return
    if labels is not None and not isinstance(labels, str | os.PathLike):
        raise PlanError('labels: features choose places themselves; take scheme = "labels"')
    if columns:
        raise PlanError('labels: a raster has no columns; features do, with scheme = "labels"')
