"""Patches as samples, held against zarr and numpy."""

from __future__ import annotations

import dataclasses
import pickle
import threading
from pathlib import Path

import numpy as np
import pytest
import zarr
from pyproj import Transformer

import shdask
from shdask.assemble.store import CubeStore, create_or_open
from shdask.errors import PlanError, StoreError, WrongStore
from shdask.model import TileData
from shdask.patches.choosing.index import open_index
from shdask.patches.measuring.statistics import measure_statistics
from shdask.patches.reading.alignment import Aligned, AllDates, CalendarBins, ClearestDates, ExactDates, NearestDates
from shdask.patches.reading.group_reader import GroupReader
from shdask.patches.reading.masks import BandMask
from shdask.patches.reading.pool import Readers
from shdask.patches.reading.reader import open_reader
from shdask.patches.reading.sample_dict import stack_samples
from shdask.patches.reading.states import TileStates
from shdask.patches.reading.views import LayerView, Scaling
from shdask.patches.table import Patch
from shdask.serve.open import open_cube
from tests.unit.assemble.conftest import Pixels, small_plan
from tests.unit.patches.indexed import dated_plan, make_cube
from tests.unit.patches.rows import make_patches

CORNERS = [(0, 0), (20, 8), (38, 40), (30, 48)]
"""Aligned to chunks of 16 px, not aligned, and where nothing was to be bought, of 70 x 80 px."""


@pytest.fixture(scope="module")
def dated(tmp_path_factory: pytest.TempPathFactory) -> CubeStore:
    """Two dates of B04 and SCL, all tiles written."""
    cube = make_cube(tmp_path_factory.mktemp("dated") / "cube.zarr")
    cube.mark_complete(pu_spent=1.0)
    return cube


