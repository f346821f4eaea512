"""What requests will cost: processing units by the service's published formula, bytes, and minutes at a rate.

Refuses to know which pixels are asked for, and why.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

# Documentation of the service, page "Processing unit": 512 x 512 px of three input bands at up to 16 bit are
# one unit; an area counts for at least 0.01 of that; a Process request costs at least 0.005 PU.
PX_PER_PU = 512 * 512
BANDS_PER_PU = 3
MIN_AREA_FACTOR = 0.01
MIN_REQUEST_PU = 0.005
SENT_NBYTES = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """A projection; bytes are before compression."""

    requests: int
    pu: float
    nbytes_down: int
    nbytes_stored: int
    minutes: float
    """At the deployment's rates: the longer of what requests and processing units take."""
    binding: Literal["requests", "pu"]
    """Which of the two rates takes longer."""


def price_request(shape: tuple[int, int], band_count: int) -> float:
    """Processing units of one request. Pure.

    ``shape`` is (rows, columns); ``band_count`` counts input bands without the data mask; 16 bit, SIMPLE mosaicking.
    """
    area = max(shape[0] * shape[1] / PX_PER_PU, MIN_AREA_FACTOR)
    return max(area * band_count / BANDS_PER_PU, MIN_REQUEST_PU)


def estimate_cost(
    sizes: Iterable[tuple[tuple[int, int], int]],
    *,
    band_count: int,
    stored_nbytes_per_px: int,
    requests_per_minute: float,
    pu_per_minute: float,
) -> Cost:
    """The cost of requests given as (shape, how many). Pure."""
    sizes = [(shape, count) for shape, count in sizes if count]
    requests = sum(count for _, count in sizes)
    pixels = sum(shape[0] * shape[1] * count for shape, count in sizes)
    pu = math.fsum(price_request(shape, band_count) * count for shape, count in sizes)
    by_requests, by_pu = requests / requests_per_minute, pu / pu_per_minute
    return Cost(
        requests=requests,
        pu=pu,
        nbytes_down=pixels * (band_count + 1) * SENT_NBYTES,
        nbytes_stored=pixels * stored_nbytes_per_px,
        minutes=max(by_requests, by_pu),
        binding="requests" if by_requests >= by_pu else "pu",
    )
