"""What a catalogue holds by now that a frozen timeline does not: later steps, late, reprocessed and vanished scenes.

Pure. Refuses to know catalogues, stores and prices.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from shdask.errors import PlanError
from shdask.model import TimeInterval
from shdask.plan.acquisition import Acquisition
from shdask.plan.cadence import ACQUISITION, is_period
from shdask.plan.product import read_product
from shdask.plan.timeline import TICK, Step, Timeline
from shdask.plan.wording import counted

NAMED = 5
"""So many scenes a note names one by one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reprocessed:
    """One view, processed again."""

    old: Acquisition
    new: Acquisition


@dataclass(frozen=True, slots=True, kw_only=True)
class Growth:
    """The difference between a frozen timeline and a fresh one of the same cadence."""

    later: tuple[Step, ...]
    """Steps after the frozen timeline's last, by time."""
    revisions: tuple[Step, ...]
    """What an update appends: for each frozen step with late or reprocessed scenes one of the same time with these
    scenes and the next revision; and steps of revision 0 that lie before the last frozen one and were not there."""
    late: tuple[Acquisition, ...]
    """Scenes of ``revisions`` that show what no frozen scene shows, by time and id."""
    reprocessed: tuple[Reprocessed, ...]
    """Scenes of ``revisions`` that show what a frozen scene shows, by time and id of the new."""
    vanished: tuple[Acquisition, ...]
    """Frozen scenes of the fresh timeline's interval that are gone, and were not processed again."""
    interval: TimeInterval
    """The fresh timeline's."""

    @property
    def notes(self) -> tuple[str, ...]:
        """A line for each kind of difference, naming its scenes; none where nothing has changed."""
        later = [scene.id for step in self.later for scene in step.acquisitions]
        lines = (
            (f"{counted(len(self.later), 'later step')}, of {counted(len(later), 'scene')}", later),
            (counted(len(self.late), "late scene"), [scene.id for scene in self.late]),
            (
                f"{counted(len(self.reprocessed), 'scene')} processed again",
                [f"{pair.old.id} as {pair.new.id}" for pair in self.reprocessed],
            ),
            (f"{counted(len(self.vanished), 'scene')} gone", [scene.id for scene in self.vanished]),
        )
        return tuple(f"{title}: {_list(names)}" for title, names in lines if names)


def compare_timelines(frozen: Timeline, fresh: Timeline) -> Growth:
    """What ``fresh`` has that ``frozen``, whose steps may have been appended to, has not. Pure.

    Scenes are the same by id. One that a frozen scene's product name says shows the same view is that scene processed
    again; one that is known to be the older of the two is passed over. A fresh step belongs to the frozen one that has
    most of its views, else, but for passes, to the one of the same time. What is new inside a frozen step is late, even
    where the frozen timeline ended within it.

    Raises PlanError where the cadences differ, and where an ISO period is counted from another start.
    """
    if frozen.cadence != fresh.cadence:
        raise PlanError(f"cadence: the cube has {frozen.cadence!r}, which cannot become {fresh.cadence!r}")
    if is_period(frozen.cadence) and frozen.interval.start != fresh.interval.start:
        raise PlanError(
            f"time: periods of {frozen.cadence} are counted from {frozen.interval.start:%Y-%m-%d}, where the cube "
            f"begins; it cannot begin on {fresh.interval.start:%Y-%m-%d}"
        )
    newest = _newest(scene for step in frozen.steps for scene in step.acquisitions)
    later, revisions = _sort_out(frozen, fresh, newest)
    changed = sorted((scene for step in revisions for scene in step.acquisitions), key=_order)
    again = tuple(Reprocessed(old=newest[_view(scene)], new=scene) for scene in changed if _view(scene) in newest)
    present = {scene.id for step in fresh.steps for scene in step.acquisitions} | {pair.old.id for pair in again}
    return Growth(
        later=tuple(later),
        revisions=tuple(revisions),
        late=tuple(scene for scene in changed if _view(scene) not in newest),
        reprocessed=again,
        vanished=tuple(
            scene
            for scene in sorted(newest.values(), key=_order)
            if scene.id not in present and fresh.interval.start <= scene.time < fresh.interval.end
        ),
        interval=fresh.interval,
    )


