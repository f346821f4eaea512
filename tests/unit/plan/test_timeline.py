"""Time axes from scenes."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from shdask.errors import PlanError
from shdask.model import TimeInterval
from shdask.plan.acquisition import Acquisition
from shdask.plan.timeline import Step, Timeline, make_timeline
from shdask.plan.timeline_json import read_timeline, timeline_json

from .scenes import SQUARE, scene, span, utc

JUNE = span("2024-06-01", "2024-07-01")
NAMES = st.text(min_size=1, max_size=6)
TIMES = st.datetimes(datetime(2024, 5, 25), datetime(2024, 7, 5), timezones=st.just(UTC))  # noqa: DTZ001  # naive ends
SCENES = st.builds(
    Acquisition,
    id=NAMES,
    time=TIMES,
    footprint=st.sampled_from([SQUARE, shapely.MultiPolygon([SQUARE, shapely.box(0.1 + 0.2, 1e-9, 1 / 3, 2)])]),
    platform=st.sampled_from([None, "sentinel-2a", "sentinel-2b"]),
    relative_orbit=st.sampled_from([None, 22, 23, 143, 1]),
    orbit_direction=st.sampled_from([None, "ascending", "descending"]),
    cloud_cover=st.none() | st.floats(0, 1),
    baseline=st.sampled_from([None, "05.10"]),
    note=st.sampled_from(["", "its bbox is taken"]),
)
CADENCES = st.sampled_from(["acquisition", "day", "dekad", "month", "P10D", "P1M"])


def ids(timeline: Timeline) -> list[tuple[str, ...]]:
    return [step.scene_ids for step in timeline.steps]


def test_a_pass_is_one_step_from_its_first_second_to_its_last() -> None:
    """Scenes seconds apart; the interval holds whole seconds, the coordinate is the first scene's own time."""
    scenes = [scene("b", "2024-06-10T10:11:26.9"), scene("a", "2024-06-10T10:11:12.345")]
    (step,) = make_timeline(scenes, "acquisition", JUNE).steps
    assert step.scene_ids == ("a", "b")
    assert step.interval == span("2024-06-10T10:11:12", "2024-06-10T10:11:27")
    assert step.time == utc("2024-06-10T10:11:12.345")


@pytest.mark.parametrize(
    "other",
    [
        {"platform": "sentinel-2b"},
        {"relative_orbit": 65},
        {"orbit_direction": "ascending"},
        {"time": "2024-06-10T10:31:13"},
    ],
)
def test_another_satellite_orbit_direction_or_a_gap_is_another_pass(other: dict[str, Any]) -> None:
    """Scenes of one day that are not of one pass are two steps."""
    second = scene("b", **{"time": "2024-06-10T10:11:20", **other})
    timeline = make_timeline([scene("a", "2024-06-10T10:11:12"), second], "acquisition", JUNE)
    assert ids(timeline) == [("a",), ("b",)]


def test_a_gap_of_twenty_minutes_is_no_gap() -> None:
    """A long pass may miss scenes in its middle."""
    scenes = [scene("a", "2024-06-10T10:11:12"), scene("b", "2024-06-10T10:31:12")]
    assert ids(make_timeline(scenes, "acquisition", JUNE)) == [("a", "b")]


@pytest.mark.parametrize(("first", "second"), [(22, 23), (175, 1)])
def test_a_pass_across_the_equator_is_one_step(first: int, second: int) -> None:
    """The number of the orbit changes there while the satellite flies on; the step has the first one."""
    scenes = [
        scene("a", "2024-06-10T10:11:12", relative_orbit=first),
        scene("b", "2024-06-10T10:11:37", relative_orbit=second),
    ]
    (step,) = make_timeline(scenes, "acquisition", JUNE).steps
    assert step.relative_orbit == first


def test_the_next_orbit_is_another_pass() -> None:
    """A hundred minutes later a satellite is back, to the west."""
    scenes = [scene("a", "2024-06-10T10:11:12"), scene("b", "2024-06-10T11:51:12", relative_orbit=23)]
    assert ids(make_timeline(scenes, "acquisition", JUNE)) == [("a",), ("b",)]


