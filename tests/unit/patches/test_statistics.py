"""Statistics over patches: what numpy says of their pixels, each taken once."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from shdask.assemble.layout import object_key
from shdask.assemble.store import CubeStore
from shdask.assemble.verify import forget
from shdask.errors import PlanError
from shdask.patches.measuring import patch_pixels
from shdask.patches.measuring.statistics import Statistics, measure_statistics
from shdask.patches.table import Patches
from tests.unit.serve.timed import DAYS, disordered_plan, fill, fill_tree, timed_plan

from .indexed import dated_plan, make_cube, stored
from .rows import make_patches

DATES = ("2024-06-03T00:00:00", "2024-06-08T00:00:00")
CORNERS = [(0, 0), (10, 12), (38, 3), (40, 60)]
"""Of patches of 24 px: two that overlap, one over two tiles, one at the array's edge."""


@pytest.fixture(scope="module")
def cube(tmp_path_factory: pytest.TempPathFactory) -> CubeStore:
    """Two dates, of which tile 3 of the first is not written."""
    indices = [index for index in dated_plan().tile_set.indices().tolist() if index != 3]
    return make_cube(tmp_path_factory.mktemp("statistics") / "cube", indices=indices)


def patches_of(cube: CubeStore, *, dates: tuple[str, ...] = ()) -> Patches:
    """For training, but for the last one."""
    splits = ("train", "train", "train", "test")
    return make_patches(cube.plan.grid, CORNERS, size_px=24, dates=dates, splits=splits)


def under(corners: list[tuple[int, int]]) -> np.ndarray:
    """(y, x): True under any patch."""
    mask = np.zeros((70, 80), bool)
    for y, x in corners:
        mask[y : y + 24, x : x + 24] = True
    return mask


def values_under(cube: CubeStore, corners: list[tuple[int, int]], step: int, *, clear: bool = False) -> np.ndarray:
    """Those of B04 that are valid, or clear, each once."""
    return np.asarray(cube.arrays["B04"][step])[stored(cube, step)[int(clear)] & under(corners)]


def assert_of(found: Statistics, expected: np.ndarray) -> None:
    """Everything that is told of B04."""
    red = found.of("B04")
    exact = expected.astype(np.float64)
    assert (red.count, red.min, red.max) == (expected.size, expected.min(), expected.max())
    np.testing.assert_allclose((red.mean, red.std), (exact.mean(), exact.std()), rtol=1e-12)
    percentiles = {percent: np.percentile(expected, percent) for percent in red.percentiles}
    assert red.percentiles == pytest.approx(percentiles, abs=1e-9)


def test_valid_pixels_of_the_set_count_once_at_every_date(cube) -> None:
    """Where patches overlap, at edges of tiles, and without the patch of another set."""
    expected = np.concatenate([values_under(cube, CORNERS[:3], step) for step in range(2)])
    assert_of(measure_statistics(cube.place, patches_of(cube), "s2"), expected)


def test_every_set_counts_where_none_is_named(cube) -> None:
    """The patch at the array's edge too."""
    expected = np.concatenate([values_under(cube, CORNERS, step) for step in range(2)])
    assert_of(measure_statistics(cube.place, patches_of(cube), "s2", split=None), expected)


def test_clear_pixels_alone_may_count(cube) -> None:
    """By the band of classes."""
    expected = np.concatenate([values_under(cube, CORNERS[:3], step, clear=True) for step in range(2)])
    assert_of(measure_statistics(cube.place, patches_of(cube), "s2", clear_only=True), expected)


def test_a_patch_counts_at_its_own_date(cube) -> None:
    """The first and the third at the first date, the second at the other."""
    parts = (values_under(cube, [CORNERS[0], CORNERS[2]], 0), values_under(cube, [CORNERS[1]], 1))
    assert_of(measure_statistics(cube.place, patches_of(cube, dates=DATES), "s2"), np.concatenate(parts))


def test_all_dates_may_be_taken_for_every_patch(cube) -> None:
    """Such as for a layer of other dates."""
    dated = patches_of(cube, dates=("2023-01-01",))
    found = measure_statistics(cube.place, dated, "s2", all_dates=True)
    assert found.bands == measure_statistics(cube.place, patches_of(cube), "s2").bands


def test_small_pieces_give_the_same(cube, monkeypatch) -> None:
    """A tile may be read in parts; count, extremes and percentiles to the bit, the rest to rounding."""
    whole = measure_statistics(cube.place, patches_of(cube), "s2").of("B04")
    monkeypatch.setattr(patch_pixels, "MAX_PIECE_PX", 16)
    parts = measure_statistics(cube.place, patches_of(cube), "s2").of("B04")
    assert (parts.count, parts.min, parts.max) == (whole.count, whole.min, whole.max)
    assert parts.percentiles == whole.percentiles
    assert (parts.mean, parts.std) == pytest.approx((whole.mean, whole.std), rel=1e-12)


def test_the_same_call_gives_the_same_bits(cube) -> None:
    """Whatever threads end first; so do patches in another order."""
    patches = patches_of(cube)
    first = measure_statistics(cube.place, patches, "s2")
    assert measure_statistics(cube.place, patches, "s2") == first
    assert measure_statistics(cube.place, patches.take(np.array([3, 2, 1, 0])), "s2") == first


