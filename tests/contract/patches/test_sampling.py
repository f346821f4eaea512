"""Patches of cubes that were really built: their shares and classes are what xarray and numpy find in the pixels."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely
import xarray as xr

import shdask
from shdask import sample_patches
from shdask.assemble.verify import forget
from shdask.emulator.launch import EmulatorProcess
from shdask.patches.table import Patch

OVER_A_ZONES_EDGE = shapely.box(11.985, 46.0, 12.015, 46.015)
CLEAR = [4, 5, 6, 7, 11]
"""Of the scene classification: vegetation, bare, water, unclassified, snow."""


def make_spec(**changes: Any) -> shdask.CubeSpec:
    """A triangle in an array of 96 x 96 px of 20 m, three tiles of 64 px, two dates."""
    fields: dict[str, Any] = {
        "aoi": shapely.Polygon([(421_000, 5_094_000), (422_920, 5_095_920), (421_000, 5_095_920)]),
        "aoi_crs": "EPSG:32633",
        "crs": "EPSG:32633",
        "resolution": 20,
        "time": ("2024-06-01", "2024-06-06"),
        "layers": {"s2": {"collection": "sentinel-2-l2a", "bands": ["B04", "SCL"], "cadence": "acquisition"}},
        "store": {"chunk_px": 32, "tile_px": 64},
        **changes,
    }
    return shdask.CubeSpec(**fields)


@pytest.fixture(scope="module")
def folder(one_emulator: EmulatorProcess, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """With a cube of two dates, that cube as it was before its first tile came, and one over the edge of two zones."""
    folder = tmp_path_factory.mktemp("cubes")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in one_emulator.environment().items():
            patch.setenv(name, value)
        shdask.build_cube(make_spec(), folder / "dates", executor=shdask.SerialExecutor())
        mosaic = {"dem": {"collection": "dem", "bands": ["DEM"]}}
        zones = make_spec(aoi=OVER_A_ZONES_EDGE, aoi_crs="EPSG:4326", crs="utm-zones", layers=mosaic)
        shdask.build_cube(zones, folder / "zones", executor=shdask.SerialExecutor())
        shutil.copytree(folder / "dates", folder / "begun")
        forget(folder / "begun", [0])
        yield folder


@pytest.fixture(scope="module")
def pixels(folder: Path) -> xr.Dataset:
    """Of the two dates."""
    return shdask.open_cube(folder / "dates").load()


def under(pixels: xr.Dataset, patch: Patch) -> xr.Dataset:
    """The pixels of a patch, of its date or of all."""
    window = pixels.isel(y=patch.window.slices[0], x=patch.window.slices[1])
    return window if np.isnat(patch.date) else window.isel(time=window["time"].astype("M8[s]").to_numpy() == patch.date)


def shares_of(pixels: xr.Dataset) -> tuple[float, float]:
    """(valid, clear of the valid)."""
    valid = (pixels["data_mask"] == 1).to_numpy()
    return float(valid.mean()), float(np.isin(pixels["SCL"].to_numpy()[valid], CLEAR).mean())


@pytest.mark.parametrize("dates", ["all", "each", "clearest"])
def test_shares_are_those_of_the_pixels(folder: Path, pixels: xr.Dataset, dates: Any) -> None:
    """Valid, and clear of the valid, at a patch's date or over all; patches without a valid pixel are left away."""
    chosen = sample_patches(folder / "dates", size_px=32, dates=dates)
    expected = [shares_of(under(pixels, patch)) for patch in chosen]
    np.testing.assert_allclose(np.stack((chosen.valid_share, chosen.clear_share), axis=1), expected, atol=1e-6)
    assert len(chosen) == {"all": 6, "each": 12, "clearest": 6}[dates]
    assert chosen.notes[0].startswith("2 places are without a valid pixel")


def test_drawn_places_are_as_many_as_asked_with_all_their_dates(folder: Path) -> None:
    """Five places at two dates each."""
    chosen = sample_patches(folder / "dates", size_px=8, scheme="random", count=5, dates="each", min_valid=0.0)
    _, dates = np.unique(np.stack((chosen.y0, chosen.x0), axis=1), axis=0, return_counts=True)
    assert dates.tolist() == [2] * 5


def test_patches_that_are_not_good_enough_are_dropped(folder: Path, pixels: xr.Dataset) -> None:
    """By the index alone; those of the grid that are kept are all that are good."""
    every = sample_patches(folder / "dates", size_px=32, dates="each", min_valid=0.0)
    chosen = sample_patches(folder / "dates", size_px=32, dates="each", min_valid=0.5, min_clear=0.3)
    shares = [shares_of(under(pixels, patch)) for patch in every if patch.valid_share > 0]
    assert len(chosen) == sum(valid >= 0.5 and clear >= 0.3 for valid, clear in shares)
    assert 0 < len(chosen) < len(every)


