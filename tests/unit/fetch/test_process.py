"""A tile from its windows: bodies from the plan, pictures in their places, the data mask apart."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from rasterio.io import MemoryFile
from rasterio.transform import from_bounds

from shdask.errors import DecodeError, QuotaExhausted
from shdask.fetch.client import Fetched, Spent
from shdask.fetch.process import fetch_tile, window_body
from shdask.inputs import read_area
from shdask.model import Tile, Window
from shdask.plan.group import GroupPlan, make_group
from shdask.plan.spec import CubeSpec
from shdask.settings import DEPLOYMENTS

LEFT, TOP, RES = 500000.0, 5105600.0, 20.0


def _make_plan() -> GroupPlan:
    """280 x 300 pixels (y, x) in nine tiles of 128."""
    area = (LEFT, TOP - 280 * RES, LEFT + 300 * RES, TOP)
    spec = CubeSpec(
        aoi=area,
        aoi_crs="EPSG:32633",
        crs="EPSG:32633",
        resolution=RES,
        time=("2024-06-01", "2024-06-30"),
        layers={"s2": {"collection": "sentinel-2-l2a", "bands": ["B02", "SCL"], "max_cloud_cover": 0.29}},
        store={"chunk_px": 64, "tile_px": 128},
    )
    return make_group(spec, area=read_area(area, crs="EPSG:32633"), like=None, deployment=DEPLOYMENTS["cdse"])


PLAN = _make_plan()
EARTH = np.stack(
    [
        np.arange(280 * 300, dtype=np.uint16).reshape(280, 300),
        np.arange(280 * 300, dtype=np.uint16).reshape(280, 300)[::-1],
        (np.arange(280 * 300).reshape(280, 300) % 7 > 0).astype(np.uint16),
    ]
)
"""What there is in the whole array: two bands and the data mask."""


class Painter:
    """A client that answers from EARTH, whatever window is asked for; ``shift_px`` misplaces what it paints."""

    def __init__(self, *, shift_px: int = 0, fails_at: int | None = None) -> None:
        self.shift_px = shift_px
        self.fails_at = fails_at
        self.asked: list[tuple[Mapping[str, Any], float]] = []

    def process(self, body: Mapping[str, Any], pu: float, decode: Callable[[bytes], Any], *, spent: Spent) -> Any:
        """One painted TIFF through ``decode``."""
        self.asked.append((body, pu))
        spent.requests += 1
        if self.fails_at == len(self.asked):
            raise QuotaExhausted("nothing left", 403)
        spent.pu += pu
        return Fetched(value=decode(self._paint(body)), spent=spent)

    def _paint(self, body: Mapping[str, Any]) -> bytes:
        left, bottom, right, top = body["input"]["bounds"]["bbox"]
        x0, y0 = round((left - LEFT) / RES), round((TOP - top) / RES)
        x1, y1 = round((right - LEFT) / RES), round((TOP - bottom) / RES)
        width, height = body["output"]["width"], body["output"]["height"]
        shift = self.shift_px * RES
        place = from_bounds(left + shift, bottom, right + shift, top, width, height)
        with MemoryFile() as file:
            with file.open(
                driver="GTiff", width=width, height=height, count=3, dtype="uint16", crs="EPSG:32633", transform=place
            ) as target:
                target.write(EARTH[:, y0:y1, x0:x1])
            return bytes(file.getbuffer())


def _parts(extent: Window, rows: list[int], columns: list[int]) -> tuple[Window, ...]:
    """The extent cut at rows and columns counted from its corner."""
    ys = sorted({extent.y0, extent.y1, *(extent.y0 + row for row in rows)})
    xs = sorted({extent.x0, extent.x1, *(extent.x0 + column for column in columns)})
    return tuple(Window(y0=y0, y1=y1, x0=x0, x1=x1) for y0, y1 in pairwise(ys) for x0, x1 in pairwise(xs))


def _earth(window: Window) -> NDArray[np.uint16]:
    return EARTH[(slice(None), *window.slices)]


def test_a_body_asks_for_the_windows_pixels_and_the_layers_bands():
    """Place, size, time, clouds and script, all from the plan; width and height, never a resolution."""
    body = window_body(PLAN, Window(y0=128, y1=280, x0=0, x1=44))
    assert body["input"]["bounds"]["bbox"] == [500000.0, 5100000.0, 500880.0, 5103040.0]
    assert body["input"]["data"] == [
        {
            "type": "sentinel-2-l2a",
            "dataFilter": {
                "timeRange": {"from": "2024-06-01T00:00:00Z", "to": "2024-06-30T23:59:59.999Z"},
                "maxCloudCoverage": 29,
                "mosaickingOrder": "mostRecent",
            },
            "processing": {"upsampling": "NEAREST", "downsampling": "NEAREST"},
        }
    ]
    assert body["output"] == {
        "responses": [{"identifier": "default", "format": {"type": "image/tiff"}}],
        "width": 44,
        "height": 152,
    }
    assert 'bands: ["B02", "SCL", "dataMask"]' in body["evalscript"]


def test_the_windows_price_is_the_plans():
    """What the gate is asked for is what the plan projected."""
    painter, tile = Painter(), PLAN.tile(0)
    fetch_tile(PLAN, tile, painter)
    assert [pu for _, pu in painter.asked] == [PLAN.window_pu(tile.extent)]


@pytest.mark.parametrize("index", [0, 2, 6, 8], ids=["inner", "right", "lower", "corner"])
def test_a_tile_is_its_pixels_with_the_mask_apart(index: int):
    """Values (band, y, x) without the mask band, the mask as truth values, also where the array clips the tile."""
    tile = PLAN.tile(index)
    data = fetch_tile(PLAN, tile, Painter())
    np.testing.assert_array_equal(data.values, _earth(tile.extent)[:2])
    np.testing.assert_array_equal(data.data_mask, _earth(tile.extent)[2] == 1)
    assert data.data_mask.dtype == np.bool_


@given(rows=st.lists(st.integers(1, 127), max_size=3), columns=st.lists(st.integers(1, 127), max_size=3))
def test_a_tile_is_the_same_however_it_is_cut_into_windows(rows: list[int], columns: list[int]):
    """Content does not depend on how it was bought."""
    whole = PLAN.tile(4)
    tile = replace(whole, windows=_parts(whole.extent, rows, columns))
    data = fetch_tile(PLAN, tile, Painter())
    np.testing.assert_array_equal(data.values, _earth(whole.extent)[:2])
    np.testing.assert_array_equal(data.data_mask, _earth(whole.extent)[2] == 1)


def test_what_no_window_asks_for_is_not_valid():
    """Zeros under a False mask: no pixel there was bought."""
    tile: Tile = replace(PLAN.tile(0), windows=(Window(y0=10, y1=30, x0=40, x1=100),))
    data = fetch_tile(PLAN, tile, Painter())
    expected = np.zeros((3, 128, 128), np.uint16)
    expected[:, 10:30, 40:100] = EARTH[:, 10:30, 40:100]
    np.testing.assert_array_equal(data.values, expected[:2])
    np.testing.assert_array_equal(data.data_mask, expected[2] == 1)


def test_decoding_runs_where_the_caller_says():
    """Once per window; the fetching thread waits for each."""
    tile = replace(PLAN.tile(0), windows=_parts(PLAN.tile(0).extent, [50], [60]))
    shapes = []

    def run_cpu(work: Callable[[], Any]) -> Any:
        picture = work()
        shapes.append(picture.shape)
        return picture

    fetch_tile(PLAN, tile, Painter(), run_cpu=run_cpu)
    assert shapes == [(3, 50, 60), (3, 50, 68), (3, 78, 60), (3, 78, 68)]


def test_a_misplaced_picture_never_reaches_the_tile():
    """One pixel to the east is a DecodeError that names tile and bbox."""
    with pytest.raises(DecodeError, match="misplaced") as caught:
        fetch_tile(PLAN, PLAN.tile(4), Painter(shift_px=1))
    window, tile = caught.value.__notes__
    assert window.startswith("while fetching Window(y0=128, y1=256, x0=128, x1=256), bbox (502560.0, 5100480.0, ")
    assert tile == "tile 4, row 1, column 1"


def test_a_tile_that_fails_half_way_still_says_what_it_cost():
    """The third of four windows fails: three requests, two windows' units."""
    tile = replace(PLAN.tile(0), windows=_parts(PLAN.tile(0).extent, [64], [64]))
    spent = Spent()
    with pytest.raises(QuotaExhausted):
        fetch_tile(PLAN, tile, Painter(fails_at=3), spent=spent)
    assert spent == Spent(requests=3, rejected=0, pu=2 * PLAN.window_pu(tile.windows[0]), nbytes=0)
