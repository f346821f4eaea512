"""Clouds over the Earth: where they stand at each pass, and how much of a scene they hide.

Refuses to know the ground.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from shdask.emulator.world.orbit import EarthScene
from shdask.emulator.world.texture import SIZE, Footing, Texture, hash_cells, unit

CLOUD_SCALE = 2.0**-5
CLEAR_SHARE = 0.3
"""Passes without any cloud."""
THICKEST = 0.97
SOFTNESS = 1.2
CIRRUS_SHARE = 0.45
"""Of the passes that are not clear: those with thin high clouds."""
CIRRUS_THICKEST = 0.3
HAZE_LEAST, HAZE_RANGE = 0.05, 0.35
SAMPLES = 12

F = np.float32
Floats = NDArray[np.float32]
Coordinates = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sky:
    """The weather of one pass."""

    threshold: float
    """Noise above it is cloud; infinite: a clear day."""
    offset: tuple[float, float]
    """Where in the noise this day's clouds stand, in texture pixels."""
    cirrus_threshold: float
    """Noise above it is thin cirrus; infinite: there is none."""
    haze: float
    """Optical depth of the aerosols, on average over the pass."""

    @property
    def clear(self) -> bool:
        """No cloud anywhere. Pure."""
        return self.threshold == float("inf")


def sky_of(scene: EarthScene, seed: int) -> Sky:
    """The weather of a scene's pass. Pure."""
    number = np.array([scene.pass_number], dtype=np.int64)
    h = hash_cells(number, number + seed, 21)
    share, place = float(unit(h)[0]), (float(unit(h, 8)[0]) * SIZE, float(unit(h, 16)[0]) * SIZE)
    fine = float(unit(h, 24)[0])
    other = hash_cells(number, number + seed, 22)
    murk, thin = float(unit(other)[0]), float(unit(other, 8)[0])
    clear = share < CLEAR_SHARE
    cloudiness = (share - CLEAR_SHARE) / (1.0 - CLEAR_SHARE)
    return Sky(
        threshold=float("inf") if clear else 2.2 - 3.4 * cloudiness,
        offset=place if clear else (place[0] + 4 * fine, place[1]),
        cirrus_threshold=float("inf") if clear or thin > CIRRUS_SHARE else 0.4 + 1.6 * thin,
        haze=HAZE_LEAST + HAZE_RANGE * murk * murk,
    )


def cloud_field(sky: Sky, noise: Texture, u: Coordinates, v: Coordinates) -> Floats:
    """The noise whose heights are clouds; smooth over half a pixel of its texture, 16 units. Pure."""
    return Footing(u, v, CLOUD_SCALE, sky.offset).take(noise.values)


def opacity(sky: Sky, field: Floats, f: Floats) -> Floats:
    """How much of the ground the clouds hide, 0 .. THICKEST; ``f`` frays the edges of ``cloud_field``. Pure."""
    hidden = field + F(0.07) * f
    hidden -= F(sky.threshold)
    hidden *= F(SOFTNESS)
    return np.asarray(np.clip(hidden, F(0), F(THICKEST), out=hidden))


def cirrus_opacity(sky: Sky, noise: Texture, u: Coordinates, v: Coordinates) -> Floats:
    """How much of the ground thin high clouds hide, 0 .. CIRRUS_THICKEST; smooth over 16 units. Pure."""
    offset = (SIZE - sky.offset[1], sky.offset[0])
    field = Footing(u, v, CLOUD_SCALE / 2, offset).take(noise.values)
    return np.asarray(np.clip((field - F(sky.cirrus_threshold)) * F(0.25), F(0), F(CIRRUS_THICKEST)))


def haze_depth(sky: Sky, noise: Texture, u: Coordinates, v: Coordinates) -> Floats:
    """Optical depth of the aerosols; smooth over 16 units. Pure."""
    field = Footing(u, v, CLOUD_SCALE / 4, sky.offset).take(noise.values)
    return np.asarray(F(sky.haze) * (F(1) + F(0.15) * np.clip(field, F(-3), F(3))))


def with_cloud_cover(scenes: Sequence[EarthScene], noise: Texture, seed: int) -> list[EarthScene]:
    """The scenes with their cloud cover in percent, estimated on a grid of points. Pure."""
    steps = (np.arange(SAMPLES) + 0.5) / SAMPLES
    eastwards, southwards = np.meshgrid(steps, steps)
    nothing = np.zeros(eastwards.shape, dtype=np.float32)
    covered = []
    for scene in scenes:
        sky = sky_of(scene, seed)
        share = 0.0
        if not sky.clear:
            u, v = (scene.column + eastwards) * scene.size, (scene.row + southwards) * scene.size
            share = float(
                np.round(opacity(sky, cloud_field(sky, noise, u, v), nothing).mean(dtype=np.float64) * 100, 2)
            )
        covered.append(replace(scene, cloud_cover=share))
    return covered
