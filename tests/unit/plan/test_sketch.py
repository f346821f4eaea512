"""The map of a plan's windows."""

from __future__ import annotations

from dataclasses import replace
from xml.etree import ElementTree as ET

import numpy as np
import pytest
import shapely

from shdask.plan.area import make_area
from shdask.plan.grown_area import join_areas
from shdask.plan.sketch import CUT, LONGER_SIDE, OUTLINE, WHOLE, draw_windows
from shdask.plan.windows import TileWindows

SVG = "{http://www.w3.org/2000/svg}"
SHAPES = {"chunk_px": 512, "tile_px": 2048}
HALF = shapely.Polygon([(4.8e5, 51.2e5), (4.8e5 + 61_440, 51.2e5), (4.8e5, 51.2e5 + 61_440)])
"""Six of nine tiles, of which three are whole."""


def disc(corners: int = 20_000) -> shapely.Geometry:
    """A disc whose border swings."""
    angle = np.linspace(0, 2 * np.pi, corners, endpoint=False)
    reach = 1e6 * (1 + 0.05 * np.sin(3 * angle))
    return shapely.Polygon(np.stack((reach * np.cos(angle), reach * np.sin(angle)), axis=1))


def shapes(drawn: str, colour: str) -> list[dict[str, float]]:
    """Rectangles of a colour, by their place in the picture."""
    root = ET.fromstring(drawn)  # noqa: S314  # our own text
    groups = [group for group in root.iter(f"{SVG}g") if group.get("fill") == colour]
    return [{name: float(value) for name, value in rect.attrib.items()} for group in groups for rect in group]


def test_whole_tiles_and_windows_are_drawn_apart(plan_of) -> None:
    """As many of each as there are, where they are."""
    plan = plan_of(HALF, store=SHAPES)
    drawn = draw_windows(plan)
    whole, cut = shapes(drawn, WHOLE), shapes(drawn, CUT)
    windows = [window for tile in plan.tiles() for window in tile.windows]
    assert (len(whole), len(cut)) == (3, len(windows) - 3)
    scale = LONGER_SIDE / max(plan.grid.shape)
    assert whole[0] == pytest.approx({"x": 0, "y": 2048 * scale, "width": 140, "height": 140}, abs=0.06)
    assert sum(each["width"] * each["height"] for each in [*whole, *cut]) == pytest.approx(
        sum(window.pixel_count for window in windows) * scale**2, rel=0.02
    )


def test_the_area_and_its_border_are_drawn(plan_of) -> None:
    """Half of a square: the silhouette covers half of the picture, and the border has three sides."""
    root = ET.fromstring(draw_windows(plan_of(HALF, store=SHAPES)))  # noqa: S314  # our own text
    silhouette, border = (path.get("d", "") for path in root.iter(f"{SVG}path"))
    runs = [run.split("h") for run in silhouette.split("M")[1:]]
    covered = sum(float(run[1].split("v")[0]) * 1.0 for run in runs)
    assert covered == pytest.approx(LONGER_SIDE**2 / 2, rel=0.01)
    assert border.count("M") == 3


def test_a_grown_area_is_drawn_with_all_its_parts(plan_of) -> None:
    """Two triangles have six sides."""
    plan = plan_of(HALF, store=SHAPES, extent=(4.8e5, 51.2e5, 4.8e5 + 61_440, 51.2e5 + 61_440))
    other = make_area(shapely.Polygon([(5e5, 51.4e5), (5.4e5, 51.4e5), (5.4e5, 51.8e5)]), plan.grid)
    grown = replace(plan, area=join_areas([plan.area, other]), windows=TileWindows()).with_windows()
    root = ET.fromstring(draw_windows(grown))  # noqa: S314  # our own text
    (border,) = (path.get("d", "") for path in root.iter(f"{SVG}path") if path.get("stroke") == OUTLINE)
    assert border.count("M") == 6


def test_the_map_of_very_many_tiles_is_small(plan_of) -> None:
    """Seven thousand tiles and twenty thousand corners: blocks of two by two tiles in ten shapes, below 150 kB."""
    plan = plan_of(disc(), "EPSG:3857", crs="EPSG:3857")
    drawn = draw_windows(plan)
    root = ET.fromstring(drawn)  # noqa: S314  # our own text
    blocks = [path.get("d", "").count("z") for path in root.iter(f"{SVG}path") if path.get("fill-opacity")]
    assert plan.tile_count > 7000
    assert len(drawn) < 150_000
    assert len(blocks) <= 10
    assert sum(blocks) == len({(tile.row // 2, tile.column // 2) for tile in plan.tiles()})
    assert not list(root.iter(f"{SVG}g"))


def test_an_array_that_is_mostly_empty_is_drawn(plan_of) -> None:
    """Two islands two thousand kilometres apart, each in a tile of its own, and nothing between them."""
    islands = shapely.union(shapely.box(0, 0, 9e3, 9e3), shapely.box(1e6, 2e6, 1e6 + 400, 2e6 + 400))
    drawn = draw_windows(plan_of(islands, "EPSG:3857", crs="EPSG:3857"))
    assert len(drawn) < 10_000
    assert len(shapes(drawn, WHOLE)) + len(shapes(drawn, CUT)) == 2


def test_the_map_refers_to_nothing_outside(plan_of) -> None:
    """No links, scripts, styles or fonts: but for the name of the format."""
    drawn = draw_windows(plan_of(HALF, store=SHAPES)).replace('xmlns="http://www.w3.org/2000/svg"', "")
    words = ("href", "http", "url(", "<script", "<style", "<image", "<text")
    assert [word for word in words if word in drawn] == []