def test_scenes_of_unknown_satellites_are_parted_by_gaps() -> None:
    """A user's own collection tells times only."""
    unknown = {"platform": None, "relative_orbit": None}
    times = ["2024-06-10T10:11:12", "2024-06-10T10:11:13", "2024-06-10T12:00:00"]
    scenes = [scene(str(number), time, **unknown) for number, time in enumerate(times)]
    assert ids(make_timeline(scenes, "acquisition", JUNE)) == [("0", "1"), ("2",)]


def test_a_scene_at_midnight_is_in_the_day_that_begins() -> None:
    """And in one step only."""
    scenes = [scene("a", "2024-06-10T23:59:59.999"), scene("b", "2024-06-11T00:00:00")]
    timeline = make_timeline(scenes, "day", JUNE)
    assert ids(timeline) == [("a",), ("b",)]
    assert timeline.steps[0].interval == span("2024-06-10", "2024-06-11")


def test_the_interval_is_half_open() -> None:
    """Its start is in, its end is out."""
    scenes = [scene("in", "2024-06-01"), scene("out", "2024-07-01"), scene("before", "2024-05-31T23:59:59")]
    assert ids(make_timeline(scenes, "acquisition", JUNE)) == [("in",)]


def test_a_pass_is_cut_at_the_interval() -> None:
    """The second that holds the start would reach before it."""
    interval = span("2024-06-10T10:11:12.5", "2024-06-10T10:11:20.5")
    scenes = [scene("a", "2024-06-10T10:11:12.7"), scene("b", "2024-06-10T10:11:20.1")]
    assert make_timeline(scenes, "acquisition", interval).steps[0].interval == interval


def test_a_period_asks_for_its_part_of_the_interval_and_is_named_by_its_start() -> None:
    """A month that the interval cuts keeps the first as its date, so that two layers of a cube agree on it."""
    (step,) = make_timeline([scene("a", "2024-06-10")], "month", span("2024-06-05", "2024-06-20")).steps
    assert step.interval == span("2024-06-05", "2024-06-20")
    assert step.time == utc("2024-06-01")


def test_a_period_without_a_scene_is_no_step() -> None:
    """There is nothing to buy."""
    scenes = [scene("a", "2024-06-01"), scene("b", "2024-06-30")]
    assert [step.time.day for step in make_timeline(scenes, "dekad", JUNE).steps] == [1, 21]


def test_without_scenes_there_are_no_steps() -> None:
    """An empty axis is an answer."""
    assert make_timeline([], "acquisition", JUNE).steps == ()


def test_passes_at_one_time_are_a_millisecond_apart() -> None:
    """Three satellites over a wide area at once: the axis stays unique and increasing, intervals stay true."""
    scenes = [
        scene("c", "2024-06-10T10:00:00", platform="sentinel-2c"),
        scene("a", "2024-06-10T10:00:00"),
        scene("b", "2024-06-10T10:00:00", platform="sentinel-2b"),
    ]
    steps = make_timeline(scenes, "acquisition", JUNE).steps
    assert [step.scene_ids for step in steps] == [("a",), ("b",), ("c",)]
    assert [step.time.microsecond for step in steps] == [0, 1000, 2000]
    assert {step.interval for step in steps} == {span("2024-06-10T10:00:00", "2024-06-10T10:00:01")}


def test_an_unknown_cadence_is_refused() -> None:
    """Before anything is grouped."""
    with pytest.raises(PlanError, match="cadence: 'weekly' is not understood"):
        make_timeline([], "weekly", JUNE)


def test_coordinates_are_those_that_all_scenes_share() -> None:
    """What differs is unknown for the step; satellites are all named."""
    first = scene("a", "2024-06-10", orbit_direction="descending", baseline="05.10")
    second = scene("b", "2024-06-12", platform="sentinel-2b", relative_orbit=65, orbit_direction="descending")
    (step,) = make_timeline([first, second], "month", JUNE).steps
    assert step.platforms == ("sentinel-2a", "sentinel-2b")
    assert (step.relative_orbit, step.orbit_direction, step.baseline) == (None, "descending", None)


