"""Labels that people bring, and where their patches lie."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyogrio
import pytest
import shapely
from hypothesis import assume, given
from hypothesis import strategies as st

from shdask.errors import PlanError
from shdask.patches.choosing.labels import NO_SPLIT, LabelColumns, place_features, read_features
from shdask.patches.choosing.places import find_grounds

from .grounds import make_ground, zones_spec

LEFT, TOP = 500_000.0, 5_200_000.0
"""Of `make_ground`, in EPSG:32633; a pixel is 10 m."""
ROWS = [
    {"crop": "wheat", "field": 7, "seen": "2024-06-03", "set": "train", "farm": "a"},
    {"crop": "maize", "field": 8, "seen": "2024-06-05T10:20:30", "set": "VAL", "farm": "b"},
    {"crop": "wheat", "field": None, "seen": None, "set": None, "farm": None},
]
ALL = LabelColumns(label="crop", parcel="field", date="seen", split="set", block="farm")


def collection(shapes: list[Any], rows: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    """GeoJSON."""
    told = rows or [{} for _ in shapes]
    features = [
        {
            "type": "Feature",
            "properties": row,
            "geometry": None if shape is None else json.loads(shapely.to_geojson(shape)),
        }
        for shape, row in zip(shapes, told, strict=True)
    ]
    return {"type": "FeatureCollection", "features": features}


def write(path: Path, shapes: list[Any], crs: str = "EPSG:32633", **columns: np.ndarray) -> Path:
    """A vector file."""
    pyogrio.raw.write(
        path, shapely.to_wkb(np.array(shapes, object)), list(columns.values()), list(columns),
        geometry_type="Unknown", crs=crs,
    )  # fmt: skip  # one call
    return path


def px(x: float, y: float) -> tuple[float, float]:
    """Column and row of `make_ground` as metres."""
    return LEFT + 10 * x, TOP - 10 * y


def place(shapes: list[Any], tmp_path: Path, **words: Any) -> list[tuple[int, int, int]]:
    """(y0, x0, feature) on `make_ground`."""
    features = read_features(write(tmp_path / "labels.gpkg", shapes), LabelColumns())
    options = {"size_px": 32, "stride_px": None, "align_px": 1, **words}
    places, rows = place_features(features, [make_ground()], **options)
    return list(zip(places.y0.tolist(), places.x0.tolist(), rows.tolist(), strict=True))


def test_columns_tell_class_name_date_set_and_block():
    """Words are numbered in alphabetical order; what is null is not told."""
    points = [shapely.Point(15 + step / 10, 46) for step in range(3)]
    found = read_features(collection(points, ROWS), ALL)
    assert (found.label.tolist(), found.classes) == ([1, 0, 1], ("maize", "wheat"))
    assert found.parcel.tolist() == ["7", "8", ""]
    assert found.date.astype(str).tolist() == ["2024-06-03T00:00:00", "2024-06-05T10:20:30", "NaT"]
    assert found.split.tolist() == [0, 1, NO_SPLIT]
    assert found.block.tolist() == ["a", "b", ""]


def test_a_file_tells_the_same(tmp_path: Path):
    """As GDAL reads GeoJSON, with dates of its own."""
    points = [shapely.Point(15 + step / 10, 46) for step in range(3)]
    (tmp_path / "labels.geojson").write_text(json.dumps(collection(points, ROWS)))
    found = read_features(tmp_path / "labels.geojson", ALL)
    expected = read_features(collection(points, ROWS), ALL)
    assert (found.label.tolist(), found.classes) == (expected.label.tolist(), expected.classes)
    np.testing.assert_array_equal(found.date, expected.date)
    assert found.split.tolist() == expected.split.tolist()


def test_classes_that_are_numbers_stay(tmp_path: Path):
    """With a float's whole numbers, as columns with nulls have them; a null class leaves its feature out."""
    path = write(tmp_path / "labels.gpkg", [shapely.Point(LEFT, TOP)] * 3, code=np.array([4.0, np.nan, 11.0]))
    found = read_features(path, LabelColumns(label="code"))
    assert (found.label.tolist(), found.classes) == ([4, 11], ())


@pytest.mark.parametrize(
    ("rows", "columns", "message"),
    [
        ([{"a": 1.5}], LabelColumns(label="a"), "whole ones from 0"),
        ([{"a": -1}], LabelColumns(label="a"), "whole ones from 0"),
        ([{"a": "yesterday"}], LabelColumns(date="a"), "a holds no date"),
        ([{"a": "practice"}], LabelColumns(split="a"), "a says 'practice'; the sets are train, validation, test"),
        ([{"a": 1}], LabelColumns(label="b"), "no feature has a property 'b'"),
        ([{"a": None}], LabelColumns(label="a"), "no feature has a geometry and a class"),
    ],
)
def test_columns_that_cannot_be_used_are_refused(rows: list[dict[str, Any]], columns: LabelColumns, message: str):
    """With what they are to hold."""
    with pytest.raises(PlanError, match=message):
        read_features(collection([shapely.Point(15, 46)], rows), columns)


