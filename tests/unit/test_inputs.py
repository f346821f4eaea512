"""What users bring."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyogrio
import pytest
import rasterio
import shapely

from shdask.errors import PlanError
from shdask.inputs import read_area, read_reference_grid

SQUARE = {"type": "Polygon", "coordinates": [[[14, 46], [15, 46], [15, 47], [14, 47], [14, 46]]]}
BOX = shapely.box(14, 46, 15, 47)


@pytest.fixture
def two_layers(tmp_path: Path) -> Path:
    """A GeoPackage with layers ``north`` (two named features) and ``south``."""
    path = tmp_path / "areas.gpkg"
    names = np.array(["a", "b"])
    both = shapely.to_wkb([BOX, shapely.box(20, 46, 21, 47)])
    options = {"crs": "EPSG:32633", "geometry_type": "Polygon", "driver": "GPKG"}
    pyogrio.raw.write(path, both, [names], ["name"], layer="north", **options)
    pyogrio.raw.write(path, both[:1], [names[:1]], ["name"], layer="south", append=True, **options)
    return path


@pytest.mark.parametrize(
    "aoi",
    [
        SQUARE,
        {"type": "Feature", "properties": {}, "geometry": SQUARE},
        {"type": "FeatureCollection", "features": [{"type": "Feature", "properties": {}, "geometry": SQUARE}]},
        BOX,
        SimpleNamespace(__geo_interface__=SQUARE),
        [14, 46, 15, 47],
        (14.0, 46.0, 15.0, 47.0),
        np.array([14, 46, 15, 47]),
    ],
    ids=["geometry", "feature", "collection", "shapely", "interface", "list", "tuple", "array"],
)
def test_every_form_of_one_square_is_that_square(aoi: object) -> None:
    """In EPSG:4326 where nothing else is said."""
    area = read_area(aoi)
    assert shapely.equals(area.geometry, BOX)
    assert area.crs == "EPSG:4326"


def test_a_relative_path_counts_from_the_folder(tmp_path: Path) -> None:
    """The job file's folder, not the working directory."""
    (tmp_path / "a.geojson").write_text(json.dumps(SQUARE))
    assert shapely.equals(read_area("a.geojson", folder=tmp_path).geometry, BOX)


def test_a_legacy_crs_member_counts() -> None:
    """Old GeoJSON says its CRS itself."""
    member = {"type": "name", "properties": {"name": "urn:ogc:def:crs:EPSG::32633"}}
    assert read_area({**SQUARE, "crs": member}).crs == "EPSG:32633"


def test_the_users_crs_wins_over_the_files(two_layers: Path) -> None:
    """A wrong file can be put right from the job."""
    assert read_area(two_layers, layer="south", crs="EPSG:3035").crs == "EPSG:3035"


def test_layer_and_where_choose_features(two_layers: Path) -> None:
    """One of the two features of one of the two layers, in the file's CRS."""
    area = read_area(two_layers, layer="north", where="name = 'b'")
    assert area.geometry.bounds == (20, 46, 21, 47)
    assert area.crs == "EPSG:32633"


def test_many_features_are_kept_apart(two_layers: Path) -> None:
    """Their union is the planner's work, part by part."""
    assert len(read_area(two_layers, layer="north").geometry.geoms) == 2


def test_heights_are_dropped() -> None:
    """An area has only x and y."""
    assert not read_area(shapely.force_3d(BOX, 5.0)).geometry.has_z


def test_a_box_across_the_antimeridian_goes_on_past_180() -> None:
    """A left > right in degrees, as RFC 7946 has it."""
    assert read_area([177, -20, -178, -15]).geometry.bounds == (177, -20, 182, -15)


def test_slovenia_is_in_utm_33(shared_data: Path) -> None:
    """20,313 km2 by the folder's own README."""
    area = read_area(shared_data / "slovenia.geojson")
    assert area.crs == "EPSG:32633"
    assert area.geometry.area / 1e6 == pytest.approx(20313, abs=1)


