"""What of a layer a sample holds."""

from __future__ import annotations

import numpy as np
import pytest

from shdask.errors import PlanError
from shdask.patches.reading.views import LayerView, Scaling, convert_values


def one_pixel(*values: float) -> np.ndarray:
    """(1, band, 1, 1) float32."""
    return np.array(values, np.float32).reshape(1, -1, 1, 1)


@pytest.mark.parametrize(
    ("values", "units", "stored", "expected"),
    [
        ("stored", "K", 300.0, 300.0),
        ("dn", "", 1234.0, 1234.0),
        ("dn", "1", 0.1234, 1234.0),
        ("reflectance", "", 1234.0, 0.1234),
        ("reflectance", "1", 0.1234, 0.1234),
        ("db", "dB", -12.5, -12.5),
        ("db", "1", 0.01, -20.0),
        ("db", "1", 0.0, -50.0),
        ("power", "dB", -20.0, 0.01),
        ("power", "1", 0.01, 0.01),
    ],
)
def test_values_are_those_asked_for(values: str, units: str, stored: float, expected: float):
    """Whatever unit the cube keeps them in."""
    image = one_pixel(stored)
    convert_values(image, [units], values)
    assert image.item() == pytest.approx(expected, rel=1e-5)


def test_each_band_goes_by_its_own_unit():
    """A band in digital numbers beside one of reflectance."""
    image = one_pixel(500, 0.05)
    convert_values(image, ["", "1"], "dn")
    np.testing.assert_allclose(image.ravel(), [500, 500], rtol=1e-5)


@pytest.mark.parametrize(("values", "units"), [("dn", "dB"), ("db", ""), ("reflectance", "K")])
def test_values_that_cannot_be_had_are_refused(values: str, units: str):
    """Kelvin are no reflectance."""
    with pytest.raises(PlanError, match=f"cannot be had as {values}"):
        convert_values(one_pixel(1), [units], values)


def test_scaling_is_by_band():
    """(values - mean) / std, in float32."""
    image = np.array([[[[1.0]], [[10.0]]], [[[3.0]], [[30.0]]]], np.float32)
    Scaling(means=(1.0, 10.0), stds=(2.0, 5.0)).apply(image)
    np.testing.assert_allclose(image.reshape(2, 2), [[0, 0], [1, 4]])


def test_a_scaling_needs_a_std_above_0_for_each_mean():
    """NaN, as statistics of nothing are, is none."""
    with pytest.raises(PlanError, match="a std above 0 for each mean"):
        Scaling(means=(1.0,), stds=(float("nan"),))
    with pytest.raises(PlanError, match="a std above 0 for each mean"):
        Scaling(means=(1.0, 2.0), stds=(1.0,))


def test_a_scaling_is_picked_by_band():
    """In the order asked; a band without figures is named."""
    assert Scaling.of(["b", "a"], {"a": 1.0, "b": 2.0}, {"a": 3.0, "b": 4.0}) == Scaling(means=(2, 1), stds=(4, 3))
    with pytest.raises(PlanError, match="no mean and std of c"):
        Scaling.of(["c"], {"a": 1.0}, {"a": 1.0})


class Figures:
    """As statistics of a cube have them."""

    def means(self, bands) -> np.ndarray:
        """1, 2, ..."""
        return np.arange(1.0, len(bands) + 1)

    def stds(self, bands) -> np.ndarray:
        """2 for each."""
        return np.full(len(bands), 2.0)


def test_statistics_of_a_cube_scale_its_bands():
    """By their names in the cube."""
    assert LayerView(scaling=Figures()).scaling_of(["B02", "B03"]) == Scaling(means=(1, 2), stds=(2, 2))


def test_statistics_scale_stored_values_alone():
    """They are of those."""
    with pytest.raises(PlanError, match="statistics are of stored values"):
        LayerView(scaling=Figures(), values="dn")


def test_a_scaling_of_other_bands_is_refused():
    """As many figures as bands."""
    with pytest.raises(PlanError, match="1 means for the 2 bands B02, B03"):
        LayerView(scaling=Scaling(means=(1.0,), stds=(1.0,))).scaling_of(["B02", "B03"])
