"""What `shdask.patches` offers, where torch is not installed."""

from __future__ import annotations

import subprocess
import sys

import pytest

import shdask.patches


def test_all_names_can_be_had() -> None:
    """By a star, which is why what needs torch is not among them."""
    code = "from shdask.patches import *; print(LayerView.__name__, sample_patches.__name__)"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout == "LayerView sample_patches\n"


def test_a_name_that_there_is_not_is_no_name_of_it() -> None:
    """As of any module."""
    with pytest.raises(AttributeError, match=r"'shdask\.patches' has no attribute 'nothing'"):
        shdask.patches.nothing  # noqa: B018  # that it fails is what is tested


def test_names_are_shown_before_they_are_imported() -> None:
    """For whoever completes them."""
    assert {"LayerView", "PatchIterable"} <= set(dir(shdask.patches))
