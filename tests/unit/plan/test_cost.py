"""The price formula, against the service's own examples."""

from __future__ import annotations

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from shdask.model import TimeInterval
from shdask.plan.cost import (
    Cost,
    add_costs,
    estimate_cost,
    price_async,
    price_pixels,
    price_request,
    price_search,
    pu_minutes,
    request_minutes,
)
from shdask.settings import Deployment, Prices
from tests.unit.plan.scenes import span

VALLEY = shapely.box(14, 46, 14.2, 46.2)
JUNE = span("2024-06-01", "2024-07-01")


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
        ((4000, 6000), 2, 2, 122.07),  # floats of two bands and the mask, which is free
    ],
)
def test_floats_samples_and_processing_multiply_the_price(
    shape: tuple[int, int], bands: float, factor: float, pu: float
) -> None:
    """Examples of the documentation and of an observed header."""
    assert price_request(shape, bands, factor=factor) == pytest.approx(pu, rel=1e-3)


def cost_of(requests: int, pu: float, **fields: float | None) -> Cost:
    where = Deployment(name="test", base_url="http://127.0.0.1:1", token_url="http://127.0.0.1:1/token", **fields)
    return estimate_cost(
        requests=requests,
        pu=pu,
        pixels_down=700,
        pixels_stored=1000,
        sent_nbytes_per_px=10,
        stored_nbytes_per_px=9,
        deployment=where,
    )


@given(st.lists(st.integers(0, 2500**2), min_size=1, max_size=9), st.sampled_from([1, 2, 4, 13]))
def test_prices_in_bulk_are_those_one_by_one(pixels: list[int], bands: int) -> None:
    """As a request of one row of so many pixels."""
    prices = price_pixels(np.array(pixels, np.float64), bands)
    assert prices.tolist() == [price_request((1, count), bands) for count in pixels]


def test_a_deployment_may_have_prices_of_its_own() -> None:
    """Half the pixels to a unit, and four times the least."""
    prices = Prices(px_per_pu=512 * 256, min_request_pu=0.02)
    assert price_request((512, 512), 3, prices=prices) == pytest.approx(2.0)
    assert price_request((1, 1), 1, prices=prices) == pytest.approx(0.02)


@pytest.mark.parametrize(
    ("rpm", "ppm", "minutes", "binding"), [(10.0, 1000.0, 3.0, "requests"), (1000.0, 10.0, 4.0, "pu")]
)
def test_minutes_are_those_of_the_rate_that_binds(rpm: float, ppm: float, minutes: float, binding: str) -> None:
    """30 requests, 40 PU."""
    cost = cost_of(30, 40.0, requests_per_minute=rpm, pu_per_minute=ppm)
    assert cost.minutes == pytest.approx(minutes)
    assert cost.binding == binding


def test_bytes_are_those_of_every_pixel() -> None:
    """What a pixel takes on the wire and in the store is told."""
    cost = cost_of(1, 1.0)
    assert (cost.nbytes_down, cost.nbytes_stored) == (7000, 9000)


@pytest.mark.parametrize(("requests", "pu", "months"), [(100, 1500.0, 1.5), (3000, 10.0, 30.0), (0, 0.0, 0.0)])
def test_months_are_those_of_the_quota_that_binds(requests: int, pu: float, months: float) -> None:
    """Of 100 requests or 1000 PU a month."""
    cost = cost_of(requests, pu, requests_per_month=100.0, pu_per_month=1000.0)
    assert cost.months == pytest.approx(months)


def test_what_a_month_does_not_hold_waits_for_the_next() -> None:
    """250 requests of 100 a month: the first at once, the others a month and a half later."""
    where = Deployment(name="test", base_url="x", token_url="y", requests_per_month=100.0, pu_per_month=None)
    assert request_minutes(50, where) == pytest.approx(50 / 300)
    assert request_minutes(250, where) == pytest.approx(1.5 * 31 * 24 * 60)
    assert pu_minutes(1e6, where) == pytest.approx(1e6 / 300)