@pytest.fixture(scope="module")
def flat(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A mosaic in float reflectance, its pixels random."""
    plan = small_plan(units="REFLECTANCE")
    pixels = Pixels.random(plan)
    cube = create_or_open(plan, tmp_path_factory.mktemp("flat") / "cube.zarr")
    [cube.write_tile(tile, pixels.of(tile)) for tile in plan.tiles()]
    cube.mark_complete(pu_spent=1.0)
    return cube.place.path


def patches_of(cube: CubeStore, corners=CORNERS, **words):
    return make_patches(cube.plan.grid, corners, size_px=32, **words)


def arrays_under(cube: CubeStore, patch: Patch) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(B04, SCL, valid), (time, y, x) each, as zarr reads them."""
    rows, columns = patch.window.slices
    red, classes, mask = (np.asarray(cube.arrays[name][:, rows, columns]) for name in ("B04", "SCL", "data_mask"))
    return red, classes, mask == 1


@pytest.mark.parametrize("row", range(len(CORNERS)))
@pytest.mark.parametrize("threads", [0, 3])
def test_pixels_are_those_that_zarr_reads(dated: CubeStore, row: int, threads: int):
    """Wherever a patch lies; 0 where they are not valid."""
    patch = patches_of(dated)[row]
    red, _, valid = arrays_under(dated, patch)
    sample = open_reader(dated.place.name, threads=threads).read(patch)
    np.testing.assert_array_equal(sample["image"], np.where(valid, red, 0)[:, np.newaxis])
    np.testing.assert_array_equal(sample["valid"], valid)
    assert (sample["image"].dtype, sample["image"].shape) == (np.float32, (2, 1, 32, 32))


def test_clear_pixels_are_those_that_the_classes_call_clear(dated: CubeStore):
    """Vegetation, bare, water, unclassified, snow."""
    patch = patches_of(dated)[1]
    _, classes, valid = arrays_under(dated, patch)
    sample = open_reader(dated.place.name).read(patch)
    np.testing.assert_array_equal(sample["clear"], valid & np.isin(classes, (4, 5, 6, 7, 11)))


def test_an_unsharded_cube_reads_the_same(tmp_path: Path, dated: CubeStore):
    """Chunks are objects there."""
    other = make_cube(tmp_path / "cube.zarr", dated_plan(sharded=False))
    patch = patches_of(dated)[1]
    here, there = (open_reader(cube.place.name).read(patch) for cube in (dated, other))
    np.testing.assert_array_equal(here["image"], there["image"])


def test_dates_are_those_of_the_cube(dated: CubeStore):
    """In seconds, and as days of the year."""
    times = open_cube(dated.place.name)["time"]
    sample = open_reader(dated.place.name).read(patches_of(dated)[0])
    np.testing.assert_array_equal(sample["dates"], times.to_numpy().astype("datetime64[s]").astype(np.int64))
    np.testing.assert_array_equal(sample["doy"], times.dt.dayofyear)
    assert sample["present"].all()


def test_a_patch_with_a_date_has_that_date(dated: CubeStore):
    """Alone; and padding where the layer does not have it."""
    times = open_cube(dated.place.name)["time"].to_numpy().astype("datetime64[s]")
    dates = [str(times[1]), "2020-01-01"]
    here, nowhere = patches_of(dated, [(0, 0), (0, 0)], dates=dates)
    reader = open_reader(dated.place.name)
    red, _, valid = arrays_under(dated, here)
    np.testing.assert_array_equal(reader.read(here)["image"][:, 0], np.where(valid, red, 0)[1:])
    padding = reader.read(nowhere)
    assert (padding["present"].tolist(), padding["dates"].tolist()) == ([False], [0])
    assert not padding["image"].any()
    assert not padding["valid"].any()


def test_of_a_date_that_was_bought_again_each_tile_is_as_it_was_bought_last(tmp_path: Path):
    """A scene that came late reaches one tile; the others stay as they were."""
    plan = dated_plan(3)
    first, second, third = plan.timeline.steps
    again = dataclasses.replace(third, time=first.time, revision=1)
    plan = dataclasses.replace(plan, timeline=dataclasses.replace(plan.timeline, steps=(first, second, again)))
    across, down = plan.tile_set.grid_shape
    late = 2 * across * down
    cube = make_cube(tmp_path / "cube.zarr", plan, [*range(late), late])
    patch = patches_of(cube)[1]
    sample = open_reader(cube.place.name).read(patch)
    red, _, valid = arrays_under(cube, patch)
    is_late = (np.arange(20, 52) < 32)[:, np.newaxis] & (np.arange(8, 40) < 32)
    shown, is_shown = (np.where(is_late, every[2], every[0]) for every in (np.where(valid, red, 0), valid))
    np.testing.assert_array_equal(sample["image"][0, 0], shown)
    np.testing.assert_array_equal(sample["valid"][0], is_shown)
    view = LayerView(time=ClearestDates(count=2))
    clearest = open_reader(cube.place.name, view, index=open_index(cube.place.name)).read(patch)
    assert clearest["dates"].tolist() == sample["dates"].tolist()


def test_a_rule_chooses_the_dates(dated: CubeStore):
    """Padded to its count; nothing is read twice for it."""
    view = LayerView(time=AllDates(count=4))
    sample = open_reader(dated.place.name, view).read(patches_of(dated)[0])
    assert sample["image"].shape == (4, 1, 32, 32)
    assert sample["present"].tolist() == [True, True, False, False]
    assert not sample["valid"][2:].any()


def test_the_clearest_date_is_found_by_the_index(dated: CubeStore):
    """The one of which zarr and numpy count more clear pixels."""
    patch = patches_of(dated)[0]
    _, classes, valid = arrays_under(dated, patch)
    best = int((valid & np.isin(classes, (4, 5, 6, 7, 11))).sum(axis=(1, 2)).argmax())
    view = LayerView(time=ClearestDates(count=1))
    sample = open_reader(dated.place.name, view, index=open_index(dated.place.name)).read(patch)
    every = open_reader(dated.place.name).read(patch)
    assert sample["dates"].tolist() == [every["dates"][best]]


def test_a_composite_is_the_median_of_clear_pixels(dated: CubeStore):
    """Else of valid ones, as numpy.ma computes it; one bin holds both dates."""
    patch = patches_of(dated)[1]
    red, classes, valid = arrays_under(dated, patch)
    clear = valid & np.isin(classes, (4, 5, 6, 7, 11))
    used = np.where(clear.any(axis=0), clear, valid)
    expected = np.ma.median(np.ma.masked_array(red.astype(np.float32), ~used), axis=0).filled(0)
    first, last = (np.datetime64(day).item() for day in ("2020-01-01", "2029-12-31"))
    view = LayerView(time=CalendarBins(every="P10Y", first=first, last=last))
    sample = open_reader(dated.place.name, view).read(patch)
    np.testing.assert_allclose(sample["image"][0, 0], expected)
    np.testing.assert_array_equal(sample["valid"][0], valid.any(axis=0))
    np.testing.assert_array_equal(sample["clear"][0], clear.any(axis=0))


@pytest.mark.parametrize("reduce", ["mean", "first"])
def test_a_composite_may_be_a_mean_or_the_earliest(dated: CubeStore, reduce: str):
    """Of what it is made of."""
    patch = patches_of(dated)[0]
    red, classes, valid = arrays_under(dated, patch)
    clear = valid & np.isin(classes, (4, 5, 6, 7, 11))
    used = np.where(clear.any(axis=0), clear, valid)
    mean = np.ma.masked_array(red.astype(np.float32), ~used).mean(axis=0).filled(0)
    earliest = np.where(used[0], red[0], np.where(used[1], red[1], 0))
    group = open_reader(dated.place.name)._group("", "s2")
    times = np.array(["2024-06-15"], "datetime64[s]")
    aligned = Aligned(members=((0, 1),), times=times, reduce=reduce)
    found = group.read(["B04"], aligned, patch.window, states=TileStates())
    np.testing.assert_allclose(found.image[0, 0], {"mean": mean, "first": earliest}[reduce], rtol=1e-6)


def test_a_mosaic_has_one_step_without_a_date(flat: Path):
    """Present, and dated 0; its rule for dates has nothing to choose."""
    patch = make_patches(small_plan().grid, [(20, 8)])[0]
    sample = open_reader(flat, LayerView(time=ExactDates(days=("2024-06-01",)))).read(patch)
    assert (sample["present"].tolist(), sample["dates"].tolist()) == ([True], [0])
    np.testing.assert_array_equal(sample["valid"][0], zarr.open_group(flat, mode="r")["data_mask"][20:52, 8:40] == 1)


def test_values_and_scaling_are_as_the_view_says(flat: Path):
    """Reflectance as digital numbers, less their mean, by their std; 0 stays where nothing is valid."""
    patch = make_patches(small_plan().grid, [(20, 8)])[0]
    view = LayerView(bands=("red",), values="dn", scaling=Scaling(means=(5000.0,), stds=(250.0,)))
    sample = open_reader(flat, view).read(patch)
    stored = zarr.open_group(flat, mode="r")["B04"][20:52, 8:40]
    expected = np.where(np.isnan(stored), 0, (stored * 10000 - 5000) / 250)
    np.testing.assert_allclose(sample["image"][0, 0], expected, atol=1e-3)


def test_statistics_of_the_cube_scale_to_mean_0_and_std_1(dated: CubeStore):
    """Over the valid pixels of the patches that they are of."""
    patches = patches_of(dated, [(0, 0), (32, 0), (32, 32)])
    figures = measure_statistics(dated.place.name, patches, "s2", bands=["B04"])
    reader = open_reader(dated.place.name, LayerView(bands=("red",), scaling=figures))
    samples = [reader.read(patch) for patch in patches]
    scaled = np.concatenate([sample["image"][:, 0][sample["valid"]] for sample in samples])
    assert (scaled.mean(), scaled.std()) == pytest.approx((0, 1), abs=1e-4)


def test_bands_go_by_common_names(dated: CubeStore):
    """In the order asked; bands of classes only where they are named."""
    patch = patches_of(dated)[0]
    red, classes, valid = arrays_under(dated, patch)
    sample = open_reader(dated.place.name, LayerView(bands=("SCL", "red"))).read(patch)
    np.testing.assert_array_equal(sample["image"], np.where(valid[:, None], np.stack([classes, red], axis=1), 0))
    assert open_reader(dated.place.name).bands("", "s2") == ("B04",)


def test_a_band_of_the_cube_is_the_mask(dated: CubeStore):
    """At the first date at which a pixel is valid; ignored where it never is, and where its class is not named."""
    patch = patches_of(dated)[1]
    _, classes, valid = arrays_under(dated, patch)
    first = np.where(valid[0], classes[0], classes[1])
    expected = np.where(valid.any(axis=0) & (first == 4), 1, 255)
    mask = BandMask(band="SCL", classes={4: 1})
    sample = open_reader(dated.place.name, mask=mask, ignore_index=255).read(patch)
    np.testing.assert_array_equal(sample["mask"], expected)
    assert sample["mask"].dtype == np.int64


def test_a_mask_is_any_function_of_the_patch(dated: CubeStore):
    """Of (y, x) whole numbers."""
    sample = open_reader(dated.place.name, mask=lambda patch: np.full((32, 32), patch.label)).read(
        patches_of(dated, labels=[5])[0]
    )
    assert (sample["mask"] == 5).all()


def test_a_sample_tells_where_it_lies(dated: CubeStore):
    """Its centre in degrees, as pyproj has it."""
    patch = patches_of(dated)[0]
    sample = open_reader(dated.place.name).read(patch)
    x, y = (patch.bounds[0] + patch.bounds[2]) / 2, (patch.bounds[1] + patch.bounds[3]) / 2
    np.testing.assert_allclose(sample["latlon"], Transformer.from_crs(32633, 4326).transform(x, y), atol=1e-5)
    assert sample["key"] == patch.key


def test_a_sample_is_transformed_last(dated: CubeStore):
    """By a function of the user's."""
    reader = open_reader(dated.place.name, transform=lambda sample: {"only": sample["image"].sum()})
    assert list(reader.read(patches_of(dated)[0])) == ["only"]


def test_tiles_that_are_not_written_are_not_valid(tmp_path: Path):
    """And come in once they are: nothing is remembered of what was not there."""
    plan = dated_plan()
    cube = make_cube(tmp_path / "cube.zarr", plan, [0, 1])
    patch = patches_of(cube, [(16, 0)])[0]
    reader = open_reader(tmp_path / "cube.zarr")
    assert not reader.read(patch)["valid"][0, 16:].any()
    tile = plan.tile(3)
    cube.write_tile(tile, TileData(values=np.full((2, 32, 32), 4, np.uint16), data_mask=np.ones((32, 32), np.bool_)))
    assert reader.read(patch)["valid"][0, 16:].all()
    assert (reader.read(patch)["image"][0, 0, 16:] == 4).all()


def test_bands_without_their_mask_are_not_read(tmp_path: Path):
    """A tile that is being written has pixels and no mark; none of them may be taken, beside those of another tile."""
    cube = make_cube(tmp_path / "cube.zarr")
    (tmp_path / "cube.zarr" / "data_mask" / "c" / "0" / "1" / "0").unlink()
    sample = open_reader(tmp_path / "cube.zarr").read(patches_of(cube, [(16, 0)])[0])
    assert sample["image"][0, 0, :16].any()
    assert not sample["image"][0, 0, 16:].any()
    assert sample["image"][1, 0, 16:].any()


def test_what_is_not_finite_is_0(tmp_path: Path):
    """A script may divide by nothing where pixels are valid."""
    plan = small_plan(
        bands=(), evalscript="//VERSION=3\n", input_bands=("B04",), outputs={"default": {"bands": ("ratio",)}}
    )
    cube = create_or_open(plan, tmp_path / "cube.zarr")
    values = np.full((1, 32, 32), np.nan, np.float32)
    values[0, :16] = 0.5
    cube.write_tile(plan.tile(0), TileData(values=values, data_mask=np.ones((32, 32), np.bool_)))
    sample = open_reader(tmp_path / "cube.zarr").read(make_patches(plan.grid, [(0, 0)])[0])
    np.testing.assert_array_equal(sample["image"][0, 0], np.nan_to_num(values[0]))
    assert sample["valid"].all()


def test_a_reader_travels_without_pixels(dated: CubeStore):
    """To another process, where it reads the same."""
    reader = open_reader(dated.place.name)
    patch = patches_of(dated)[0]
    expected = reader.read(patch)["image"]
    sent = pickle.dumps(reader)
    assert len(sent) < 20_000
    np.testing.assert_array_equal(pickle.loads(sent).read(patch)["image"], expected)  # noqa: S301  # our own


def test_nothing_that_is_asked_for_and_is_not_there_is_passed_over(dated: CubeStore, tmp_path: Path):
    """A layer, a band, a layout, a leading layer, a cube."""
    store, patch = dated.place.name, patches_of(dated)[0]
    with pytest.raises(PlanError, match=r"no layer 's1'; it holds s2"):
        open_reader(store, "s1")
    with pytest.raises(PlanError, match="nir cannot be had from sentinel-2-l2a"):
        open_reader(store, LayerView(bands=("nir",))).read(patch)
    with pytest.raises(PlanError, match="layout 'HWC' is none of"):
        open_reader(store, layout="HWC")
    with pytest.raises(PlanError, match="'s1' must come before it"):
        open_reader(store, LayerView(time=NearestDates(to="s1", within_days=1))).read(patch)
    with pytest.raises(PlanError, match="name each layer once"):
        open_reader(store, ["s2", "s2"])
    with pytest.raises(WrongStore, match="does not exist"):
        open_reader(tmp_path / "none")


def test_a_bucket_is_not_read_after_a_fork(monkeypatch: pytest.MonkeyPatch):
    """Its client would hang there; the cure is named."""
    readers = Readers(0, may_fork=False)
    monkeypatch.setattr("shdask.patches.reading.pool.os.getpid", lambda: -1)
    with pytest.raises(StoreError, match="multiprocessing_context='spawn'"):
        readers.run(print, [1])


def test_threads_begin_anew_after_a_fork(monkeypatch: pytest.MonkeyPatch):
    """Those of the parent do not live in the child."""
    readers, read = Readers(2, may_fork=True), []
    readers.run(read.append, [1])
    before = readers._pool
    monkeypatch.setattr("shdask.patches.reading.pool.os.getpid", lambda: -1)
    readers.run(read.append, [2])
    assert readers._pool is not before
    assert read == [1, 2]


def test_no_job_runs_any_more_when_another_has_failed():
    """Threads that went on would read into arrays that the next try fills."""
    begun, ended = threading.Event(), []

    def fail() -> None:
        begun.wait(5)
        raise StoreError

    def go_on() -> None:
        begun.set()
        threading.Event().wait(0.1)
        ended.append(True)

    with pytest.raises(StoreError):
        Readers(2, may_fork=True).run(lambda job: job(), [fail, go_on])
    assert ended == [True]


def test_reading_says_the_same_as_the_lazy_cube(dated: CubeStore):
    """What open_cube computes by its graph."""
    patch = patches_of(dated)[1]
    rows, columns = patch.window.slices
    lazy = shdask.open_cube(dated.place.name, masked=True)["B04"].isel(y=rows, x=columns)
    sample = open_reader(dated.place.name).read(patch)
    np.testing.assert_array_equal(sample["image"][:, 0], lazy.fillna(0).compute(scheduler="sync"))


@pytest.mark.parametrize("layout", ["TCHW", "CTHW", "CHW"])
def test_a_batch_is_the_samples_stacked(dated: CubeStore, layout: str):
    """In every layout, images read where they belong."""
    reader = open_reader(dated.place.name, LayerView(bands=("SCL", "red")), layout=layout, mask=BandMask(band="SCL"))
    patches = list(patches_of(dated))
    batch, expected = reader.read_batch(patches), stack_samples([reader.read(patch) for patch in patches])
    assert [(key, item.dtype, item.shape) for key, item in batch.items() if key != "key"] == [
        (key, item.dtype, item.shape) for key, item in expected.items() if key != "key"
    ]
    assert all(np.array_equal(batch[key], item) for key, item in expected.items())


def test_samples_of_a_batch_have_as_many_dates(dated: CubeStore):
    """Else they are refused as stacking refuses them; a transform is given single samples."""
    reader = open_reader(dated.place.name, transform=lambda sample: {"sum": sample["image"].sum()})
    patches = list(patches_of(dated))
    assert reader.read_batch(patches)["sum"].tolist() == [reader.read(patch)["sum"] for patch in patches]
    (one,) = patches_of(dated, [(0, 0)], dates=["2024-06-01"])
    with pytest.raises(PlanError, match=r"image has the shapes .* give the dates a count"):
        open_reader(dated.place.name).read_batch([patches[0], one])


def test_a_group_is_opened_once(dated: CubeStore, monkeypatch: pytest.MonkeyPatch):
    """Its metadata are not read for every patch."""
    reader = open_reader(dated.place.name)
    reader.read(patches_of(dated)[0])
    monkeypatch.setattr(GroupReader, "open", None)
    reader.read(patches_of(dated)[1])
