"""Seeded noise that repeats round the globe, and hashes of whole numbers.

Refuses to know what the noise is used for.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

SIZE = 1024
SHORTEST_PX = 4.0
"""Wavelengths shorter than four texture pixels would show the facets of bilinear sampling."""
QUANTUM = 4096

Floats = NDArray[np.float32]
Coordinates = NDArray[np.float64]
Hashes = NDArray[np.uint32]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Texture:
    """A square of noise, mean 0 and deviation 1, that continues at its opposite edges."""

    values: Floats
    """(SIZE * SIZE,)"""
    slope_x: Floats
    """Change per texture pixel eastwards."""
    slope_y: Floats
    """Change per texture pixel along increasing v."""

    @classmethod
    def make(cls, seed: int, longest_px: float, roughness: float) -> Self:
        """Noise with wavelengths from SHORTEST_PX to ``longest_px`` texture pixels. Pure.

        ``roughness`` is the exponent of amplitude over wavelength: 2 is smooth, 1 is rough.
        """
        white = np.fft.rfft2(np.random.default_rng(seed).standard_normal((SIZE, SIZE)))
        wave = np.hypot(np.fft.fftfreq(SIZE)[:, None], np.fft.rfftfreq(SIZE)[None, :])
        band = (wave >= 1.0 / longest_px) & (wave <= 1.0 / SHORTEST_PX)
        noise = np.fft.irfft2(white * np.where(band, np.where(band, wave, 1.0) ** -roughness, 0.0))
        # rounded, so that the last bits of another machine's FFT do not matter
        noise = np.round(noise / noise.std() * QUANTUM) / QUANTUM
        return cls(
            values=noise.astype(np.float32).reshape(-1),
            slope_x=((np.roll(noise, -1, 1) - np.roll(noise, 1, 1)) / 2).astype(np.float32).reshape(-1),
            slope_y=((np.roll(noise, -1, 0) - np.roll(noise, 1, 0)) / 2).astype(np.float32).reshape(-1),
        )

    def shifted(self, dx: int, dy: int) -> Floats:
        """The values as seen from a point further by whole texture pixels: other noise for the same footing. Pure."""
        return np.roll(self.values.reshape(SIZE, SIZE), (-dy, -dx), (0, 1)).reshape(-1)


class Footing:
    """Where positions fall in a texture: the four neighbours and their weights, to be used for several lookups."""

    def __init__(self, u: Coordinates, v: Coordinates, scale: float, offset: tuple[float, float] = (0.0, 0.0)) -> None:
        """Positions in texture pixels are ``u * scale + offset``; ``scale`` is a power of two for a seamless globe."""
        left, self._fx = _split(u, scale, offset[0])
        top, self._fy = _split(v, scale, offset[1])
        top *= SIZE
        right, bottom = (left + 1) & (SIZE - 1), (top + SIZE) & (SIZE * SIZE - 1)
        self._corners = (top + left, top + right, bottom + left, bottom + right)

    def take(self, field: Floats) -> Floats:
        """``field`` at the positions, bilinear."""
        a, b, c, d = (field.take(corner) for corner in self._corners)
        upper = _blend(a, b, self._fx)
        return _blend(upper, _blend(c, d, self._fx), self._fy)


def _split(position: Coordinates, scale: float, offset: float) -> tuple[NDArray[np.intp], Floats]:
    # the texture pixel, and how far in it
    x = position * scale
    if offset:
        x += offset
    x0 = np.floor(x)
    x -= x0
    whole = x0.astype(np.intp)
    whole &= SIZE - 1
    return whole, x.astype(np.float32)


def _blend(near: Floats, far: Floats, t: Floats) -> Floats:
    # in place of ``far``
    far -= near
    far *= t
    far += near
    return far


def hash_cells(i: NDArray[np.int64], j: NDArray[np.int64], salt: int) -> Hashes:
    """32 well mixed bits for each pair of whole numbers. Pure."""
    h = i.astype(np.uint32) * np.uint32(0x9E3779B1) ^ (j.astype(np.uint32) * np.uint32(0x85EBCA77))
    h ^= np.uint32(salt * 0x27D4EB2F & 0xFFFFFFFF)
    mix(h)
    return h


def mix(h: Hashes) -> None:
    """Let every bit of ``h`` depend on all others, in place."""
    h ^= h >> np.uint32(15)
    h *= np.uint32(0x2C1B3C6D)
    h ^= h >> np.uint32(12)
    h *= np.uint32(0x297A2D39)
    h ^= h >> np.uint32(15)


def unit(h: Hashes, shift: int = 0) -> Floats:
    """A number in [0, 1) from 8 bits of a hash, from ``shift`` upwards. Pure."""
    return ((h >> np.uint32(shift)) & np.uint32(0xFF)).astype(np.float32) * np.float32(1 / 256)


def paint(target: NDArray[np.uint8], value: NDArray[np.uint8] | int, where: NDArray[np.bool_]) -> None:
    """Write ``value`` (of ``target``'s shape or one number) over ``target`` where ``where`` holds."""
    # many times faster than a masked copy, which asks at each pixel
    chosen = target ^ (np.uint8(value) if isinstance(value, int) else value)
    chosen &= np.negative(where.view(np.uint8))
    target ^= chosen


def ramp(x: Floats, low: float, high: float) -> Floats:
    """0 below ``low``, 1 above ``high``, smooth between. Pure."""
    t = np.clip((x - np.float32(low)) * np.float32(1 / (high - low)), np.float32(0), np.float32(1))
    return np.asarray(t * t * (np.float32(3) - np.float32(2) * t), dtype=np.float32)
