"""Whether anything can have been acquired in a job's time at all. Pure.

Refuses to know which scenes there are: the service does.
"""

from __future__ import annotations

from datetime import date, timedelta

from shdask.errors import PlanError
from shdask.plan.spec import CubeSpec
from shdask.request.collections import find_collection


def check_dates(spec: CubeSpec, today: date) -> None:
    """Raise PlanError where a job's time lies wholly before its mission, or after ``today`` (UTC). Pure."""
    for name in spec.layers:
        _check_layer(spec, name, today)


def _check_layer(spec: CubeSpec, name: str, today: date) -> None:
    layer, interval = spec.layers[name], spec.interval_of(name)
    if interval is None:
        return
    place = f"layers.{name}.time" if layer.time else "cube.time"
    first, last = interval.start.date(), (interval.end - timedelta(days=1)).date()
    if first > today:
        raise PlanError(
            f"{place}: {first} is in the future (today is {today}), and nothing was acquired there; correct the dates"
        )
    since = find_collection(layer.collection).since
    if since is not None and last < since:
        raise PlanError(
            f"{place}: {last} is before {since}, when the first satellite of {layer.collection} was launched; "
            f"correct the dates"
        )
