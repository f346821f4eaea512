"""What users import for their tests: light, and lawful."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import datetime
from importlib.util import find_spec

import pytest
import shapely
from hypothesis import given

from shdask import testing
from shdask.emulator.process.body import read_body
from shdask.inputs import read_area
from shdask.testing.strategies import areas, bboxes, process_bodies

WORLD = shapely.box(-180, -80, 180, 80)


def test_import_is_light():
    """``import shdask.testing`` loads neither pytest nor Hypothesis, and nothing heavy."""
    heavy = ["pytest", "hypothesis", "numpy", "pydantic", "starlette", "uvicorn", "shapely", "dask", "rasterio"]
    code = f"import sys, shdask.testing; print([name for name in {heavy!r} if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_a_missing_extra_is_named_with_its_cure(monkeypatch):
    """Instead of a child process that ends."""
    monkeypatch.setattr(testing, "find_spec", lambda name: None if name == "uvicorn" else find_spec(name))
    with pytest.raises(ImportError, match=r"needs uvicorn: pip install 'shdask\[emulator\]'"):
        testing.emulator()


@given(bboxes())
def test_bboxes_are_boxes_on_the_globe(bbox):
    """Left of right, below top, in degrees."""
    assert bbox[0] < bbox[2]
    assert bbox[1] < bbox[3]
    assert WORLD.contains(shapely.box(*bbox))


@given(areas(max_side=2.0))
def test_areas_are_valid_polygons_that_the_engine_reads(area):
    """Valid, not empty, no larger than asked for, and an area of interest as they are."""
    left, bottom, right, top = area.bounds
    assert area.is_valid
    assert area.area > 0
    assert max(right - left, top - bottom) <= 2.0 + 1e-9
    assert read_area(area).geometry.equals(area)


@given(process_bodies())
def test_bodies_are_accepted_and_small(body):
    """The emulator reads them; up to 64 x 64 pixels and up to a month."""
    assert read_body(json.dumps(body).encode()).input.data[0].type == "sentinel-2-l2a"
    times = body["input"]["data"][0]["dataFilter"]["timeRange"]
    first, last = (datetime.fromisoformat(times[end]) for end in ("from", "to"))
    left, bottom, right, top = body["input"]["bounds"]["bbox"]
    assert 0 <= (last - first).days <= 30
    assert 0 < right - left < 65 * 0.0002
    assert 0 < top - bottom < 65 * 0.0002
