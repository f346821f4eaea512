"""What lies where, whatever the date: height, slope, land cover, parcels, towns, roads and waters.

Refuses to know bands, seasons and clouds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from shdask.emulator.world.cover import Cover
from shdask.emulator.world.parcels import lay_parcels
from shdask.emulator.world.place import Place
from shdask.emulator.world.relief import BELT_FROM_LAND, SEA_LEVEL, WOODS, Noises, Relief, shape_land
from shdask.emulator.world.settlement import paint_settlements
from shdask.emulator.world.texture import Texture, paint

WOODED = np.float32(0.75)
LAKE = np.float32(-2.3)
CONIFERS_M = np.float32(620)
ALPINE_M = np.float32(1700)
ROCK_M = np.float32(2250)
CLIFF = np.float32(0.75)
"""Rise over run."""
BUILDABLE = np.float32(0.16)

F = np.float32
Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Ground:
    """The ground under the pixels of a block; all arrays (y, x)."""

    place: Place
    cover: NDArray[np.uint8]
    """A value of Cover."""
    variant: NDArray[np.uint8]
    """Which of 256 states of its cover: the parcel's in the upper five bits, a patch's in the lower three."""
    height_m: Floats
    slope_east: Floats
    """Rise over run."""
    slope_south: Floats
    grain: Floats
    """Brightness of the surface, about 1."""
    fine: Floats
    """The finest noise, mean 0 and deviation 1."""


class Landscape:
    """The textures of one Earth, and what they make of a place."""

    def __init__(self, noises: Noises) -> None:
        self._noises = noises

    @classmethod
    def make(cls, seed: int) -> Self:
        """The Earth named ``seed``; takes about half a second."""
        coarse, middle = Texture.make(seed, 512.0, 1.5), Texture.make(seed + 1, 64.0, 1.9)
        return cls(
            Noises(
                coarse=coarse,
                middle=middle,
                fine=Texture.make(seed + 2, 64.0, 1.9),
                belt=coarse.shifted(*BELT_FROM_LAND),
                woods=middle.shifted(*WOODS),
            )
        )

    @property
    def coarse(self) -> Texture:
        """Noise of continents, for weather too."""
        return self._noises.coarse

    @property
    def middle(self) -> Texture:
        """Noise of regions, for weather too."""
        return self._noises.middle

    def shape(self, place: Place) -> Relief:
        """The heights of a place alone. Pure."""
        return shape_land(self._noises, place)

    def survey(self, place: Place) -> Ground:
        """What lies at a place. Pure."""
        relief = shape_land(self._noises, place)
        parcels = lay_parcels(place, relief.middle, relief.fine)
        cover, variant = parcels.cover, parcels.variant
        wooded = _paint_woods(cover, relief)
        _paint_heights(cover, relief)
        paint_settlements(place, cover, variant, relief.fine, (relief.steep < BUILDABLE) & ~wooded)
        _paint_waters(cover, relief)
        return Ground(
            place=place,
            cover=cover,
            variant=variant,
            height_m=relief.height_m,
            slope_east=relief.slope_east,
            slope_south=relief.slope_south,
            grain=F(1) + F(0.05) * relief.fine,
            fine=relief.fine,
        )


def _paint_woods(cover: NDArray[np.uint8], relief: Relief) -> NDArray[np.bool_]:
    wooded: NDArray[np.bool_] = relief.wooded + F(0.3) * relief.fine + F(2.2) * relief.steep > WOODED
    paint(cover, Cover.BROADLEAF, wooded)
    paint(cover, Cover.CONIFER, wooded & (relief.height_m + F(120) * relief.woods > CONIFERS_M))
    return wooded


def _paint_heights(cover: NDArray[np.uint8], relief: Relief) -> None:
    crooked = relief.height_m + F(60) * relief.fine
    high = crooked > ALPINE_M
    if high.any():
        paint(cover, Cover.ALPINE, high)
        paint(cover, Cover.ROCK, (crooked > ROCK_M) | (high & (relief.steep > CLIFF)))


def _paint_waters(cover: NDArray[np.uint8], relief: Relief) -> None:
    paint(cover, Cover.RIVER, relief.water)
    paint(cover, Cover.LAKE, relief.wet + F(0.06) * relief.fine < LAKE)
    shore = relief.shore + F(0.01) * relief.fine
    paint(cover, Cover.SAND, shore < SEA_LEVEL + F(0.004))
    paint(cover, Cover.SHALLOWS, shore < SEA_LEVEL)
    paint(cover, Cover.SEA, shore < SEA_LEVEL - F(0.03))
