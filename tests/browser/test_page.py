"""What is seen of two builds in a real browser: `make browser`."""

from __future__ import annotations

import pytest

from shdask.cluster.dashboard_html import COLOURS
from shdask.cluster.snapshot import TileMark
from shdask.cluster.tile_map import BY_WEIGHT

WRITTEN = BY_WEIGHT.index(TileMark.WRITTEN)
TILES = 75


def rgb(mark: TileMark) -> tuple[int, ...]:
    """A mark's colour as the screen has it."""
    return tuple(bytes.fromhex(COLOURS[mark].removeprefix("#")))


def test_before_the_first_build_the_page_waits(story) -> None:
    """And goes on by itself once there is one."""
    assert "No build" in story.before.parts["state"]


def test_two_builds_can_be_chosen_from(story) -> None:
    """Both run at once."""
    assert sorted(label[-3:] for _, label in story.builds) == ["one", "two"]
    assert ">running<" in story.first.parts["state"]
    assert ">running<" in story.other.parts["state"]


def test_tiles_change_as_they_are_written(story) -> None:
    """On the map as in the legend, of which each look is of another moment of the build."""
    assert 0 < story.first.image.count(WRITTEN) < story.later.image.count(WRITTEN) < TILES
    assert story.first.parts["legend"] != story.later.parts["legend"]


def test_the_map_and_the_legend_say_the_same(story) -> None:
    """They come with one snapshot."""
    assert f"written <b>{story.after.image.count(WRITTEN)}</b>" in story.after.parts["legend"]


@pytest.mark.parametrize("mark", [TileMark.WRITTEN, TileMark.IN_WORK, TileMark.UNTRIED])
def test_states_are_seen_in_their_colours(story, mark) -> None:
    """Not in the models alone, but on the screen."""
    assert rgb(mark) in story.colours()


def test_a_clicked_tile_is_explained(story) -> None:
    """By the owner of its build, in the words of the plan."""
    assert "<pre>tile " in story.explained
    assert "PU in 1 request" in story.explained


def test_a_reloaded_page_shows_the_build_as_it_is(story) -> None:
    """No less is written than before."""
    assert ">running<" in story.reloaded.parts["state"]
    assert story.reloaded.image.count(WRITTEN) > 0


def test_an_ended_build_is_shown_as_reported(story) -> None:
    """All tiles, and what they cost."""
    (spent,) = {f"<b>{report.pu_spent:.2f}</b> spent" for report in story.reports.values()}
    assert spent in story.after.parts["spending"]
    assert f"{TILES} of {TILES} tiles" in story.after.parts["cards"]
    assert story.after.image.count(WRITTEN) == TILES


def test_no_script_of_the_page_fails(story) -> None:
    """From the first look to the last."""
    assert story.errors == []
