"""The page's models beside the watch they draw, without a browser."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from bokeh.document import Document

from shdask.cluster.build_view import BuildView, Note, Opening, pack_states
from shdask.cluster.dashboard import ALL_STEPS, Page, open_document
from shdask.cluster.snapshot import BuildSnapshot, TileMark
from shdask.cluster.tile_map import BY_WEIGHT, TileMap, draw_map

OUTSIDE = int(TileMark.OUTSIDE)


class _PlayedWatch:
    """Builds that are told of by hand."""

    def __init__(self, *views: BuildView) -> None:
        self.views = list(views)
        self.drawn = 0
        self.now = 100.0

    def snapshots(self) -> list[BuildSnapshot]:
        return [view.snapshot(self.now) for view in self.views]

    def map_of(self, snapshot: BuildSnapshot, step: int | None) -> TileMap:
        self.drawn += 1
        return draw_map(snapshot.states, step)

    def ask(self, key: str, tile: int) -> None:
        next(view for view in self.views if view.opening.key == key).ask(tile)


def make_view(key: str, *, steps: tuple[str, ...] = ()) -> BuildView:
    """Two rows of three tiles at each step, the first of them none."""
    states = np.zeros((len(steps) or 1, 2, 3), np.uint8)
    states[:, 0, 0] = OUTSIDE
    opening = Opening(
        key=key,
        store=f"/{key}.zarr",
        layer="s2: B02",
        account="a",
        grid_shape=(2, 3),
        steps=steps,
        states=pack_states(states),
        max_pu=None,
    )
    return BuildView(opening, 100.0)


def shown_marks(page: Page) -> list[list[TileMark]]:
    """What the map shows, rows from the north."""
    (image,) = page.image.data["image"]
    return [[BY_WEIGHT[weight] for weight in line] for line in image[::-1].tolist()]


def tap(page: Page, x: float, y: float) -> None:
    page._tap(SimpleNamespace(x=x, y=y))  # what bokeh calls


@pytest.fixture
def view() -> BuildView:
    return make_view("a")


@pytest.fixture
def watch(view) -> _PlayedWatch:
    return _PlayedWatch(view)


@pytest.fixture
def page(watch) -> Page:
    return open_document(watch, Document())


def test_the_document_holds_the_page_and_looks_every_second(watch) -> None:
    """One root, which Bokeh can send."""
    document = Document()
    page = open_document(watch, document)
    (ticking,) = document.session_callbacks
    assert document.roots == [page.root]
    assert ticking.period == 1000  # type: ignore[attr-defined]  # a periodic one
    assert document.to_json().content["roots"]


def test_the_map_shows_the_snapshot(view, page) -> None:
    """Every tile by its state, the north at the top."""
    view.hear({"tile": 1, "state": 1})
    view.hear({"tile": 5, "state": 3, "error": "E: x"})
    page.tick()
    written, untried, failed = TileMark.WRITTEN, TileMark.UNTRIED, TileMark.FAILED
    assert shown_marks(page) == [[TileMark.OUTSIDE, written, untried], [untried, untried, failed]]
    assert [page.image.data[name] for name in ("y", "dw", "dh")] == [[0], [3], [2]]


def test_the_texts_follow_the_snapshot(view, page) -> None:
    """Counts and money, as soon as they are known."""
    view.hear({"tile": 1, "state": 1, "seconds": 2.0, "worker": "tcp://w"})
    view.take_note(Note(pu_spent=2.5, pu_projected=5.0, requests=7, waiting_for="answers"), 101.0)
    page.tick()
    texts = {name: div.text for name, div in page.divs.items()}
    assert "written <b>1</b>" in texts["legend"]
    assert "<b>2.50</b> spent of 5.00 planned" in texts["spending"]
    assert "1 of 5 tiles" in texts["cards"]
    assert "tcp://w" in texts["slowest"]


def test_nothing_is_drawn_where_nothing_has_changed(watch, page) -> None:
    """A page that stands open costs next to nothing."""
    before = watch.drawn
    watch.now += 5.0
    page.tick()
    assert watch.drawn == before == 1


def test_builds_can_be_chosen(watch, page) -> None:
    """Two that run, each with its own map; the choice stays."""
    watch.views.append(make_view("b"))
    watch.views[1].hear({"tile": 1, "state": 1})
    page.tick()
    assert (page.build.value, page.build.options) == ("a", [("a", "/a.zarr"), ("b", "/b.zarr")])
    page.build.value = "b"
    assert shown_marks(page)[0] == [TileMark.OUTSIDE, TileMark.WRITTEN, TileMark.UNTRIED]
    page.tick()
    assert page.build.value == "b"


def test_a_build_that_is_forgotten_gives_way(watch, page) -> None:
    """The page goes on with another."""
    watch.views[:] = [make_view("b")]
    page.tick()
    assert page.build.value == "b"


def test_dates_can_be_chosen() -> None:
    """All together, or one."""
    view = make_view("a", steps=("2024-06-01", "2024-06-11"))
    page = open_document(_PlayedWatch(view), Document())
    view.hear({"tile": 7, "state": 3, "error": "E: x"})
    page.tick()
    assert (page.step.visible, page.step.options) == (True, [ALL_STEPS, "2024-06-01", "2024-06-11"])
    assert shown_marks(page)[0][1] is TileMark.FAILED
    page.step.value = "2024-06-01"
    assert shown_marks(page)[0][1] is TileMark.UNTRIED


def test_a_cube_without_dates_offers_none(page) -> None:
    """There is nothing to choose."""
    assert page.step.visible is False


def test_a_click_asks_for_the_tile(watch, view, page) -> None:
    """Counted from the north-west: its owner's answer is shown as soon as it is there."""
    tap(page, 1.5, 0.5)
    assert (page.tile, view.asked) == (4, [4])
    assert (page.mark.data["x"], page.mark.data["y"]) == ([1.5], [0.5])
    view.answer(4, "because")
    page.tick()
    assert "<pre>because</pre>" in page.divs["explanation"].text


@pytest.mark.parametrize(("x", "y"), [(0.5, 1.5), (-0.5, 0.5), (3.5, 0.5), (1.5, 2.5), (None, None)])
def test_a_click_beside_the_tiles_asks_nothing(view, page, x: Any, y: Any) -> None:
    """Outside the area, and outside the map."""
    tap(page, x, y)
    assert (page.tile, view.asked) == (None, [])


def test_a_page_before_any_build_says_so() -> None:
    """And waits for one."""
    watch = _PlayedWatch()
    page = open_document(watch, Document())
    assert "No build" in page.divs["state"].text
    watch.views.append(make_view("a"))
    page.tick()
    assert page.build.value == "a"