@pytest.mark.parametrize(
    ("pu", "factor", "charged"),
    [(122.07, 2 / 3, 81.38), (122.07, 1.0, 122.07), (12.0, 2 / 3, 10.0), (0.5, 1.0, 10.0)],
)
def test_a_job_costs_what_its_picture_does_but_at_least_ten(pu: float, factor: float, charged: float) -> None:
    """With the discount that some accounts get, and without."""
    assert price_async(pu, prices=Prices(async_factor=factor)) == pytest.approx(charged, rel=1e-4)


def test_no_discount_is_counted_on() -> None:
    """Until the account is known to get it."""
    assert price_async(122.07) == 122.07


@pytest.mark.parametrize(
    ("area", "interval", "pu"),
    [
        (VALLEY, JUNE, 0.01),
        (VALLEY, span("2024-01-01", "2025-01-01"), 0.12),
        (VALLEY, span("2024-01-31", "2024-02-29"), 0.01),
        (VALLEY, span("2024-01-31", "2024-03-01"), 0.02),
        (VALLEY, span("2024-06-10", "2024-07-10"), 0.01),
        (VALLEY, span("2024-06-10", "2024-07-11"), 0.02),
        (shapely.box(-180, -90, 180, 90), JUNE, 1.0),
    ],
)
def test_a_page_costs_area_times_started_months(area: shapely.Geometry, interval: TimeInterval, pu: float) -> None:
    """At least 0.01 megametres squared, at most 1 PU: the documentation's numbers."""
    assert price_search(area, interval) == pytest.approx(pu)


def test_a_country_costs_what_its_box_does() -> None:
    """300 x 300 km around 46 degrees: 0.09 of a square megametre for each month."""
    side = 300 / 111.2
    country = shapely.box(14, 46 - side / 2, 14 + side / np.cos(np.radians(46)), 46 + side / 2)
    assert price_search(country, span("2024-06-01", "2024-09-01")) == pytest.approx(0.27, rel=0.01)


def test_a_deployment_may_have_searches_of_its_own_price() -> None:
    """Ten times the least area, and a higher ceiling."""
    prices = Prices(catalog_min_area=0.1, catalog_max_pu=2.0)
    assert price_search(VALLEY, JUNE, prices=prices) == pytest.approx(0.1)
    assert price_search(shapely.box(-180, -90, 180, 90), JUNE, prices=prices) == 2.0


@pytest.mark.parametrize(
    ("requests", "pu", "limit"),
    [
        (90, 10.0, "requests_per_minute"),
        (10, 90.0, "pu_per_minute"),
        (900, 10.0, "requests_per_month"),
        (10, 900.0, "pu_per_month"),
    ],
)
def test_the_limit_is_the_rate_until_a_month_is_not_enough(requests: int, pu: float, limit: str) -> None:
    """Ten of each a minute, a hundred a month."""
    rates = {"requests_per_minute": 10.0, "pu_per_minute": 10.0}
    cost = cost_of(requests, pu, **rates, requests_per_month=100.0, pu_per_month=100.0)
    assert cost.limit == limit
    assert (cost.minutes_by_requests, cost.minutes_by_pu) == (requests / 10, pu / 10)


def test_groups_wait_for_their_rates_in_turn_and_share_a_quota() -> None:
    """3 minutes of requests, then 4 of PU; of the quota 0.6 and 0.1 of requests, 0.2 and 0.4 of PU."""
    rates = {"requests_per_minute": 20.0, "pu_per_minute": 10.0}
    quotas = {"requests_per_month": 100.0, "pu_per_month": 100.0}
    whole = add_costs([cost_of(60, 20.0, **rates, **quotas), cost_of(10, 40.0, **rates, **quotas)])
    assert (whole.minutes, whole.minutes_by_requests, whole.minutes_by_pu) == pytest.approx((7.0, 3.5, 6.0))
    assert (whole.months, whole.months_by_requests, whole.months_by_pu) == pytest.approx((0.7, 0.7, 0.6))
