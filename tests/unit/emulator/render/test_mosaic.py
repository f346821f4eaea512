"""Mosaics: geometry, order and filling, on a source made for the test."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import ClassVar

import numpy as np
import pytest
import shapely

from shdask.emulator.lattice import make_lattice
from shdask.emulator.process.choices import Choices
from shdask.emulator.process.job import RenderJob
from shdask.emulator.process.reply import Reply
from shdask.emulator.render.mosaic import find_inside, order_scenes, render_samples
from shdask.emulator.source import BandInfo, Pixels, Scene


class Stripes:
    """Three scenes; scene n holds the value n in every pixel whose absolute column is not a multiple of n + 1."""

    name = "STRIPES"
    bands: ClassVar = {"A": BandInfo(units={"DN": 1.0})}
    max_metres_per_px = None

    def scenes(self, lattice, start, end):
        """All three, whenever and wherever."""
        del lattice, start, end
        return [Scene(id=str(n), time=datetime(2024, 6, n, tzinfo=UTC), cloud_cover=10.0 * n) for n in (1, 2, 3)]

    def render(self, scene, bands, lattice, choices, wanted):
        """The number of the scene, with its stripes missing."""
        del choices, wanted
        n = int(scene.id)
        holds = (np.arange(lattice.column, lattice.column + lattice.width) % (n + 1) != 0) & np.ones(
            lattice.shape, bool
        )
        return Pixels(values=np.full((len(bands), *lattice.shape), n, np.float32), data_mask=holds)


def mosaic(bbox, width, height, geometry=None, order="mostRecent", crs="EPSG:32633"):
    """Value and dataMask of the stripes, each (y, x)."""
    job = RenderJob(
        script="",
        inputs=(),
        lattice=make_lattice(crs, bbox, width, height),
        geometry_wkb=None if geometry is None else shapely.to_wkb(geometry),
        reply=Reply(renditions=(), tar=False),
    )
    scenes = order_scenes(Stripes().scenes(job.lattice, None, None), order, 100.0)
    return render_samples(job.lattice, find_inside(job), Stripes(), [scenes], ["A", "dataMask"], Choices())


@pytest.mark.parametrize(
    ("order", "expected"),
    [("mostRecent", [0, 3, 3, 3, 2, 3, 3]), ("leastRecent", [0, 1, 2, 1, 2, 1, 3]), ("leastCC", [0, 1, 2, 1, 2, 1, 3])],
)
def test_first_scene_with_data_wins_each_pixel(order, expected):
    """Every pixel shows the best scene that holds data there, and nothing where none does."""
    values, data_mask = mosaic((0, 0, 70, 10), 7, 1, order=order)
    np.testing.assert_array_equal(values[0], expected)
    np.testing.assert_array_equal(data_mask[0], np.sign(expected))


@pytest.mark.parametrize(
    ("order", "expected"),
    [("mostRecent", ["c", "b", "a"]), ("leastRecent", ["a", "b", "c"]), ("leastCC", ["b", "c", "a"])],
)
def test_scenes_are_ordered_as_asked(order, expected):
    """Orders go by time or cloud cover; clouds over the limit are left out."""
    covers = {"a": 50.0, "b": 0.0, "c": 20.0, "d": 90.0}
    scenes = [
        Scene(id=name, time=datetime(2024, 6, day, tzinfo=UTC), cloud_cover=cover)
        for day, (name, cover) in enumerate(covers.items(), start=1)
    ]
    assert [scene.id for scene in order_scenes(scenes, order, 50.0)] == expected


BORDER = shapely.Point(14.8, 46.1).buffer(0.031).union(shapely.box(14.8, 46.0, 14.8501, 46.05))


def test_pixels_count_by_their_centre():
    """A pixel is inside a geometry when its centre is, as shapely sees it."""
    values, _ = mosaic((14.75, 46.0, 14.9, 46.15), 750, 750, BORDER, crs="EPSG:4326")
    everywhere, _ = mosaic((14.75, 46.0, 14.9, 46.15), 750, 750, crs="EPSG:4326")
    x, y = np.meshgrid(14.75 + (np.arange(750) + 0.5) * 0.0002, 46.15 - (np.arange(750) + 0.5) * 0.0002)
    sure = shapely.distance(BORDER.boundary, shapely.points(x, y)) > 1e-9
    expected = np.where(shapely.contains_xy(BORDER, x, y), everywhere, 0)
    np.testing.assert_array_equal(values[sure], expected[sure])


def test_geometry_falls_alike_in_every_window():
    """A part of an image with a geometry equals that part asked for alone."""
    whole = np.stack(mosaic((14.75, 46.0, 14.9, 46.15), 750, 750, BORDER, crs="EPSG:4326"))
    bbox = (14.75 + 133 * 0.0002, 46.15 - 612 * 0.0002, 14.75 + 501 * 0.0002, 46.15 - 57 * 0.0002)
    part = np.stack(mosaic(bbox, 368, 555, BORDER, crs="EPSG:4326"))
    np.testing.assert_array_equal(part, whole[:, 57:612, 133:501])


def test_samples_are_mosaics_of_their_own():
    """Every sample shows its own scenes, all samples of a band together, and what no scene holds is 0."""
    lattice = make_lattice("EPSG:32633", (0, 0, 40, 10), 4, 1)
    one, two, three = Stripes().scenes(lattice, None, None)
    planes = render_samples(
        lattice, np.ones((1, 4), bool), Stripes(), [[one], [three, two], []], ["dataMask", "A"], Choices()
    )
    expected = [[0, 1, 0, 1], [0, 1, 1, 1], [0, 0, 0, 0], [0, 1, 0, 1], [0, 3, 3, 3], [0, 0, 0, 0]]
    np.testing.assert_array_equal(np.concatenate(planes), expected)
