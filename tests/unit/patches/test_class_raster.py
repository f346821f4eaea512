"""Classes of patches by the pixels under them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st

from shdask.errors import PlanError
from shdask.model import Window
from shdask.patches.choosing.class_raster import Counts, choose_classes, count_classes, count_in_raster
from shdask.patches.choosing.draft import Draft, draft_places
from shdask.patches.choosing.places import Places

from .grounds import make_ground


class MadeUpPixels:
    """Classes in memory; notes how many pixels were read at once."""

    def __init__(self, classes: np.ndarray, known: np.ndarray) -> None:
        self.classes, self.known = classes, known
        self.most_px = 0

    def read(self, window: Window) -> tuple[np.ndarray, np.ndarray]:
        """(y, x) each."""
        self.most_px = max(self.most_px, window.pixel_count)
        return self.classes[window.slices], self.known[window.slices]


def draft(y0: list[int], x0: list[int]) -> Draft:
    y, x = np.array(y0, np.int64), np.array(x0, np.int64)
    return draft_places(Places(ground=np.zeros(y.size, np.intp), y0=y, x0=x))


def table(counts: Counts) -> dict[tuple[int, int], int]:
    rows = zip(counts.patch.tolist(), counts.label.tolist(), counts.count.tolist(), strict=True)
    return {(patch, label): count for patch, label, count in rows}


@given(seed=st.integers(0, 1000), size_px=st.integers(1, 40), block_px=st.sampled_from([16, 50, 2048]))
@settings(max_examples=40)
def test_pixels_are_counted_as_numpy_counts_them(seed: int, size_px: int, block_px: int):
    """Of every class under every patch, wherever blocks end; what is not known counts not."""
    rng = np.random.default_rng(seed)
    classes, known = rng.integers(0, 5, (100, 120)), rng.random((100, 120)) < 0.9
    y0, x0 = rng.integers(0, 100 - size_px, 12), rng.integers(0, 120 - size_px, 12)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("shdask.patches.choosing.class_raster.BLOCK_PX", block_px)
        made = draft(y0.tolist(), x0.tolist())
        found = count_classes(MadeUpPixels(classes, known), made, np.arange(12), size_px, name="made")
    windows = [(slice(y, y + size_px), slice(x, x + size_px)) for y, x in zip(y0, x0, strict=True)]
    expected = {
        (patch, label): int((classes[window][known[window]] == label).sum())
        for patch, window in enumerate(windows)
        for label in range(5)
    }
    assert table(found) == {key: count for key, count in expected.items() if count}


def test_no_more_than_a_block_is_read_at_once(monkeypatch: pytest.MonkeyPatch):
    """However large patches are, and however many lie together."""
    monkeypatch.setattr("shdask.patches.choosing.class_raster.BLOCK_PX", 16)
    pixels = MadeUpPixels(np.ones((100, 100), np.int64), np.ones((100, 100), np.bool_))
    found = count_classes(pixels, draft([0, 5, 9], [0, 30, 9]), np.arange(3), 70, name="made")
    assert table(found) == {(0, 1): 4900, (1, 1): 4900, (2, 1): 4900}
    assert pixels.most_px == 256


def test_what_holds_too_many_classes_is_refused(monkeypatch: pytest.MonkeyPatch):
    """Such as heights: 256 of them are counted, wherever they lie, and no more."""
    monkeypatch.setattr("shdask.patches.choosing.class_raster.BLOCK_PX", 16)
    heights = np.arange(40 * 40).reshape(40, 40)
    known = np.ones((40, 40), np.bool_)
    some = count_classes(MadeUpPixels(heights % 256, known), draft([0], [0]), np.arange(1), 40, name="heights.tif")
    assert np.unique(some.label).size == 256
    with pytest.raises(PlanError, match=r"labels: heights.tif holds 257 classes or more, .* at most 256; .*group"):
        count_classes(MadeUpPixels(heights % 257, known), draft([0], [0]), np.arange(1), 40, name="heights.tif")


def test_a_raster_of_too_many_classes_is_named(tmp_path: Path):
    """By its path."""
    with rasterio.open(
        tmp_path / "heights.tif", "w", driver="GTiff", width=20, height=20, count=1, dtype="int16",
        crs="EPSG:32633", transform=Affine(10, 0, 500_000, 0, -10, 5_200_000),
    ) as raster:  # fmt: skip  # one call
        raster.write(np.arange(400, dtype=np.int16).reshape(20, 20), 1)
    with pytest.raises(PlanError, match=r"heights.tif holds 400 classes or more"):
        count_in_raster(tmp_path / "heights.tif", draft([0], [0]), [make_ground()], 20)


def test_transparent_pixels_of_a_raster_count_not(tmp_path: Path):
    """Of its own alpha; nor does what lies beyond it."""
    with rasterio.open(
        tmp_path / "classes.tif", "w", driver="GTiff", width=2, height=2, count=2, dtype="uint8", alpha="yes",
        crs="EPSG:32633", transform=Affine(10, 0, 500_000, 0, -10, 5_200_000),
    ) as raster:  # fmt: skip  # one call
        raster.write(np.array([[[0, 0], [7, 7]], [[255, 0], [255, 255]]], np.uint8))
    found = count_in_raster(tmp_path / "classes.tif", draft([0], [0]), [make_ground()], 4)
    assert table(found) == {(0, 0): 1, (0, 7): 2}


def counts(*rows: tuple[int, int, int]) -> Counts:
    patch, label, count = (np.array(column) for column in zip(*rows, strict=True))
    return Counts(patch=patch, label=label, count=count)


def test_the_majority_wins():
    """Of equals the lower number; what holds less than the share asked for is of no class."""
    found = counts((0, 4, 30), (0, 5, 60), (1, 7, 50), (1, 2, 50), (3, 1, 100))
    assert choose_classes(found, 4, 10, "majority", None).tolist() == [5, 2, -1, 1]
    assert choose_classes(found, 4, 10, "majority", 0.6).tolist() == [5, -1, -1, 1]


def test_the_rarest_that_is_present_wins():
    """A twentieth of the pixels is a presence, unless another share is asked for."""
    found = counts((0, 4, 95), (0, 9, 5), (1, 4, 96), (1, 9, 4), (2, 4, 50), (2, 9, 50))
    assert choose_classes(found, 3, 10, "presence", None).tolist() == [9, 4, 9]
    assert choose_classes(found, 3, 10, "presence", 0.06).tolist() == [4, 4, 9]


def test_unknown_pixels_make_no_share():
    """Six of a hundred pixels are classified: a majority of six is no half of the patch."""
    assert choose_classes(counts((0, 4, 6)), 1, 10, "majority", 0.5).tolist() == [-1]


def test_a_raster_is_read_on_the_cubes_grid(tmp_path: Path):
    """The same CRS, coarser pixels: each counts for the four of the cube's under it; its nodata counts not."""
    classes = np.array([[1, 1, 2], [0, 3, 2]], np.uint8)
    with rasterio.open(
        tmp_path / "classes.tif", "w", driver="GTiff", width=3, height=2, count=1, dtype="uint8", nodata=0,
        crs="EPSG:32633", transform=Affine(20, 0, 500_000, 0, -20, 5_200_000),
    ) as raster:  # fmt: skip  # one call
        raster.write(classes, 1)
    found = count_in_raster(tmp_path / "classes.tif", draft([0, 0, 100], [0, 2, 100]), [make_ground()], 4)
    assert table(found) == {(0, 1): 8, (0, 3): 4, (1, 1): 4, (1, 2): 8, (1, 3): 4}


