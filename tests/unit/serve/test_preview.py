"""Pictures of small cubes."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from PIL import Image

import shdask.serve.preview as drawing
from shdask.assemble.store import create_or_open
from shdask.errors import PlanError, StoreUnavailable, WrongStore
from shdask.model import TileData
from shdask.plan.group import GroupPlan
from shdask.serve import coarse
from shdask.serve.coarse import Scene, read_coarse
from shdask.serve.open import open_cube
from shdask.serve.preview import Preview, preview
from tests.unit.assemble.conftest import Pixels, small_plan

from .timed import fill, fill_tree, flat_plan, timed_plan

pytestmark = pytest.mark.filterwarnings("ignore:Use `@` matmul:PendingDeprecationWarning")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("preview")


@pytest.fixture(scope="module")
def plan() -> GroupPlan:
    return small_plan(bands=("B02", "B03", "B04", "SCL"))


@pytest.fixture(scope="module")
def pixels(plan: GroupPlan) -> Pixels:
    """Brighter to the east, water in the south."""
    height, width = plan.grid.shape
    y, x = np.mgrid[0:height, 0:width]
    values = np.stack([100 * x, 100 * x, 100 * x, np.where(y < 35, 4, 6)]).astype(np.uint16)
    return Pixels(values=values, mask=plan.area_mask(plan.grid.window))


@pytest.fixture(scope="module")
def store(plan: GroupPlan, pixels: Pixels, folder: Path) -> Path:
    cube = create_or_open(plan, folder / "cube.zarr")
    for tile in plan.tiles():
        cube.write_tile(tile, pixels.of(tile))
    cube.mark_complete(pu_spent=1.0)
    return folder / "cube.zarr"


@pytest.fixture(scope="module")
def series(folder: Path) -> Path:
    """Three dates, the first of them under a clear sky."""
    return fill(timed_plan(), folder / "series.zarr").place.path


def seen(picture: Preview) -> np.ndarray:
    """(y, x, RGB) without the caption and what stands beside."""
    height, width = picture.size
    left = (picture.image.width - width) // 2
    return np.asarray(picture.image)[:height, left : left + width]


# pixels


def test_no_data_is_striped(store: Path, pixels: Pixels):
    """In two greys, which neither cloud nor shadow is; no file format and no dark page turns it into land."""
    picture = seen(preview(store, bands="SCL", size_px=80))
    assert np.unique(picture[~pixels.mask], axis=0).tolist() == [[200] * 3, [235] * 3]
    assert np.unique(picture[pixels.mask], axis=0).tolist() == [[0, 0, 255], [0, 160, 0]]


def test_what_is_brighter_is_drawn_brighter(store: Path):
    """North is up, east is right."""
    row = seen(preview(store, size_px=80))[60, :, 0].astype(int)
    assert (np.diff(row) >= 0).all()
    assert row[0] == 0
    assert row[-1] == 255


def test_classes_are_drawn_in_their_colours(store: Path):
    """North vegetation, south water."""
    picture = seen(preview(store, bands="SCL", size_px=80))
    assert picture[10, 10].tolist() == [0, 160, 0]
    assert picture[60, 10].tolist() == [0, 0, 255]


def test_blocks_are_averaged_over_valid_pixels(store: Path, pixels: Pixels):
    """As numpy does it, and shown where at least half of them are valid."""
    scene = Scene.of_store(store, layer=None, zone=None, time=None)
    found = read_coarse(scene, ["B04"], 16)
    blocks = np.ma.masked_array(pixels.values[2], ~pixels.mask).reshape(14, 5, 16, 5)
    share = pixels.mask.reshape(14, 5, 16, 5).mean(axis=(1, 3))
    np.testing.assert_allclose(found.values[0], blocks.mean(axis=(1, 3)).filled(0) * (share >= 0.5), rtol=1e-6)
    np.testing.assert_array_equal(found.shown, share >= 0.5)


@pytest.mark.parametrize("size_px", [80, 33, 16])
def test_it_is_read_in_blocks(store: Path, size_px: int, monkeypatch: pytest.MonkeyPatch):
    """However many there are, the picture is the same."""
    scene = Scene.of_store(store, layer=None, zone=None, time=None)
    whole = read_coarse(scene, ["B04", "SCL"], size_px)
    monkeypatch.setattr(coarse, "BLOCK_PX", 12)
    parts = read_coarse(scene, ["B04", "SCL"], size_px)
    np.testing.assert_allclose(parts.values, whole.values, rtol=1e-6)
    np.testing.assert_array_equal(parts.shown, whole.shown)


def test_what_open_cube_gives_is_drawn_alike(store: Path):
    """Masked, or a part of it."""
    expected = seen(preview(store, size_px=80))
    np.testing.assert_array_equal(seen(preview(open_cube(store, masked=True), size_px=80)), expected)
    np.testing.assert_array_equal(seen(open_cube(store).shdask.preview(size_px=80)), expected)
    assert preview(open_cube(store).isel(y=slice(40, 70)), size_px=80).size == (30, 80)


def test_nothing_valid_is_a_picture_too(folder: Path):
    """All of it striped."""
    plan = small_plan()
    cube = create_or_open(plan, folder / "nothing.zarr")
    for tile in plan.tiles():
        nothing = np.zeros(tile.extent.shape, np.bool_)
        cube.write_tile(tile, TileData(values=np.zeros((2, *nothing.shape), np.uint16), data_mask=nothing))
    cube.mark_complete(pu_spent=1.0)
    picture = seen(preview(folder / "nothing.zarr", size_px=80))
    assert np.unique(picture.reshape(-1, 3), axis=0).tolist() == [[200] * 3, [235] * 3]


# size and scale


def test_it_is_no_larger_than_asked(store: Path):
    """The longer side; small ones are enlarged so that they can be seen."""
    assert [preview(store, size_px=size).size for size in (16, 40, 79, 80)] == [(14, 16), (35, 40), (35, 40), (70, 80)]
    assert preview(store, size_px=1200).size == (280, 320)


def test_it_tells_how_large_a_pixel_is_on_the_ground(store: Path):
    """10 m of the grid are longer on the ellipsoid by UTM's scale of 0.9996 at the meridian."""
    across, down = preview(store, size_px=80).metres_per_px
    assert (across, down) == pytest.approx((10 / 0.9996, 10 / 0.9996), abs=1e-3)


