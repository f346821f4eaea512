"""A tile from its windows: bodies from the plan, pictures in their places, the data mask apart."""

from __future__ import annotations

import re
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
from shdask.fetch.process import Purchase, fetch_tile, fetch_tiles, tile_bodies, window_body
from shdask.inputs import read_area
from shdask.model import Tile, TileData, Window
from shdask.plan.group import GroupPlan
from shdask.plan.placing import make_group
from shdask.plan.spec import CubeSpec
from shdask.settings import DEPLOYMENTS
from tests.unit.timed import along_days, everywhere

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

    def process(
        self, body: Mapping[str, Any], pu: float, decode: Callable[[bytes], Any], *, accept: str, spent: Spent
    ) -> Any:
        """One painted TIFF through ``decode``."""
        assert accept == "image/tiff"
        self.asked.append((body, pu))
        spent.requests += 1
        if self.fails_at == len(self.asked):
            raise QuotaExhausted("nothing left", 403)
        spent.pu += pu
        return Fetched(value=decode(self._paint(body)), spent=spent)

    def _paint(self, body: Mapping[str, Any]) -> bytes:
        return paint(body, EARTH, shift_px=self.shift_px)


def paint(body: Mapping[str, Any], earth: NDArray[np.uint16], *, shift_px: int = 0) -> bytes:
    """The TIFF of the window that ``body`` asks for, cut out of the whole array ``earth`` (band, y, x)."""
    left, bottom, right, top = body["input"]["bounds"]["bbox"]
    x0, y0 = round((left - LEFT) / RES), round((TOP - top) / RES)
    x1, y1 = round((right - LEFT) / RES), round((TOP - bottom) / RES)
    width, height = body["output"]["width"], body["output"]["height"]
    shift = shift_px * RES
    place = from_bounds(left + shift, bottom, right + shift, top, width, height)
    size = {"width": width, "height": height, "count": len(earth)}
    with MemoryFile() as file:
        with file.open(driver="GTiff", dtype="uint16", crs="EPSG:32633", transform=place, **size) as target:
            target.write(earth[:, y0:y1, x0:x1])
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
    (part,) = PLAN.layer.parts
    body = window_body(PLAN, part, Window(y0=128, y1=280, x0=0, x1=44), [PLAN.tile(3)])
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


def test_pixels_of_which_a_part_is_missing_are_not_valid():
    """An earlier run bought them in other windows, and some of their bands only."""
    tile = replace(PLAN.tile(0), windows=_parts(PLAN.tile(0).extent, [64], [64])[:1])
    purchase = Purchase.begin(PLAN, [tile])
    purchase.valid[:] = True
    (data,) = fetch_tiles(PLAN, [tile], Painter(), purchase=purchase)
    assert not data.data_mask[64:].any()


def _picture(*, dtype: str = "uint16", bands: int = 3) -> np.ndarray[Any, Any]:
    """Of the first tile, with a gap in its mask."""
    return np.ascontiguousarray(EARTH[np.newaxis, :bands, :128, :128].astype(dtype))


WHOLE = (slice(None), slice(None))


def test_a_picture_that_is_all_of_its_tile_is_not_copied():
    """One answer in the layer's own order and type is the tile."""
    purchase, picture = Purchase.begin(PLAN, [PLAN.tile(0)]), _picture()
    purchase.add(0, [0, 1], WHOLE, picture)
    assert np.shares_memory(purchase.tile(0).values, picture)
    np.testing.assert_array_equal(purchase.tile(0).data_mask, EARTH[2, :128, :128] > 0)
    assert purchase.has(0, WHOLE)


@pytest.mark.parametrize(
    ("bands", "picture"), [((1, 0), _picture()), ((0, 1), _picture(dtype="uint8")), ((1,), _picture()[:, 1:])]
)
def test_a_picture_in_another_order_or_type_is_put_in_its_place(bands: tuple[int, ...], picture: np.ndarray[Any, Any]):
    """Bands stand where the layer has them, in the type that holds all of them."""
    purchase = Purchase.begin(PLAN, [PLAN.tile(0)])
    purchase.add(0, bands, WHOLE, picture)
    assert purchase.values.dtype == np.uint16
    np.testing.assert_array_equal(purchase.tile(0).values[list(bands)], picture[0, :-1])


def test_a_picture_takes_nothing_from_what_came_before_it():
    """A pixel that an earlier run found without data stays without, whatever the whole picture says now."""
    purchase, picture = Purchase.begin(PLAN, [PLAN.tile(0)]), _picture()
    bought = np.zeros((1, 128, 128), np.bool_)
    bought[0, 0] = True
    empty = TileData(values=np.zeros((2, 128, 128), np.uint16), data_mask=np.zeros((128, 128), np.bool_))
    purchase.resume(0, empty, bought)
    purchase.add(0, [0, 1], WHOLE, picture)
    assert not purchase.tile(0).data_mask[0].any()
    np.testing.assert_array_equal(purchase.tile(0).data_mask[1:], EARTH[2, 1:128, :128] > 0)


def test_tiles_of_which_nothing_has_come_take_no_memory_for_their_values():
    """What waits for permits and answers costs a mask, not the bands."""
    values = Purchase.begin(PLAN, [PLAN.tile(0)]).values
    assert values.shape == (1, 2, 128, 128)
    assert values.strides == (0, 0, 0, 0)


# Several steps, several parts

