"""How warm the ground and clouds are, by cover, season, height and sun, and the quality bits of Landsat.

Refuses to know scenes, requests and swaths.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from shdask.emulator.world.cover import Cover

COLDEST_DAY = 20.0
LAPSE_K = 0.0065
"""Per metre."""
CLOUD_TOP_K, FREEZING_K = 255.0, 273.15
# how many kelvins a high sun warms level ground over the air in the morning; by experience, not measured
WARMTH_K = {
    Cover.SEA: -3.0,
    Cover.SHALLOWS: -2.0,
    Cover.LAKE: -3.0,
    Cover.RIVER: -4.0,
    Cover.SAND: 16.0,
    Cover.CONIFER: 2.0,
    Cover.BROADLEAF: 3.0,
    Cover.PASTURE: 6.0,
    Cover.WHEAT: 7.0,
    Cover.MAIZE: 7.0,
    Cover.RAPESEED: 6.0,
    Cover.GREENS: 7.0,
    Cover.FALLOW: 11.0,
    Cover.TRACK: 12.0,
    Cover.ALPINE: 8.0,
    Cover.ROCK: 12.0,
    Cover.STREET: 14.0,
    Cover.RED_ROOF: 15.0,
    Cover.GREY_ROOF: 16.0,
    Cover.HALL: 13.0,
    Cover.GARDEN: 7.0,
    Cover.ROAD: 14.0,
}
CLOUDY, CIRRUS, SHADOW, SNOWY, WATERY = (8.0, 9.0), (10.0,), (3.0,), (11.0,), (6.0,)
"""Classes of SCL."""

F = np.float32
Floats = NDArray[np.float32]


def surface_kelvin(
    cover: NDArray[np.uint8], height_m: Floats, light: Floats, *, day: float, latitude: float, sun_up: float
) -> Floats:
    """(y, x) temperature of the ground under a clear sky, on a day of the northern year. Pure.

    ``light`` is sunlight against level ground, ``sun_up`` the sine of the sun's height.
    """
    swing = 3.0 + 0.25 * min(abs(latitude), 60.0)
    air = 300.0 - 0.35 * abs(latitude) - swing * math.cos(2 * math.pi * (day - COLDEST_DAY) / 365.25)
    warmth = np.zeros(len(Cover), dtype=np.float32)
    for kind, kelvins in WARMTH_K.items():
        warmth[kind] = kelvins
    kelvin = warmth.take(cover) * light * F(sun_up)
    kelvin += F(air)
    kelvin -= F(LAPSE_K) * height_m
    snow = cover >= Cover.SNOW
    return np.where(snow, np.minimum(kelvin, F(FREEZING_K)), kelvin).astype(np.float32)


def cover_with_cloud(kelvin: Floats, cloud: Floats) -> Floats:
    """What a sensor sees where clouds hide a share (0 .. 1) of the ground. Pure."""
    return kelvin + cloud * (F(CLOUD_TOP_K) - kelvin)


def quality_bits(classes: Floats, beside_cloud: NDArray[np.bool_]) -> Floats:
    """QA_PIXEL of Landsat's Collection 2 from the classes of SCL, and where clouds are near (y, x). Pure.

    Bits 1 dilated cloud, 2 cirrus, 3 cloud, 4 cloud shadow, 5 snow, 6 clear, 7 water, then two bits of confidence each
    for cloud, shadow, snow and cirrus: 1 low, 2 medium, 3 high.
    """
    cloud, cirrus, shadow = np.isin(classes, CLOUDY), np.isin(classes, CIRRUS), np.isin(classes, SHADOW)
    snow, water = np.isin(classes, SNOWY), np.isin(classes, WATERY)
    dilated = beside_cloud & ~cloud
    bits = np.zeros(classes.shape, dtype=np.int32)
    flags = {1: dilated, 2: cirrus, 3: cloud, 4: shadow, 5: snow, 6: ~(cloud | dilated), 7: water}
    for position, flag in flags.items():
        bits |= flag.astype(np.int32) << position
    for position, sure in {8: cloud, 10: shadow, 12: snow, 14: cirrus}.items():
        bits |= np.where(sure, 3, 1).astype(np.int32) << position
    return bits.astype(np.float32)
