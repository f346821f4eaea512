"""What requests will cost: processing units by the service's published formula, bytes, and minutes at a rate.

Refuses to know which pixels are asked for, and why.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np

from shdask.request.catalog import box_km2, count_months
from shdask.settings import PUBLISHED_PRICES, Deployment, Prices

if TYPE_CHECKING:
    import shapely
    from numpy.typing import NDArray

    from shdask.model import TimeInterval

    Floats = NDArray[np.float64]

MINUTES_PER_MONTH = 31 * 24 * 60
"""As the service's longer buckets have it (PT744H)."""

Limit = Literal["requests_per_minute", "pu_per_minute", "requests_per_month", "pu_per_month", "jobs_at_once"]
"""What a plan waits for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """A projection; bytes are before compression."""

    requests: int
    pu: float
    nbytes_down: int
    nbytes_stored: int
    minutes: float
    """At the deployment's rates: the longest of what requests, processing units and jobs take, the month's quota
    apart."""
    binding: Literal["requests", "pu", "jobs"]
    """Which of them takes longest."""
    months: float = 0.0
    """How many monthly quotas it takes, of requests or of processing units, whichever are more; 0 without quotas."""
    minutes_by_requests: float = 0.0
    """What the requests alone take at their rate."""
    minutes_by_pu: float = 0.0
    """What the processing units alone take at theirs."""
    months_by_requests: float = 0.0
    """How many monthly quotas of requests it takes; 0 where there is none."""
    months_by_pu: float = 0.0
    """How many monthly quotas of processing units it takes; 0 where there is none."""
    jobs: int = 0
    """How many of the requests are jobs of Async Process."""
    minutes_by_jobs: float = 0.0
    """What jobs take, so many at once as the account may run."""

    @property
    def limit(self) -> Limit:
        """Which limit is the last to let it through: a quota where one month's is not enough, else a rate."""
        if self.months > 1:
            return "requests_per_month" if self.months_by_requests >= self.months_by_pu else "pu_per_month"
        limits: dict[str, Limit] = {"requests": "requests_per_minute", "pu": "pu_per_minute", "jobs": "jobs_at_once"}
        return limits[self.binding]

    @property
    def minutes_in_all(self) -> float:
        """The minutes, or as many months as the quotas make it wait for after the first, whichever are more."""
        return max(self.minutes, (self.months - 1.0) * MINUTES_PER_MONTH)


def price_request(
    shape: tuple[int, int], bands: float, *, factor: float = 1.0, prices: Prices = PUBLISHED_PRICES
) -> float:
    """Processing units of one request for (rows, columns) pixels: `price_pixels`. Pure."""
    pixels = np.array([shape[0] * shape[1]], np.float64)
    return float(price_pixels(pixels, bands, factor=factor, prices=prices)[0])


def price_pixels(
    pixels: Floats, bands: float | Floats, *, factor: float = 1.0, prices: Prices = PUBLISHED_PRICES
) -> Floats:
    """Processing units of requests for so many pixels, one entry each. Pure.

    ``bands`` counts input bands without the data mask, each times the samples of a pixel and what its collection's
    processing costs more, one number or an entry each; ``factor`` multiplies the whole: ``Prices.float_factor`` for a
    TIFF of 32 bit floats, the number of collections where several are fused. How the bands of several collections are
    counted is not documented; here they are added up.
    """
    area = np.maximum(pixels / prices.px_per_pu, prices.min_area)
    return np.maximum(area * bands * factor / prices.bands_per_pu, prices.min_request_pu)


def price_async(pu: float, *, prices: Prices = PUBLISHED_PRICES) -> float:
    """Processing units of one Async Process request that is worth ``pu`` by Process: `price_jobs`. Pure."""
    return float(price_jobs(np.array([pu], np.float64), prices=prices)[0])


def price_jobs(pu: Floats, *, prices: Prices = PUBLISHED_PRICES) -> Floats:
    """Processing units of Async Process requests that are worth ``pu`` by Process, one entry each. Pure.

    Source: documentation pages "Processing Unit" and "Async Process". Whether the least price holds before the
    discount, where there is one, or after it, is not documented: here after it, which is the dearer.
    """
    return np.maximum(pu * prices.async_factor, prices.async_min_pu)


def price_search(area: shapely.Geometry, interval: TimeInterval, *, prices: Prices = PUBLISHED_PRICES) -> float:
    """Processing units of one page of a search of the catalogue: the box around ``area`` x started months. Pure.

    ``area`` is in EPSG:4326 (longitude, latitude). Source: documentation page "Processing Unit"; that months are the
    calendar's, counted from the start, is assumed.
    """
    share = max(box_km2(area) / prices.catalog_km2_per_pu, prices.catalog_min_area)
    return min(max(share * count_months(interval), prices.catalog_min_pu), prices.catalog_max_pu)


