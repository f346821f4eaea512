"""Opening a cube: by us, and by readers that know nothing of us."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
import rasterio
import rioxarray  # noqa: F401  # registers the accessor
import xarray as xr
import zarr
from odc.geo.geobox import GeoBox

from shdask.assemble.store import CubeStore, create_or_open
from shdask.errors import StoreError
from shdask.plan.group import GroupPlan
from shdask.serve.open import IncompleteCubeWarning, open_cube

from ..assemble.conftest import Pixels, small_plan  # noqa: TID252  # tests are no installed package

# affine 3 deprecates what rioxarray 0.19 still writes.
pytestmark = pytest.mark.filterwarnings("ignore:Use `@` matmul:PendingDeprecationWarning")

EPSG = "EPSG:32633"


@pytest.fixture(scope="module")
def plan() -> GroupPlan:
    return small_plan()


@pytest.fixture(scope="module")
def pixels(plan: GroupPlan) -> Pixels:
    return Pixels.random(plan)


def build(plan: GroupPlan, pixels: Pixels, path: Path) -> CubeStore:
    cube = create_or_open(plan, path)
    for tile in plan.tiles():
        cube.write_tile(tile, pixels.of(tile))
    cube.mark_complete(pu_spent=1.0)
    return cube


@pytest.fixture(scope="module")
def cube(plan: GroupPlan, pixels: Pixels, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(plan, pixels, tmp_path_factory.mktemp("dn") / "cube.zarr").place.path


@pytest.fixture(scope="module")
def reflectance(pixels: Pixels, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(small_plan(units="REFLECTANCE"), pixels, tmp_path_factory.mktemp("float") / "cube.zarr").place.path


# Readers that know nothing of us


def test_plain_xarray_and_rioxarray_place_the_cube(cube: Path, plan: GroupPlan):
    """CRS, transform and bounds are right without a word from us, as odc-geo has them."""
    dataset = xr.open_zarr(cube)
    box = GeoBox(plan.grid.shape, rasterio.Affine(10, 0, 500000, 0, -10, 5000000), EPSG)
    assert dataset.rio.crs == rasterio.CRS.from_epsg(32633)
    assert dataset["B04"].rio.crs == rasterio.CRS.from_epsg(32633)
    assert dataset["B04"].rio.transform() == box.transform
    assert dataset["B04"].rio.transform(recalc=True) == box.transform
    assert dataset["B04"].rio.bounds() == (500000, 4999300, 500800, 5000000)


def test_plain_xarray_reads_every_pixel_in_the_stored_type(cube: Path, pixels: Pixels):
    """No fill value turns integers into floats."""
    dataset = xr.open_zarr(cube)
    assert dataset["B04"].dtype == np.uint16
    np.testing.assert_array_equal(dataset["B04"], np.where(pixels.mask, pixels.values[0], 0))


def test_coordinates_are_pixel_centres(cube: Path):
    """X and y are numbers with units, y from north to south."""
    dataset = xr.open_zarr(cube)
    np.testing.assert_array_equal(dataset["x"], 500005.0 + 10 * np.arange(80))
    np.testing.assert_array_equal(dataset["y"], 4999995.0 - 10 * np.arange(70))
    assert (dataset["x"].attrs["standard_name"], dataset["x"].attrs["units"]) == ("projection_x_coordinate", "metre")


def test_a_geographic_cube_has_degrees(tmp_path: Path):
    """Axes follow the CRS."""
    create_or_open(small_plan(crs="EPSG:4326", resolution=0.0001), tmp_path / "cube.zarr")
    dataset = xr.open_zarr(tmp_path / "cube.zarr")
    assert dataset.rio.crs == rasterio.CRS.from_epsg(4326)
    assert (dataset["y"].attrs["units"], dataset["x"].attrs["units"]) == ("degrees_north", "degrees_east")


@pytest.mark.parametrize("masked", [False, True])
def test_a_geotiff_made_from_it_is_the_same_picture(cube: Path, pixels: Pixels, tmp_path: Path, *, masked: bool):
    """Rioxarray writes it, rasterio reads it: array, transform and CRS are the cube's."""
    opened = open_cube(cube, masked=masked)
    opened["B04"].rio.to_raster(tmp_path / "b04.tif")
    with rasterio.open(tmp_path / "b04.tif") as tif:
        np.testing.assert_array_equal(tif.read(1), np.where(pixels.mask, pixels.values[0], np.nan if masked else 0))
        assert tif.transform == rasterio.Affine(10, 0, 500000, 0, -10, 5000000)
        assert tif.crs == rasterio.CRS.from_epsg(32633)


