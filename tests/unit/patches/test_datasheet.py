"""What is told of patches beside their pixels."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from html import escape
from pathlib import Path

import numpy as np
import pytest
from markdown_it import MarkdownIt

from shdask.assemble.store import create_or_open
from shdask.errors import StoreError
from shdask.patches.exporting.datasheet import make_datasheet
from shdask.patches.exporting.modality import Modality
from shdask.patches.table import Patches
from tests.unit.assemble.conftest import small_plan

from .rows import make_patches
from .test_exports import WRITERS, read_radar

SPLITS = ("train", "validation", "train", "test", "left out")


@pytest.fixture(scope="module")
def cube(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A mosaic of June 2024, without a pixel."""
    store = tmp_path_factory.mktemp("cubes") / "cube.zarr"
    create_or_open(small_plan(), store)
    return store


def patches(**words: object) -> Patches:
    """Five, the first two on the same pixels for training and for validation."""
    corners = [(0, 0), (0, 0), (16, 0), (40, 0), (40, 8)]
    return make_patches(small_plan().grid, corners, size_px=16, splits=SPLITS, **words)


def test_sources_are_told_from_the_cube(cube) -> None:
    """Collection, bands, pixel size and time of each layer."""
    (layer,) = make_datasheet(cube, patches()).layers
    assert (layer.layer, layer.collection, layer.bands) == ("s2", "sentinel-2-l2a", ("B04", "SCL"))
    assert (layer.crs, layer.resolution, layer.dates) == ("EPSG:32633", (10.0, 10.0), 0)
    assert (layer.first_date, layer.last_date) == ("2024-06-01", "2024-06-30")


def test_sets_classes_and_leakage_are_counted(cube) -> None:
    """Pairs that show the same ground count where both are of a set."""
    sheet = make_datasheet(cube, patches(labels=(0, 1, 1, 2, 0)), classes=("water", "forest"))
    assert sheet.splits == {"train": 2, "validation": 1, "test": 1, "left out": 1}
    assert sheet.classes["train"] == {"water": 1, "forest": 1}
    assert sheet.classes["test"] == {"2": 1}
    assert sheet.overlapping_pairs == 1


def test_patches_without_labels_have_no_classes(cube) -> None:
    """Nor a table of them."""
    sheet = make_datasheet(cube, patches())
    assert sheet.classes == {}
    assert "## Classes" not in sheet.markdown()


def test_the_notice_of_copernicus_names_the_years(cube) -> None:
    """With what the user adds of labels."""
    sheet = make_datasheet(cube, patches(), licence=("Labels: CC-BY 4.0",))
    assert sheet.licence == ("Contains modified Copernicus Sentinel data 2024", "Labels: CC-BY 4.0")


def test_where_and_when_are_told_in_degrees_and_utc(cube) -> None:
    """Zone 33 begins its x at 15 degrees; 5,000,000 m north of the equator is at 45.15 degrees."""
    sheet = make_datasheet(cube, patches(dates=("2024-06-05", "2024-06-10", "NaT")))
    np.testing.assert_allclose(sheet.bounds, (15.0, 45.148, 15.003, 45.154), atol=0.002)
    assert (sheet.first_date, sheet.last_date) == ("2024-06-05T00:00:00", "2024-06-10T00:00:00")


def test_what_was_dropped_is_told(cube) -> None:
    """As the table of patches knows it."""
    noted = replace(patches(), notes=("3 places are too cloudy",))
    assert "- 3 places are too cloudy" in make_datasheet(cube, noted).markdown()


NAMES = ("<script>alert(1)</script>", "a|b", "[x](javascript:y)", "*_`~&lt;\\", "two\n\n# lines\x1b")
TABLE = ("table", "thead", "tbody", "tr", "th", "td")


def test_names_are_shown_as_they_stand(cube) -> None:
    """In tables and lists, whatever they would be to Markdown and to HTML."""
    noted = replace(patches(labels=(0, 1, 2, 3, 4)), notes=("# <b>*none*</b>",), classes=NAMES)
    sheet = replace(make_datasheet(cube, noted, licence=("![i](x)",)), cube="/data/<i>|_x_.zarr")
    shown = MarkdownIt("commonmark").enable("table").render(sheet.markdown())
    told = [*NAMES[:4], "two # lines", "# <b>*none*</b>", "![i](x)", "from <i>|_x_.zarr"]
    assert [name for name in told if escape(name) not in shown] == []
    assert set(re.findall("<([a-z0-9]+)", shown)) == {"h1", "h2", "ul", "li", "strong", *TABLE}


def test_what_is_no_cube_is_refused(tmp_path) -> None:
    """The message says what to give."""
    with pytest.raises(StoreError, match="does not exist"):
        make_datasheet(tmp_path / "none.zarr", patches())


@WRITERS
def test_exports_carry_it(tmp_path, cube, write) -> None:
    """For people and for programs."""
    sheet = make_datasheet(cube, patches())
    write(tmp_path / "out", patches(), {"s1": Modality(read=read_radar, bands=("VV",))}, datasheet=sheet)
    assert json.loads((tmp_path / "out" / "datasheet.json").read_text())["splits"]["train"] == 2
    assert (tmp_path / "out" / "README.md").read_text().startswith("# 5 patches of 16 x 16 px from cube.zarr")
