"""How a large picture is cut into strips, so that it is never whole in memory."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from shdask.emulator.lattice import Lattice
from shdask.emulator.render.spool import STRIP_VALUES, cut_for_disk


def lattice(width: int, height: int, row: int = 0) -> Lattice:
    """Pixels of 10 m."""
    return Lattice(
        crs="EPSG:32633",
        res_x=10,
        res_y=10,
        fraction_x=0,
        fraction_y=0,
        column=0,
        row=row,
        width=width,
        height=height,
    )


@given(st.integers(1, 10_000), st.integers(1, 10_000), st.integers(-600_000, 600_000), st.integers(1, 2000))
def test_strips_hold_each_row_once_and_little_at_a_time(width, height, row, planes):
    """From top to bottom, without a gap; one row may be too much by itself."""
    strips = list(cut_for_disk(lattice(width, height, row), planes))
    rows = [strip.stop - strip.start for strip in strips]
    assert [strip.start for strip in strips] == [0, *(strip.stop for strip in strips)][:-1]
    assert (strips[-1].stop, min(rows) > 0) == (height, True)
    assert max(rows) == 1 or max(rows) * width * planes <= STRIP_VALUES


def test_strips_end_where_blocks_do():
    """At whole multiples of 512 rows of the endless grid, but for the first and last."""
    strips = [(strip.start, strip.stop) for strip in cut_for_disk(lattice(10_000, 2000, row=-500_100), 5)]
    assert strips == [(0, 388), (388, 900), (900, 1412), (1412, 1924), (1924, 2000)]
