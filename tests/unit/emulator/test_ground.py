"""The ground of the synthetic Earth: short cuts that do not show."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from shdask.emulator.lattice import make_lattice
from shdask.emulator.world import settlement
from shdask.emulator.world.ground import Landscape
from shdask.emulator.world.parcels import lay_parcels
from shdask.emulator.world.place import locate
from shdask.emulator.world.texture import paint

BYTES = arrays.arrays(np.uint8, (4, 9))
FLAGS = arrays.arrays(np.bool_, (4, 9))
SOUTH_OF_GRAZ = make_lattice("EPSG:32633", (505_003, 5_100_007, 515_243, 5_102_567), 1024, 256)


@pytest.fixture(scope="module")
def landscape():
    """The Earth of the default seed."""
    return Landscape.make(7)


def test_towns_and_roads_lie_where_a_search_of_every_pixel_finds_them(landscape, monkeypatch):
    """Asking only near settlements leaves none of their pixels out."""
    ground = landscape.survey(locate(SOUTH_OF_GRAZ))
    monkeypatch.setattr(settlement, "TILE", 0.0)
    searched = landscape.survey(locate(SOUTH_OF_GRAZ))
    np.testing.assert_array_equal(ground.cover, searched.cover)
    np.testing.assert_array_equal(ground.variant, searched.variant)
    assert {16, 17, 18, 20, 21} <= set(np.unique(ground.cover).tolist())


@pytest.mark.parametrize("reach", [0.5, 1.0, 4.0, 16.0])
def test_a_mesh_spreads_its_own_coordinates_to_those_of_the_pixels(reach):
    """A field that is bilinear between nodes comes back at every pixel."""
    place = locate(SOUTH_OF_GRAZ)
    mesh = place.mesh(reach)
    np.testing.assert_allclose(mesh.spread(mesh.u), place.u, rtol=0, atol=1e-4)
    np.testing.assert_allclose(mesh.spread(mesh.v), place.v, rtol=0, atol=1e-4)


@pytest.mark.parametrize(("reach", "step"), [(0.4, 1), (1.0, 2), (8.0, 16), (1000.0, 32)])
def test_nodes_are_as_far_apart_as_the_reach_allows(reach, step):
    """Powers of two, at most 32 pixels; a unit is at least 20 m in most lands, a pixel here 10 m."""
    assert locate(SOUTH_OF_GRAZ).mesh(reach).step_px == step


def test_marks_cover_the_cells_around_their_node():
    """A marked node marks all pixels between it and its neighbours, and no others."""
    mesh = locate(SOUTH_OF_GRAZ).mesh(4.0)
    nodes = np.zeros(mesh.u.shape, dtype=bool)
    nodes[3, 5] = True
    rows, columns = np.nonzero(mesh.mark(nodes))
    step, (row0, column0) = mesh.step_px, mesh.first
    assert (rows.min() + row0, rows.max() + row0) == (2 * step, 4 * step - 1)
    assert (columns.min() + column0, columns.max() + column0) == (4 * step, 6 * step - 1)
    assert rows.size == (2 * step) ** 2


@pytest.mark.parametrize("edge", [0.0, 64.0, 262_144.0])
def test_a_hair_before_the_next_parish_there_is_a_parcel(edge):
    """Positions that round up to the edge of a parish of 64 units do not fall out of the tables."""
    place = locate(SOUTH_OF_GRAZ)
    corner = np.full(place.u.shape, np.nextafter(edge, -np.inf))
    nothing = np.zeros(place.u.shape, dtype=np.float32)
    parcels = lay_parcels(replace(place, u=corner, v=corner), nothing, nothing)
    assert np.unique(parcels.cover).size == 1


@given(target=BYTES, value=st.one_of(BYTES, st.integers(0, 255)), where=FLAGS)
def test_painting_is_a_masked_copy(target, value, where):
    """The same as numpy's where."""
    painted = target.copy()
    paint(painted, value, where)
    np.testing.assert_array_equal(painted, np.where(where, value, target))
