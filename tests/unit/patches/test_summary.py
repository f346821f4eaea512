"""Patches at a glance."""

from __future__ import annotations

from dataclasses import replace
from xml.etree import ElementTree as ET

import numpy as np
import pytest

from shdask.patches.choosing.sample import sample_patches
from shdask.patches.summary import count_leakage, draw_map, summarize
from shdask.patches.table import SPLITS, Patches

from .grounds import plain_spec
from .test_sample import labelled, two_zones


@pytest.fixture(scope="module")
def patches() -> Patches:
    """Labelled, in words that a page must not believe."""
    chosen = sample_patches(
        plain_spec(), size_px=8, scheme="labels", labels=labelled(), class_column="crop", split_column="set"
    )
    return replace(chosen, classes=("<b>maize", "wheat"))


def test_a_repr_says_how_many(patches: Patches):
    """Of each set and class, of what cube, and what was dropped."""
    lines = repr(patches).splitlines()
    assert lines[0] == "60 Patches"
    assert "8 x 8 px of a job, seed 0" in lines[1]
    counts = np.bincount(patches.split, minlength=4).tolist()
    assert lines[2].endswith(f"{counts[0]} train, 0 validation, {counts[2]} test, {counts[3]} left out")
    assert lines[3].endswith("12 of <b>maize, 48 of wheat")
    assert "left out: they share ground" in repr(patches)


def test_a_page_trusts_no_name(patches: Patches):
    """Words of the user's are escaped."""
    assert "&lt;b&gt;maize" in patches._repr_html_()
    assert "<b>maize" not in patches._repr_html_()


def test_the_map_is_a_small_picture(patches: Patches):
    """Well-formed, with a colour for each set that there is, and not larger with more patches."""
    root = ET.fromstring(draw_map(patches))  # noqa: S314  # our own
    assert len(root) == np.unique(patches.split).size
    many = sample_patches(two_zones(), size_px=8, stride_px=4)
    assert len(many) > 3000
    assert len(draw_map(many)) < 400_000


def test_north_is_up_on_the_map():
    """And east is right: the patch farthest north-east is drawn in the upper right corner."""
    many = sample_patches(two_zones(), size_px=16)
    top_right = many.take(np.array([int(np.argmax(many.bounds[:, 3] - 1e9 * (many.zone == "32632")))]))
    both = many.take(np.array([0]))
    joined = replace(
        both, **{name: np.concatenate((getattr(both, name), getattr(top_right, name)))
                 for name in ("key", "zone", "y0", "x0", "block", "label", "parcel", "date", "valid_share",
                              "clear_share", "bounds", "epsg")},
        split=np.array([0, 2], np.uint8),
    )  # fmt: skip  # columns
    paths = ET.fromstring(draw_map(joined))  # noqa: S314  # our own
    train, test = (path.get("d", "").removeprefix("M").split("h")[0].split() for path in paths)
    assert float(test[0]) > float(train[0])


def test_no_patches_have_no_map(patches: Patches):
    """But words."""
    none = patches.take(np.zeros(len(patches), np.bool_))
    assert draw_map(none) == ""
    assert repr(none).startswith("0 Patches")
    assert none._repr_html_()


def test_a_summary_is_json(patches: Patches):
    """With the same counts."""
    told = summarize(patches)
    assert (told["patches"], told["size_px"], told["cube"]) == (60, 8, "a job")
    assert list(told["splits"]) == list(SPLITS)
    assert told["classes"] == {"<b>maize": 12, "wheat": 48}


def test_leakage_is_counted_across_zones():
    """By the outlines: the whole zones in different sets share what their patches at the edge do."""
    chosen = sample_patches(two_zones(), size_px=16)
    split = np.where(chosen.zone == "32632", 0, 2).astype(np.uint8)
    found = count_leakage(replace(chosen, split=split), 0.0)
    assert found.pairs >= found.overlapping > 0
    assert 0 < found.shared_px < found.overlapping * 256
    assert count_leakage(chosen, 0.0).pairs == 0
