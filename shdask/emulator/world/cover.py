"""Kinds of land cover, their spectra and their seasons.

Refuses to know where anything lies.
"""

from __future__ import annotations

from enum import IntEnum
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

BANDS = ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B10", "B11", "B12")
DAYS = 365.25


class Cover(IntEnum):
    """What covers a pixel; the values of band ``cover`` of the collection ``emulator-truth``."""

    SEA = 0
    SHALLOWS = 1
    """Sea with a light ground."""
    LAKE = 2
    RIVER = 3
    """Brooks too."""
    SAND = 4
    """Beaches."""
    CONIFER = 5
    BROADLEAF = 6
    """Woods that lose their leaves; both kinds stand mixed in parts."""
    PASTURE = 7
    WHEAT = 8
    """And other winter cereals."""
    MAIZE = 9
    RAPESEED = 10
    GREENS = 11
    """Vegetables and beets."""
    FALLOW = 12
    TRACK = 13
    """Between fields."""
    ALPINE = 14
    """Meadows above the woods."""
    ROCK = 15
    STREET = 16
    """In settlements."""
    RED_ROOF = 17
    GREY_ROOF = 18
    HALL = 19
    """Of metal."""
    GARDEN = 20
    ROAD = 21
    """Between settlements."""
    SNOW = 22
    """Of a day, as the next; never the truth of a place."""
    SNOWY_WOOD = 23


# surface reflectance x 10000 in the order of BANDS; shaped after published library spectra, not measured
SPECTRA = {
    "sea": (350, 300, 230, 130, 110, 90, 85, 80, 75, 60, 10, 40, 30),
    "shallows": (560, 640, 690, 420, 260, 180, 165, 150, 140, 100, 10, 60, 40),
    "lake": (340, 370, 440, 300, 240, 175, 170, 160, 150, 110, 10, 60, 40),
    "river": (400, 470, 560, 430, 360, 270, 260, 250, 230, 150, 10, 110, 70),
    "sand": (1500, 1800, 2300, 2700, 2900, 3000, 3100, 3200, 3300, 3300, 15, 4000, 3700),
    "conifer": (190, 210, 360, 240, 560, 1600, 1950, 2100, 2250, 2200, 12, 980, 450),
    "leaves": (230, 260, 540, 290, 880, 2700, 3400, 3600, 3800, 3700, 12, 1700, 760),
    "twigs": (320, 430, 600, 680, 930, 1250, 1400, 1500, 1600, 1550, 12, 1950, 1250),
    "autumn": (300, 380, 750, 950, 1450, 2100, 2350, 2500, 2650, 2600, 12, 2000, 1050),
    "grass": (290, 380, 800, 520, 1200, 2750, 3250, 3450, 3650, 3550, 12, 2100, 1080),
    "crop": (270, 310, 680, 340, 1020, 3300, 4200, 4500, 4700, 4600, 12, 1900, 860),
    "straw": (560, 820, 1220, 1560, 1850, 2150, 2350, 2550, 2700, 2650, 13, 3250, 2350),
    "soil": (460, 640, 900, 1180, 1400, 1560, 1720, 1860, 2000, 2000, 13, 2700, 2150),
    "bloom": (330, 520, 1500, 1420, 1780, 3000, 3600, 3900, 4000, 3900, 12, 2100, 1100),
    "alpine": (420, 560, 900, 850, 1350, 2000, 2250, 2400, 2550, 2500, 13, 2400, 1500),
    "rock": (1000, 1150, 1350, 1450, 1530, 1580, 1640, 1700, 1750, 1700, 14, 2000, 1800),
    "asphalt": (800, 900, 1010, 1060, 1110, 1150, 1200, 1250, 1300, 1250, 13, 1500, 1400),
    "tiles": (720, 880, 1120, 1750, 1920, 2000, 2100, 2200, 2300, 2200, 13, 2600, 2300),
    "slate": (1150, 1300, 1420, 1480, 1520, 1560, 1600, 1650, 1700, 1650, 13, 1850, 1700),
    "metal": (2300, 2600, 2800, 2850, 2900, 2950, 3000, 3050, 3100, 3000, 15, 3000, 2800),
    "snow": (8500, 8800, 8700, 8500, 8300, 8000, 7800, 7600, 7300, 6000, 60, 900, 700),
    "cloud": (6200, 6300, 6200, 6300, 6400, 6500, 6550, 6600, 6650, 5200, 400, 4800, 3900),
}
HAZE = (1150, 720, 420, 240, 180, 120, 100, 80, 60, 40, 0, 10, 5)
"""Added to reflectance at the top of the atmosphere."""