def test_classes_are_those_of_the_pixels(folder: Path, pixels: xr.Dataset) -> None:
    """The most frequent value of the class band among a patch's valid pixels, at each date."""
    chosen = sample_patches(folder / "dates", size_px=32, dates="each", labels="SCL")
    windows = [under(pixels, patch) for patch in chosen]
    counts = [
        np.bincount(window["SCL"].to_numpy()[window["data_mask"].to_numpy() == 1], minlength=12) for window in windows
    ]
    assert len(chosen) == 12
    np.testing.assert_array_equal(chosen.label, np.argmax(counts, axis=1))


def test_classes_over_all_dates_are_counted_together(folder: Path, pixels: xr.Dataset) -> None:
    """Of a patch of all dates."""
    chosen = sample_patches(folder / "dates", size_px=32, labels="SCL")
    window = under(pixels, chosen[0])
    counts = np.bincount(window["SCL"].to_numpy()[window["data_mask"].to_numpy() == 1], minlength=12)
    assert chosen[0].label == np.argmax(counts)


def test_labels_have_the_nearest_date(folder: Path, pixels: xr.Dataset) -> None:
    """Within the days; the others are counted."""
    first = pixels["time"].to_numpy()[0].astype("M8[D]")
    rows = [
        {"type": "Feature", "properties": {"seen": str(first - np.timedelta64(days, "D"))}, "geometry": point}
        for days, point in ((2, [13.9839, 46.0058]), (9, [13.9845, 46.0058]))
        for point in [{"type": "Point", "coordinates": point}]
    ]
    labels = {"type": "FeatureCollection", "features": rows}
    chosen = sample_patches(
        folder / "dates", size_px=16, scheme="labels", labels=labels, date_column="seen", within_days=3, min_valid=0.0
    )
    assert chosen.date.astype("M8[D]").tolist() == [first.item()]
    assert "1 labels have no good date within 3 days" in chosen.notes


def test_a_cube_that_fills_has_patches_where_it_is_filled(folder: Path) -> None:
    """Fewer than the whole, each of them valid."""
    begun, whole = (sample_patches(folder / name, size_px=32, dates="each") for name in ("begun", "dates"))
    assert 0 < len(begun) < len(whole)
    assert set(begun.key.tolist()) < set(whole.key.tolist())


def test_a_store_and_its_job_have_one_grid(folder: Path) -> None:
    """Patches that were chosen before anything was bought are those of the cube."""
    store = sample_patches(folder / "zones", size_px=32, stride_px=16)
    job = make_spec(
        aoi=OVER_A_ZONES_EDGE,
        aoi_crs="EPSG:4326",
        crs="utm-zones",
        layers={"dem": {"collection": "dem", "bands": ["DEM"]}},
    )
    planned = sample_patches(job, size_px=32, stride_px=16)
    both = set(store.key.tolist()) & set(planned.key.tolist())
    assert np.unique(store.zone).tolist() == np.unique(planned.zone).tolist() == ["32632", "32633"]
    assert both == set(planned.key.tolist())
    bounds = {patch.key: patch.bounds for patch in store}
    assert {patch.key: patch.bounds for patch in planned} == {key: bounds[key] for key in planned.key.tolist()}


def test_no_pixel_of_a_built_cube_is_in_two_zones_patches_of_different_sets(folder: Path) -> None:
    """Whichever zone's array it is in: outlines are apart, in a projection of neither."""
    from tests.unit.patches.grounds import outlines_in

    chosen = sample_patches(folder / "zones", size_px=16, block_m=700, seed=3)
    outlines = outlines_in(chosen, 3035)
    sets = [shapely.union_all(outlines[chosen.split == number]) for number in range(3)]
    assert sum(not shapely.is_empty(each) for each in sets) > 1
    pairs = [(0, 1), (0, 2), (1, 2)]
    assert max(shapely.area(shapely.intersection(sets[one], sets[other])) for one, other in pairs) < 1e-3


def test_the_command_says_what_it_dropped(folder: Path, run, service) -> None:
    """In words and in the table."""
    code, out, err = run("patches", folder / "dates", "out.parquet", "--size", 32, "--min-valid", 0.5)
    assert code == 0, err
    assert "places are less than 50% valid" in out
