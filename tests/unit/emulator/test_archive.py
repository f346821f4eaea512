"""Folders of GeoTIFFs as collections."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pytest
import rasterio
from rasterio.transform import from_origin

from shdask.emulator.archive import ArchiveSource
from shdask.emulator.lattice import make_lattice
from shdask.emulator.process.choices import Choices

START, END = datetime(2016, 1, 1, tzinfo=UTC), datetime(2016, 1, 31, tzinfo=UTC)
SCENE = "sentinel-2-l1c_T18SVG_2016-01-12"


def write(path, array, *, resolution=10.0, nodata=None):
    """A GeoTIFF of ``array`` (y, x) whose upper left corner is (500000, 5000000) in EPSG:32633."""
    path.parent.mkdir(parents=True, exist_ok=True)
    profile = {
        "driver": "GTiff",
        "count": 1,
        "height": array.shape[0],
        "width": array.shape[1],
        "dtype": array.dtype.name,
        "crs": "EPSG:32633",
        "transform": from_origin(500000, 5000000, resolution, resolution),
        "nodata": nodata,
    }
    with rasterio.open(path, "w", **profile) as dataset:
        dataset.write(array, 1)


def look(source, bands, bbox, width, height, crs="EPSG:32633", choices=None):
    """The source's first scene in January 2016 on a lattice."""
    lattice = make_lattice(crs, bbox, width, height)
    scene = source.scenes(lattice, START, END)[0]
    return source.render(scene, bands, lattice, choices or Choices(), np.ones(lattice.shape, dtype=bool))


def test_one_folder_is_one_acquisition_and_folders_are_several(tmp_path):
    """Dates at the end of folder names are the times of the acquisitions."""
    write(tmp_path / "T33_2016-01-12" / "B05.tif", np.ones((2, 2), np.uint16))
    write(tmp_path / "T33_2016-02-01" / "B06.tif", np.ones((2, 2), np.uint16))
    source = ArchiveSource.open_folder("byoc-x", tmp_path)
    lattice = make_lattice("EPSG:32633", (500000, 4999980, 500020, 5000000), 2, 2)
    assert list(source.bands) == ["B05", "B06"]
    assert [scene.id for scene in source.scenes(lattice, START, END)] == ["T33_2016-01-12"]


def test_zeros_are_data_without_a_nodata_tag(tmp_path):
    """A file without the tag has data everywhere in its raster."""
    write(tmp_path / "B05.tif", np.array([[0, 5], [6, 0]], np.uint16))
    pixels = look(ArchiveSource.open_folder("byoc-x", tmp_path), ["B05"], (500000, 4999980, 500020, 5000000), 2, 2)
    assert pixels.data_mask.all()


@pytest.mark.parametrize(
    ("size_px", "resolution", "expected"), [(600, 10.0, 100.0), (500, 10.0, 50.0), (600, 60.0, 500.0), (90, 3.0, 15.0)]
)
def test_an_archive_is_as_coarse_as_five_of_its_overviews(tmp_path, size_px, resolution, expected):
    """Overviews by 2 and 4 count from 256 px on, and nothing goes beyond 500 m/px."""
    write(tmp_path / "B05.tif", np.ones((size_px, size_px), np.uint8), resolution=resolution)
    with rasterio.open(tmp_path / "B05.tif", "r+") as file:
        file.build_overviews([2, 4])
    assert ArchiveSource.open_folder("byoc-x", tmp_path).max_metres_per_px == expected


def test_an_archive_of_sentinel_2_is_as_coarse_as_that(tmp_path):
    """1500 m/px, whatever its files."""
    write(tmp_path / "B05.tif", np.ones((2, 2), np.uint8))
    assert ArchiveSource.open_folder("sentinel-2-l2a", tmp_path).max_metres_per_px == 1500


def test_nan_is_no_data(tmp_path):
    """With or without a tag."""
    write(tmp_path / "B05.tif", np.array([[np.nan, 5], [6, 0]], np.float32))
    pixels = look(ArchiveSource.open_folder("byoc-x", tmp_path), ["B05"], (500000, 4999980, 500020, 5000000), 2, 2)
    np.testing.assert_array_equal(pixels.data_mask, [[False, True], [True, True]])


