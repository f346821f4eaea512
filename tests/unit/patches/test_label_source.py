"""Labels and rasters of classes that cannot be used: each is refused with its place, and what to do."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyogrio
import pytest
import rasterio
import shapely
from affine import Affine

from shdask.errors import PlanError
from shdask.patches.choosing.labels import LabelColumns, read_features
from shdask.patches.choosing.sample import sample_patches
from shdask.plan.cube import CubePlan
from shdask.planning import make_plan

from .grounds import plain_spec
from .test_labels import collection, write

CROSSED = shapely.Polygon([(15.01, 46.06), (15.03, 46.08), (15.03, 46.06), (15.01, 46.08)])
IN_METRES = shapely.Point(502_000, 5_103_000)
OLD_CRS = {"type": "name", "properties": {"name": "urn:ogc:def:crs:EPSG::32633"}}


@cache
def plan() -> CubePlan:
    """Of 15.00 to 15.08 degrees east, made once."""
    return make_plan(plain_spec())


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (collection([CROSSED]), r"1 polygons are broken, the first at Self-intersection\[15.02 46.07\].*repair them"),
        (collection([IN_METRES]), r"one lies at \(502000, 5.103e\+06\), which are no degrees.*assign the CRS"),
        (collection([shapely.Point(46.07, 15.03)]), "they lie in 46.07 to 46.07 degrees east, 15.03 .*x comes before"),
        (collection([]), "no feature has a geometry and a class; check the file"),
        ({"type": "FeatureCollection"}, "no feature has a geometry and a class; check the file"),
        ({"type": "FeatureCollection", "features": [{"geometry": {"type": "Point", "coordinates": ["a", 1]}}]},
         r"feature 0 has no geometry of GeoJSON \(ValueError"),
        ({"type": "FeatureCollection", "features": [{"properties": {}}]}, "feature 0 has no geometry of GeoJSON"),
        ({"type": "FeatureCollection",
          "features": [{"geometry": {"type": "Point", "coordinates": [float("nan"), 46]}}]}, "that are no numbers"),
    ],
)  # fmt: skip  # a row each
def test_labels_that_cannot_be_placed_are_refused(labels: dict[str, Any], message: str) -> None:
    """Broken, in another CRS, elsewhere, none at all."""
    with pytest.raises(PlanError, match=message):
        sample_patches(plan(), size_px=16, scheme="labels", labels=labels)


@pytest.mark.parametrize("value", [20240601, 45444, "0024-06-01"])
def test_numbers_are_no_dates(value: object) -> None:
    """Nor are years long gone."""
    with pytest.raises(PlanError, match=f"seen holds no date: {value}; write them as 2024-06-01"):
        read_features(collection([shapely.Point(15, 46)], [{"seen": value}]), LabelColumns(date="seen"))


@pytest.mark.parametrize("value", [float("inf"), 2**70])
def test_classes_without_end_are_refused(value: object) -> None:
    """They are no numbers of classes."""
    with pytest.raises(PlanError, match="whole ones from 0"):
        read_features(collection([shapely.Point(15, 46)], [{"crop": value}]), LabelColumns(label="crop"))


def test_dates_with_a_time_zone_are_turned_to_utc(tmp_path: Path) -> None:
    """Of a file as of a mapping."""
    labels = collection([shapely.Point(15, 46)], [{"seen": "2024-06-01T01:00:00+02:00"}])
    (tmp_path / "labels.geojson").write_text(json.dumps(labels))
    found = [read_features(each, LabelColumns(date="seen")).date for each in (labels, tmp_path / "labels.geojson")]
    assert [each.astype(str).tolist() for each in found] == [["2024-05-31T23:00:00"]] * 2


def test_a_crs_that_geojson_names_is_taken() -> None:
    """As its files have been written for long."""
    found = read_features({**collection([IN_METRES]), "crs": OLD_CRS}, LabelColumns())
    assert found.crs == "EPSG:32633"


@pytest.mark.parametrize(
    "crs", [{"type": "name"}, {"type": "link", "properties": {"href": "http://x"}}, "EPSG:32633", {"type": "name",
    "properties": ["EPSG:32633"]}],
)  # fmt: skip  # a row
def test_a_crs_that_names_none_is_refused(crs: object) -> None:
    """Rather than taken for degrees."""
    with pytest.raises(PlanError, match=r"labels: crs is .*, which names none; leave it out .* or give"):
        read_features({**collection([IN_METRES]), "crs": crs}, LabelColumns())


def test_properties_that_are_no_table_are_refused() -> None:
    """The feature is named."""
    labels = collection([shapely.Point(15, 46)] * 2, [{"crop": 1}, {}])
    labels["features"][1]["properties"] = ["crop"]
    with pytest.raises(PlanError, match="feature 1 has a list of properties; give names and values"):
        read_features(labels, LabelColumns(label="crop"))


def test_a_file_of_several_layers_is_refused(tmp_path: Path) -> None:
    """They are named; a table without shapes beside them is not in the way."""
    path = write(tmp_path / "labels.gpkg", [shapely.Point(500_000, 5_200_000)])
    pyogrio.raw.write(path, None, [np.array(["red"], object)], ["style"], layer="layer_styles", append=True)
    assert read_features(path, LabelColumns()).geometry.size == 1
    shapes = shapely.to_wkb(np.array([shapely.Point(15, 46)], object))
    pyogrio.raw.write(path, shapes, [], [], layer="more", geometry_type="Point", crs="EPSG:4326", append=True)
    with pytest.raises(PlanError, match="has several layers, labels, more; save the one"):
        read_features(path, LabelColumns())


def test_a_table_without_shapes_is_refused(tmp_path: Path) -> None:
    """Such as a text file."""
    (tmp_path / "plain.csv").write_text("a,b\n1,2\n")
    with pytest.raises(PlanError, match=r"plain.csv has no geometries; give points or polygons"):
        read_features(tmp_path / "plain.csv", LabelColumns())


def write_raster(path: Path, transform: Affine, nodata: int | None) -> Path:
    """A class of 1 everywhere."""
    with rasterio.open(
        path, "w", driver="GTiff", width=400, height=400, count=1, dtype="uint8", crs="EPSG:32633",
        transform=transform, nodata=nodata,
    ) as raster:  # fmt: skip  # one call
        raster.write(np.ones((400, 400), np.uint8), 1)
    return path


@pytest.mark.parametrize(("left", "nodata"), [(900_000, None), (500_000, 1)])
def test_a_raster_that_tells_nothing_is_refused(tmp_path: Path, left: float, nodata: int | None) -> None:
    """It lies elsewhere, or is all nodata."""
    path = write_raster(tmp_path / "classes.tif", Affine(20, 0, left, 0, -20, 5_108_000), nodata)
    with pytest.raises(PlanError, match=r"of a class of .*classes.tif: .*check its place and nodata"):
        sample_patches(plan(), size_px=32, labels=path)


def test_features_are_no_raster(tmp_path: Path) -> None:
    """The scheme that takes them is named."""
    (tmp_path / "labels.geojson").write_text(json.dumps(collection([shapely.Point(15.03, 46.07)])))
    with pytest.raises(PlanError, match=r'is no GeoTIFF; points and polygons need scheme = "labels"'):
        sample_patches(plan(), size_px=32, labels=tmp_path / "labels.geojson")