@pytest.mark.parametrize(
    ("aoi", "options", "message"),
    [
        ("missing.geojson", {}, r"aoi: .*missing\.geojson does not exist; relative paths count from"),
        ("bad.geojson", {}, r"aoi: .*bad\.geojson cannot be read as a vector file"),
        ("none.geojson", {}, r"aoi: .*none\.geojson: it has no feature with a geometry"),
        ("line.geojson", {}, r"aoi: .*line\.geojson: LineString is no area; give polygons, or buffer"),
        ("areas.gpkg", {}, r"^aoi: \S+ has layers north, south; choose one with aoi_layer"),
        ("areas.gpkg", {"layer": "west"}, r"^aoi_layer: \S+ has no layer 'west'; it has north, south"),
        (
            "areas.gpkg",
            {"layer": "north", "where": "name = 'z'"},
            r"^aoi: \S+: no feature matches aoi_where = \"name = 'z'\"",
        ),
        ("areas.gpkg", {"layer": "north", "where": "nam ="}, r"aoi_where: 'nam =' does not choose from"),
        (SQUARE, {"where": "a = 1"}, r"aoi_layer and aoi_where choose from a file, and aoi is not a path"),
        (SQUARE, {"crs": "EPSG:99999"}, r"aoi_crs: 'EPSG:99999' is not a CRS; write it as"),
        ([1, 2, 3], {}, r"aoi: \[1, 2, 3\] is not a bbox; give four numbers"),
        ([15, 46, 14, 47], {"crs": "EPSG:32633"}, r"is not \[left, bottom, right, top\] with left < right"),
        ({"type": "Polygon"}, {}, r"aoi: this is not GeoJSON \(type 'Polygon'\)"),
        ({"type": "FeatureCollection", "features": []}, {}, r"aoi: there is no geometry in it"),
        ({"type": "Feature", "geometry": None}, {}, r"aoi: there is no geometry in it"),
        (shapely.Point(1, 2), {}, r"aoi: Point is no area"),
        (7, {}, r"aoi: int is no area; give a path, a GeoJSON mapping"),
    ],
)
@pytest.mark.usefixtures("two_layers")
def test_an_unusable_area_is_refused_with_place_and_cure(
    tmp_path: Path, aoi: object, options: dict[str, Any], message: str
) -> None:
    """Each mistake has its own sentence."""
    (tmp_path / "bad.geojson").write_text("{")
    (tmp_path / "none.geojson").write_text('{"type": "FeatureCollection", "features": []}')
    (tmp_path / "line.geojson").write_text('{"type": "LineString", "coordinates": [[0, 0], [1, 1]]}')
    with pytest.raises(PlanError, match=message):
        read_area(aoi, folder=tmp_path, **options)


def write_raster(path: Path, transform: tuple[float, ...], crs: str | None) -> None:
    profile = {"driver": "GTiff", "width": 4, "height": 3, "count": 1, "dtype": "uint8"}
    with rasterio.open(path, "w", crs=crs, transform=rasterio.Affine(*transform), **profile) as raster:
        raster.write(np.zeros((1, 3, 4), np.uint8))


def test_a_rasters_grid_is_read_as_it_stands(tmp_path: Path) -> None:
    """Transform and (rows, columns), to the bit."""
    write_raster(tmp_path / "a.tif", (30, 0, 452475.5, 0, -20, 5000000.25), "EPSG:32616")
    grid = read_reference_grid("a.tif", folder=tmp_path)
    assert grid.transform == (30.0, 0.0, 452475.5, 0.0, -20.0, 5000000.25)
    assert (grid.crs, grid.shape) == ("EPSG:32616", (3, 4))


@pytest.mark.parametrize(
    ("transform", "crs", "message"),
    [
        ((30, 5, 0, 0, -30, 0), "EPSG:32616", r"like: .*a\.tif is rotated or not north-up; warp it"),
        ((30, 0, 0, 0, 30, 0), "EPSG:32616", r"like: .*a\.tif is rotated or not north-up; warp it"),
        ((30, 0, 0, 0, -30, 0), None, r"like: .*a\.tif has no CRS; assign one"),
    ],
)
def test_an_unusable_raster_is_refused(
    tmp_path: Path, transform: tuple[float, ...], crs: str | None, message: str
) -> None:
    """With the reason and what to do."""
    write_raster(tmp_path / "a.tif", transform, crs)
    with pytest.raises(PlanError, match=message):
        read_reference_grid("a.tif", folder=tmp_path)


@pytest.mark.parametrize(
    ("name", "message"), [("no.tif", "does not exist"), ("text.tif", "cannot be read as a raster")]
)
def test_a_file_that_is_no_raster_is_refused(tmp_path: Path, name: str, message: str) -> None:
    """Missing, or something else."""
    (tmp_path / "text.tif").write_text("no raster")
    with pytest.raises(PlanError, match=rf"like: .*{name} {message}"):
        read_reference_grid(name, folder=tmp_path)


@pytest.mark.parametrize(
    ("aoi", "words"),
    [
        ({"type": "FeatureCollection", "features": None}, "not GeoJSON .type 'FeatureCollection'.*give a geometry"),
        ({"type": "FeatureCollection"}, "not GeoJSON .type 'FeatureCollection'.*give a geometry"),
        ({"type": "FeatureCollection", "features": [1]}, "not GeoJSON .type None.*give a geometry"),
        ({"type": "Feature"}, "not GeoJSON .type 'Feature'.*give a geometry"),
        ({"coordinates": []}, "not GeoJSON .type None.*give a geometry"),
        ({"type": "Polygon", "coordinates": [[[14, 46], [15, np.nan], [15, 47], [14, 46]]]}, "not a finite number"),
        (json.dumps(SQUARE), r"text of a GeoJSON, not a path; give json\.loads"),
        ("POLYGON ((14 46, 15 46, 15 47, 14 46))", r"WKT, not a path; give shapely\.from_wkt"),
        ("", "the path is empty"),
    ],
)
def test_what_is_no_area_is_refused_with_the_cure(aoi: object, words: str) -> None:
    """Broken GeoJSON, and text where a path belongs."""
    with pytest.raises(PlanError, match=f"^aoi: .*{words}"):
        read_area(aoi)


def test_a_file_of_another_kind_is_refused_in_one_sentence(tmp_path: Path) -> None:
    """Without GDAL's advice on drivers, which nobody can follow here."""
    (tmp_path / "a.toml").write_text("a = 1")
    with pytest.raises(PlanError, match=r"cannot be read as a vector file: .*not recognized.*file format$"):
        read_area(tmp_path / "a.toml")
