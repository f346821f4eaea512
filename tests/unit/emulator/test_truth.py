"""The truth of the ground: what a model trained on the synthetic Earth can and cannot learn."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pytest

from shdask.emulator.lattice import make_lattice
from shdask.emulator.process.choices import Choices
from shdask.emulator.render.mosaic import order_scenes, render_samples
from shdask.emulator.world.cover import Cover
from shdask.emulator.world.earth import Earth, EarthSource
from shdask.emulator.world.truth import TruthSource

EARTH = Earth(7)
SURFACE, TRUTH = EarthSource(EARTH, surface=True), TruthSource(EARTH)
BANDS = ["B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B11", "B12"]
SIZE = 300
WEST = make_lattice("EPSG:32633", (500_000, 5_113_000, 512_000, 5_125_000), SIZE, SIZE)
EAST = make_lattice("EPSG:32633", (520_000, 5_113_000, 532_000, 5_125_000), SIZE, SIZE)
FIRST, LAST = datetime(2024, 1, 1, tzinfo=UTC), datetime(2024, 12, 31, tzinfo=UTC)


def draw(source, lattice, bands, first=FIRST, last=LAST):
    """The least cloudy mosaic, (pixel, band)."""
    scenes = order_scenes(source.scenes(lattice, first, last), "leastCC", 100.0)
    planes = render_samples(lattice, np.ones(lattice.shape, dtype=bool), source, [scenes], bands, Choices())
    return np.stack(planes, axis=-1).reshape(-1, len(bands))


def features(lattice, months):
    """Logarithms of the reflectances in some months, side by side."""
    days = [(datetime(2024, month, 1, tzinfo=UTC), datetime(2024, month, 28, tzinfo=UTC)) for month in months]
    return np.log(np.hstack([draw(SURFACE, lattice, BANDS, first, last) for first, last in days]))


def classify(known, labels, unknown):
    """Linear discriminants: the nearest class in the metric of the spread that all classes share."""
    classes, index, counts = np.unique(labels, return_inverse=True, return_counts=True)
    means = np.stack([known[labels == cover].mean(axis=0) for cover in classes])
    apart = known - means[index]
    metric = np.linalg.inv(apart.T @ apart / len(known) + 1e-4 * np.eye(known.shape[1]))
    prior = np.log(counts / counts.sum()) - ((means @ metric) * means).sum(axis=1) / 2
    return classes[(unknown @ metric @ means.T + prior).argmax(axis=1)]


def score(months):
    """Share of the eastern region that a model of the western one gets right, and the share of its commonest class."""
    learned, asked = draw(TRUTH, WEST, ["cover"])[:, 0], draw(TRUTH, EAST, ["cover"])[:, 0]
    guessed = classify(features(WEST, months), learned, features(EAST, months))
    return (guessed == asked).mean(), np.unique(asked, return_counts=True)[1].max() / asked.size


@pytest.mark.parametrize("month", [4, 6, 7, 9])
def test_a_plain_model_learns_the_cover_but_not_all_of_it(month):
    """From ten bands of one month it gets 70 to 80 % of another region right, whose commonest class has 47 %."""
    right, commonest = score([month])
    assert commonest == pytest.approx(0.47, abs=0.02)
    assert 0.65 < right < 0.85


def test_a_second_date_tells_crops_apart():
    """Spring and summer together are better than either alone, by more than four points."""
    assert score([4, 7])[0] > max(score([4])[0], score([7])[0]) + 0.04


def test_the_truth_has_no_date():
    """Any time range shows the same ground."""
    day = datetime(2019, 2, 3, tzinfo=UTC)
    bands = ["cover", "height", "dataMask"]
    np.testing.assert_array_equal(draw(TRUTH, EAST, bands, day, day), draw(TRUTH, EAST, bands))


def test_the_truth_is_a_cover_and_a_height():
    """Values of Cover but snow, everywhere, and heights of central Europe in metres."""
    cover, height, mask = draw(TRUTH, EAST, ["cover", "height", "dataMask"]).T
    assert mask.all()
    assert set(np.unique(cover).astype(int)) <= {*Cover} - {Cover.SNOW, Cover.SNOWY_WOOD}
    assert 0 <= height.min() < height.max() < 4000


def test_the_sea_is_at_0_m():
    """Heights are above the sea."""
    adriatic = make_lattice("EPSG:4326", (12.2, 45.7, 12.4, 45.85), 100, 75)
    cover, height = draw(TRUTH, adriatic, ["cover", "height"]).T
    sea = cover <= Cover.SHALLOWS
    assert sea.mean() > 0.3
    assert not height[sea].any()