def test_nodata_tag_makes_no_data(tmp_path):
    """Pixels that hold the file's nodata value are 0 with dataMask 0."""
    write(tmp_path / "B05.tif", np.array([[9, 5], [6, 9]], np.uint16), nodata=9)
    pixels = look(ArchiveSource.open_folder("byoc-x", tmp_path), ["B05"], (500000, 4999980, 500020, 5000000), 2, 2)
    np.testing.assert_array_equal(pixels.data_mask, [[False, True], [True, False]])
    np.testing.assert_array_equal(pixels.values[0], [[0, 5], [6, 0]])


def test_bands_keep_their_own_resolution(tmp_path):
    """A 60 m band asked for at 20 m by nearest repeats its pixels."""
    coarse = np.arange(1, 5, dtype=np.uint16).reshape(2, 2)
    write(tmp_path / "B01.tif", coarse, resolution=60.0)
    pixels = look(ArchiveSource.open_folder("byoc-x", tmp_path), ["B01"], (500000, 4999880, 500120, 5000000), 6, 6)
    np.testing.assert_array_equal(pixels.values[0], np.kron(coarse, np.ones((3, 3))))


def test_finer_requests_take_the_upsampling(tmp_path):
    """Upsampling rules where the request is finer than the file, downsampling where it is coarser."""
    write(tmp_path / "B01.tif", np.array([[0, 100], [0, 100]], np.uint16), resolution=60.0)
    source, bbox = ArchiveSource.open_folder("byoc-x", tmp_path), (500000, 4999880, 500120, 5000000)
    fine = look(source, ["B01"], bbox, 12, 12, choices=Choices(upsampling="BILINEAR"))
    coarse = look(source, ["B01"], bbox, 1, 1, choices=Choices(upsampling="BILINEAR"))
    assert len(np.unique(fine.values)) > 2
    assert coarse.values[0, 0, 0] == 100


def test_far_from_the_files_is_nothing(tmp_path):
    """A request that meets no file has no pixels."""
    write(tmp_path / "B05.tif", np.ones((2, 2), np.uint16))
    assert look(ArchiveSource.open_folder("byoc-x", tmp_path), ["B05"], (0, 0, 20, 20), 2, 2) is None


def test_link_out_of_the_folder_is_refused(tmp_path):
    """Only files inside the folder are served."""
    write(tmp_path / "secret.tif", np.ones((2, 2), np.uint16))
    (tmp_path / "archive").mkdir()
    (tmp_path / "archive" / "B05.tif").symlink_to(tmp_path / "secret.tif")
    with pytest.raises(ValueError, match="outside"):
        ArchiveSource.open_folder("byoc-x", tmp_path / "archive")


def test_empty_folder_is_refused(tmp_path):
    """A folder without GeoTIFFs is a mistake, told at the start."""
    with pytest.raises(ValueError, match="no GeoTIFF"):
        ArchiveSource.open_folder("byoc-x", tmp_path)


@pytest.mark.parametrize("band", ["B05", "B01"])
def test_scene_on_its_own_grid_is_the_file(shared_data, band):
    """A real band at 20 m and at 60 m comes back exactly."""
    source = ArchiveSource.open_folder("sentinel-2-l1c", shared_data / SCENE)
    with rasterio.open(shared_data / SCENE / f"{band}.tif") as dataset:
        expected, bounds = dataset.read(1), tuple(dataset.bounds)
    pixels = look(source, [band], bounds, expected.shape[1], expected.shape[0], "EPSG:32618")
    np.testing.assert_array_equal(pixels.values[0], expected)


@pytest.mark.parametrize("crs_and_bbox", [("EPSG:32617", (968000, 4176000)), ("EPSG:3857", (-8412000, 4534000))])
@pytest.mark.parametrize("resampling", ["NEAREST", "BILINEAR", "BICUBIC"])
def test_window_of_a_window_has_the_same_bits(shared_data, crs_and_bbox, resampling):
    """On a foreign grid a part of an image equals that part asked for alone."""
    crs, (left, bottom) = crs_and_bbox
    source = ArchiveSource.open_folder("sentinel-2-l1c", shared_data / SCENE)
    choices = Choices(upsampling=resampling, downsampling=resampling)
    whole = look(source, ["B05", "B01"], (left, bottom, left + 4000, bottom + 4000), 200, 200, crs, choices)
    box = (left + 660, bottom + 1000, left + 2000, bottom + 3980)
    part = look(source, ["B05", "B01"], box, 67, 149, crs, choices)
    assert whole.data_mask.any()
    np.testing.assert_array_equal(part.values, whole.values[:, 1:150, 33:100])
