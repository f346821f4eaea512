"""A sample as a flat dict."""

from __future__ import annotations

import numpy as np
import pytest
from rasterio.transform import from_bounds

from shdask.errors import PlanError
from shdask.patches.reading.sample_dict import (
    LayerPixels,
    layer_items,
    merge_layers,
    place_items,
    split_steps,
    stack_samples,
)
from tests.unit.assemble.conftest import small_plan
from tests.unit.patches.rows import make_patches


def pixels(steps: int = 2, bands: int = 3, *, seed: int = 0, times: list[str] | None = None) -> LayerPixels:
    """Of 4 x 5 px."""
    rng = np.random.default_rng(seed)
    valid = rng.random((steps, 4, 5)) < 0.8
    return LayerPixels(
        image=rng.random((steps, bands, 4, 5), np.float32),
        valid=valid,
        clear=valid & (rng.random((steps, 4, 5)) < 0.5),
        present=np.ones(steps, np.bool_),
        times=np.array(times or ["2024-03-01T10:20:30", "2024-12-31"][:steps], "datetime64[s]"),
    )


@pytest.mark.parametrize(("layout", "shape"), [("TCHW", (2, 3, 4, 5)), ("CTHW", (3, 2, 4, 5)), ("CHW", (6, 4, 5))])
def test_an_image_is_laid_out_as_asked(layout: str, shape: tuple):
    """Contiguous; valid and clear stay [T,H,W]."""
    items = layer_items(pixels(), layout)
    assert items["image"].shape == shape
    assert items["image"].flags.c_contiguous
    assert (items["valid"].shape, items["clear"].shape) == ((2, 4, 5), (2, 4, 5))


def test_a_pixel_is_found_by_date_and_band():
    """The second date's third band, in all three layouts."""
    found = pixels()
    expected = found.image[1, 2]
    np.testing.assert_array_equal(layer_items(found, "TCHW")["image"][1, 2], expected)
    np.testing.assert_array_equal(layer_items(found, "CTHW")["image"][2, 1], expected)
    np.testing.assert_array_equal(layer_items(found, "CHW")["image"][1 * 3 + 2], expected)


def test_dates_are_seconds_and_days_of_the_year():
    """Of a leap year; 0 where there is no date."""
    items = layer_items(pixels(3, times=["2024-03-01T10:20:30", "2024-12-31", "NaT"]), "TCHW")
    assert items["dates"].tolist() == [1709288430, 1735603200, 0]
    assert items["doy"].tolist() == [61, 366, 0]
    assert (items["dates"].dtype, items["doy"].dtype) == (np.int64, np.int64)


def test_merged_layers_are_one_image():
    """Bands one after the other, valid and clear where both are, dates of the first."""
    first, second = pixels(bands=2), pixels(bands=1, seed=5)
    merged = merge_layers({"s2": first, "s1": second})
    np.testing.assert_array_equal(merged.image[:, :2], first.image)
    np.testing.assert_array_equal(merged.image[:, 2:], second.image)
    np.testing.assert_array_equal(merged.valid, first.valid & second.valid)
    np.testing.assert_array_equal(merged.clear, first.clear & second.clear)
    np.testing.assert_array_equal(merged.times, first.times)


def test_heights_are_merged_with_every_date():
    """One step without a date is repeated."""
    first, heights = pixels(), pixels(1, 1, seed=5, times=["NaT"])
    merged = merge_layers({"s2": first, "dem": heights})
    np.testing.assert_array_equal(merged.image[1, 3], heights.image[0, 0])
    np.testing.assert_array_equal(merged.valid[1], first.valid[1] & heights.valid[0])


def test_layers_of_other_dates_are_not_merged():
    """The cure is named."""
    with pytest.raises(PlanError, match=r"layer s1 has 3 steps and s2 2; .*NearestDates\(to='s2'"):
        merge_layers({"s2": pixels(), "s1": pixels(3, times=["2024-01-01", "2024-01-02", "2024-01-03"])})


def test_a_patch_is_placed_as_rasterio_places_it():
    """Its transform is that of its bounds."""
    patch = make_patches(small_plan().grid, [(10, 20)], size_px=16, labels=[7])[0]
    items = place_items(patch, (46.0, 15.0))
    assert items["transform"].tolist() == list(from_bounds(*patch.bounds, 16, 16))[:6]
    assert items["bounds"].tolist() == [500200, 4999740, 500360, 4999900]
    assert (items["epsg"], items["label"], items["key"]) == (32633, 7, patch.key)
    assert items["latlon"].dtype == np.float32


def test_samples_are_stacked_as_numpy_does():
    """Arrays and numbers with an axis for samples, texts in a list."""
    sample = {"image": np.ones((2, 3)), "epsg": np.int64(1), "key": "a"}
    batch = stack_samples([sample, {**sample, "key": "b"}])
    assert batch["image"].shape == (2, 2, 3)
    assert batch["epsg"].tolist() == [1, 1]
    assert batch["key"] == ["a", "b"]


def test_samples_of_other_shapes_are_refused():
    """With the cure."""
    with pytest.raises(PlanError, match=r"image has the shapes .* give the dates a count"):
        stack_samples([{"image": np.ones((2, 3))}, {"image": np.ones((3, 3))}])


@pytest.mark.parametrize(
    ("weights", "told"),
    [
        ((1, 0.25), r"weight has the types \['float64', 'int64'\]"),
        ((0.25, 1), r"weight has the types \['float64', 'int64'\]"),
        (("heavy", 1), r"weight has the types \['int64', 'text'\]"),
        ((1, "heavy"), r"weight has the types \['int64', 'text'\]"),
    ],
)
def test_samples_of_other_types_are_refused(weights: tuple, told: str):
    """Nothing is rounded to the type that came first."""
    with pytest.raises(PlanError, match=told):
        stack_samples([{"weight": weight} for weight in weights])


@pytest.mark.parametrize("samples", [[{"a": 1}, {"a": 1, "b": 2}], [{"a": 1, "b": 2}, {"a": 1}]])
def test_samples_of_other_keys_are_refused(samples: list):
    """Nothing is left out of a batch in silence."""
    with pytest.raises(PlanError, match=r"\['b'\] are not in all"):
        stack_samples(samples)


def test_planes_that_are_no_dates_of_the_bands_are_refused():
    """Where the layer of another zone has more bands than those before it."""
    with pytest.raises(PlanError, match=r"image has 4 planes, .* dates of 3 bands; name the bands"):
        split_steps(np.zeros((4, 8, 8), np.float32), "CHW", 3)
