"""The price formula, against the service's own examples."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shdask.plan.cost import Cost, estimate_cost, price_request

SIZES = st.lists(
    st.tuples(st.tuples(st.integers(1, 2500), st.integers(1, 2500)), st.integers(0, 20)), min_size=1, max_size=4
)


@pytest.mark.parametrize(
    ("shape", "band_count", "pu"),
    [
        ((1047, 631), 3, 2.520206451416),  # header of a real answer
        ((20, 20), 2, 0.01 * 2 / 3),  # documented: 20 x 20 px of two bands at 16 bit
        ((512, 512), 3, 1.0),
        ((10, 10), 1, 0.005),  # the least a request costs
    ],
)
def test_a_request_costs_what_the_service_says(shape: tuple[int, int], band_count: int, pu: float) -> None:
    """Examples of the documentation and of an observed header."""
    assert price_request(shape, band_count) == pytest.approx(pu, rel=1e-9)


@pytest.mark.parametrize(
    ("shape", "bands", "factor", "pu"),
    [
        ((10, 10), 2, 2, 0.0133333),  # observed: floats of a tiny area
        ((1024, 1024), 4 * 2 * 2, 2, 42.667),  # documented: radar, orthorectified, floats, two samples a pixel
        ((2000, 2000), 2 * 2, 1, 20.34),  # documented: radar, orthorectified, 16 bit
    ],
)
def test_floats_samples_and_processing_multiply_the_price(
    shape: tuple[int, int], bands: float, factor: float, pu: float
) -> None:
    """Examples of the documentation and of an observed header."""
    assert price_request(shape, bands, factor=factor) == pytest.approx(pu, rel=1e-3)


def cost_of(sizes: list[tuple[tuple[int, int], int]], rpm: float = 300.0, ppm: float = 300.0) -> Cost:
    return estimate_cost(
        sizes,
        price=lambda shape: price_request(shape, 4),
        requests=sum(count for _, count in sizes),
        sent_nbytes_per_px=10,
        stored_nbytes_per_px=9,
        requests_per_minute=rpm,
        pu_per_minute=ppm,
    )


@given(SIZES)
@settings(deadline=None)
def test_classes_of_equal_size_cost_what_their_tiles_cost_one_by_one(
    sizes: list[tuple[tuple[int, int], int]],
) -> None:
    """Count x price equals the sum over the tiles."""
    prices = [price_request(shape, 4) for shape, count in sizes for _ in range(count)]
    assert cost_of(sizes).pu == pytest.approx(sum(prices), rel=1e-9, abs=1e-12)
    assert cost_of(sizes).requests == len(prices)


@pytest.mark.parametrize(
    ("rpm", "ppm", "minutes", "binding"), [(10.0, 1000.0, 3.0, "requests"), (1000.0, 10.0, 4.0, "pu")]
)
def test_minutes_are_those_of_the_rate_that_binds(rpm: float, ppm: float, minutes: float, binding: str) -> None:
    """30 requests of 4/3 PU each: 30 requests or 40 PU."""
    cost = cost_of([((512, 512), 30)], rpm, ppm)
    assert cost.minutes == pytest.approx(minutes)
    assert cost.binding == binding


def test_bytes_are_those_of_every_pixel() -> None:
    """What a pixel takes on the wire and in the store is told; tiles of which there are none take nothing."""
    cost = cost_of([((10, 20), 3), ((5, 7), 0)])
    assert cost.nbytes_down == 3 * 200 * 10
    assert cost.nbytes_stored == 3 * 200 * 9


def test_fewer_requests_cost_as_many_units() -> None:
    """30 tiles by 3 requests of ten dates each: the units bind then, and no request less."""
    cost = estimate_cost(
        [((512, 512), 30)],
        price=lambda shape: price_request(shape, 3),
        requests=3,
        sent_nbytes_per_px=8,
        stored_nbytes_per_px=7,
        requests_per_minute=10.0,
        pu_per_minute=10.0,
    )
    assert (cost.requests, cost.pu, cost.minutes, cost.binding) == (3, 30.0, 3.0, "pu")