def test_zones_are_put_together(tmp_path) -> None:
    """A layer's pixels in both; every step of the fillers holds its number."""
    tree = fill_tree(tmp_path / "tree", **{"32632/s2": timed_plan(DAYS[0]), "32633/s2": timed_plan(*DAYS[:2])})
    grid = timed_plan().grid
    west, east = (make_patches(grid, [(0, 0)], size_px=16, zone=zone) for zone in ("32632", "32633"))
    names = ("key", "zone", "y0", "x0", "split", "block", "label", "parcel", "date", "valid_share", "clear_share")
    both = {name: np.concatenate((getattr(west, name), getattr(east, name))) for name in (*names, "bounds", "epsg")}
    red = measure_statistics(tree, replace(west, **both), "s2").of("B04")
    assert (red.count, red.mean, red.min, red.max) == (3 * 256, pytest.approx(4 / 3), 1.0, 2.0)


def test_a_date_that_was_bought_again_counts_as_bought_last(tmp_path) -> None:
    """The fourth step mends the second date, which the first step has; every step holds its number."""
    place = fill(disordered_plan(), tmp_path / "cube").place
    patches = make_patches(disordered_plan().grid, [(0, 0)], size_px=16)
    assert measure_statistics(place, patches, "s2").of("B04").mean == pytest.approx((2 + 3 + 4) / 3)
    dated = make_patches(disordered_plan().grid, [(0, 0)], size_px=16, dates=(DAYS[1],))
    assert measure_statistics(place, dated, "s2").of("B04").mean == 4.0
    forget(place, [27])  # as where nothing of a date is bought again
    assert measure_statistics(place, dated, "s2").of("B04").mean == 1.0


def test_tiles_that_are_not_whole_do_not_count(tmp_path) -> None:
    """A mask of several objects may stand in part while its tile is written."""
    cube = make_cube(tmp_path / "cube", dated_plan(sharded=False), [0])
    cube.place.remove(object_key("data_mask", cube.layout.mark(cube.plan.tile(0))))
    patches = make_patches(cube.plan.grid, [(0, 0)], size_px=32, dates=DATES[:1])
    assert measure_statistics(cube.place, patches, "s2").of("B04").count == 0


def test_pixels_beyond_the_array_do_not_count(cube) -> None:
    """Of patches over its upper left and its lower right corner."""
    patches = make_patches(cube.plan.grid, [(-16, -16), (60, 70)], size_px=24, dates=DATES[1:])
    masks = stored(cube, 1)[0]
    expected = int(masks[:8, :8].sum() + masks[60:, 70:].sum())
    assert measure_statistics(cube.place, patches, "s2").of("B04").count == expected


def test_bands_are_those_asked_for_in_their_order(cube) -> None:
    """As arrays for whoever normalises."""
    found = measure_statistics(cube.place, patches_of(cube), "s2", bands=["SCL", "B04"], percentiles=[50])
    assert [band.name for band in found.bands] == ["SCL", "B04"]
    assert found.means(["B04", "SCL"]).tolist() == [found.of("B04").mean, found.of("SCL").mean]
    assert found.stds(["SCL"]).tolist() == [found.of("SCL").std]
    assert list(found.of("SCL").percentiles) == [50.0]


def test_values_that_are_no_numbers_do_not_count(tmp_path) -> None:
    """A valid pixel may still hold NaN, as of a script that divides by zero."""
    cube = make_cube(tmp_path / "cube", dated_plan(units="REFLECTANCE"), (0, 3, 4, 6))
    expected = values_under(cube, CORNERS[:3], 0)
    cube.arrays["B04"][0, 3, 3:5] = [np.nan, np.inf]
    left = np.asarray(cube.arrays["B04"][0])[stored(cube, 0)[0] & under(CORNERS[:3])]
    kept = left[np.isfinite(left)]
    found = measure_statistics(cube.place, patches_of(cube, dates=DATES[:1]), "s2", bands=["B04"]).of("B04")
    assert found.count == kept.size < expected.size
    assert found.mean == pytest.approx(kept.astype(np.float64).mean(), rel=1e-12)


def test_statistics_come_back_from_their_file(cube, tmp_path: Path) -> None:
    """To the bit; a band without a pixel as well."""
    nowhere = make_patches(cube.plan.grid, [(0, 64)], size_px=4)
    measured = [measure_statistics(cube.place, some, "s2") for some in (patches_of(cube), nowhere)]
    measured[0].save(tmp_path / "a.json")
    measured[1].save(tmp_path / "b.json")
    assert Statistics.load(tmp_path / "a.json") == measured[0]
    assert repr(Statistics.load(tmp_path / "b.json")) == repr(measured[1])
    assert measured[1].of("B04").count == 0


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"bands": 3}', '{"bands": [{"name": "B04"}]}'])
def test_another_file_is_refused(tmp_path: Path, text: str) -> None:
    """By name."""
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(PlanError, match="holds no statistics"):
        Statistics.load(tmp_path / "a.json")


def test_a_set_without_a_patch_is_refused(cube) -> None:
    """Statistics of nothing would be NaN in every model."""
    with pytest.raises(PlanError, match=r"no patch of .* is in the set 'validation'"):
        measure_statistics(cube.place, patches_of(cube), "s2", split="validation")


def test_a_band_that_is_not_stored_is_refused(cube) -> None:
    """With those that are."""
    with pytest.raises(PlanError, match="layer 's2' has no band B99; it has B04, SCL"):
        measure_statistics(cube.place, patches_of(cube), "s2", bands=["B99"])
    with pytest.raises(PlanError, match="no statistics of band 'B99'; there are those of B04, SCL"):
        measure_statistics(cube.place, patches_of(cube), "s2").of("B99")


def test_a_date_that_the_layer_does_not_have_is_refused(cube) -> None:
    """With the cure."""
    with pytest.raises(PlanError, match=r"2023-01-01T00:00:00 is no date of layer 's2'; .*all_dates=True"):
        measure_statistics(cube.place, patches_of(cube, dates=("2023-01-01",)), "s2")
