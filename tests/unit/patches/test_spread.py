"""How patches are spread, counted by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from shdask.patches.spread import count_balance
from shdask.patches.table import Patches
from tests.unit.assemble.conftest import small_plan

from .rows import make_patches


@pytest.fixture
def patches() -> Patches:
    """Three to train, one to test; classes 1 and 2; one for no date."""
    made = make_patches(
        small_plan().grid,
        [(0, 0), (0, 16), (16, 0), (16, 16)],
        size_px=16,
        splits=("train", "train", "train", "test"),
        labels=(1, 2, 1, 2),
        dates=("2024-06-03", "2024-06-08", "2024-07-01", "NaT"),
    )
    shares = np.array([1, 0.5, np.nan, np.nan], np.float32)
    return replace(made, valid_share=shares, block=np.array(["a", "a", "b", "c"]), parcel=np.array(["x", "x", "", "y"]))


def test_sets_tell_what_they_hold(patches) -> None:
    """Patches, classes, months, blocks, parcels."""
    train, _, test, left_out = count_balance(patches).sets
    assert (train.patches, train.share, dict(train.labels)) == (3, 0.75, {1: 2, 2: 1})
    assert (dict(train.months), train.blocks, train.parcels) == ({"2024-06": 2, "2024-07": 1}, 2, 1)
    assert (test.split, dict(test.labels), dict(test.months)) == ("test", {2: 1}, {})
    assert (left_out.patches, left_out.share) == (0, 0.0)


def test_shares_are_means_of_those_that_are_known(patches) -> None:
    """NaN where none is."""
    train, _, test, _ = count_balance(patches).sets
    assert train.valid_share == 0.75
    assert np.isnan([train.clear_share, test.valid_share]).all()


def test_the_text_is_a_table(patches) -> None:
    """A line a set, a column a class."""
    lines = str(count_balance(patches)).splitlines()
    assert lines[0].split()[-4:] == ["class", "1", "class", "2"]
    assert [line.split()[-2:] for line in lines[1:]] == [["2", "1"], ["0", "0"], ["0", "1"], ["0", "0"]]


def test_no_patch_at_all_is_no_trouble(patches) -> None:
    """Shares of nothing are 0."""
    assert [each.share for each in count_balance(patches.take(np.zeros(4, bool))).sets] == [0.0] * 4