def test_the_scale_bar_is_as_long_as_it_says(store: Path):
    """200 m, as the longest round length of at most a quarter of 800 m."""
    image = np.asarray(preview(store, size_px=80).image.convert("L"))
    dark = np.flatnonzero(image[105, :38] < 128)
    assert dark.size == np.ptp(dark) + 1 == pytest.approx(21, abs=1)


def test_the_caption_says_layer_look_date_and_scale(store: Path, series: Path, monkeypatch: pytest.MonkeyPatch):
    """The longest of 1, 2 and 5 times a power of ten that is a quarter of the picture's width."""
    heard: list[str] = []
    monkeypatch.setattr(drawing, "_write", lambda _draw, at, text: heard.append(text) or at[0])
    preview(store, size_px=80)
    preview(series, size_px=80)
    assert heard[:3] == ["s2  true-colour  2024-06-01 to 2024-06-30", "200 m", "no data"]
    assert heard[3:5] == ["s2  B04  2024-06-02 10:11:12 UTC", "200 m"]
    assert heard[5:] == ["1 or less", "1 or more", "no data"]


def test_a_longer_span_is_no_single_day():
    """As of a month's composite."""
    month = {"spec": {"layer": {"cadence": "month"}}}
    assert drawing._say_when("2024-06-01T00:00:00", month) == "month from 2024-06-01"
    assert drawing._say_when("2024-06-01T00:00:00", {}) == "2024-06-01"
    made = {"spec": {"layer": {"cadence": "acquisition"}}, "composite_span": "P10D"}
    assert drawing._say_when("2024-06-01T00:00:00", made) == "P10D from 2024-06-01"


