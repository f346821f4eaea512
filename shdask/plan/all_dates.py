"""What composites are weighed against: buying every date of the same bands, and what tells clear ground, day by day.

Pure. Refuses to know how dates are composited here.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from shdask.errors import PlanError
from shdask.plan.layer import make_layer
from shdask.plan.placing import place_in_time
from shdask.plan.tile_set import TileSet
from shdask.plan.timeline import make_timeline
from shdask.plan.windows import TileWindows
from shdask.request.collections import find_collection

if TYPE_CHECKING:
    from shdask.plan.cost import Cost
    from shdask.plan.group import GroupPlan
    from shdask.plan.layer_spec import Layer
    from shdask.plan.spec import CubeSpec

logger = logging.getLogger(__name__)


def weigh_composites(groups: Mapping[str, GroupPlan], spec: CubeSpec) -> dict[str, GroupPlan]:
    """The same groups; those of composites that are placed in time know what buying all dates would cost. Pure."""
    return {
        path: replace(group, all_dates=cost_of_all_dates(group, spec.layers[group.layer.name]))
        if group.layer.is_composite and group.has_time
        else group
        for path, group in groups.items()
    }


def cost_of_all_dates(group: GroupPlan, layer: Layer) -> Cost | None:
    """The price, by Process, of every date that the composites of ``group`` are made of. Pure.

    ``layer`` is what the job says of it. Bands of another type or resampling, such as codes, may come with requests of
    their own; several dates come with one where that is what the plan of a layer of days does. None where a cube of
    all dates would be larger than any.
    """
    if group.timeline is None:
        raise ValueError("the composites have not been placed in time")
    daily = days_of(layer)
    interval = group.timeline.interval
    scenes = [scene for step in group.timeline.steps for scene in step.acquisitions]
    alone = replace(
        group,
        layer=make_layer(group.layer.name, daily, interval, prices=group.layer.prices),
        timeline=None,
        tile_set=TileSet(runs=group.tile_set.runs),
        windows=TileWindows(),
        routing=None,
    )
    try:
        return place_in_time(alone, make_timeline(scenes, daily.cadence, interval), trim=True).cost
    except PlanError as error:
        logger.info("composites of %s are not compared with all dates: %s", group.layer.name, error)
        return None


def days_of(layer: Layer) -> Layer:
    """The layer of single days of which a composite here would be made: its bands and all that it reads. Pure."""
    if layer.composite is None:
        return layer
    also = layer.composite.also_read(find_collection(layer.collection))
    bands = tuple(dict.fromkeys((*layer.bands, *also)))
    return layer.model_copy(update={"composite": None, "cadence": "day", "bands": bands})
