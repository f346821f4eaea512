"""The price of a request, with the published examples."""

from __future__ import annotations

import pytest

from shdask.emulator.process.choices import Choices
from shdask.emulator.process.price import ELSEWHERE, Priced, PricedInput, price_async_pu, price_pu, processing_factor

SIZE = {"width_px": 1024, "height_px": 1024, "format_factor": 2.0}
ORTHO = Choices(orthorectify=True)
TERRAIN = Choices(orthorectify=True, back_coeff="GAMMA0_TERRAIN")
FILTERED = Choices(lee_window_px=(5, 5))


@pytest.mark.parametrize(
    ("width", "height", "bands", "format_factor", "pu"),
    [
        (631, 1047, 3, 1.0, 2.520206451416015625),
        (20, 20, 2, 1.0, 0.01 * 2 / 3),
        (100, 24, 2, 2.0, 0.01 * 2 / 3 * 2),
        (1, 1, 1, 1.0, 0.005),
        (6000, 4000, 2, 2.0, 122.0703125),
        (512, 512, 3, 1.4, 1.4),
    ],
)
def test_price_follows_the_published_examples(width, height, bands, format_factor, pu):
    """Area x bands x format with the minimum area and price of the documentation."""
    priced = Priced(width_px=width, height_px=height, inputs=(PricedInput(bands=bands),), format_factor=format_factor)
    assert price_pu(priced) == pytest.approx(pu, rel=1e-12)


def test_price_counts_samples():
    """The documentation's 1024 x 1024 FLOAT32 image of 4 bands and 2 samples costs 21.333."""
    assert price_pu(Priced(**SIZE, inputs=(PricedInput(bands=4, samples=2),))) == pytest.approx(64 / 3)


def test_fusion_multiplies_by_the_number_of_collections():
    """Two collections of this deployment double the price of their bands."""
    inputs = (PricedInput(bands=2, samples=2), PricedInput(bands=4))
    assert price_pu(Priced(**SIZE, inputs=inputs)) == pytest.approx(2 * 64 / 3)


def test_a_collection_elsewhere_counts_twice_in_fusion():
    """One collection here and one on another deployment cost three times their bands."""
    inputs = (PricedInput(bands=2, samples=2), PricedInput(bands=4, weight=ELSEWHERE))
    assert price_pu(Priced(**SIZE, inputs=inputs)) == pytest.approx(3 * 64 / 3)


def test_a_single_collection_elsewhere_is_no_fusion():
    """Only data fusion multiplies by where collections are."""
    assert price_pu(Priced(**SIZE, inputs=(PricedInput(bands=4, weight=ELSEWHERE),))) == pytest.approx(32 / 3)


@pytest.mark.parametrize(
    ("choices", "factor"),
    [
        (Choices(), 1.0),
        (ORTHO, 2.0),
        (TERRAIN, 2.5),
        (FILTERED, 2.0),
        (Choices(orthorectify=True, lee_window_px=(3, 3)), 4.0),
        (Choices(orthorectify=True, back_coeff="GAMMA0_TERRAIN", lee_window_px=(3, 3)), 5.0),
    ],
)
def test_radar_processing_has_its_factors(choices, factor):
    """Orthorectification x2, terrain correction x2.5 in its place, speckle filter x2."""
    assert processing_factor(choices) == factor


@pytest.mark.parametrize(
    ("size", "bands", "samples", "format_factor", "pu"), [(1024, 4, 2, 2.0, 42.667), (2000, 2, 1, 1.0, 20.34)]
)
def test_radar_examples_of_the_documentation(size, bands, samples, format_factor, pu):
    """The two published orthorectified requests cost what is published, to the digits that are."""
    item = PricedInput(bands=bands, samples=samples, factor=processing_factor(ORTHO))
    priced = Priced(width_px=size, height_px=size, inputs=(item,), format_factor=format_factor)
    assert price_pu(priced) == pytest.approx(pu, abs=0.006)


@pytest.mark.parametrize(
    ("side", "discounted", "floor", "pu"),
    [
        (10_000, False, "after", 100_000_000 / 512**2),
        (10_000, True, "after", 100_000_000 / 512**2 * 2 / 3),
        (1000, False, "after", 10.0),
        (1000, True, "after", 10.0),
        (1000, True, "before", 20 / 3),
        (99, True, "before", 10.0),
        (2000, True, "after", 4_000_000 / 512**2 * 2 / 3),
        (1900, True, "after", 10.0),
    ],
)
def test_a_job_costs_ten_at_least(side, discounted, floor, pu):
    """Two thirds where that is so and the job has 10,000 pixels; ten before or after it."""
    priced = Priced(width_px=side, height_px=side, inputs=(PricedInput(bands=3),))
    assert price_async_pu(priced, discounted=discounted, floor=floor) == pytest.approx(pu, rel=1e-12)


def test_a_job_without_discount_costs_what_process_costs():
    """The published 6000 x 4000 pixels of two bands and FLOAT32: 122.07, or 81.38."""
    priced = Priced(width_px=6000, height_px=4000, inputs=(PricedInput(bands=2),), format_factor=2.0)
    assert price_async_pu(priced, discounted=False, floor="after") == price_pu(priced)
    assert price_async_pu(priced, discounted=True, floor="after") == pytest.approx(81.38, abs=0.005)
