"""Whether anything can have been acquired in a job's time at all. Pure.

Refuses to know which scenes there are: the service does.
"""

from __future__ import annotations

from datetime import date

from shdask.errors import PlanError
from shdask.plan.layer_spec import MOSAIC, Layer
from shdask.plan.source_spec import Days, SourceTable
from shdask.plan.spec import CubeSpec
from shdask.request.collections import find_collection


def override_time(spec: CubeSpec, first: str, last: str) -> CubeSpec:
    """The job with the days ``first`` to ``last`` (ISO, both included) for all layers that have a cadence. Pure.

    Raises PlanError where they are no days in order, and where no layer has a cadence.
    """
    try:
        days = date.fromisoformat(first), date.fromisoformat(last)
    except ValueError as error:
        raise PlanError(f"--time {first} {last}: {error}; write days as 2024-06-01 2024-06-30") from error
    if days[0] > days[1]:
        raise PlanError(f"--time {first} {last}: the first day is after the last; swap them")
    dated = {name: layer for name, layer in spec.layers.items() if layer.cadence != MOSAIC}
    if not dated:
        raise PlanError("--time: no layer of the job has a time axis; give one a cadence, or change time in the job")
    layers = {name: layer.model_copy(update={"time": days}) for name, layer in dated.items()}
    return spec.model_copy(update={"layers": {**spec.layers, **layers}})


def check_dates(spec: CubeSpec, today: date) -> None:
    """Raise PlanError where a layer's time lies wholly before its mission, or after ``today`` (UTC). Pure."""
    for name, layer in spec.layers.items():
        for identifier, source, _ in layer.inputs():
            days, place = _find_days(spec, name, layer, identifier, source)
            if days is not None and not source.is_timeless:
                _check(source.collection, days, place, today)


def _find_days(
    spec: CubeSpec, name: str, layer: Layer, identifier: str | None, source: SourceTable
) -> tuple[Days | None, str]:
    """The days that a source is asked for, and where the job says so."""
    if identifier is not None and source.time is not None:
        return source.time, f"layers.{name}.sources.{identifier}.time"
    if layer.time is not None:
        return layer.time, f"layers.{name}.time"
    return spec.time, "cube.time"


def _check(collection: str, days: Days, place: str, today: date) -> None:
    first, last = days
    if first > today:
        raise PlanError(
            f"{place}: {first} is in the future (today is {today}), and nothing was acquired there; correct the dates"
        )
    since = find_collection(collection).since
    if since is not None and last < since:
        raise PlanError(
            f"{place}: {last} is before {since}, when the first satellite of {collection} was launched; "
            f"correct the dates"
        )
