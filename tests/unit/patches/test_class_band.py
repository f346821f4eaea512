"""Classes of patches by a class band of the cube itself."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from shdask.assemble.place import open_place
from shdask.errors import PlanError
from shdask.patches.choosing.class_raster import Counts, count_in_band
from shdask.patches.choosing.draft import draft_places
from shdask.patches.choosing.places import Places
from tests.unit.serve.timed import DAYS, disordered_plan, fill, fill_tree, timed_plan

from .grounds import make_ground


def count(store: Path | str, *layers: str, date: str = "NaT", corner: tuple[int, int] = (0, 0)) -> Counts:
    """Of 8 x 8 pixels from a corner, the dates of which are the first layer's."""
    y0, x0 = (np.array([side], np.int64) for side in corner)
    patch = replace(draft_places(Places(ground=np.zeros(1, np.intp), y0=y0, x0=x0)), date=np.array([date], "M8[s]"))
    ground = make_ground(shape=timed_plan().grid.shape)
    return count_in_band(open_place(store), "SCL", patch, [ground], size_px=8, layers=layers)


def test_of_a_date_that_was_bought_again_the_last_purchase_counts(tmp_path: Path) -> None:
    """Where it is not valid too, as readers have it. A step holds its number: the fourth mends the second date, 1."""
    cube = fill(disordered_plan(), tmp_path / "cube")
    cube.arrays["data_mask"][3, :, 4:] = 0
    found = count(cube.place.name, "s2")
    assert (found.label.tolist(), found.count.tolist()) == ([2, 3, 4], [64, 64, 32])


def test_a_tile_that_the_last_purchase_has_not_brought_is_as_before(tmp_path: Path) -> None:
    """Tile by tile: of 8 x 8 pixels half lies in one of 32 px that has it, half in one that has not."""
    cube = fill(disordered_plan(), tmp_path / "cube")
    cube.place.remove("data_mask/c/3/1/1")
    found = count(cube.place.name, "s2", corner=(56, 28))
    assert (found.label.tolist(), found.count.tolist()) == ([1, 2, 3, 4], [32, 64, 64, 32])


def test_a_class_band_of_other_dates_is_refused(tmp_path: Path) -> None:
    """Its layer is named; patches without a date are of all its dates."""
    radar = timed_plan(bands=("B04",))
    radar = replace(radar, layer=replace(radar.layer, name="s1"))
    tree = fill_tree(tmp_path / "tree", s1=radar, s2=timed_plan())
    with pytest.raises(PlanError, match=r"SCL is a band of s2, and patches have the dates of s1; .* s2 first"):
        count(tree, "s1", "s2", date=DAYS[0])
    assert count(tree, "s1", "s2").label.tolist() == [1, 2, 3]
    assert count(tree, "s2", "s1", date=DAYS[0]).label.tolist() == [1]