# (day, share) corners of the green share of each crop's season on the northern half
SEASONS = {
    Cover.WHEAT: ((0, 0.35), (80, 0.5), (135, 1.0), (170, 0.75), (190, 0.0), (280, 0.0), (310, 0.2), (366, 0.35)),
    Cover.MAIZE: ((0, 0.0), (130, 0.0), (185, 1.0), (240, 0.9), (270, 0.15), (290, 0.0), (366, 0.0)),
    Cover.RAPESEED: ((0, 0.5), (90, 0.8), (115, 1.0), (160, 0.7), (190, 0.0), (250, 0.1), (290, 0.5), (366, 0.5)),
    Cover.GREENS: ((0, 0.1), (110, 0.1), (150, 0.9), (260, 0.9), (285, 0.1), (366, 0.1)),
    Cover.FALLOW: ((0, 0.1), (120, 0.3), (180, 0.35), (280, 0.2), (366, 0.1)),
    Cover.PASTURE: ((0, 0.35), (80, 0.45), (130, 1.0), (220, 0.75), (260, 0.85), (320, 0.4), (366, 0.35)),
    Cover.BROADLEAF: ((0, 0.0), (95, 0.0), (130, 1.0), (260, 0.9), (305, 0.0), (366, 0.0)),
}
FIXED = {
    Cover.SEA: "sea",
    Cover.SHALLOWS: "shallows",
    Cover.LAKE: "lake",
    Cover.RIVER: "river",
    Cover.SAND: "sand",
    Cover.CONIFER: "conifer",
    Cover.TRACK: "straw",
    Cover.ALPINE: "alpine",
    Cover.ROCK: "rock",
    Cover.STREET: "asphalt",
    Cover.RED_ROOF: "tiles",
    Cover.GREY_ROOF: "slate",
    Cover.HALL: "metal",
    Cover.ROAD: "asphalt",
    Cover.SNOW: "snow",
}

Table = NDArray[np.float64]


@lru_cache(maxsize=64)
def spectra_on(day: float) -> Table:
    """Surface reflectance x 10000 of every Cover on a day of the northern year: (cover, band). Pure."""
    table = np.zeros((len(Cover), len(BANDS)))
    for cover, name in FIXED.items():
        table[cover] = SPECTRA[name]
    green = {cover: _share(corners, day) for cover, corners in SEASONS.items()}
    ripe = 160 < day < 215  # noqa: PLR2004  # days of the year
    for cover in (Cover.WHEAT, Cover.MAIZE, Cover.RAPESEED, Cover.GREENS, Cover.FALLOW):
        bare = "straw" if ripe and cover in (Cover.WHEAT, Cover.RAPESEED) else "soil"
        table[cover] = _mix("crop", bare, green[cover])
    blooming = max(0.0, 1.0 - abs(day - 125.0) / 16.0)
    table[Cover.RAPESEED] += blooming * (np.array(SPECTRA["bloom"]) - table[Cover.RAPESEED])
    table[Cover.PASTURE] = _mix("grass", "alpine", green[Cover.PASTURE])
    table[Cover.SNOWY_WOOD] = _mix("conifer", "snow", 0.7)
    table[Cover.GARDEN] = 0.7 * table[Cover.PASTURE] + 0.3 * np.array(SPECTRA["slate"])
    bare_tree = "autumn" if 265 < day < 310 else "twigs"  # noqa: PLR2004  # days of the year
    table[Cover.BROADLEAF] = _mix("leaves", bare_tree, green[Cover.BROADLEAF])
    table.setflags(write=False)
    return table


def cloud_spectrum() -> Table:
    """Reflectance x 10000 of a thick cloud: (band,). Pure."""
    return np.array(SPECTRA["cloud"], dtype=np.float64)


def haze_spectrum() -> Table:
    """What clear air adds between surface and satellite: (band,). Pure."""
    return np.array(HAZE, dtype=np.float64)


def snow_line_m(day: float) -> float:
    """Height above which snow lies, on a day of the northern year. Pure."""
    corners = ((0, 700.0), (45, 800.0), (100, 1500.0), (150, 2300.0), (210, 3200.0), (270, 2700.0), (320, 1300.0))
    return _share((*corners, (366, 700.0)), day)


def _share(corners: tuple[tuple[int, float], ...], day: float) -> float:
    return float(np.interp(day, [corner[0] for corner in corners], [corner[1] for corner in corners]))


def _mix(green: str, bare: str, share: float) -> Table:
    return share * np.array(SPECTRA[green]) + (1.0 - share) * np.array(SPECTRA[bare])