def test_a_geotiff_made_from_reflectance_knows_its_nodata(reflectance: Path, tmp_path: Path):
    """NaN is nodata for readers of files."""
    xr.open_zarr(reflectance)["B04"].rio.to_raster(tmp_path / "b04.tif")
    with rasterio.open(tmp_path / "b04.tif") as tif:
        assert np.isnan(tif.nodata)


@pytest.mark.parametrize("band", ["B04", "SCL"])
def test_a_geotiff_made_from_masked_pixels_knows_its_nodata(cube: Path, tmp_path: Path, band: str):
    """The file says that NaN is no data, whatever type the cube stores."""
    open_cube(cube, masked=True)[band].rio.to_raster(tmp_path / "a.tif")
    with rasterio.open(tmp_path / "a.tif") as tif:
        assert np.isnan(tif.nodata)


def test_opening_without_consolidated_metadata_gives_the_same(cube: Path):
    """The consolidated metadata says what the arrays say."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"Object at \.shdask is not recognized")
        plain = xr.open_zarr(cube, consolidated=False)
    xr.testing.assert_identical(plain, xr.open_zarr(cube, consolidated=True))


def test_zarr_lists_the_arrays_without_a_warning(cube: Path):
    """The folder of ledger and lease disturbs no reader."""
    assert sorted(zarr.open_group(cube, mode="r").array_keys()) == [
        "B04",
        "SCL",
        "data_mask",
        "spatial_ref",
        "tile_state",
        "x",
        "y",
    ]


# open_cube


def test_an_opened_cube_holds_bands_then_mask(cube: Path, pixels: Pixels):
    """Bands in the plan's order, the mask last, pixels as stored."""
    dataset = open_cube(cube)
    assert list(dataset.data_vars) == ["B04", "SCL", "data_mask"]
    np.testing.assert_array_equal(dataset["SCL"], np.where(pixels.mask, pixels.values[1], 0))
    np.testing.assert_array_equal(dataset["data_mask"], pixels.mask)
    assert dataset.rio.crs == rasterio.CRS.from_epsg(32633)


def test_blocks_are_tiles(cube: Path):
    """One Dask block reads one shard."""
    assert open_cube(cube)["B04"].chunks == ((32, 32, 6), (32, 32, 16))


def test_nothing_is_read_at_opening(cube: Path, monkeypatch: pytest.MonkeyPatch):
    """Opening touches metadata and coordinates only."""
    keys = []
    get = zarr.storage.LocalStore.get

    async def remember(store: zarr.storage.LocalStore, key: str, *args: object, **options: object) -> object:
        keys.append(key)
        return await get(store, key, *args, **options)

    monkeypatch.setattr(zarr.storage.LocalStore, "get", remember)
    open_cube(cube, masked=True, bbox=(500000, 4999300, 500400, 4999700))
    assert {key for key in keys if key.startswith(("B04/c", "SCL/c", "data_mask/c"))} == set()


def test_masked_bands_are_nan_where_the_mask_is_zero(cube: Path, pixels: Pixels):
    """Integers of 8 and 16 bits become float32; the mask stays as it is."""
    dataset = open_cube(cube, masked=True)
    assert (dataset["B04"].dtype, dataset["SCL"].dtype, dataset["data_mask"].dtype) == ("float32", "float32", "uint8")
    np.testing.assert_array_equal(dataset["B04"], np.where(pixels.mask, pixels.values[0], np.nan))
    assert dataset["B04"].rio.crs == rasterio.CRS.from_epsg(32633)


def test_masked_reflectance_stays_float32(reflectance: Path, pixels: Pixels):
    """Floats are NaN outside the mask either way."""
    dataset = open_cube(reflectance, masked=True)
    assert dataset["B04"].dtype == np.float32
    np.testing.assert_array_equal(np.isnan(dataset["B04"]), ~pixels.mask)


@pytest.mark.parametrize(
    ("bbox", "rows", "columns"),
    [
        ((500095, 4999405, 500405, 4999905), slice(9, 60), slice(9, 41)),
        ((500094, 4999404, 500406, 4999906), slice(9, 60), slice(9, 41)),
        ((500096, 4999406, 500404, 4999904), slice(10, 59), slice(10, 40)),
        ((0, 0, 1e6, 1e7), slice(0, 70), slice(0, 80)),
        ((500800 - 10, 4999300, 500800, 4999310), slice(69, 70), slice(79, 80)),
    ],
)
def test_a_bbox_keeps_pixels_whose_centre_lies_in_it(
    cube: Path, bbox: tuple[float, float, float, float], rows: slice, columns: slice
):
    """Edges included; the part is the whole, sliced."""
    part, whole = open_cube(cube, bbox=bbox), open_cube(cube).isel(y=rows, x=columns)
    xr.testing.assert_equal(part, whole)