def test_cloud_cover_is_weighted_by_true_area() -> None:
    """Two boxes as wide in degrees, at the equator and from 30 degrees to the pole, cover the same area."""
    scenes = [
        scene("a", "2024-06-10", footprint=shapely.box(0, 0, 1, 30), cloud_cover=0.2),
        scene("b", "2024-06-10", footprint=shapely.box(0, 30, 1, 90), cloud_cover=0.6),
        scene("c", "2024-06-10", footprint=shapely.box(0, 30, 1, 90)),
    ]
    (step,) = make_timeline(scenes, "day", JUNE).steps
    assert step.cloud_cover == pytest.approx(0.4)


def test_cloud_cover_is_unknown_where_no_scene_tells() -> None:
    """Radar has none."""
    assert make_timeline([scene("a", "2024-06-10")], "day", JUNE).steps[0].cloud_cover is None


def test_notes_are_those_of_the_scenes() -> None:
    """What was assumed of footprints is told once for each."""
    timeline = make_timeline([scene("a", "2024-06-10", note="a: its bbox is taken")], "day", JUNE)
    assert timeline.notes == ("a: its bbox is taken",)


@given(scenes=st.lists(SCENES, max_size=12, unique_by=lambda one: one.id), cadence=CADENCES)
def test_every_scene_inside_is_in_exactly_one_step(scenes: list[Acquisition], cadence: str) -> None:
    """None is lost or named twice, each lies in its step's interval, and the axis increases."""
    timeline = make_timeline([*scenes, *scenes], cadence, JUNE)
    named = [name for step in timeline.steps for name in step.scene_ids]
    assert sorted(named) == sorted(one.id for one in scenes if JUNE.start <= one.time < JUNE.end)
    assert all(one.time < two.time for one, two in pairwise(timeline.steps))
    assert all(
        step.interval.start <= one.time < step.interval.end for step in timeline.steps for one in step.acquisitions
    )
    assert all(JUNE.start <= step.interval.start < step.interval.end <= JUNE.end for step in timeline.steps)


@given(scenes=st.lists(SCENES, max_size=8, unique_by=lambda one: one.id), data=st.data())
def test_the_order_of_the_catalogue_does_not_matter(scenes: list[Acquisition], data: st.DataObject) -> None:
    """No order is promised by the service."""
    shuffled = data.draw(st.permutations(scenes))
    assert make_timeline(shuffled, "acquisition", JUNE) == make_timeline(scenes, "acquisition", JUNE)


@given(scenes=st.lists(SCENES, max_size=8), cadence=CADENCES, revision=st.integers(0, 3))
def test_json_gives_the_same_timeline_back(scenes: list[Acquisition], cadence: str, revision: int) -> None:
    """Exactly, to the last bit of every coordinate, through text."""
    made = make_timeline(scenes, cadence, JUNE)
    again = tuple(
        Step(interval=one.interval, time=one.time, acquisitions=one.acquisitions, revision=revision)
        for one in made.steps
    )
    timeline = Timeline(cadence=cadence, interval=JUNE, steps=(*made.steps, *again))
    told = timeline_json(timeline)
    assert json.loads(json.dumps(told)) == told
    assert read_timeline(json.loads(json.dumps(told))) == timeline


def test_json_of_another_version_is_refused() -> None:
    """A newer store is not guessed at."""
    with pytest.raises(PlanError, match="is of version 2, and this shdask reads 1"):
        read_timeline({"version": 2})


@pytest.mark.parametrize(
    "damage", [{"steps": [{}]}, {"steps": None}, {"interval": ["x", "y"]}, {"interval": []}, {"steps": "steps"}]
)
def test_damaged_json_is_refused(damage: dict[str, Any]) -> None:
    """An error of ours, not a traceback."""
    told = timeline_json(make_timeline([scene("a", "2024-06-10")], "day", JUNE))
    with pytest.raises(PlanError, match="cannot be read"):
        read_timeline({**told, **damage})


def test_a_thousand_passes_are_grouped_by_their_times() -> None:
    """Every five days for fourteen years, two scenes each."""
    interval = TimeInterval(start=utc("2010-01-01"), end=utc("2024-01-01"))
    starts = [interval.start + timedelta(days=5 * number, hours=10) for number in range(1000)]
    scenes = [
        Acquisition(id=f"{start}{part}", time=start + timedelta(seconds=15 * part), footprint=SQUARE)
        for start in starts
        for part in range(2)
    ]
    assert [step.time for step in make_timeline(scenes, "acquisition", interval).steps] == starts
