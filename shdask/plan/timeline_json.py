"""A timeline as JSON and back, exactly: what a store keeps of it. Pure.

Refuses to know stores, and how a timeline is made.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from shapely.geometry import mapping, shape

from shdask.errors import PlanError
from shdask.model import TimeInterval
from shdask.plan.acquisition import Acquisition
from shdask.plan.timeline import Step, Timeline

VERSION = 1
_PLAIN = ("platform", "relative_orbit", "orbit_direction", "cloud_cover", "baseline", "note")
"""Members of an Acquisition that JSON has itself; left out where nothing is known."""


def timeline_json(timeline: Timeline) -> dict[str, Any]:
    """The timeline in JSON's own types; footprints as GeoJSON in degrees, times as RFC 3339 in UTC. Pure."""
    return {
        "version": VERSION,
        "cadence": timeline.cadence,
        "interval": _interval_json(timeline.interval),
        "steps": [
            {
                "time": _time_json(step.time),
                "interval": _interval_json(step.interval),
                "revision": step.revision,
                "scenes": [_scene_json(scene) for scene in step.acquisitions],
            }
            for step in timeline.steps
        ],
    }


def read_timeline(told: Mapping[str, Any]) -> Timeline:
    """The timeline that ``timeline_json`` wrote, equal to it. Pure.

    Raises PlanError for one of another version, and for what is none.
    """
    version = told.get("version")
    if version != VERSION:
        raise PlanError(f"the timeline is of version {version}, and this shdask reads {VERSION}; use the one it is of")
    try:
        return Timeline(
            cadence=str(told["cadence"]),
            interval=_read_interval(told["interval"]),
            steps=tuple(_read_step(step) for step in told["steps"]),
        )
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise PlanError(f"the timeline cannot be read ({type(error).__name__}: {error}); it was changed") from error


def _scene_json(scene: Acquisition) -> dict[str, Any]:
    told = {name: getattr(scene, name) for name in _PLAIN}
    return {
        "id": scene.id,
        "time": _time_json(scene.time),
        **{name: value for name, value in told.items() if value not in {None, ""}},
        "footprint": _lists(mapping(scene.footprint)),  # type: ignore[arg-type]  # the stubs know two classes of geometry
    }


def _read_step(told: Mapping[str, Any]) -> Step:
    return Step(
        interval=_read_interval(told["interval"]),
        time=_read_time(told["time"]),
        acquisitions=tuple(_read_scene(scene) for scene in told["scenes"]),
        revision=int(told["revision"]),
    )


def _read_scene(told: Mapping[str, Any]) -> Acquisition:
    return Acquisition(
        id=told["id"],
        time=_read_time(told["time"]),
        footprint=shape(told["footprint"]),
        **{name: told[name] for name in _PLAIN if name in told},
    )


def _interval_json(interval: TimeInterval) -> list[str]:
    return [_time_json(interval.start), _time_json(interval.end)]


def _read_interval(told: list[str]) -> TimeInterval:
    start, end = told
    return TimeInterval(start=_read_time(start), end=_read_time(end))


def _time_json(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _read_time(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


def _lists(value: Any) -> Any:
    """What JSON makes of tuples, so that the written and the read are equal."""
    if isinstance(value, Mapping):
        return {key: _lists(member) for key, member in value.items()}
    return [_lists(member) for member in value] if isinstance(value, list | tuple) else value
