"""What a search of the Catalog costs.

Refuses to know buckets.
"""

from __future__ import annotations

import math
from datetime import datetime

EARTH_RADIUS_KM = 6371.0088
AREA_UNIT_KM2 = 1_000_000.0
MINIMUM_AREA = 0.01
MINIMUM_PU, MAXIMUM_PU = 0.01, 1.0
MONTHS_A_YEAR = 12


def price_search_pu(bbox: tuple[float, float, float, float], start: datetime, end: datetime) -> float:
    """Processing units of a search: square megametres of the box (degrees) times started months, 0.01 to 1. Pure.

    Source: documentation page "Processing Unit". Months are counted by the calendar from ``start``, and the box on a
    sphere; neither is documented.
    """
    west, south, east, north = bbox
    width = math.radians(east - west if east >= west else east - west + 360.0)
    height = math.sin(math.radians(north)) - math.sin(math.radians(south))
    area = max(EARTH_RADIUS_KM**2 * width * height / AREA_UNIT_KM2, MINIMUM_AREA)
    return min(max(area * count_months(start, end), MINIMUM_PU), MAXIMUM_PU)


def count_months(start: datetime, end: datetime) -> int:
    """The months begun between two times, at least one: a year's first second to the next year's is twelve. Pure."""
    months = (end.year - start.year) * MONTHS_A_YEAR + end.month - start.month
    begun = (end.day, end.time()) > (start.day, start.time())
    return max(1, months + begun)
