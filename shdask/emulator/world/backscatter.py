"""What C-band radar sees of the ground: how bright covers are, what slopes make of it, and speckle.

Refuses to know scenes, requests and swaths.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from shdask.emulator.world.cover import SEASONS, Cover
from shdask.emulator.world.texture import hash_cells

NEAR_DEGREES, FAR_DEGREES = 29.1, 46.0
"""Incidence at the edges of the IW swath."""
ANGLES = 2048
STEEPEST = 0.1
"""Of the sensor's line of sight against a slope; what is steeper lies over its neighbours."""
AREA_MAX = 8.0
SHADOW_AREA = 0.05
"""Documentation page "Sentinel-1 GRD", band shadowMask."""
LOOKS = 4.4
"""Equivalent number of looks of IW GRDH at 10 m."""
LOOKS_MAX = 2000.0
SPECKLE_BITS = 12
SPECKLE_ONE = 4096
"""Speckle 1.0 as a whole number: sums of whole numbers do not depend on where they begin."""

F = np.float32
Floats = NDArray[np.float32]
Table = NDArray[np.float64]

# gamma nought in dB of VV and VH on level ground, without and with its green; shaped after published means
DECIBELS = {
    Cover.SEA: ((-18.0, -26.5), None),
    Cover.SHALLOWS: ((-17.0, -26.0), None),
    Cover.LAKE: ((-21.0, -28.0), None),
    Cover.RIVER: ((-20.0, -27.0), None),
    Cover.SAND: ((-14.0, -23.0), None),
    Cover.CONIFER: ((-8.0, -13.5), None),
    Cover.BROADLEAF: ((-8.8, -14.8), (-7.6, -13.0)),
    Cover.PASTURE: ((-11.8, -18.5), (-10.4, -16.8)),
    Cover.WHEAT: ((-10.5, -19.5), (-13.8, -20.2)),
    Cover.MAIZE: ((-10.8, -19.8), (-8.4, -14.4)),
    Cover.RAPESEED: ((-10.8, -19.2), (-8.2, -13.4)),
    Cover.GREENS: ((-10.6, -18.6), (-9.2, -15.8)),
    Cover.FALLOW: ((-11.4, -19.2), (-11.0, -17.8)),
    Cover.TRACK: ((-13.0, -21.0), None),
    Cover.ALPINE: ((-11.0, -17.5), None),
    Cover.ROCK: ((-9.0, -16.0), None),
    Cover.STREET: ((-9.0, -18.0), None),
    Cover.RED_ROOF: ((-2.0, -11.0), None),
    Cover.GREY_ROOF: ((-1.0, -10.0), None),
    Cover.HALL: ((2.0, -9.0), None),
    Cover.GARDEN: ((-6.5, -13.5), None),
    Cover.ROAD: ((-15.0, -23.0), None),
    Cover.SNOW: ((-13.0, -20.0), None),
    Cover.SNOWY_WOOD: ((-9.0, -14.2), None),
}
SMOOTH_HH_DB = -2.0
"""How much darker water is in HH than in VV; land is alike."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Sight:
    """How the sensor sees the cells of a block; all arrays (row, column)."""

    tangent: Floats
    """Of the incidence angle on level ground."""
    area: Floats
    """Ground in sight over its area across the line of sight: beta nought over the terrain's gamma nought."""
    incidence: Floats
    """Cosine of the local angle."""


def tangent_of(position: Floats) -> Floats:
    """Tangent of the incidence angle at a position from the near edge (-1) to the far edge (1). Pure."""
    # a table, for a processor's own tangent may differ in the last bit from one pixel of a row to the next
    index = np.clip((position + F(1)) * F(ANGLES / 2), F(0), F(ANGLES - 1)).astype(np.int64)
    return np.asarray(_tangents().take(index))