def test_a_raster_in_another_crs_is_warped(tmp_path: Path):
    """The nearest pixel; beyond its edge nothing is known, though 0 is a class."""
    with rasterio.open(
        tmp_path / "classes.tif", "w", driver="GTiff", width=4, height=4, count=1, dtype="int16",
        crs="EPSG:4326", transform=Affine(0.01, 0, 14.98, 0, -0.01, 46.97),
    ) as raster:  # fmt: skip  # one call
        raster.write(np.zeros((4, 4), np.int16), 1)
    found = count_in_raster(tmp_path / "classes.tif", draft([0, 400], [0, 0]), [make_ground()], 4)
    assert table(found) == {(0, 0): 16}


@pytest.mark.parametrize(
    ("dtype", "crs", "message"), [("float32", "EPSG:4326", "classes are whole numbers"), ("uint8", None, "has no CRS")]
)
@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_a_raster_without_classes_or_crs_is_refused(tmp_path: Path, dtype: str, crs: str | None, message: str):
    """With what is wrong."""
    with rasterio.open(
        tmp_path / "other.tif", "w", driver="GTiff", width=4, height=4, count=1, dtype=dtype, crs=crs
    ) as raster:
        raster.write(np.zeros((4, 4), dtype), 1)
    with pytest.raises(PlanError, match=message):
        count_in_raster(tmp_path / "other.tif", draft([0], [0]), [make_ground()], 4)


def test_what_is_no_raster_is_refused(tmp_path: Path):
    """By name."""
    with pytest.raises(PlanError, match=r"nothing.tif cannot be read as a raster"):
        count_in_raster(tmp_path / "nothing.tif", draft([0], [0]), [make_ground()], 4)
