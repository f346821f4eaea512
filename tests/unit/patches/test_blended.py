"""Blended predictions as a cube that opens as any other."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rasterio
import xarray as xr
import zarr

import shdask
from shdask.assemble.store import create_or_open, read_cube_attributes
from shdask.errors import PlanError, StoreError, WrongStore
from shdask.patches.blended import write_blended
from shdask.patches.table import Patch, Patches
from shdask.serve.cog import export_cog
from shdask.serve.overviews import find_classes
from tests.unit.assemble.conftest import small_plan

from .rows import make_patches

CORNERS = [(0, 0), (16, 8), (38, 40)]


@pytest.fixture(scope="module")
def cube(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of 70 x 80 px, without a pixel."""
    store = tmp_path_factory.mktemp("cubes") / "cube.zarr"
    create_or_open(small_plan(), store)
    return store


@pytest.fixture
def patches() -> Patches:
    return make_patches(small_plan().grid, CORNERS)


def scores(patch: Patch) -> np.ndarray:
    """(3, y, x): the class of a patch alone is sure."""
    sure = np.zeros((3, 32, 32), np.float32)
    sure[CORNERS.index((patch.y0, patch.x0))] = 1.0
    return sure


def test_scores_become_a_cube_of_classes(tmp_path, cube, patches) -> None:
    """On the grid of the cube, to the bit, with what is most probable."""
    write_blended(tmp_path / "map.zarr", cube, patches, scores, classes=("water", "forest", "bare ground"))
    found = shdask.open_cube(tmp_path / "map.zarr", masked=True)
    assert list(found.data_vars) == ["water", "forest", "bare ground", "label", "patch_count", "data_mask"]
    xr.testing.assert_identical(found[["x", "y"]].coords.to_dataset().x, shdask_coords(cube).x)
    assert found.rio.crs.to_epsg() == 32633
    assert found["label"].to_numpy()[[5, 40, 60], [5, 20, 60]].tolist() == [0, 1, 2]
    assert found["label"].attrs["flag_meanings"] == "water forest bare_ground"


def shdask_coords(cube: Path) -> xr.Dataset:
    """The coordinates of the cube that was predicted from."""
    with pytest.warns(UserWarning, match="not complete"):
        return shdask.open_cube(cube)[["x", "y"]].coords.to_dataset()


def test_a_map_becomes_a_cog(tmp_path, cube, patches) -> None:
    """Of the classes, with a mask where no patch tells; the numbers of classes are never averaged."""
    write_blended(tmp_path / "map.zarr", cube, patches, scores)
    export_cog(tmp_path / "map.zarr", tmp_path / "map.tif", bands=["label"])
    with rasterio.open(tmp_path / "map.tif") as cog:
        assert (cog.crs.to_epsg(), cog.dtypes, cog.shape) == (32633, ("uint8",), (70, 80))
        assert cog.read(1)[[5, 40, 60], [5, 20, 60]].tolist() == [0, 1, 2]
        assert cog.read_masks(1)[[5, 5], [5, 70]].tolist() == [255, 0]
    assert find_classes(read_cube_attributes(tmp_path / "map.zarr")) == ("label",)


def test_pixels_that_no_patch_tells_of_are_no_data(tmp_path, cube, patches) -> None:
    """Others say how many patches tell."""
    write_blended(tmp_path / "map.zarr", cube, patches, scores)
    root = zarr.open_group(tmp_path / "map.zarr", mode="r")
    count = root["patch_count"][...]
    assert [int((count == number).sum()) for number in (1, 2, 3)] == [2304, 384, 0]
    np.testing.assert_array_equal(root["data_mask"][...], count > 0)
    np.testing.assert_array_equal(np.isnan(root["class_2"][...]), count == 0)


def test_plain_values_have_one_array(tmp_path, cube, patches) -> None:
    """And no label."""
    write_blended(tmp_path / "map.zarr", cube, patches, lambda patch: np.full((32, 32), patch.y0))
    found = shdask.open_cube(tmp_path / "map.zarr")
    assert list(found.data_vars) == ["prediction", "patch_count", "data_mask"]
    assert found["prediction"].to_numpy()[0, 0] == 0.0
    assert 0.0 < found["prediction"].to_numpy()[20, 20] < 16.0


def test_it_is_whole_or_not_at_all(tmp_path, cube, patches) -> None:
    """A model that fails leaves nothing, and what stands is not written over."""
    with pytest.raises(KeyError):
        write_blended(tmp_path / "map.zarr", cube, patches, lambda patch: {0: scores, 16: scores}[patch.y0](patch))
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(StoreError, match="is there already"):
        write_blended(cube, cube, patches, scores)


@pytest.mark.parametrize(
    "classes",
    [
        ("a", "b"),
        ("a", "a", "b"),
        *((name, "b", "c") for name in ("label", "a/b", "..", "zarr.json", "a\\b", "a\n", "__a")),
    ],
)
def test_classes_must_fit_the_scores(tmp_path, cube, patches, classes) -> None:
    """A name for each, of its own."""
    with pytest.raises(PlanError, match="classes: "):
        write_blended(tmp_path / "map.zarr", cube, patches, scores, classes=classes)


def test_plain_values_have_no_classes(tmp_path, cube, patches) -> None:
    """The message says so."""
    with pytest.raises(PlanError, match="leave classes out"):
        write_blended(tmp_path / "map.zarr", cube, patches, lambda _: np.zeros((32, 32)), classes=("a",))


def test_no_build_takes_it_for_a_cube_of_its_own(tmp_path, cube, patches) -> None:
    """It is another cube."""
    write_blended(tmp_path / "map.zarr", cube, patches, scores)
    with pytest.raises(WrongStore, match="holds another cube"):
        create_or_open(small_plan(), tmp_path / "map.zarr")


def test_patches_of_another_grid_are_refused(tmp_path, cube, patches) -> None:
    """The cube has none of their zone."""
    with pytest.raises(StoreError, match="no grid of these patches"):
        write_blended(tmp_path / "map.zarr", cube, make_patches(small_plan(crs="EPSG:32632").grid, CORNERS), scores)
