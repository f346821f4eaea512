"""Rectangles cut into cheaper ones."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as nps

from shdask.model import Window
from shdask.plan.cuts import Box, Cutter, find_boxes

Spans = tuple[np.ndarray, np.ndarray, np.ndarray]
SMALL = (12, 9)
MASKS = nps.arrays(np.bool_, SMALL, elements=st.booleans()).filter(np.any)
SPARSE = nps.arrays(np.bool_, SMALL, elements=st.sampled_from([False, False, False, False, True])).filter(np.any)
PRICES = st.tuples(st.floats(0.1, 20), st.floats(0, 3))
"""Pixels that make one unit, and the least price."""
WORTHS = st.floats(0, 5)


def spans_of(mask: np.ndarray, corner: tuple[int, int] = (0, 0)) -> Spans:
    """The runs of a mask whose upper left pixel is ``corner``."""
    turns = np.diff(np.pad(mask.astype(np.int8), ((0, 0), (1, 1))), axis=1)
    rows, starts = np.nonzero(turns == 1)
    return rows + corner[0], starts + corner[1], np.nonzero(turns == -1)[1] + corner[1]


def boxes_of(*masks: np.ndarray) -> np.ndarray:
    """(4, cell, cell, tile)."""
    tile = Window(y0=0, y1=masks[0].shape[0], x0=0, x1=masks[0].shape[1])
    return np.stack([find_boxes(spans_of(mask), tile) for mask in masks], axis=-1)


def counts_of(*masks: np.ndarray) -> np.ndarray:
    return np.array([mask.sum() for mask in masks], np.float64)


def a_cutter(price: tuple[float, float], worth: float) -> Cutter:
    """A unit for so many pixels, and at least so many units."""
    per_unit, least = price
    return Cutter(price=lambda pixels: np.maximum(pixels / per_unit, least), per_box=worth)


def cut(mask: np.ndarray, price: tuple[float, float], worth: float) -> list[Box]:
    return a_cutter(price, worth).cut(boxes_of(mask), counts_of(mask))[0]


def cost_of(boxes: list[Box], price: tuple[float, float], worth: float) -> float:
    return sum(max((y1 - y0) * (x1 - x0) / price[0], price[1]) + worth for y0, y1, x0, x1 in boxes)


def least_box(mask: np.ndarray) -> Box | None:
    """By numpy."""
    rows, columns = np.nonzero(mask)
    return (int(rows.min()), int(rows.max()) + 1, int(columns.min()), int(columns.max()) + 1) if rows.size else None


def search(mask: np.ndarray, cells: int, price: tuple[float, float], worth: float) -> float:
    """The least cost of all guillotine cuts along the borders of cells, by trying each."""
    ys, xs = (np.arange(cells + 1) * side // cells for side in mask.shape)

    @cache
    def best(top: int, bottom: int, left: int, right: int) -> float:
        box = least_box(mask[ys[top] : ys[bottom], xs[left] : xs[right]])
        if box is None:
            return 0.0
        two = [best(top, k, left, right) + best(k, bottom, left, right) for k in range(top + 1, bottom)]
        two += [best(top, bottom, left, k) + best(top, bottom, k, right) for k in range(left + 1, right)]
        return min([cost_of([box], price, worth), *two])

    return best(0, cells, 0, cells)


@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 10**6), st.sampled_from([0.02, 0.2, 0.9]))
def test_each_cell_has_its_least_box(height: int, width: int, seed: int, share: float) -> None:
    """Also in tiles of fewer pixels than cells, wherever they lie in the array; an empty one has none."""
    mask = np.random.default_rng(seed).random((height, width)) < share
    tile = Window(y0=2048, y1=2048 + height, x0=60_000, x1=60_000 + width)
    boxes = find_boxes(spans_of(mask, (2048, 60_000)), tile)
    ys, xs = (np.arange(17) * side // 16 for side in mask.shape)
    places = [(i, j) for i, j in np.ndindex(16, 16)]
    expected = {(i, j): least_box(mask[ys[i] : ys[i + 1], xs[j] : xs[j + 1]]) for i, j in places}
    offset = {
        (i, j): box and (box[0] + ys[i], box[1] + ys[i], box[2] + xs[j], box[3] + xs[j])
        for (i, j), box in expected.items()
    }
    found = {(i, j): tuple(boxes[:, i, j].tolist()) if boxes[0, i, j] < boxes[1, i, j] else None for i, j in places}
    assert found == offset


@given(MASKS | SPARSE, PRICES, WORTHS)
def test_boxes_hold_every_pixel_once(mask: np.ndarray, price: tuple[float, float], worth: float) -> None:
    """And no pixel of the tile twice."""
    painted = np.zeros(mask.shape, np.int64)
    for y0, y1, x0, x1 in cut(mask, price, worth):
        painted[y0:y1, x0:x1] += 1
    assert (painted[mask] == 1).all()
    assert painted.max() == 1


@given(MASKS | SPARSE, PRICES, WORTHS)
def test_every_box_is_tight(mask: np.ndarray, price: tuple[float, float], worth: float) -> None:
    """Its first and last row and column each hold a pixel."""
    boxes = cut(mask, price, worth)
    assert all(least_box(mask[y0:y1, x0:x1]) == (0, y1 - y0, 0, x1 - x0) for y0, y1, x0, x1 in boxes)


@given(MASKS | SPARSE, PRICES, WORTHS)
@settings(max_examples=60)
def test_no_cuts_along_cells_cost_less(mask: np.ndarray, price: tuple[float, float], worth: float) -> None:
    """Every way to cut 4 x 4 cells, tried one by one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("shdask.plan.cuts.CELLS", 4)
        found = cut(mask, price, worth)
    assert cost_of(found, price, worth) == pytest.approx(search(mask, 4, price, worth), rel=1e-5)


