"""What a catalogue has that a frozen time axis has not."""

from __future__ import annotations

from dataclasses import replace

import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from shdask.errors import PlanError
from shdask.plan.acquisition import Acquisition
from shdask.plan.growth import append_steps, compare_timelines
from shdask.plan.timeline import Timeline, make_timeline

from .scenes import product, scene, span

JUNE, SUMMER = span("2024-06-01", "2024-07-01"), span("2024-06-01", "2024-09-01")
FIRST = scene(product("33TVM", "20240610T100559"), "2024-06-10T10:11:12")
SECOND = scene(product("33TVL", "20240610T100559"), "2024-06-10T10:11:26")
NEXT = scene(product("33TVM", "20240620T100559"), "2024-06-20T10:11:12")
JULY = scene(product("33TVM", "20240710T100559"), "2024-07-10T10:11:12")
AGAIN = scene(product("33TVM", "20240610T100559", baseline="0511"), "2024-06-10T10:11:12")


def axis(*scenes: Acquisition, cadence: str = "acquisition", interval: object = SUMMER) -> Timeline:
    return make_timeline(scenes, cadence, interval)


def test_nothing_new_is_no_growth() -> None:
    """Neither steps nor notes."""
    growth = compare_timelines(axis(FIRST, NEXT), axis(FIRST, NEXT))
    assert (growth.later, growth.revisions, growth.vanished, growth.notes) == ((), (), (), ())
    assert append_steps(axis(FIRST, NEXT), growth, update=True) == axis(FIRST, NEXT)


def test_later_steps_are_appended() -> None:
    """They need no update, and the time of the axis grows with them."""
    frozen = axis(FIRST, NEXT, interval=JUNE)
    growth = compare_timelines(frozen, axis(FIRST, NEXT, JULY))
    assert growth.notes == (f"1 later step, of 1 scene: {JULY.id}",)
    assert append_steps(frozen, growth) == axis(FIRST, NEXT, JULY)


def test_an_empty_axis_takes_every_step_as_later() -> None:
    """There is no last step to be late against."""
    assert compare_timelines(axis(), axis(FIRST, NEXT)).later == axis(FIRST, NEXT).steps


def test_a_late_scene_is_a_revision_of_its_pass() -> None:
    """It has the pass's own time, the whole pass's interval, and only the late scene, whose cells it reaches."""
    frozen = axis(FIRST, NEXT)
    growth = compare_timelines(frozen, axis(FIRST, SECOND, NEXT))
    (step,) = growth.revisions
    assert (step.time, step.revision, step.acquisitions) == (FIRST.time, 1, (SECOND,))
    assert step.interval == span("2024-06-10T10:11:12", "2024-06-10T10:11:27")
    assert growth.late == (SECOND,)
    assert growth.notes == (f"1 late scene: {SECOND.id}",)


def test_a_late_scene_before_the_first_does_not_move_the_pass() -> None:
    """The revision keeps the frozen time, by which the two are known for one."""
    growth = compare_timelines(axis(SECOND, NEXT), axis(FIRST, SECOND, NEXT))
    assert growth.revisions[0].time == SECOND.time
    assert growth.revisions[0].interval.start == FIRST.time


def test_a_late_pass_is_a_step_of_its_own() -> None:
    """Nothing was bought there, so there is nothing to revise."""
    growth = compare_timelines(axis(FIRST, JULY), axis(FIRST, NEXT, JULY))
    assert growth.revisions == axis(NEXT).steps
    assert growth.late == (NEXT,)


def test_late_scenes_wait_for_an_update() -> None:
    """Without it only later steps are appended; with it, the late ones before them."""
    frozen = axis(FIRST, NEXT)
    growth = compare_timelines(frozen, axis(FIRST, SECOND, NEXT, JULY))
    assert append_steps(frozen, growth).steps == (*frozen.steps, *growth.later)
    assert append_steps(frozen, growth, update=True).steps == (*frozen.steps, *growth.revisions, *growth.later)


@pytest.mark.parametrize("present", [(AGAIN, NEXT), (FIRST, AGAIN, NEXT)])
def test_a_newer_baseline_is_a_reprocessed_scene(present: tuple[Acquisition, ...]) -> None:
    """Whether the catalogue keeps the old product or not; it is neither late nor gone."""
    growth = compare_timelines(axis(FIRST, NEXT), axis(*present))
    assert [(pair.old, pair.new) for pair in growth.reprocessed] == [(FIRST, AGAIN)]
    assert (growth.late, growth.vanished) == ((), ())
    assert growth.revisions[0].acquisitions == (AGAIN,)
    assert growth.notes == (f"1 scene processed again: {FIRST.id} as {AGAIN.id}",)


def test_an_older_baseline_is_passed_over() -> None:
    """What is there is newer."""
    growth = compare_timelines(axis(AGAIN), axis(FIRST, AGAIN))
    assert (growth.revisions, growth.late, growth.reprocessed) == ((), (), ())


def test_scenes_that_are_gone_are_named() -> None:
    """Nothing is done about them."""
    growth = compare_timelines(axis(FIRST, SECOND, NEXT), axis(FIRST, NEXT))
    assert growth.vanished == (SECOND,)
    assert growth.notes == (f"1 scene gone: {SECOND.id}",)
    assert append_steps(axis(FIRST, SECOND, NEXT), growth, update=True).steps == axis(FIRST, SECOND, NEXT).steps


