"""STAC items of small cubes, held against pystac and its schemas; no network is asked."""

from __future__ import annotations

import json
from pathlib import Path

import pystac
import pytest
from pystac.extensions.datacube import DatacubeExtension
from pystac.extensions.projection import ProjectionExtension
from pystac.validation.stac_validator import JsonSchemaSTACValidator

import shdask
from shdask.errors import StoreUnavailable
from shdask.serve.cog import export_cog
from shdask.serve.stac import make_item, write_item
from tests.unit.assemble.conftest import small_plan

from .timed import fill, fill_tree, flat_plan, timed_plan

pytestmark = pytest.mark.filterwarnings("ignore:Use `@` matmul:PendingDeprecationWarning")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("stac")


@pytest.fixture(scope="module")
def series(folder: Path) -> Path:
    return fill(timed_plan(), folder / "series.zarr").place.path


@pytest.fixture(scope="module")
def mosaic(folder: Path) -> Path:
    return fill(small_plan(units="REFLECTANCE"), folder / "mosaic.zarr").place.path


@pytest.mark.parametrize("name", ["series", "mosaic"])
def test_pystac_finds_items_valid(name: str, request: pytest.FixtureRequest):
    """By the schemas of STAC 1.1 that come with it."""
    item = make_item(request.getfixturevalue(name))
    validator = JsonSchemaSTACValidator()
    validator.validate_core(item, pystac.STACObjectType.ITEM, "1.1.0")


def test_the_files_of_an_export_are_valid_too(series: Path, folder: Path):
    """An asset for each date, named from the item's folder."""
    files = export_cog(series, folder / "tiff" / "out.tif", bands=["B04"])
    item = write_item(series, folder / "item.json", files=files)
    JsonSchemaSTACValidator().validate_core(item, pystac.STACObjectType.ITEM, "1.1.0")
    assert [asset["href"] for asset in item["assets"].values()] == [
        "series.zarr",
        "tiff/out_2024-06-02.tif",
        "tiff/out_2024-06-05.tif",
        "tiff/out_2024-06-09.tif",
    ]
    assert item["assets"]["cog_1_2024-06-05"]["datetime"] == "2024-06-05T00:00:00Z"
    assert json.loads((folder / "item.json").read_text()) == item


def test_pystac_reads_dimensions_and_variables(series: Path):
    """By its own class of the extension."""
    cube = DatacubeExtension.ext(pystac.Item.from_dict(make_item(series)))
    dimensions = {name: dimension.extent for name, dimension in cube.dimensions.items()}
    assert dimensions == {
        "x": [500000.0, 500800.0],
        "y": [4999300.0, 5000000.0],
        "time": ["2024-06-02T10:11:12Z", "2024-06-09T23:59:59Z"],
    }
    assert {name: variable.dimensions for name, variable in cube.variables.items()} == {
        "B04": ["time", "y", "x"],
        "SCL": ["time", "y", "x"],
        "data_mask": ["time", "y", "x"],
    }


def test_pystac_reads_the_projection(mosaic: Path):
    """By its own class of the extension."""
    found = ProjectionExtension.ext(pystac.Item.from_dict(make_item(mosaic)))
    assert (found.code, found.shape) == ("EPSG:32633", [70, 80])
    assert found.transform == [10.0, 0.0, 500000.0, 0.0, -10.0, 5000000.0]
    assert found.bbox == [500000.0, 4999300.0, 500800.0, 5000000.0]


def test_a_series_spans_its_dates_and_a_mosaic_its_interval(series: Path, mosaic: Path):
    """There is no one time."""
    dated, whole = make_item(series)["properties"], make_item(mosaic)["properties"]
    assert (dated["datetime"], dated["start_datetime"], dated["end_datetime"]) == (
        None,
        "2024-06-02T10:11:12Z",
        "2024-06-09T23:59:59Z",
    )
    assert (whole["start_datetime"], whole["end_datetime"]) == ("2024-06-01T00:00:00Z", "2024-07-01T00:00:00Z")


def test_the_geometry_is_the_extent_in_degrees(mosaic: Path):
    """15 degrees east is x = 500000; what pyproj makes of the corners."""
    item = make_item(mosaic)
    assert item["bbox"] == pytest.approx([15.0, 45.1471755, 15.0101775, 45.1534772], abs=1e-6)
    assert item["geometry"]["type"] == "Polygon"


def test_an_extent_across_the_antimeridian_is_split(tmp_path: Path):
    """Its bbox goes from west to east, as GeoJSON has it."""
    spec = shdask.CubeSpec(
        aoi=(179.995, -17.01, -179.995, -17.0),
        crs="EPSG:32660",
        resolution=20,
        time=("2024-06-01", "2024-06-30"),
        layers={"s2": {"collection": "sentinel-2-l2a", "bands": ("B04",)}},
        store={"chunk_px": 64, "tile_px": 64},
    )
    item = make_item(fill(shdask.make_plan(spec).only, tmp_path / "cube.zarr").place.path)
    JsonSchemaSTACValidator().validate_core(item, pystac.STACObjectType.ITEM, "1.1.0")
    assert item["geometry"]["type"] == "MultiPolygon"
    assert item["bbox"] == pytest.approx([179.995, -17.01, -179.995, -17.0], abs=5e-4)


def test_bands_tell_type_unit_and_nodata(mosaic: Path):
    """In the words of STAC 1.1."""
    assert make_item(mosaic)["assets"]["zarr"]["bands"] == [
        {"name": "B04", "data_type": "float32", "nodata": "nan", "unit": "1"},
        {"name": "SCL", "data_type": "uint8"},
    ]


def test_a_layer_of_a_tree_is_an_item_of_its_own(tmp_path: Path):
    """Its asset is its group."""
    path = fill_tree(tmp_path / "cube.zarr", s2=timed_plan(), flat=flat_plan())
    item = make_item(path, layer="flat", folder=tmp_path)
    assert (item["id"], item["assets"]["zarr"]["href"]) == ("cube-flat", "cube.zarr/flat")


def test_a_place_that_cannot_be_written_is_named(mosaic: Path, tmp_path: Path):
    """With the cure."""
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreUnavailable, match="choose another file"):
        write_item(mosaic, tmp_path / "file" / "item.json")
