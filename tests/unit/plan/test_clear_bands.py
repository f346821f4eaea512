"""Bands that tell clear ground."""

from __future__ import annotations

import numpy as np
import pytest

from shdask.errors import PlanError
from shdask.plan.clear_bands import CLEAR_BANDS, ClearBand, find_clear_band


@pytest.mark.parametrize(
    ("band", "codes", "expected"),
    [
        ("SCL", np.arange(12, dtype=np.uint8), [0, 0, 0, 0, 1, 1, 1, 1, 0, 0, 0, 1]),
        ("CLM", np.array([0, 1, 255], np.uint8), [1, 0, 0]),
        ("CLP", np.array([0, 102, 103, 255], np.uint8), [1, 1, 0, 0]),
        # of USGS's table of QA_PIXEL values: fill, clear, water, cloud of high confidence, shadow, cirrus, snow
        ("BQA", np.array([1, 21824, 21952, 22280, 23888, 54596, 30048], np.uint16), [0, 1, 1, 0, 0, 0, 1]),
        ("QA_PIXEL", np.array([21824, 22280, 23888], np.float32), [1, 0, 0]),
        ("SCL", np.array([4, np.nan], np.float32), [1, 0]),
        ("BQA", np.array([np.nan], np.float32), [0]),
    ],
)
def test_codes_tell_clear_ground(band: str, codes: np.ndarray, expected: list[int]) -> None:
    """Integers as they are stored, floats as masked cubes hold them."""
    assert CLEAR_BANDS[band].is_clear(codes).astype(int).tolist() == expected


def test_bits_beyond_the_codes_are_set_in_none() -> None:
    """Of 8 bits, a mask may ask for the ninth; and the sign stands for all bits above."""
    band = ClearBand(name="qa", bad_bits=256)
    assert band.is_clear(np.array([0, 255], np.uint8)).tolist() == [True, True]
    assert band.is_clear(np.array([1, -1], np.int8)).tolist() == [True, False]


def test_bits_that_no_script_can_look_at_are_refused() -> None:
    """Which has 31 of them."""
    with pytest.raises(PlanError, match="mask band qa: bad_bits = 4294967296 is not between 0 and 2147483647"):
        ClearBand(name="qa", bad_bits=2**32)


def test_the_classification_goes_before_other_masks() -> None:
    """And none is found where there is none."""
    found = find_clear_band(["B04", "CLM", "SCL"])
    assert found is not None
    assert found.name == "SCL"
    assert find_clear_band(["B04"]) is None