def estimate_cost(
    *,
    requests: int,
    pu: float,
    pixels_down: int,
    pixels_stored: int,
    sent_nbytes_per_px: int,
    stored_nbytes_per_px: int,
    deployment: Deployment,
) -> Cost:
    """What so many requests, units and pixels come to at a deployment's rates and quotas. Pure."""
    by_requests, by_pu = requests / deployment.requests_per_minute, pu / deployment.pu_per_minute
    months_by_requests = _months(requests, deployment.requests_per_month)
    months_by_pu = _months(pu, deployment.pu_per_month)
    return Cost(
        requests=requests,
        pu=pu,
        nbytes_down=pixels_down * sent_nbytes_per_px,
        nbytes_stored=pixels_stored * stored_nbytes_per_px,
        minutes=max(by_requests, by_pu),
        binding="requests" if by_requests >= by_pu else "pu",
        months=max(months_by_requests, months_by_pu),
        minutes_by_requests=by_requests,
        minutes_by_pu=by_pu,
        months_by_requests=months_by_requests,
        months_by_pu=months_by_pu,
    )


def estimate_jobs(
    *,
    jobs: int,
    pu: float,
    pixels_down: int,
    pixels_stored: int,
    sent_nbytes_per_px: int,
    stored_nbytes_per_px: int,
    deployment: Deployment,
    job_minutes: float,
    concurrency: int,
) -> Cost:
    """What so many jobs of Async Process come to, ``concurrency`` of them at once, ``job_minutes`` each. Pure.

    They are counted as a request each, and against the month's units but not the minute's: a large job is dearer than
    a minute's units, and would never be accepted. Neither is documented.
    """
    cost = estimate_cost(
        requests=jobs,
        pu=pu,
        pixels_down=pixels_down,
        pixels_stored=pixels_stored,
        sent_nbytes_per_px=sent_nbytes_per_px,
        stored_nbytes_per_px=stored_nbytes_per_px,
        deployment=deployment,
    )
    by_jobs = math.ceil(jobs / concurrency) * job_minutes
    return replace(
        cost,
        jobs=jobs,
        minutes=max(by_jobs, cost.minutes_by_requests),
        minutes_by_jobs=by_jobs,
        minutes_by_pu=0.0,
        binding="jobs" if by_jobs >= cost.minutes_by_requests else "requests",
    )


def _months(amount: float, per_month: float | None) -> float:
    return 0.0 if per_month is None else amount / per_month


def request_minutes(requests: float, deployment: Deployment) -> float:
    """What requests take at the rate of a minute and, beyond the first month's quota, at that of a month. Pure."""
    return _minutes(requests, deployment.requests_per_minute, deployment.requests_per_month)


def pu_minutes(pu: float, deployment: Deployment) -> float:
    """What processing units take, as `request_minutes`. Pure."""
    return _minutes(pu, deployment.pu_per_minute, deployment.pu_per_month)


def _minutes(amount: float, per_minute: float, per_month: float | None) -> float:
    beyond = 0.0 if per_month is None else max(0.0, amount / per_month - 1.0)
    return max(amount / per_minute, beyond * MINUTES_PER_MONTH)


def add_costs(costs: Sequence[Cost]) -> Cost:
    """The cost of all, one after the other, of one account: rates are waited for each time, a quota is shared. Pure."""
    longest = max(costs, key=lambda cost: cost.minutes)
    months_by_requests = math.fsum(cost.months_by_requests for cost in costs)
    months_by_pu = math.fsum(cost.months_by_pu for cost in costs)
    return Cost(
        requests=sum(cost.requests for cost in costs),
        pu=math.fsum(cost.pu for cost in costs),
        nbytes_down=sum(cost.nbytes_down for cost in costs),
        nbytes_stored=sum(cost.nbytes_stored for cost in costs),
        minutes=math.fsum(cost.minutes for cost in costs),
        binding=longest.binding,
        months=max(months_by_requests, months_by_pu),
        minutes_by_requests=math.fsum(cost.minutes_by_requests for cost in costs),
        minutes_by_pu=math.fsum(cost.minutes_by_pu for cost in costs),
        months_by_requests=months_by_requests,
        months_by_pu=months_by_pu,
        jobs=sum(cost.jobs for cost in costs),
        minutes_by_jobs=math.fsum(cost.minutes_by_jobs for cost in costs),
    )
