"""As many patches of each class: which to keep, by chance that only a seed decides.

Pure. Refuses to know where patches lie.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


def keep_most(groups: NDArray[np.int64], chance: NDArray[np.uint64], most: int) -> NDArray[np.bool_]:
    """(patch,): no more than ``most`` of each of ``groups``, those with the least ``chance``. Pure."""
    order = np.lexsort((chance, groups))
    ordered = groups[order]
    starts = np.searchsorted(ordered, ordered, side="left")
    kept = np.zeros(groups.size, np.bool_)
    kept[order] = np.arange(groups.size) - starts < most
    return kept


def keep_balanced(
    label: NDArray[np.int64], sets: NDArray[np.uint8], chance: NDArray[np.uint64], asked: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """(patch,): in each of ``sets`` as many of each class as it has of its rarest; all that are not ``asked``. Pure."""
    kept = ~asked
    for number in np.unique(sets[asked]).tolist():
        rows = np.flatnonzero(asked & (sets == number))
        _, counts = np.unique(label[rows], return_counts=True)
        kept[rows] = keep_most(label[rows], chance[rows], int(counts.min()))
    return kept