def test_scenes_outside_the_fresh_interval_are_not_gone() -> None:
    """They were not asked for."""
    assert compare_timelines(axis(FIRST, JULY), axis(FIRST, interval=JUNE)).vanished == ()


def test_after_an_update_nothing_is_new() -> None:
    """Late and reprocessed scenes of the appended steps are known, and what they replaced is not missed."""
    frozen, fresh = axis(FIRST, NEXT), axis(AGAIN, SECOND, NEXT, JULY)
    updated = append_steps(frozen, compare_timelines(frozen, fresh), update=True)
    growth = compare_timelines(updated, fresh)
    assert (growth.notes, growth.revisions, growth.later) == ((), (), ())


def test_a_second_update_is_the_next_revision() -> None:
    """Revisions of a time count up."""
    frozen = axis(FIRST)
    updated = append_steps(frozen, compare_timelines(frozen, axis(AGAIN)), update=True)
    third = scene(product("33TVM", "20240610T100559", baseline="0512"), "2024-06-10T10:11:12")
    growth = compare_timelines(updated, axis(third))
    assert [(step.revision, step.time) for step in growth.revisions] == [(2, FIRST.time)]
    assert [(pair.old, pair.new) for pair in growth.reprocessed] == [(AGAIN, third)]


def test_a_late_scene_of_a_month_revises_the_month() -> None:
    """Periods are known by their start, even where no scene of them is left."""
    frozen = axis(FIRST, JULY, cadence="month")
    growth = compare_timelines(frozen, axis(NEXT, JULY, cadence="month"))
    assert [(step.revision, step.interval) for step in growth.revisions] == [(1, JUNE)]
    assert (growth.late, growth.vanished) == ((NEXT,), (FIRST,))


def test_the_rest_of_a_cut_month_is_late() -> None:
    """The month that the cube ended in was bought as far as it went; a longer time revises it."""
    frozen = axis(FIRST, cadence="month", interval=span("2024-06-01", "2024-06-15"))
    growth = compare_timelines(frozen, axis(FIRST, NEXT, JULY, cadence="month"))
    assert growth.late == (NEXT,)
    assert growth.revisions[0].interval == JUNE
    assert [step.scene_ids for step in growth.later] == [(JULY.id,)]


@pytest.mark.parametrize("platform", ["landsat-8", "sentinel-2b"])
def test_a_late_pass_at_the_time_of_another_is_told_apart(platform: str) -> None:
    """Another satellite's pass is no revision, and its coordinate is a millisecond later, whichever is named first."""
    other = scene("other", "2024-06-10T10:11:12", platform=platform)
    growth = compare_timelines(axis(FIRST, NEXT), axis(FIRST, other, NEXT))
    (step,) = growth.revisions
    assert (step.revision, step.acquisitions) == (0, (other,))
    assert (step.time - FIRST.time).total_seconds() == 0.001


def test_another_cadence_is_refused() -> None:
    """Steps of two kinds are no axis."""
    with pytest.raises(PlanError, match="'month', which cannot become 'day'"):
        compare_timelines(axis(FIRST, cadence="month"), axis(FIRST, cadence="day"))


def test_periods_keep_their_start() -> None:
    """Counted from another day they would overlap the frozen ones."""
    with pytest.raises(PlanError, match=r"counted from 2024-06-01.*cannot begin on 2024-06-05"):
        compare_timelines(
            axis(FIRST, cadence="P10D"), axis(FIRST, cadence="P10D", interval=span("2024-06-05", "2024-09-01"))
        )


def test_many_scenes_are_counted() -> None:
    """A note names the first few."""
    late = [replace(NEXT, id=f"s{number}", footprint=shapely.box(0, 0, 1, 1)) for number in range(8)]
    assert compare_timelines(axis(JULY), axis(*late, JULY)).notes == ("8 late scenes: s0, s1, s2, s3, s4 and 3 more",)


@given(
    known=st.sets(st.integers(0, 60), max_size=20),
    more=st.sets(st.integers(0, 90), max_size=20),
    cadence=st.sampled_from(["acquisition", "day", "dekad", "P10D"]),
)
def test_an_update_names_every_scene_once_and_moves_no_step(known: set[int], more: set[int], cadence: str) -> None:
    """The frozen steps stay where they are, and the scenes are those of the catalogue."""
    scenes = {hour: scene(f"h{hour}", f"2024-06-{1 + hour // 4:02d}T{hour % 4 * 6:02d}:00:00") for hour in known | more}
    frozen = axis(*(scenes[hour] for hour in known), cadence=cadence)
    fresh = axis(*scenes.values(), cadence=cadence)
    grown = append_steps(frozen, compare_timelines(frozen, fresh), update=True)
    assert grown.steps[: len(frozen.steps)] == frozen.steps
    assert sorted(name for step in grown.steps for name in step.scene_ids) == sorted(f"h{hour}" for hour in scenes)
    firsts = [step.time for step in grown.steps if not step.revision]
    assert len(set(firsts)) == len(firsts)