def test_a_missing_column_is_named_with_those_there_are(tmp_path: Path):
    """Of a file."""
    path = write(tmp_path / "labels.gpkg", [shapely.Point(LEFT, TOP)], code=np.array([4]))
    with pytest.raises(PlanError, match="has no column 'crop'; it has code"):
        read_features(path, LabelColumns(label="crop"))


def test_what_holds_no_features_is_refused(tmp_path: Path):
    """A path to nothing, another file, lines, a lone geometry."""
    (tmp_path / "text.gpkg").write_text("no")
    with pytest.raises(PlanError, match="does not exist"):
        read_features(tmp_path / "nothing.gpkg", LabelColumns())
    with pytest.raises(PlanError, match="cannot be read as a vector file"):
        read_features(tmp_path / "text.gpkg", LabelColumns())
    with pytest.raises(PlanError, match="points or polygons"):
        read_features(collection([shapely.LineString([(15, 46), (16, 46)])]), LabelColumns())
    with pytest.raises(PlanError, match="dict holds no features"):
        read_features({"type": "Point", "coordinates": [1, 2]}, LabelColumns())


def test_a_point_lies_in_the_middle_of_its_patch(tmp_path: Path):
    """In the pixel at half its size from the corner."""
    assert place([shapely.Point(px(100.5, 200.5))], tmp_path) == [(184, 84, 0)]


def test_patches_at_the_edge_are_moved_inside(tmp_path: Path):
    """The point is no longer in their middle; one outside the array has none."""
    shapes = [shapely.Point(px(2.5, 510.5)), shapely.Point(px(-0.5, 100))]
    assert place(shapes, tmp_path) == [(480, 0, 0)]


def test_corners_can_be_aligned(tmp_path: Path):
    """To the nearest multiple: the point lies in the patch, not in its middle."""
    assert place([shapely.Point(px(100.5, 202.5))], tmp_path, align_px=16) == [(192, 80, 0)]


def test_a_point_far_from_an_aligned_corner_lies_in_its_patch(tmp_path: Path):
    """In row 95 of patches at rows 0, 64, 128."""
    assert place([shapely.Point(px(96.5, 95.5))], tmp_path, size_px=64, align_px=64) == [(64, 64, 0)]


@given(row=st.integers(0, 99), column=st.integers(0, 129), size_px=st.integers(1, 40), align_px=st.integers(1, 40))
def test_an_aligned_patch_holds_its_point(row: int, column: int, size_px: int, align_px: int):
    """In the array, at a multiple; only what no such patch holds has none."""
    assume(align_px <= size_px)
    features = read_features(collection([shapely.Point(15, 46)]), LabelColumns())
    made = replace(features, geometry=np.array([shapely.Point(px(column + 0.5, row + 0.5))], object), crs="EPSG:32633")
    ground = make_ground(shape=(100, 130))
    places, rows = place_features(made, [ground], size_px=size_px, stride_px=None, align_px=align_px)
    ends = np.array([(length - size_px) // align_px * align_px + size_px for length in (100, 130)])
    there = np.stack((places.y0, places.x0), axis=1)
    offset = np.array([row, column]) - there
    assert rows.size == int((np.array([row, column]) < ends).all())
    assert ((offset >= 0) & (offset < size_px) & (there >= 0) & (there + size_px <= ends)).all()
    assert (there % align_px == 0).all()


def test_a_small_polygon_has_one_patch_in_its_middle(tmp_path: Path):
    """That of its bounds, up to the size of a patch."""
    small = shapely.box(*px(100, 232), *px(132, 200))
    assert place([small], tmp_path) == [(200, 100, 0)]


def test_a_large_polygon_has_the_patches_of_the_grid_in_it(tmp_path: Path):
    """Those whose middle it holds: of a triangle less than its bounds."""
    triangle = shapely.Polygon([px(0, 0), px(128, 0), px(0, 128)])
    assert place([triangle], tmp_path) == [
        (y, x, 0) for y in (0, 32, 64, 96) for x in (0, 32, 64, 96) if (y + x + 33) < 128
    ]


def test_a_feature_is_one_zones():
    """By a point of it, however near the edge of the zones."""
    longitudes = 12.0 + np.array([-0.05, -1e-7, 0.0, 1e-7, 0.05])
    features = read_features(collection([shapely.Point(each, 46.05) for each in longitudes]), LabelColumns())
    grounds = find_grounds(zones_spec()).grounds
    places, rows = place_features(features, grounds, size_px=16, stride_px=None, align_px=1)
    assert rows.tolist() == [0, 1, 2, 3, 4]
    assert [grounds[each].zone for each in places.ground] == ["32632"] * 2 + ["32633"] * 3


def test_a_far_feature_has_no_patch():
    """Even where the zone's projection has no place for it."""
    features = read_features(collection([shapely.Point(-170, 10), shapely.box(100, 0, 101, 1)]), LabelColumns())
    _, rows = place_features(features, find_grounds(zones_spec()).grounds, size_px=16, stride_px=None, align_px=1)
    assert rows.tolist() == []
