"""Where patches may lie on the grids of a cube."""

from __future__ import annotations

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from pyproj import Transformer

from shdask.errors import PlanError, WrongStore
from shdask.model import Window
from shdask.patches.choosing.places import find_grounds, grid_places, number_places, random_places
from shdask.planning import make_plan

from .grounds import make_ground, plain_spec, zones_spec


def corners(places) -> list[tuple[int, int]]:
    return list(zip(places.y0.tolist(), places.x0.tolist(), strict=True))


def test_patches_lie_in_chunks_side_by_side():
    """Two of 24 px fit into one of 64 px; none lies over a chunk's edge or the array's."""
    places = grid_places(make_ground(shape=(100, 130)), 0, size_px=24, stride_px=None)
    assert corners(places) == [(y, x) for y in (0, 24, 64) for x in (0, 24, 64, 88)]


def test_patches_larger_than_chunks_begin_with_one():
    """96 px take two chunks of 64 px each way."""
    places = grid_places(make_ground(shape=(230, 300)), 0, size_px=96, stride_px=None)
    assert corners(places) == [(0, 0), (0, 128), (128, 0), (128, 128)]


def test_a_stride_is_taken_as_it_is():
    """Overlapping, across chunks."""
    places = grid_places(make_ground(shape=(64, 100)), 0, size_px=50, stride_px=25)
    assert corners(places) == [(0, 0), (0, 25), (0, 50)]


def test_tiles_outside_the_area_have_no_patch():
    """But one that reaches over their edge has."""
    ground = make_ground(shape=(256, 256), tiles=np.array([[True, False], [False, False]]))
    assert corners(grid_places(ground, 0, size_px=64, stride_px=None)) == [(0, 0), (0, 64), (64, 0), (64, 64)]
    assert (100, 100) in corners(grid_places(ground, 0, size_px=64, stride_px=50))


def test_a_patch_that_is_larger_than_the_array_has_no_place():
    """Neither in a grid nor by chance."""
    ground = make_ground(shape=(60, 300))
    assert grid_places(ground, 0, size_px=64, stride_px=None).y0.size == 0
    drawn = random_places([ground], size_px=64, first=0, count=500, align_px=1, seed=0)
    assert drawn.y0.size == 0


@given(size_px=st.integers(1, 90), align_px=st.sampled_from([1, 8, 64]), seed=st.integers(0, 5))
@settings(max_examples=30)
def test_drawn_places_lie_in_the_array(size_px: int, align_px: int, seed: int):
    """Whole, on the lattice asked for, where the area is."""
    ground = make_ground(shape=(200, 310), tiles=np.array([[False, True, True], [False, True, False]]))
    places = random_places([ground], size_px=size_px, first=0, count=300, align_px=align_px, seed=seed)
    assert places.y0.size > 20
    assert ground.holds(places.y0, places.x0, size_px).all()
    assert not (places.y0 % align_px).any()
    assert not (places.x0 % align_px).any()
    assert (places.x0 + size_px > 128).all()


def test_draws_go_on_where_they_ended():
    """The first hundred and the next are those of two hundred."""
    ground = make_ground()
    words = {"size_px": 16, "align_px": 1, "seed": 3}
    whole = corners(random_places([ground], first=0, count=200, **words))
    parts = [corners(random_places([ground], first=first, count=100, **words)) for first in (0, 100)]
    assert parts[0] + parts[1] == whole


def test_a_place_has_one_number():
    """Ordered as grounds, rows and columns are."""
    ground, y0, x0 = (part.ravel() for part in np.indices((3, 40, 50)))
    numbers = number_places(ground.astype(np.intp), y0 * 1000, x0 * 1000)
    assert (np.diff(numbers) > 0).all()


def test_patches_of_a_job_have_their_middle_in_the_area():
    """Exactly those of the lattice that shapely finds in it."""
    spec = plain_spec()
    (ground,) = find_grounds(spec).grounds
    places = grid_places(ground, 0, size_px=16, stride_px=16)
    rows, columns = (part.ravel() * 16 for part in np.indices((400 // 16, 300 // 16)))
    middle_x, middle_y = 500_000 + (columns + 8.5) * 20, 5_108_000 - (rows + 8.5) * 20
    inside = shapely.contains_xy(spec.aoi, middle_x, middle_y)
    assert corners(places) == list(zip(rows[inside].tolist(), columns[inside].tolist(), strict=True))
    assert 0 < inside.sum() < inside.size


@pytest.mark.parametrize("number", [0, 1])
def test_a_patch_is_the_zones_that_owns_its_middle(number: int):
    """By its longitude, as pyproj has it: west of 12 degrees in 32632, else in 32633."""
    ground = find_grounds(zones_spec()).grounds[number]
    places = grid_places(ground, number, size_px=16, stride_px=16)
    left, bottom, right, top = ground.bounds(places.y0, places.x0, 16).T
    degrees = Transformer.from_crs(ground.grid.epsg, 4326, always_xy=True)
    longitude, _ = degrees.transform((left + right) / 2, (bottom + top) / 2)
    assert places.y0.size > 100
    assert ((longitude >= 12.0) == (ground.zone == "32633")).all()


def test_bounds_are_the_grids():
    """To the bit."""
    area = shapely.box(500_000, 5_000_000, 500_050, 5_000_050)
    (ground,) = find_grounds(plain_spec(resolution=0.1 + 0.2, aoi=area)).grounds
    expected = ground.grid.bounds(Window(y0=3, y1=67, x0=5, x1=69))
    assert tuple(ground.bounds(np.array([3]), np.array([5]), 64)[0].tolist()) == expected


def test_layers_of_a_zone_share_its_ground():
    """And are named in the order of the job."""
    layers = {"dem": {"collection": "dem", "bands": ["DEM"]}, "s2": {"collection": "sentinel-2-l2a", "bands": ["B02"]}}
    found = find_grounds(make_plan(zones_spec(layers=layers))).grounds
    assert [(ground.zone, ground.layers) for ground in found] == [("32632", ("dem", "s2")), ("32633", ("dem", "s2"))]


def test_what_is_no_cube_is_refused(tmp_path):
    """With what to give."""
    with pytest.raises(PlanError, match="int is no cube; give the folder of one"):
        find_grounds(7)
    with pytest.raises(WrongStore, match="does not exist"):
        find_grounds(tmp_path / "nothing.zarr")
