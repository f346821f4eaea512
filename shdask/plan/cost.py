"""What requests will cost: processing units by the service's published formula, bytes, and minutes at a rate.

Refuses to know which pixels are asked for, and why.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

# Documentation of the service, page "Processing unit": 512 x 512 px of three input bands at up to 16 bit are
# one unit; an area counts for at least 0.01 of that; a Process request costs at least 0.005 PU.
PX_PER_PU = 512 * 512
BANDS_PER_PU = 3
MIN_AREA_FACTOR = 0.01
MIN_REQUEST_PU = 0.005
FLOAT_FACTOR = 2.0


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


def price_request(shape: tuple[int, int], bands: float, *, factor: float = 1.0) -> float:
    """Processing units of one request. Pure.

    ``shape`` is (rows, columns). ``bands`` counts input bands without the data mask, each times the samples of a pixel
    and what its collection's processing costs more; ``factor`` multiplies the whole: `FLOAT_FACTOR` for a TIFF of 32
    bit floats, the number of collections where several are fused. How the bands of several collections are counted is
    not documented; here they are added up.
    """
    area = max(shape[0] * shape[1] / PX_PER_PU, MIN_AREA_FACTOR)
    return max(area * bands * factor / BANDS_PER_PU, MIN_REQUEST_PU)


def estimate_cost(
    sizes: Iterable[tuple[tuple[int, int], int]],
    *,
    price: Callable[[tuple[int, int]], float],
    requests: int,
    sent_nbytes_per_px: int,
    stored_nbytes_per_px: int,
    requests_per_minute: float,
    pu_per_minute: float,
) -> Cost:
    """The cost of tiles given as (shape, how many), bought with so many requests. Pure.

    ``price`` gives the processing units of a tile by its shape.
    """
    sizes = [(shape, count) for shape, count in sizes if count]
    pixels = sum(shape[0] * shape[1] * count for shape, count in sizes)
    pu = math.fsum(price(shape) * count for shape, count in sizes)
    by_requests, by_pu = requests / requests_per_minute, pu / pu_per_minute
    return Cost(
        requests=requests,
        pu=pu,
        nbytes_down=pixels * sent_nbytes_per_px,
        nbytes_stored=pixels * stored_nbytes_per_px,
        minutes=max(by_requests, by_pu),
        binding="requests" if by_requests >= by_pu else "pu",
    )


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
    )
