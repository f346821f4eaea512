"""What requests will cost: processing units by the service's published formula, bytes, and minutes at a rate.

Refuses to know which pixels are asked for, and why.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from shdask.settings import PUBLISHED_PRICES, Deployment, Prices

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

MINUTES_PER_MONTH = 31 * 24 * 60
"""As the service's longer buckets have it (PT744H)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """A projection; bytes are before compression."""

    requests: int
    pu: float
    nbytes_down: int
    nbytes_stored: int
    minutes: float
    """At the deployment's rates: the longer of what requests and processing units take, the month's quota apart."""
    binding: Literal["requests", "pu"]
    """Which of the two rates takes longer."""
    months: float = 0.0
    """How many monthly quotas it takes, of requests or of processing units, whichever are more; 0 without quotas."""


def price_request(
    shape: tuple[int, int], bands: float, *, factor: float = 1.0, prices: Prices = PUBLISHED_PRICES
) -> float:
    """Processing units of one request for (rows, columns) pixels: `price_pixels`. Pure."""
    pixels = np.array([shape[0] * shape[1]], np.float64)
    return float(price_pixels(pixels, bands, factor=factor, prices=prices)[0])


def price_pixels(pixels: Floats, bands: float, *, factor: float = 1.0, prices: Prices = PUBLISHED_PRICES) -> Floats:
    """Processing units of requests for so many pixels, one entry each. Pure.

    ``bands`` counts input bands without the data mask, each times the samples of a pixel and what its collection's
    processing costs more; ``factor`` multiplies the whole: ``Prices.float_factor`` for a TIFF of 32 bit floats, the
    number of collections where several are fused. How the bands of several collections are counted is not documented;
    here they are added up.
    """
    area = np.maximum(pixels / prices.px_per_pu, prices.min_area)
    return np.maximum(area * bands * factor / prices.bands_per_pu, prices.min_request_pu)


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
    return Cost(
        requests=requests,
        pu=pu,
        nbytes_down=pixels_down * sent_nbytes_per_px,
        nbytes_stored=pixels_stored * stored_nbytes_per_px,
        minutes=max(by_requests, by_pu),
        binding="requests" if by_requests >= by_pu else "pu",
        months=max(
            0.0 if quota is None else used / quota
            for used, quota in ((requests, deployment.requests_per_month), (pu, deployment.pu_per_month))
        ),
    )


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
    """The cost of all, one after the other. Pure."""
    longest = max(costs, key=lambda cost: cost.minutes)
    return Cost(
        requests=sum(cost.requests for cost in costs),
        pu=math.fsum(cost.pu for cost in costs),
        nbytes_down=sum(cost.nbytes_down for cost in costs),
        nbytes_stored=sum(cost.nbytes_stored for cost in costs),
        minutes=math.fsum(cost.minutes for cost in costs),
        binding=longest.binding,
        months=math.fsum(cost.months for cost in costs),
    )
