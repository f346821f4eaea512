"""Cubes, reports and specs in a notebook."""

from __future__ import annotations

import pickle
import re
import shutil
from dataclasses import replace
from functools import partial
from html.parser import HTMLParser
from pathlib import Path

import dask
import numpy as np
import pytest

import shdask
from shdask.assemble.store import create_or_open
from shdask.assemble.verify import forget
from shdask.model import TileState
from shdask.serve.card import draw_store
from shdask.serve.open import open_cube
from shdask.serve.overviews import add_overviews
from tests.unit.assemble.conftest import small_plan
from tests.unit.test_report import a_report as report

from .timed import fill, fill_tree, flat_plan, timed_plan

pytestmark = pytest.mark.filterwarnings("ignore:Use `@` matmul:PendingDeprecationWarning")


class Tags(HTMLParser):
    """Gathers tags and texts; attributes of images."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.texts: list[str] = []
        self.sources: list[str] = []
        self.fills: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:  # noqa: D102  # its base's
        self.tags.append(tag)
        self.sources += [str(value) for name, value in attrs if name in {"src", "href"}]
        self.fills += [str(value) for name, value in attrs if name == "fill"]

    def handle_data(self, data: str) -> None:  # noqa: D102  # its base's
        self.texts.append(data)


@pytest.fixture(scope="module")
def series(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fill(timed_plan(), tmp_path_factory.mktemp("card") / "cube.zarr").place.path


def test_a_cube_is_shown_by_facts_map_and_picture(series: Path):
    """A table, an SVG and an image that is in the page itself."""
    card = Tags(draw_store(series))
    assert ("s2: B04, SCL of sentinel-2-l2a" in card.texts, str(series) in card.texts) == (True, True)
    assert (card.tags.count("table"), card.tags.count("svg"), card.tags.count("img")) == (1, 1, 1)
    assert [source[:22] for source in card.sources] == ["data:image/png;base64,"]


def test_the_map_shows_the_state_that_most_needs_a_look(tmp_path: Path):
    """Of all dates of a tile; what is no tile is left out."""
    plan = timed_plan()
    states = np.full(plan.tile_set.index_count, TileState.WRITTEN, np.uint8)
    states[0] = TileState.FAILED
    cube = create_or_open(plan, tmp_path / "cube.zarr")
    cube.write_states(states)
    card = Tags(draw_store(tmp_path / "cube.zarr"))
    assert [card.fills.count(colour) for colour in ("#c0392b", "#1f4e79")] == [1, 7]
    assert [text for text in card.texts if text.strip(" ,") in {"written", "failed", "untried"}] == [
        " written, ",
        " failed",
    ]


def test_the_map_has_the_scale_of_the_picture(series: Path):
    """Tiles of 32 px that 70 x 80 px cut off are drawn cut off, at four times their size as the picture."""
    squares = re.findall(r'<rect x="256.0" y="256.0" width="([0-9.]+)" height="([0-9.]+)"', draw_store(series))
    assert squares == [("64.0", "24.0")]


def test_overviews_that_are_outdated_are_told(series: Path, tmp_path: Path):
    """With the command that brings them up to date."""
    path = shutil.copytree(series, tmp_path / "cube.zarr")
    add_overviews(path, smallest_px=40)
    assert "1:2; up to date" in Tags(draw_store(path)).texts
    forget(path, [4])
    assert "1:2; 1 tiles are newer; run shdask overviews" in Tags(draw_store(path)).texts


def test_a_cube_without_a_pixel_has_a_card(tmp_path: Path):
    """While it is built."""
    create_or_open(small_plan(), tmp_path / "cube.zarr")
    assert Tags(draw_store(tmp_path / "cube.zarr")).tags.count("img") == 1


def test_each_group_has_a_card_and_many_are_counted(tmp_path: Path):
    """The first four."""
    names = [f"layer{number}" for number in range(5)]
    path = fill_tree(tmp_path / "cube.zarr", **dict.fromkeys(names, flat_plan()))
    card = Tags(draw_store(path))
    assert card.tags.count("svg") == 4
    assert "and 1 more groups, without a card" in card.texts


def test_what_cannot_be_read_is_said(tmp_path: Path):
    """A notebook goes on."""
    assert "does not exist" in draw_store(tmp_path / "nothing.zarr")
    assert draw_store("<script>alert(1)</script>").count("<script>") == 0


def test_a_dataset_brings_its_card(series: Path):
    """Of what it still has."""
    card = Tags(open_cube(series).isel(time=[0, 2]).shdask._repr_html_())
    assert ("2, 2024-06-02 to 2024-06-09" in card.texts, card.tags.count("img")) == (True, 1)


def test_a_job_that_is_not_built_is_not_bought_to_be_shown():
    """Its card is made without a request; nobody answers here."""
    spec = shdask.CubeSpec(
        aoi=(15.0, 46.0, 15.02, 46.01),
        crs="EPSG:32633",
        resolution=20,
        time=("2024-06-01", "2024-06-30"),
        layers={"s2": {"collection": "sentinel-2-l2a", "bands": ["B04"]}},
    )
    with dask.config.set(scheduler="threads"):  # not on the cluster of other tests of this process
        card = Tags(open_cube(spec).shdask._repr_html_())
    assert ("s2: B04 of sentinel-2-l2a" in card.texts, card.tags.count("img")) == (True, False)


def test_a_dataset_cannot_smuggle_html(series: Path):
    """Attributes are anybody's."""
    cube = open_cube(series).assign_attrs(layer="<b onload=x>", source='"><script>')
    assert set(Tags(cube.shdask._repr_html_()).tags) <= {"table", "tr", "th", "td", "div", "img"}


def test_a_report_shows_the_cube_it_built(series: Path):
    """Below its figures; the drawing is no part of what it says."""
    plain = report(tiles=24, written=24)
    drawn = replace(plain, drawing=partial(draw_store, str(series)))
    assert drawn._repr_html_().startswith(plain._repr_html_())
    assert Tags(drawn._repr_html_()).tags.count("img") == 1
    assert (drawn, drawn.as_dict(), str(drawn)) == (plain, plain.as_dict(), str(plain))
    assert pickle.loads(pickle.dumps(drawn))._repr_html_() == drawn._repr_html_()  # noqa: S301  # ours


def test_nothing_is_loaded_from_elsewhere(series: Path):
    """No address but those of namespaces."""
    assert set(re.findall(r"https?://[^\"' ]+", draw_store(series))) == {"http://www.w3.org/2000/svg"}
