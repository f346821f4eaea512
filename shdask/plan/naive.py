"""What a plan would cost in whole boxes, as others buy: every box of the largest size that touches the area.

Pure. Refuses to know tiles and the windows they are bought in.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import fsum
from typing import TYPE_CHECKING

from shdask.plan.reach import find_cells
from shdask.plan.tile_set import TileSet
from shdask.plan.tiles import find_tiles

if TYPE_CHECKING:
    from shdask.plan.cost import Cost
    from shdask.plan.group import GroupPlan


@dataclass(frozen=True, slots=True, kw_only=True)
class WholeBoxes:
    """The price of an area in whole boxes, at the same rates and by the same formula."""

    box_px: int
    """Side of a box; that of an array which is smaller ends with it."""
    requests: int
    pu: float
    minutes: float
    """The longer of what requests and processing units take, the month's quota apart."""

    def pu_saved(self, cost: Cost) -> float:
        """The share of the boxes' processing units that ``cost`` does without; below 0 where it is dearer. Pure."""
        return 1.0 - cost.pu / self.pu if self.pu else 0.0

    def minutes_saved(self, cost: Cost) -> float:
        """The share of the boxes' minutes that ``cost`` does without. Pure."""
        return 1.0 - cost.minutes / self.minutes if self.minutes else 0.0


def price_whole_boxes(plan: GroupPlan) -> WholeBoxes:
    """What ``plan`` would cost in whole boxes, laid from the array's upper left corner, and over its far edges. Pure.

    Boxes that hold no pixel of the area are left out, and at each step those that none of its scenes reaches: what
    careful clients of the service do. All bands of a part come with one request, one date with each.
    """
    layer, account, grid = plan.layer, plan.deployment, plan.grid
    side, (height, width) = account.max_request_px, grid.shape
    runs = find_tiles(plan.area, side)
    reach = None if plan.timeline is None else find_cells(plan.timeline, grid, side)
    boxes = TileSet(runs=runs, reach=reach).count
    requests, pu = boxes * len(layer.parts), boxes * layer.price((min(side, height), min(side, width)))
    minutes = max(requests / account.requests_per_minute, pu / account.pu_per_minute)
    return WholeBoxes(box_px=side, requests=requests, pu=pu, minutes=minutes)


def add_boxes(boxes: Sequence[WholeBoxes]) -> WholeBoxes:
    """The boxes of all groups, one after the other. Pure."""
    return WholeBoxes(
        box_px=max(each.box_px for each in boxes),
        requests=sum(each.requests for each in boxes),
        pu=fsum(each.pu for each in boxes),
        minutes=fsum(each.minutes for each in boxes),
    )
