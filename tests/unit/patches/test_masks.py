"""What a model shall learn of each pixel."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pyogrio.raw
import pytest
import rasterio
import shapely
from pyproj import Transformer
from rasterio.transform import from_origin

from shdask.errors import PlanError
from shdask.patches.reading.masks import PolygonMask, RasterMask, map_classes
from shdask.patches.table import Patch
from tests.unit.assemble.conftest import small_plan
from tests.unit.patches.rows import make_patches

IGNORE = -100


def patch_at(row: int, column: int, size_px: int = 16) -> Patch:
    """Of a grid of 10 m that begins at (500000, 5000000)."""
    return make_patches(small_plan().grid, [(row, column)], size_px=size_px)[0]


@pytest.fixture(scope="module")
def raster(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Codes 1 to 3 in 40 x 40 px of 10 m, its first ten rows without data."""
    path = tmp_path_factory.mktemp("raster") / "classes.tif"
    codes = (np.arange(40)[:, np.newaxis] + np.arange(40)).astype(np.uint8) % 3 + 1
    codes[:10] = 255
    place = {"crs": "EPSG:32633", "transform": from_origin(500000, 5000000, 10, 10), "nodata": 255}
    with rasterio.open(path, "w", driver="GTiff", width=40, height=40, count=1, dtype="uint8", **place) as file:
        file.write(codes, 1)
    return path


@pytest.fixture(scope="module")
def parcels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two fields in degrees, the second lying over the first's east."""
    path = tmp_path_factory.mktemp("parcels") / "parcels.gpkg"
    corners = [shapely.box(500000, 4999900, 500100, 5000000), shapely.box(500050, 4999900, 500160, 5000000)]
    shift = Transformer.from_crs("EPSG:32633", "EPSG:4326", always_xy=True)
    fields = shapely.transform(corners, lambda points: np.column_stack(shift.transform(points[:, 0], points[:, 1])))
    pyogrio.raw.write(
        path,
        geometry=np.array(shapely.to_wkb(fields), object),
        field_data=[np.array([4, 6], np.int32), np.array(["wheat", "rye"], object)],
        fields=["crop", "name"],
        crs="EPSG:4326",
        geometry_type="Polygon",
        driver="GPKG",
    )
    return path


def test_a_raster_on_the_grid_is_taken_as_it_is(raster: Path):
    """Pixel by pixel."""
    with rasterio.open(raster) as file:
        expected = file.read(1)[12:28, 20:36]
    found = RasterMask(path=raster)(patch_at(12, 20))
    np.testing.assert_array_equal(found, expected)
    assert found.dtype == np.int64


def test_what_a_raster_does_not_tell_is_ignored(raster: Path):
    """No data, and beyond its edge."""
    found = RasterMask(path=raster)(patch_at(4, 32))
    assert (found[:6] == IGNORE).all()
    assert (found[:, 8:] == IGNORE).all()
    assert (found[6:, :8] > 0).all()


def test_beyond_a_raster_without_nodata_is_ignored(tmp_path: Path):
    """Though 0 is a class of it: the west half of the patch lies on the raster."""
    path = tmp_path / "classes.tif"
    place = {"crs": "EPSG:32633", "transform": from_origin(500000, 5000000, 10, 10)}
    with rasterio.open(path, "w", driver="GTiff", width=40, height=40, count=1, dtype="uint8", **place) as file:
        file.write(np.zeros((40, 40), np.uint8), 1)
    found = RasterMask(path=path)(patch_at(12, 32))
    np.testing.assert_array_equal(found, np.repeat([[0] * 8 + [IGNORE] * 8], 16, axis=0))


def test_a_raster_with_an_alpha_of_its_own_keeps_it(tmp_path: Path):
    """Transparent pixels, here of odd rows, and those beyond the raster are ignored."""
    path = tmp_path / "classes.tif"
    place = {"crs": "EPSG:32633", "transform": from_origin(500000, 5000000, 10, 10), "alpha": "yes"}
    alpha = np.repeat([[255], [0]] * 20, 40, axis=1).astype(np.uint8)
    with rasterio.open(path, "w", driver="GTiff", width=40, height=40, count=2, dtype="uint8", **place) as file:
        file.write(np.stack((np.zeros((40, 40), np.uint8), alpha)))
    found = RasterMask(path=path)(patch_at(12, 32))
    expected = np.full((16, 16), IGNORE)
    expected[::2, :8] = 0
    np.testing.assert_array_equal(found, expected)


def test_classes_are_renamed_and_others_ignored(raster: Path):
    """Code 3 is not named."""
    plain, named = (RasterMask(path=raster, classes=classes)(patch_at(12, 20)) for classes in (None, {1: 0, 2: 5}))
    np.testing.assert_array_equal(named, np.select([plain == 1, plain == 2], [0, 5], IGNORE))


def test_a_raster_of_another_crs_is_warped(tmp_path: Path):
    """To the nearest pixel: west of 15 degrees is 1, east 2, as the central meridian divides the patch."""
    path = tmp_path / "degrees.tif"
    place = {"crs": "EPSG:4326", "transform": from_origin(14.99, 45.2, 0.001, 0.001)}
    codes = np.repeat([[1] * 10 + [2] * 10], 100, axis=0).astype(np.uint8)
    with rasterio.open(path, "w", driver="GTiff", width=20, height=100, count=1, dtype="uint8", **place) as file:
        file.write(codes, 1)
    straddling = patch_at(0, -8)
    found = RasterMask(path=path)(straddling)
    np.testing.assert_array_equal(found, np.repeat([[1] * 8 + [2] * 8], 16, axis=0))


def test_a_missing_raster_is_refused(tmp_path: Path):
    """With its path."""
    with pytest.raises(PlanError, match=r"mask: .*none\.tif cannot be read"):
        RasterMask(path=tmp_path / "none.tif")(patch_at(0, 0))


def test_polygons_are_drawn_by_pixel_centre_the_last_on_top(parcels: Path):
    """The first field has 5 columns left, the second 11; both have ten rows."""
    found = PolygonMask(path=parcels, class_column="crop", background=0)(patch_at(0, 0))
    expected = np.zeros((16, 16), np.int64)
    expected[:10, :5], expected[:10, 5:16] = 4, 6
    np.testing.assert_array_equal(found, expected)


def test_where_no_polygon_lies_is_background(parcels: Path):
    """Ignored unless it is a class."""
    assert (PolygonMask(path=parcels, class_column="crop")(patch_at(40, 40)) == IGNORE).all()


def test_polygons_travel(parcels: Path):
    """To the process that reads."""
    mask = PolygonMask(path=parcels, class_column="crop")
    expected = mask(patch_at(0, 0))
    other = pickle.loads(pickle.dumps(mask))  # noqa: S301  # our own
    np.testing.assert_array_equal(other(patch_at(0, 0)), expected)


def test_a_column_that_is_no_class_is_refused(parcels: Path):
    """Names, and one that is not there."""
    with pytest.raises(PlanError, match="no column 'name' of whole numbers"):
        PolygonMask(path=parcels, class_column="name")(patch_at(0, 0))
    with pytest.raises(PlanError, match="no column 'age' of whole numbers"):
        PolygonMask(path=parcels, class_column="age")(patch_at(0, 0))


def test_codes_that_are_not_known_are_ignored():
    """Whatever they are."""
    found = map_classes(np.array([[0, 5]], np.uint8), np.array([[True, False]]), None, 255)
    assert found.tolist() == [[0, 255]]
