"""The time axis of a cube: coordinates of its steps, and the timeline that is frozen beside them.

Refuses to know how steps are found, and to change one that stands.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from shdask.assemble.lease import FOLDER
from shdask.assemble.place import Place
from shdask.errors import WrongStore
from shdask.plan.timeline import Step, Timeline
from shdask.plan.timeline_json import read_timeline, timeline_json

TIME = "time"
KEY = f"{FOLDER}/timeline.json"
CHUNK = 4096
"""Steps; a cube of years is one chunk."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_CF: Mapping[str, dict[str, Any]] = {
    TIME: {
        "standard_name": "time",
        "axis": "T",
        "units": "milliseconds since 1970-01-01",
        "calendar": "proleptic_gregorian",
    },
    "cloud_cover": {"long_name": "cloud cover of the whole scenes", "units": "1"},
    "relative_orbit": {"long_name": "number of the orbit in its cycle, -1 where it is not one"},
    "revision": {"long_name": "0, or how often the date was bought again after scenes were reprocessed or came late"},
}
_COLUMNS: Mapping[str, tuple[str, Callable[[Step], Any]]] = {
    TIME: ("int64", lambda step: round((step.time - _EPOCH).total_seconds() * 1000)),
    "scene_ids": ("string", lambda step: " ".join(step.scene_ids)),
    "platform": ("string", lambda step: " ".join(step.platforms)),
    "relative_orbit": ("int32", lambda step: -1 if step.relative_orbit is None else step.relative_orbit),
    "orbit_direction": ("string", lambda step: step.orbit_direction or ""),
    "cloud_cover": ("float32", lambda step: np.nan if step.cloud_cover is None else step.cloud_cover),
    "processing_baseline": ("string", lambda step: step.baseline or ""),
    "revision": ("uint8", lambda step: step.revision),
}
"""Coordinate -> its type, and its value at a step."""
COORDINATES = tuple(name for name in _COLUMNS if name != TIME)


def create_time_axis(root: zarr.Group, timeline: Timeline) -> None:
    """Write the coordinates of ``timeline``, in place of any that stand."""
    for name, (dtype, value) in _COLUMNS.items():
        array = root.create_array(
            name,
            shape=(len(timeline.steps),),
            dtype=dtype,
            chunks=(CHUNK,),
            dimension_names=(TIME,),
            attributes=_CF.get(name, {}),
            overwrite=True,
            config={"write_empty_chunks": True},
        )
        array[...] = _values(dtype, [value(step) for step in timeline.steps])


def extend_time_axis(root: zarr.Group, timeline: Timeline) -> None:
    """Make every array with a time axis, coordinates included, as long as ``timeline``; what stands is not changed."""
    for _, array in root.arrays():
        if array.metadata.dimension_names and array.metadata.dimension_names[0] == TIME:  # type: ignore[union-attr]  # v3
            array.resize((len(timeline.steps), *array.shape[1:]))
    for name, (dtype, value) in _COLUMNS.items():
        coordinate = root[name]
        if not isinstance(coordinate, zarr.Array):
            raise TypeError(f"{name} is no array")
        coordinate[...] = _values(dtype, [value(step) for step in timeline.steps])


def freeze_timeline(place: Place, timeline: Timeline) -> None:
    """Keep ``timeline`` with the cube; from now on its steps are what stands."""
    place.write(KEY, json.dumps(timeline_json(timeline)).encode())


def frozen_timeline(place: Place) -> Timeline | None:
    """The timeline of the cube at ``place``; None where it has no time axis. Raises StoreError."""
    told = place.read(KEY)
    if told is None:
        return None
    try:
        return read_timeline(json.loads(told))
    except ValueError as error:
        raise WrongStore(f"{place.name}/{KEY} cannot be read: {error}") from error


def _values(dtype: str, values: list[Any]) -> NDArray[Any]:
    return np.asarray(values, object if dtype == "string" else dtype)
