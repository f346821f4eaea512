"""Patches as GeoParquet: held against its published schema, pyarrow, shapely and pyproj."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import jsonschema
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import shapely

from shdask.errors import StoreError
from shdask.patches.choosing.sample import sample_patches
from shdask.patches.parquet import read_patches, write_patches
from shdask.patches.table import Patches

from .grounds import outlines_in, plain_spec, zones_spec
from .test_sample import labelled, same, two_zones

# github.com/opengeospatial/geoparquet, tag v1.1.0+p1, format-specs/schema.json; Apache 2.0
SCHEMA = json.loads((Path(__file__).parent / "data" / "geoparquet-1.1.0.schema.json").read_text())


@pytest.fixture(scope="module")
def patches() -> Patches:
    """In two zones."""
    return sample_patches(two_zones(), size_px=24, block_m=2000)


@pytest.fixture
def path(patches: Patches, tmp_path: Path) -> Path:
    write_patches(patches, tmp_path / "patches.parquet")
    return tmp_path / "patches.parquet"


def test_the_table_comes_back(patches: Patches, path: Path):
    """To the bit."""
    assert same(read_patches(path), patches)


def test_classes_dates_and_shares_come_back(tmp_path: Path):
    """And what is not known stays so."""
    words = {"class_column": "crop", "id_column": "id", "split_column": "set"}
    chosen = sample_patches(plain_spec(), size_px=8, scheme="labels", labels=labelled(), **words)
    dates = np.full(len(chosen), "2024-06-01T10:20:30", "datetime64[s]")
    dates[3] = "NaT"
    share = np.linspace(0, 1, len(chosen), dtype=np.float32)
    share[5] = np.nan
    told = replace(chosen, date=dates, valid_share=share, label=np.where(share > 0.5, -1, chosen.label))
    write_patches(told, tmp_path / "patches.parquet")
    assert same(read_patches(tmp_path / "patches.parquet"), told)
    assert pq.read_table(tmp_path / "patches.parquet")["date"].null_count == 1


def test_the_metadata_is_geoparquets(path: Path):
    """By its published schema."""
    geo = json.loads(pq.read_schema(path).metadata[b"geo"])
    jsonschema.Draft7Validator(SCHEMA).validate(geo)
    assert (geo["version"], geo["primary_column"]) == ("1.1.0", "geometry")


def test_outlines_are_those_of_the_patches(patches: Patches, path: Path):
    """In degrees, as pyproj has them, to a ten-thousandth of their area; counter-clockwise."""
    table = pq.read_table(path)
    shapes = shapely.from_wkb(table["geometry"].to_pylist())
    expected = outlines_in(patches, 4326)
    off = shapely.area(shapely.symmetric_difference(shapes, expected))
    assert (off < 1e-4 * shapely.area(expected)).all()
    assert shapely.is_ccw(shapely.get_exterior_ring(shapes)).all()
    geo = json.loads(table.schema.metadata[b"geo"])["columns"]["geometry"]
    np.testing.assert_array_equal(geo["bbox"], shapely.total_bounds(shapes))
    assert geo["geometry_types"] == ["Polygon"]


def test_outlines_are_cut_at_180_degrees(tmp_path: Path):
    """Each side by itself: no patch goes round the globe."""
    across = zones_spec((179.9, -17.1, 180.1, -17.0), crs="EPSG:32701", aoi_crs="EPSG:4326")
    chosen = sample_patches(across, size_px=40)
    write_patches(chosen, tmp_path / "patches.parquet")
    table = pq.read_table(tmp_path / "patches.parquet")
    shapes = shapely.from_wkb(table["geometry"].to_pylist())
    geo = json.loads(table.schema.metadata[b"geo"])["columns"]["geometry"]
    assert geo["geometry_types"] == ["MultiPolygon", "Polygon"]
    left, _, right, _ = shapely.bounds(shapely.get_parts(shapes)).T
    assert (right - left).max() < 0.02
    assert (left.min(), right.max()) == (-180.0, 180.0)


def test_the_same_patches_give_the_same_bytes(patches: Patches, path: Path, tmp_path: Path):
    """So that a table can be named by its hash."""
    write_patches(patches, tmp_path / "again.parquet")
    assert (tmp_path / "again.parquet").read_bytes() == path.read_bytes()


def test_no_patches_are_a_table_too(patches: Patches, tmp_path: Path):
    """Of no rows."""
    none = patches.take(np.zeros(len(patches), np.bool_))
    write_patches(none, tmp_path / "none.parquet")
    assert len(read_patches(tmp_path / "none.parquet")) == 0


def test_what_is_no_table_of_ours_is_refused(tmp_path: Path):
    """Nothing, text, another's Parquet."""
    (tmp_path / "text.parquet").write_text("no")
    pq.write_table(pa.table({"a": [1]}), tmp_path / "other.parquet")
    with pytest.raises(StoreError, match=r"nothing.parquet"):
        read_patches(tmp_path / "nothing.parquet")
    with pytest.raises(StoreError, match="is no Parquet file"):
        read_patches(tmp_path / "text.parquet")
    with pytest.raises(StoreError, match="holds no patches of shdask"):
        read_patches(tmp_path / "other.parquet")


def test_a_failed_write_leaves_what_stood(patches: Patches, path: Path, monkeypatch: pytest.MonkeyPatch):
    """And nothing half-written beside it."""
    before = path.read_bytes()

    def fail(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pq, "write_table", fail)
    with pytest.raises(StoreError):
        write_patches(patches, path)
    assert path.read_bytes() == before
    assert [each.name for each in path.parent.iterdir()] == [path.name]