@given(MASKS | SPARSE, PRICES, WORTHS)
def test_cuts_never_cost_more_than_the_least_box(mask: np.ndarray, price: tuple[float, float], worth: float) -> None:
    """With any number of cells."""
    whole = least_box(mask)
    assert whole is not None
    assert cost_of(cut(mask, price, worth), price, worth) <= cost_of([whole], price, worth) * (1 + 1e-6)


@given(MASKS | SPARSE, PRICES, WORTHS, WORTHS)
def test_dearer_requests_never_save_pixels(
    mask: np.ndarray, price: tuple[float, float], one: float, other: float
) -> None:
    """What is bought besides requests grows with what a request is worth."""
    cheap, dear = (cost_of(cut(mask, price, worth), price, 0) for worth in sorted((one, other)))
    assert cheap <= dear * (1 + 1e-5) + 1e-5


@given(st.lists(MASKS | SPARSE, min_size=1, max_size=5), PRICES, WORTHS)
@settings(max_examples=30)
def test_tiles_are_cut_together_as_alone(masks: list[np.ndarray], price: tuple[float, float], worth: float) -> None:
    """None knows of another."""
    together = a_cutter(price, worth).cut(boxes_of(*masks), counts_of(*masks))
    assert together == [cut(mask, price, worth) for mask in masks]


def test_a_request_beyond_price_is_never_cut() -> None:
    """Two far corners come in one box."""
    mask = np.zeros(SMALL, np.bool_)
    mask[1, 2] = mask[10, 8] = True
    assert cut(mask, (1, 0), float("inf")) == [(1, 11, 2, 9)]


def test_two_far_corners_are_two_boxes() -> None:
    """Where a request is worth less than the 70 pixels between them."""
    mask = np.zeros(SMALL, np.bool_)
    mask[1, 2] = mask[10, 8] = True
    assert sorted(cut(mask, (1, 0), 67.0)) == [(1, 2, 2, 3), (10, 11, 8, 9)]
    assert cut(mask, (1, 0), 69.0) == [(1, 11, 2, 9)]


def test_a_frame_takes_four_boxes() -> None:
    """Around a hole of 28 x 28 pixels: top, bottom and two sides."""
    mask = np.ones((32, 32), np.bool_)
    mask[2:30, 2:30] = False
    boxes = cut(mask, (1, 0), 10.0)
    assert sum((y1 - y0) * (x1 - x0) for y0, y1, x0, x1 in boxes) == 32 * 32 - 28 * 28
    assert len(boxes) == 4


def test_a_full_tile_of_the_largest_request_is_one_box() -> None:
    """2500 x 2500 pixels: 16 bits hold its edges."""
    mask = np.ones((2500, 2500), np.bool_)
    assert cut(mask, (512**2, 0.01), 0.0) == [(0, 2500, 0, 2500)]


def test_no_tiles_are_no_boxes() -> None:
    """Of an empty batch."""
    assert a_cutter((1, 0), 1.0).cut(np.empty((4, 16, 16, 0), np.int16), np.empty(0)) == []
