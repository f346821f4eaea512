"""The price of a Process request in processing units.

Refuses to know requests: what counts is its argument. The formula is written here a second time, on purpose.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from shdask.emulator.process.choices import Choices

AREA_UNIT_PX = 512 * 512
MINIMUM_AREA = 0.01
BANDS_UNIT = 3
FLOAT32_FACTOR = 2.0
OCTET_STREAM_FACTOR = 1.4
MINIMUM_PU = 0.005
ASYNC_MINIMUM_PU = 10.0
ASYNC_DISCOUNT = 2 / 3
DISCOUNTED_PX = 10_000
"""Pixels from which on an asynchronous request is discounted."""
ORTHORECTIFIED, TERRAIN_CORRECTED, SPECKLE_FILTERED = 2.0, 2.5, 2.0
LOCAL, ELSEWHERE = 1, 2
"""What a collection counts in data fusion: served here, or by another deployment."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PricedInput:
    """What one input of setup() costs by."""

    bands: int
    """``dataMask`` counts only where it stands alone."""
    samples: int = 1
    """Of a pixel."""
    factor: float = 1.0
    """Of its collection's processing."""
    weight: int = LOCAL
    """In data fusion."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Priced:
    """What the price of a Process request depends on."""

    width_px: int
    height_px: int
    inputs: tuple[PricedInput, ...]
    format_factor: float = 1.0
    """FLOAT32_FACTOR for a TIFF of 32-bit floats, OCTET_STREAM_FACTOR for application/octet-stream."""


def price_pu(request: Priced) -> float:
    """Processing units of one Process request: area x bands x samples x format x fusion, at least 0.005. Pure.

    Source: documentation page "Processing Unit", with the published examples. How the bands, samples and processing of
    several inputs go together is not documented; here each input's product is added up, and the sum multiplied by the
    weights of all.
    """
    return max(_sum_up(request), MINIMUM_PU)


def price_async_pu(request: Priced, *, discounted: bool, floor: Literal["before", "after"]) -> float:
    """Processing units of one Async Process request: as Process, at least 10. Pure.

    ``discounted``: two thirds of it from 10,000 pixels on, as the page "Processing Unit" has it; those of the API say
    that it costs what Process costs. Whether the least price applies before the discount or after it is not documented.
    """
    factor = ASYNC_DISCOUNT if discounted and request.width_px * request.height_px >= DISCOUNTED_PX else 1.0
    if floor == "before":
        return max(_sum_up(request), ASYNC_MINIMUM_PU) * factor
    return max(_sum_up(request) * factor, ASYNC_MINIMUM_PU)


def _sum_up(request: Priced) -> float:
    area = max(request.width_px * request.height_px / AREA_UNIT_PX, MINIMUM_AREA)
    bands = sum(item.bands * item.samples * item.factor for item in request.inputs) / BANDS_UNIT
    fusion = sum(item.weight for item in request.inputs) if len(request.inputs) > 1 else 1
    return area * bands * fusion * request.format_factor


def processing_factor(choices: Choices) -> float:
    """What Sentinel-1 costs more: x2 orthorectified, in its place x2.5 terrain corrected, and x2 filtered. Pure."""
    factor = ORTHORECTIFIED if choices.orthorectify else 1.0
    if choices.terrain_corrected:
        factor = TERRAIN_CORRECTED
    return factor * (SPECKLE_FILTERED if choices.lee_window_px else 1.0)
