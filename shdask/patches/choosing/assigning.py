"""The set of each patch that was chosen, and which are dropped so that classes are as many.

Pure. Refuses to know how patches were chosen.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np

from shdask.errors import PlanError
from shdask.patches.choosing.balance import keep_balanced, keep_most
from shdask.patches.choosing.labels import NO_SPLIT
from shdask.patches.choosing.places import number_places
from shdask.patches.draw import draw
from shdask.patches.splits import LEFT_OUT, find_blocks, leave_out, split_blocks
from shdask.patches.table import NO_LABEL, SPLITS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from shdask.patches.choosing.draft import Draft
    from shdask.patches.neighbours import Squares


def find_sets(
    draft: Draft, squares: Squares, shares: tuple[float, float, float], *, block_m: float, guard_m: float, seed: int
) -> tuple[NDArray[np.uint8], NDArray[np.str_]]:
    """(patch,) each: positions in `SPLITS`, and names of blocks; those that labels tell come first. Pure.

    Raises PlanError as `leave_out`.
    """
    row, column = find_blocks(squares.longitude, squares.latitude, block_m)
    _, first, number = np.unique(number_places(row * 0, row, column), return_index=True, return_inverse=True)
    row, column = row[first], column[first]
    names = np.array([f"{each}/{other}" for each, other in zip(row.tolist(), column.tolist(), strict=True)])[number]
    sets = split_blocks(row, column, shares, seed)[number]
    told = draft.given_block != ""
    if told.any():
        names = np.where(told, draft.given_block, names)
        given, number = np.unique(draft.given_block[told], return_inverse=True)
        hashed = [hashlib.blake2b(name.encode(), digest_size=8).digest() for name in given.tolist()]
        drawn = np.frombuffer(b"".join(hashed), "<i8").astype(np.int64)
        sets[told] = split_blocks(drawn, np.zeros_like(drawn), shares, seed)[number]
    sets = np.where(draft.given_split == NO_SPLIT, sets, draft.given_split).astype(np.uint8)
    # dates of one place are one square
    numbers = number_places(draft.ground * len(SPLITS) + sets, draft.y0, draft.x0)
    _, first, number = np.unique(numbers, return_index=True, return_inverse=True)
    is_out = leave_out(squares.take(first), sets[first], guard_m)
    return np.where(is_out[number], LEFT_OUT, sets).astype(np.uint8), names


def thin_out(
    draft: Draft, sets: NDArray[np.uint8], *, per_class: int | None, balance: str | None, seed: int
) -> tuple[NDArray[np.bool_], tuple[str, ...]]:
    """(patch,) those to keep, left out ones among them, and what is dropped in words; see `sample_patches`. Pure.

    Raises PlanError where there are no classes.
    """
    kept = np.ones(len(draft), np.bool_)
    if per_class is None and balance is None:
        return kept, ()
    if (draft.label == NO_LABEL).all():
        raise PlanError("balance and per_class need classes; give labels, with class_column where they are features")
    chance = draw(seed, "class", draft.ground, draft.y0, draft.x0, draft.date.astype(np.int64))
    if per_class is not None:
        asked = sets != LEFT_OUT
        kept[asked] = keep_most(draft.label[asked], chance[asked], per_class)
    if balance is not None:
        kept &= keep_balanced(draft.label, sets, chance, kept & (sets != LEFT_OUT)) | (sets == LEFT_OUT)
    dropped, counts = np.unique(draft.label[~kept], return_counts=True)
    return kept, tuple(
        f"{number} patches of class {label} are dropped for balance"
        for label, number in zip(dropped.tolist(), counts.tolist(), strict=True)
    )


def notes_on_sets(sets: NDArray[np.uint8], shares: tuple[float, float, float], guard_m: float) -> tuple[str, ...]:
    """What to tell of the sets: how many are left out, and which are empty. Pure."""
    counts = np.bincount(sets, minlength=len(SPLITS))
    empty = [SPLITS[each] for each, share in enumerate(shares) if share > 0.0 and not counts[each]]
    left = int(counts[LEFT_OUT])
    return (
        *(
            [f"{left} patches are left out: they share ground with another set's or are within {guard_m:g} m"]
            if left
            else []
        ),
        *([f"no patch is for {' or '.join(empty)}: take a smaller block_m, or another seed"] if empty else []),
    )
