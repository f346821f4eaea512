"""Predictions of patches that overlap, put together."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shdask.errors import PlanError
from shdask.patches.blending import blend_patches, window_weights
from shdask.patches.table import Patch, Patches
from shdask.plan.grid import Grid

from .rows import make_patches

ROWS, COLUMNS, SIDE = 70, 50, 16
GRID = Grid(epsg=32633, origin=(0.0, 0.0), resolution=(10.0, 10.0), offset=(0, 0), shape=(ROWS, COLUMNS))
CORNERS = st.lists(st.tuples(st.integers(0, ROWS - SIDE), st.integers(0, COLUMNS - SIDE)), min_size=1, max_size=12)
STRIPS = st.integers(1, 100)


def blend(patches: Patches, predict: Callable[[Patch], np.ndarray], strip_px: int = 32) -> np.ndarray:
    """(class, y, x) of the whole grid."""
    strips = list(blend_patches(patches, predict, shape=GRID.shape, strip_px=strip_px))
    found = np.full((len(strips[0].values), *GRID.shape), np.nan, np.float32)
    for strip in strips:
        found[:, strip.y0 : strip.y0 + strip.counts.shape[0]] = strip.values
    return found


def noise(patch: Patch) -> np.ndarray:
    """(2, y, x) scores that only this patch has."""
    return np.random.default_rng(hash(patch.window) % 2**32).normal(size=(2, SIDE, SIDE)).astype(np.float32)


def at_once(patches: Patches) -> np.ndarray:
    """The weighted mean of `noise` by numpy, all in memory."""
    sums, weights = np.zeros((2, *GRID.shape)), np.zeros(GRID.shape)
    for patch in patches:
        sums[:, *patch.window.slices] += noise(patch) * window_weights(SIDE)
        weights[patch.window.slices] += window_weights(SIDE)
    with np.errstate(invalid="ignore"):
        return (sums / weights).astype(np.float32)


@given(CORNERS, STRIPS)
def test_strips_are_the_weighted_mean_of_all_patches(corners: list[tuple[int, int]], strip_px: int) -> None:
    """Whatever the height of strips, and wherever patches lie."""
    patches = make_patches(GRID, corners, size_px=SIDE)
    np.testing.assert_allclose(blend(patches, noise, strip_px), at_once(patches), rtol=1e-5, atol=1e-6)


@given(CORNERS, st.floats(-1e6, 1e6, width=32))
def test_weights_add_up_to_one(corners: list[tuple[int, int]], value: float) -> None:
    """What all patches agree on is what comes of them; where there is none it is NaN."""
    patches = make_patches(GRID, corners, size_px=SIDE)
    found = blend(patches, lambda _: np.full((SIDE, SIDE), value, np.float32))[0]
    np.testing.assert_allclose(found[~np.isnan(found)], value, rtol=1e-6)
    np.testing.assert_array_equal(np.isnan(found), np.isnan(at_once(patches)[0]))


def test_a_patch_alone_is_exact() -> None:
    """To the bit, with neighbours that touch it."""
    patches = make_patches(GRID, [(20, 16), (20, 32), (4, 16)], size_px=SIDE)
    np.testing.assert_array_equal(blend(patches, noise)[:, 20:36, 16:32], noise(patches[0]))


def test_half_overlapping_patches_weigh_the_same_everywhere() -> None:
    """Inside of the outermost halves."""
    total = np.zeros(4 * SIDE)
    [np.add.at(total, np.arange(SIDE) + first, window_weights(SIDE)[SIDE // 2]) for first in range(0, 49, SIDE // 2)]
    assert np.ptp(total[SIDE // 2 : -SIDE // 2]) == pytest.approx(0)


def test_pixels_that_a_prediction_does_not_know_come_from_others() -> None:
    """NaN has no weight; where nobody knows it stays NaN."""
    patches = make_patches(GRID, [(0, 0), (0, 8)], size_px=SIDE)
    known = np.where(np.arange(SIDE) < 8, np.nan, 3.0) * np.ones((SIDE, 1))
    found = blend(patches, lambda patch: known if patch.x0 else np.full((SIDE, SIDE), 1.0))[0]
    assert found[5, [0, 9, 20]].tolist() == [1.0, 1.0, 3.0]
    assert np.isnan(blend(patches.take([0]), lambda _: known)[0][5, 3])


def test_each_patch_is_predicted_once_from_the_north() -> None:
    """Also one that two strips share."""
    seen: list[int] = []
    patches = make_patches(GRID, [(40, 0), (25, 0), (0, 20)], size_px=SIDE)
    blend(patches, lambda patch: noise(patch) + (seen.append(patch.y0) or 0), 32)
    assert seen == [0, 25, 40]


def test_strips_without_a_patch_are_left_out() -> None:
    """A few patches in a large array cost little."""
    patches = make_patches(GRID, [(0, 0), (50, 0)], size_px=SIDE)
    assert [strip.y0 for strip in blend_patches(patches, noise, shape=GRID.shape, strip_px=8)] == [0, 8, 48, 56, 64]


def test_predictions_of_other_shapes_are_refused() -> None:
    """The message names the patch and what is right."""
    patches = make_patches(GRID, [(0, 0), (8, 0)], size_px=SIDE)
    with pytest.raises(PlanError, match=r"p32633-8-0-1.*\(3, 16, 16\).*give \(2, 16, 16\)"):
        blend(patches, lambda patch: np.zeros((3 if patch.y0 else 2, SIDE, SIDE)))


@pytest.mark.parametrize("corner", [(60, 0), (0, 40), (-1, 0)])
def test_patches_beyond_the_array_are_refused(corner: tuple[int, int]) -> None:
    """They were chosen in another cube."""
    with pytest.raises(PlanError, match="reaches beyond the 70 x 50 px"):
        blend(make_patches(GRID, [corner], size_px=SIDE), noise)


def test_patches_of_several_dates_are_refused() -> None:
    """Their mean would be of no date; those of one date are blended."""
    dated = make_patches(GRID, [(0, 0), (8, 0)], size_px=SIDE, dates=["2024-06-01", "2024-06-06"])
    with pytest.raises(PlanError, match="blend each date by itself"):
        blend(dated, noise)
    assert np.isfinite(blend(dated.take([0]), noise)[:, 5, 5]).all()