def test_a_part_is_cut_where_tiles_end(cube: Path):
    """No two blocks of a part read one shard."""
    part = open_cube(cube, bbox=(500095, 4999405, 500405, 4999905))
    assert part["B04"].chunks == ((23, 28), (23, 9))


def test_a_part_is_placed_right(cube: Path, tmp_path: Path):
    """A GeoTIFF of a part lies where the part lies."""
    part = open_cube(cube, bbox=(500095, 4999405, 500405, 4999905))
    part["B04"].rio.to_raster(tmp_path / "part.tif")
    with rasterio.open(tmp_path / "part.tif") as tif:
        assert tif.transform == rasterio.Affine(10, 0, 500090, 0, -10, 4999910)
    assert part.rio.transform() == rasterio.Affine(10, 0, 500090, 0, -10, 4999910)
    assert not {"spatial:transform", "spatial:bbox", "spatial:shape"} & set(part.attrs)


def test_a_bbox_beside_the_cube_is_an_error_that_says_where_it_is(cube: Path):
    """A bbox in another CRS is the usual cause."""
    with pytest.raises(StoreError, match=r"in the cube's CRS, and the cube spans 500005\.\.500795"):
        open_cube(cube, bbox=(14, 45, 15, 46))


def test_the_layer_may_be_named(cube: Path):
    """A cube of one layer is that layer."""
    xr.testing.assert_identical(open_cube(cube, layer="s2"), open_cube(cube))


def test_another_layer_is_an_error_that_names_the_one_there(cube: Path):
    """Asking for what is not there names what is."""
    with pytest.raises(StoreError, match="no layer 's1'; it holds 's2'"):
        open_cube(cube, layer="s1")


def test_an_incomplete_cube_warns(plan: GroupPlan, tmp_path: Path):
    """A cube with missing tiles can be opened, and says so."""
    create_or_open(plan, tmp_path / "cube.zarr")
    with pytest.warns(IncompleteCubeWarning, match="is not complete"):
        dataset = open_cube(tmp_path / "cube.zarr")
    assert not dataset["data_mask"].any()


def test_a_path_without_a_cube_is_an_error_with_a_cure(tmp_path: Path):
    """What is not there, is no cube, or is another's is told apart."""
    zarr.create_group(tmp_path / "other.zarr")
    with pytest.raises(StoreError, match="does not exist; give the folder"):
        open_cube(tmp_path / "nothing.zarr")
    with pytest.raises(StoreError, match="is not a cube; give the folder"):
        open_cube(tmp_path)
    with pytest.raises(StoreError, match="a Zarr store that shdask did not make"):
        open_cube(tmp_path / "other.zarr")


def test_a_cube_cut_short_at_creation_is_an_error_with_a_cure(cube: Path, tmp_path: Path):
    """Half a hierarchy is not opened."""
    attributes = {"shdask_version": zarr.open_group(cube, mode="r").attrs["shdask_version"]}
    zarr.create_group(tmp_path / "half.zarr", attributes=attributes)
    with pytest.raises(StoreError, match="cut short while it was created; run its build again"):
        open_cube(tmp_path / "half.zarr")


def test_an_unsharded_cube_opens_the_same(pixels: Pixels, cube: Path, tmp_path: Path):
    """The layout on disk shows in nothing but the encoding."""
    build(small_plan(sharded=False), pixels, tmp_path / "cube.zarr")
    xr.testing.assert_equal(open_cube(tmp_path / "cube.zarr"), open_cube(cube))
    assert open_cube(tmp_path / "cube.zarr")["B04"].chunks == ((32, 32, 6), (32, 32, 16))


def test_what_is_neither_store_nor_job_is_refused(cube: Path):
    """With what can be opened."""
    with pytest.raises(StoreError, match=r"GroupPlan is no cube; give the folder of one, or a job"):
        open_cube(small_plan())  # type: ignore[arg-type]  # what a newcomer tries


def test_a_bbox_of_three_numbers_is_refused(cube: Path):
    """With what the four are."""
    with pytest.raises(StoreError, match=r"has 3 numbers; it is \(left, bottom, right, top\)"):
        open_cube(cube, bbox=(1, 2, 3))  # type: ignore[arg-type]  # one is missing