def test_a_unit_of_nothing_is_not_written(series: Path, monkeypatch: pytest.MonkeyPatch):
    """CF calls it 1."""
    heard: list[str] = []
    monkeypatch.setattr(drawing, "_write", lambda _draw, at, text: heard.append(text) or at[0])
    cube = open_cube(series)
    preview(cube.assign(B04=cube["B04"].assign_attrs(units="1")), size_px=80)
    preview(cube.assign(B04=cube["B04"].assign_attrs(units="dB")), size_px=80)
    assert [heard[2:4], heard[7:9]] == [["1 or less", "1 or more"], ["1 dB or less", "1 dB or more"]]


# dates and layers


def test_the_clearest_date_is_drawn_unless_another_is_named(series: Path):
    """By the catalogue's cloud cover."""
    assert preview(series, size_px=80).time == "2024-06-02T10:11:12"
    assert preview(series, time="2024-06-09", size_px=80).time == "2024-06-09T23:59:59"
    assert preview(open_cube(series), time="2024-06-05", size_px=80).time == "2024-06-05T00:00:00"


def test_a_date_that_covers_more_is_preferred(tmp_path: Path):
    """However clear a sliver may be."""
    plan = timed_plan()
    cube = create_or_open(plan, tmp_path / "cube.zarr")
    for tile in plan.tiles():
        mask = plan.area_mask(tile.extent) & bool(tile.step or tile.row == 0)
        cube.write_tile(tile, TileData(values=np.ones((2, *mask.shape), np.uint16), data_mask=mask))
    cube.mark_complete(pu_spent=1.0)
    assert preview(tmp_path / "cube.zarr", size_px=80).time == "2024-06-05T00:00:00"


def test_a_layer_is_named_where_there_are_several(tmp_path: Path):
    """As for open_cube."""
    path = fill_tree(tmp_path / "cube.zarr", s2=timed_plan(), flat=flat_plan())
    assert preview(path, layer="flat", size_px=80).as_dict() == {
        "layer": "flat",
        "look": "B04",
        "bands": ["B04"],
        "time": None,
        "size": [70, 80],
        "metres_per_px": pytest.approx([10.004, 10.004], abs=1e-3),
    }
    with pytest.raises(WrongStore, match="several groups that fit: s2, flat"):
        preview(path)


# files and refusals


def test_it_is_saved_and_shown_as_png(store: Path, tmp_path: Path):
    """The same picture."""
    picture = preview(store, size_px=80)
    picture.save(tmp_path / "out.png")
    with Image.open(io.BytesIO(picture._repr_png_())) as shown, Image.open(tmp_path / "out.png") as saved:
        np.testing.assert_array_equal(shown, saved)
        np.testing.assert_array_equal(shown, picture.image)


def test_a_place_that_cannot_be_written_is_named(store: Path, tmp_path: Path):
    """With the cure."""
    with pytest.raises(StoreUnavailable, match=r"nowhere/out\.png: No such file or directory; make room there or"):
        preview(store, size_px=80).save(tmp_path / "nowhere" / "out.png")


def test_a_name_of_another_format_is_refused(store: Path, tmp_path: Path):
    """It would not be what it says."""
    with pytest.raises(PlanError, match=r"out\.jpg: a picture is written as PNG; call it out\.png"):
        preview(store, size_px=80).save(tmp_path / "out.jpg")


def test_what_cannot_be_drawn_is_refused(store: Path, series: Path):
    """With the cure."""
    with pytest.raises(PlanError, match="size_px = 3 is too small"):
        preview(store, size_px=3)
    with pytest.raises(WrongStore, match="the Dataset has no data_mask"):
        preview(xr.Dataset({"a": 1}))
    with pytest.raises(WrongStore, match="has no date on 2024-06-03"):
        preview(open_cube(series), time="2024-06-03")