def append_steps(frozen: Timeline, growth: Growth, *, update: bool = False) -> Timeline:
    """``frozen`` with the later steps behind its own, and before them, with ``update``, the revisions. Pure.

    No step that is there moves or changes.
    """
    interval = TimeInterval(
        start=min(frozen.interval.start, growth.interval.start), end=max(frozen.interval.end, growth.interval.end)
    )
    return replace(
        frozen, interval=interval, steps=(*frozen.steps, *(growth.revisions if update else ()), *growth.later)
    )


def _sort_out(frozen: Timeline, fresh: Timeline, newest: Mapping[object, Acquisition]) -> tuple[list[Step], list[Step]]:
    """(later steps, revisions) of a growth."""
    known = {scene.id for step in frozen.steps for scene in step.acquisitions}
    times = {step.time for step in frozen.steps}
    later: list[Step] = []
    revisions: list[Step] = []
    for step, place in zip(fresh.steps, _match(frozen, fresh), strict=True):
        unknown = [scene for scene in step.acquisitions if scene.id not in known and not _is_older(scene, newest)]
        if not unknown:
            continue
        if place is not None:
            revisions.append(_revise(frozen, place, step, unknown))
        elif not times or step.time > max(times):
            later.append(step)
        else:
            time = step.time
            while time in times or any(one.time == time for one in revisions):
                time += TICK
            revisions.append(replace(step, time=time))
    return later, revisions


def _match(frozen: Timeline, fresh: Timeline) -> list[int | None]:
    """For each fresh step the position of the first buy in the frozen timeline that it is, or None."""
    place_of_time = {step.time: place for place, step in enumerate(frozen.steps) if not step.revision}
    place_of_view = {_view(scene): place_of_time.get(s.time) for s in frozen.steps for scene in s.acquisitions}
    # two satellites may pass at one time, but there is one period
    by_time = {} if frozen.cadence == ACQUISITION else place_of_time
    places: list[int | None] = []
    for step in fresh.steps:
        found = [place_of_view[view] for view in map(_view, step.acquisitions) if view in place_of_view]
        places.append(max(found, key=found.count) if found else by_time.get(step.time))
    return places


def _revise(frozen: Timeline, place: int, step: Step, unknown: Sequence[Acquisition]) -> Step:
    """The step that buys a frozen one again where its unknown scenes reach."""
    base = frozen.steps[place]
    versions = [one for one in frozen.steps if one.time == base.time]
    spans = [step.interval, *(one.interval for one in versions)]
    return Step(
        interval=TimeInterval(start=min(one.start for one in spans), end=max(one.end for one in spans)),
        time=base.time,
        acquisitions=tuple(unknown),
        revision=max(one.revision for one in versions) + 1,
    )


def _newest(scenes: Iterable[Acquisition]) -> dict[object, Acquisition]:
    """For each view the scene that was processed last."""
    return {_view(scene): scene for scene in sorted(scenes, key=_made)}


def _is_older(scene: Acquisition, newest: Mapping[object, Acquisition]) -> bool:
    known = newest.get(_view(scene))
    return known is not None and _made(scene) < _made(known)


def _view(scene: Acquisition) -> object:
    """Equal for two products of one view; the id where the name does not tell."""
    return read_product(scene.id).view or scene.id


def _made(scene: Acquisition) -> tuple[str, ...]:
    return read_product(scene.id).made


def _order(scene: Acquisition) -> tuple[object, str]:
    return scene.time, scene.id


def _list(names: list[str]) -> str:
    more = len(names) - NAMED
    return ", ".join(names[:NAMED]) + (f" and {more} more" if more > 0 else "")
