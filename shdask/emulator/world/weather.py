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
    if share < CLEAR_SHARE:
        return Sky(threshold=float("inf"), offset=place)
    cloudiness = (share - CLEAR_SHARE) / (1.0 - CLEAR_SHARE)
    return Sky(threshold=2.2 - 3.4 * cloudiness, offset=(place[0] + 4 * fine, place[1]))


def opacity(sky: Sky, noise: Texture, u: Coordinates, v: Coordinates, f: Floats) -> Floats:
    """How much of the ground the clouds hide, 0 .. THICKEST; ``f`` frays their edges. Pure."""
    field = Footing(u, v, CLOUD_SCALE, sky.offset).take(noise.values) + F(0.07) * f
    return np.asarray(np.clip((field - F(sky.threshold)) * F(SOFTNESS), F(0), F(THICKEST)), dtype=np.float32)


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
            share = float(np.round(opacity(sky, noise, u, v, nothing).mean(dtype=np.float64) * 100, 2))
        covered.append(replace(scene, cloud_cover=share))
    return covered