DATED = along_days(PLAN, everywhere(PLAN, 3), (0, 0, 0))
"""The same array on 3, 8 and 13 June; the three days of a tile come with one request."""
CELL = [DATED.tile(4), DATED.tile(13), DATED.tile(22)]
"""The tile in the middle, at each step."""


class Diarist(Painter):
    """Paints for each day that is asked for what there was: EARTH, and the day of the month added to its bands."""

    def _paint(self, body: Mapping[str, Any]) -> bytes:
        days = re.findall(r'"2024-06-(..)"', body["evalscript"])
        days = days or [body["input"]["data"][0]["dataFilter"]["timeRange"]["from"][8:10]]
        return paint(body, np.concatenate([EARTH + np.array([[[int(day)]]] * 2 + [[[0]]], np.uint16) for day in days]))


def _earth_on(day: int) -> NDArray[np.uint16]:
    return _earth(CELL[0].extent)[:2] + np.uint16(day)


def test_several_days_of_a_tile_are_one_request():
    """At the price of all; each day has its own pixels and mask."""
    diarist = Diarist()
    data = fetch_tiles(DATED, CELL, diarist)
    np.testing.assert_array_equal([each.values for each in data], [_earth_on(day) for day in (3, 8, 13)])
    np.testing.assert_array_equal([each.data_mask for each in data], [_earth(CELL[0].extent)[2] == 1] * 3)
    assert [pu for _, pu in diarist.asked] == [pytest.approx(3 * PLAN.window_pu(CELL[0].extent))]


def test_days_are_the_same_bought_together_and_alone():
    """Content does not depend on how it was bought."""
    together = fetch_tiles(DATED, CELL, Diarist())
    alone = [fetch_tile(DATED, tile, Diarist()) for tile in CELL]
    np.testing.assert_array_equal([each.values for each in together], [each.values for each in alone])
    np.testing.assert_array_equal([each.data_mask for each in together], [each.data_mask for each in alone])


def test_a_tile_alone_asks_for_its_own_day():
    """To the millisecond before the next, and with the mosaicking that needs no dates."""
    (body,) = tile_bodies(DATED, CELL[1])
    times = body["input"]["data"][0]["dataFilter"]["timeRange"]
    assert times == {"from": "2024-06-08T00:00:00Z", "to": "2024-06-08T23:59:59.999Z"}
    assert 'mosaicking: "SIMPLE"' in body["evalscript"]


def test_a_request_for_several_days_names_them():
    """It asks from the first to the last, and the script leaves out what lies between."""
    (part,) = DATED.layer.parts
    body = window_body(DATED, part, CELL[0].extent, CELL[:2])
    times = body["input"]["data"][0]["dataFilter"]["timeRange"]
    assert times == {"from": "2024-06-03T00:00:00Z", "to": "2024-06-08T23:59:59.999Z"}
    assert '["2024-06-03", "2024-06-08"]' in body["evalscript"]
    assert 'mosaicking: "ORBIT"' in body["evalscript"]


def test_a_failure_of_several_days_names_the_tile_and_how_many_they_were():
    """For the row of each."""
    with pytest.raises(QuotaExhausted) as caught:
        fetch_tiles(DATED, CELL, Diarist(fails_at=1))
    assert caught.value.__notes__[-1] == "tile 4, row 1, column 1 and 2 other steps of it"


def _in_parts(plan: GroupPlan) -> GroupPlan:
    """The second band asked for first, bilinear; the first one by itself, nearest."""
    (part,) = plan.layer.parts
    second = replace(part, bands=(1,), requested=part.requested[1:], resampling="bilinear")
    first = replace(part, bands=(0,), requested=part.requested[:1])
    return replace(plan, layer=replace(plan.layer, parts=(second, first)))


class Clerk(Painter):
    """Paints the one band that is asked for; SCL is valid in even columns only."""

    def _paint(self, body: Mapping[str, Any]) -> bytes:
        even = EARTH[2] * (np.arange(300) % 2 == 0)
        bands = EARTH[1:2] if "SCL" in body["evalscript"] else EARTH[:1]
        return paint(body, np.stack((bands[0], even if "SCL" in body["evalscript"] else EARTH[2])))


def test_parts_of_a_layer_are_put_together_in_its_order():
    """A request for each, each with its resampling; a pixel is valid where both say so."""
    clerk, tile = Clerk(), PLAN.tile(4)
    data = fetch_tile(_in_parts(PLAN), tile, clerk)
    np.testing.assert_array_equal(data.values, _earth(tile.extent)[:2])
    np.testing.assert_array_equal(data.data_mask, (_earth(tile.extent)[2] == 1) & (np.arange(128) % 2 == 0))
    sampled = [body["input"]["data"][0]["processing"]["upsampling"] for body, _ in clerk.asked]
    assert sampled == ["BILINEAR", "NEAREST"]


def test_parts_cost_as_much_as_one_request():
    """A band is paid once, and the mask is free."""
    clerk = Clerk()
    fetch_tile(_in_parts(PLAN), PLAN.tile(4), clerk)
    assert sum(pu for _, pu in clerk.asked) == pytest.approx(PLAN.window_pu(PLAN.tile(4).extent))


def test_a_tiles_requests_are_its_parts():
    """The digest of a tile is of all that it was made of."""
    scripts = [body["evalscript"] for body in tile_bodies(_in_parts(PLAN), PLAN.tile(4))]
    assert [("SCL" in script, "B02" in script) for script in scripts] == [(True, False), (False, True)]