def see(tangent: Floats, slope_east: Floats, slope_south: Floats, look: tuple[float, float]) -> Sight:
    """What slopes (rise over run) make of the view; ``look`` is the unit vector (east, south) of the sight. Pure."""
    east, south = F(look[0]), F(look[1])
    facing = slope_east * east
    facing += slope_south * south
    seen = facing * tangent
    seen += F(1)
    area = np.clip(seen / np.maximum(tangent - facing, F(STEEPEST)), F(0), F(AREA_MAX)).astype(np.float32)
    upright = F(1) + slope_east * slope_east + slope_south * slope_south
    upright *= F(1) + tangent * tangent
    return Sight(tangent=tangent, area=area, incidence=np.asarray(seen / np.sqrt(upright), dtype=np.float32))


@lru_cache(maxsize=64)
def brightness_on(day: float, polarization: str, wind_db: float, wet_db: float) -> Floats:
    """Gamma nought (linear) of every Cover on level ground, on a day of the northern year. Pure.

    ``wind_db`` brightens water, ``wet_db`` bare soil and crops.
    """
    cross = polarization in {"VH", "HV"}
    table = np.zeros(len(Cover))
    for cover, (bare, grown) in DECIBELS.items():
        level = bare[cross]
        if grown is not None:
            corners = SEASONS[cover]
            green = np.interp(day, [corner[0] for corner in corners], [corner[1] for corner in corners])
            level += float(green) * (grown[cross] - level) + wet_db
        if cover <= Cover.RIVER:
            level += wind_db + (SMOOTH_HH_DB if polarization == "HH" else 0.0)
        table[cover] = level
    return np.asarray(np.round(10.0 ** (table / 10.0), 7), dtype=np.float32)


def speckle(
    rows: range, columns: range, *, around: int, salt: int, cross: bool, looks: float, window_px: tuple[int, int]
) -> Floats:
    """(row, column) factors about 1 for cells, the same for a cell whatever is asked with it. Pure.

    ``around`` cells go round the globe. A mean over ``window_px`` (x, y) cells stands for a speckle filter; (1, 1) is
    none. Both polarizations of a scene have speckle of their own.
    """
    wide, high = window_px
    i = np.arange(columns.start - wide // 2, columns.stop + wide - 1 - wide // 2)[None, :] % around
    j = np.arange(rows.start - high // 2, rows.stop + high - 1 - high // 2)[:, None]
    h = hash_cells(i, j, salt) >> np.uint32(SPECKLE_BITS * cross)
    whole = _speckle_table(min(looks, LOOKS_MAX)).take((h & np.uint32(2**SPECKLE_BITS - 1)).astype(np.int64))
    if window_px == (1, 1):
        return whole.astype(np.float32) * F(1 / SPECKLE_ONE)
    sums = np.cumsum(np.pad(whole, ((1, 0), (0, 0))), 0, dtype=np.int64)
    sums = np.cumsum(np.pad(sums[high:] - sums[:-high], ((0, 0), (1, 0))), 1)
    total = sums[:, wide:] - sums[:, :-wide]
    return total.astype(np.float32) * F(1 / (SPECKLE_ONE * wide * high))


@lru_cache(maxsize=1)
def _tangents() -> Floats:
    degrees = NEAR_DEGREES + (np.arange(ANGLES) + 0.5) / ANGLES * (FAR_DEGREES - NEAR_DEGREES)
    return np.asarray(np.round(np.tan(np.radians(degrees)), 7), dtype=np.float32)


@lru_cache(maxsize=16)
def _speckle_table(looks: float) -> NDArray[np.int32]:
    # quantiles of the gamma distribution of intensity, after Wilson and Hilferty
    normal = NormalDist()
    z = np.array([normal.inv_cdf((n + 0.5) / 2**SPECKLE_BITS) for n in range(2**SPECKLE_BITS)])
    intensity = np.maximum(1 - 1 / (9 * looks) + z / (3 * np.sqrt(looks)), 0.0) ** 3
    return np.asarray(np.round(intensity / intensity.mean() * SPECKLE_ONE), dtype=np.int32)
