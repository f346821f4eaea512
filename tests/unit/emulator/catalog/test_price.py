"""What a search costs: 1 PU for a million square kilometres and a month, within 0.01 and 1."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from pyproj import Geod

from shdask.emulator.catalog.price import count_months, price_search_pu

JUNE, LATE_JUNE = datetime(2024, 6, 1, tzinfo=UTC), datetime(2024, 6, 30, 23, 59, 59, tzinfo=UTC)


def test_a_million_square_kilometres_and_a_month_are_nearly_one():
    """The price follows the area on the globe, here as an ellipsoid measures it."""
    steps = [10 + step / 10 for step in range(101)]
    longitudes, latitudes = [*steps, *reversed(steps)], [42.0] * 101 + [50.0] * 101
    area_km2 = abs(Geod(ellps="WGS84").polygon_area_perimeter(longitudes, latitudes)[0]) / 1e6
    assert price_search_pu((10.0, 42.0, 20.0, 50.0), JUNE, LATE_JUNE) == pytest.approx(area_km2 / 1e6, rel=0.01)


def test_small_searches_cost_the_least():
    """A point and a town cost 0.01 a month."""
    assert price_search_pu((15.0, 47.0, 15.0, 47.0), JUNE, JUNE) == 0.01
    assert price_search_pu((15.0, 47.0, 15.1, 47.1), JUNE, LATE_JUNE) == 0.01


def test_months_multiply_the_least_area():
    """The area counts as at least a hundredth, for each month begun."""
    assert price_search_pu((15.0, 47.0, 15.1, 47.1), JUNE, datetime(2025, 6, 1, tzinfo=UTC)) == pytest.approx(0.12)


def test_no_search_costs_more_than_one():
    """The whole world for years is 1 PU."""
    assert price_search_pu((-180.0, -90.0, 180.0, 90.0), JUNE, datetime(2034, 6, 1, tzinfo=UTC)) == 1.0


def test_box_across_the_antimeridian_is_as_large_as_another():
    """A box whose west is greater than its east goes round the back."""
    assert price_search_pu((178.0, -20.0, -178.0, -18.0), JUNE, JUNE) == pytest.approx(
        price_search_pu((0.0, 18.0, 4.0, 20.0), JUNE, JUNE)
    )


@pytest.mark.parametrize(
    ("end", "months"),
    [
        (datetime(2024, 6, 1, tzinfo=UTC), 1),
        (datetime(2024, 7, 1, tzinfo=UTC), 1),
        (datetime(2024, 7, 1, 0, 0, 1, tzinfo=UTC), 2),
        (datetime(2024, 8, 15, tzinfo=UTC), 3),
        (datetime(2025, 6, 1, tzinfo=UTC), 12),
        (datetime(2025, 5, 31, 23, 59, 59, tzinfo=UTC), 12),
        (datetime(2020, 1, 1, tzinfo=UTC), 1),
    ],
)
def test_begun_months_count(end, months):
    """From one 1st to the next is one month; one second more is two."""
    assert count_months(JUNE, end) == months
