"""As many patches of each class, by chance that only a seed decides."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from shdask.patches.choosing.balance import keep_balanced, keep_most
from shdask.patches.draw import draw

ROWS = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2), st.booleans()), min_size=1, max_size=60)


def test_the_least_chances_are_kept():
    """Two of each class, whatever their order."""
    chance = np.array([9, 1, 5, 3, 7, 2], np.uint64)
    assert keep_most(np.array([0, 0, 0, 0, 1, 2]), chance, 2).tolist() == [False, True, False, True, True, True]


@settings(max_examples=40)
@given(rows=ROWS)
def test_classes_are_as_many_in_each_set(rows: list[tuple[int, int, bool]]):
    """As its rarest has; what is not asked stays."""
    label, sets, asked = (np.array(column) for column in zip(*rows, strict=True))
    kept = keep_balanced(label, sets.astype(np.uint8), draw(0, "class", np.arange(label.size)), asked)
    assert kept[~asked].all()
    before, after = np.zeros((3, 4), int), np.zeros((3, 4), int)
    np.add.at(before, (sets[asked], label[asked]), 1)
    np.add.at(after, (sets[asked & kept], label[asked & kept]), 1)
    rarest = np.where(before > 0, before, 1000).min(axis=1, keepdims=True)
    np.testing.assert_array_equal(after, np.where(before > 0, rarest, 0))
