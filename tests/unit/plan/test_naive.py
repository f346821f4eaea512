"""What whole boxes would cost."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import shapely

from shdask.inputs import read_area
from shdask.plan.naive import WholeBoxes, add_boxes, price_whole_boxes
from shdask.plan.placing import place_in_time
from shdask.plan.timeline import make_timeline
from tests.unit.plan.scenes import scene, span

BORDER = Path(__file__).parents[3].parent / "shared" / "data" / "slovenia.geojson"
BOX_PU = 2500 * 2500 / 512**2 * 2 / 3
"""Of a box with two bands."""


@pytest.mark.parametrize(
    ("sides_px", "boxes", "pu"),
    [
        ((2500, 2500), 1, BOX_PU),
        ((2501, 2500), 2, 2 * BOX_PU),
        ((7000, 6000), 9, 9 * BOX_PU),
        ((300, 200), 1, 300 * 200 / 512**2 * 2 / 3),
        ((300, 4000), 2, 2 * 300 * 2500 / 512**2 * 2 / 3),
    ],
)
def test_boxes_are_whole(plan_of, sides_px: tuple[int, int], boxes: int, pu: float) -> None:
    """Over the array's far edges as well, but for an array that is smaller than a box."""
    height, width = sides_px
    found = price_whole_boxes(plan_of((5e5, 51e5, 5e5 + 10 * width, 51e5 + 10 * height)))
    assert (found.box_px, found.requests) == (2500, boxes)
    assert found.pu == pytest.approx(pu)
    assert found.minutes == pytest.approx(max(boxes, pu) / 300)


def test_boxes_without_a_pixel_of_the_area_are_left_out(plan_of) -> None:
    """Two islands in opposite corners of nine boxes."""
    islands = shapely.union(
        shapely.box(5e5, 51e5, 5e5 + 500, 51e5 + 500), shapely.box(5.7e5, 51.7e5, 5.7e5 + 500, 51.7e5 + 500)
    )
    assert price_whole_boxes(plan_of(islands)).requests == 2


def test_a_box_is_bought_at_the_dates_that_reach_it(plan_of) -> None:
    """Two boxes and two dates, one of which sees the west only; each once for either kind of resampling."""
    layers = {
        "s2": {"collection": "sentinel-2-l2a", "bands": ["B04", "SCL"], "cadence": "acquisition",
               "resampling": "bilinear"}
    }  # fmt: skip  # one layer
    plan = plan_of((5e5, 51e5, 5e5 + 50_000, 51e5 + 20_000), layers=layers)
    west = shapely.box(14, 46, 15.2, 47)
    scenes = [scene("a", "2024-06-02T10:00:00", footprint=shapely.box(14, 45, 17, 47))]
    scenes += [scene("b", "2024-06-07T10:00:00", footprint=west)]
    timed = place_in_time(plan, make_timeline(scenes, "acquisition", span("2024-06-01", "2024-07-01")))
    assert price_whole_boxes(timed).requests == (2 + 1) * 2


def test_what_is_saved_is_a_share_of_the_boxes_price(plan_of) -> None:
    """Half of a box along its diagonal."""
    half = shapely.Polygon([(5e5, 51e5), (5e5 + 25_000, 51e5), (5e5, 51e5 + 25_000)])
    plan = plan_of(half, service={"prefer": "pu"})
    boxes = price_whole_boxes(plan)
    assert boxes.pu == pytest.approx(BOX_PU)
    assert boxes.pu_saved(plan.cost) == pytest.approx(1 - plan.cost.pu / BOX_PU)
    assert 0.45 < boxes.pu_saved(plan.cost) < 0.5


def test_boxes_of_groups_are_bought_one_after_the_other() -> None:
    """All figures add up."""
    one = WholeBoxes(box_px=2500, requests=3, pu=1.5, minutes=2.0)
    assert add_boxes([one, one]) == WholeBoxes(box_px=2500, requests=6, pu=3.0, minutes=4.0)


@pytest.mark.skipif(not BORDER.exists(), reason="../shared/data/slovenia.geojson is not here")
def test_a_country_costs_two_thirds_more_in_whole_boxes(plan_of) -> None:
    """Slovenia at 10 m: 54 boxes, 1.66 times its own pixels."""
    area: Any = read_area(BORDER)
    plan = plan_of(area.geometry, area.crs)
    boxes = price_whole_boxes(plan)
    own_pu = sum(int(plan.area_mask(tile.extent).sum()) for tile in plan.tiles()) / 512**2 * 2 / 3
    assert boxes.requests == 54
    assert boxes.pu / own_pu == pytest.approx(1.66, abs=0.005)
