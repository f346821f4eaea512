"""How the 256 states of a land cover differ: early or late, lush or poor, dark soil or bright, patch by patch.

Refuses to know where anything lies, light and air.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from shdask.emulator.world.cover import BANDS, DAYS, SPECTRA, Cover, spectra_on

STATES = 256
"""Of each cover: eight shifts of the season, times four vigours, times eight patches."""
SHIFTS = (-19.0, -12.0, -7.0, -2.0, 2.0, 7.0, 12.0, 19.0)
"""Days by which a parcel is ahead of the others."""
VIGOURS = (0.72, 0.9, 1.04, 1.18)
"""Green share of a parcel, against the usual."""
SOILS = (1.12, 0.84, 1.2, 0.94)
"""Brightness of the soil of the four."""
MIXED = (0.4, 0.0, 0.12, 0.25)
"""Share of the other trees in a wood of the four."""
CROPS = (Cover.WHEAT, Cover.MAIZE, Cover.RAPESEED, Cover.GREENS, Cover.FALLOW)
LAZY = 0.4
"""Share of the shifts that what nobody sows takes part in."""
UNLIKENESS = {
    **dict.fromkeys((Cover.SEA, Cover.SHALLOWS, Cover.LAKE, Cover.RIVER), 0.0),
    **dict.fromkeys((Cover.CONIFER, Cover.ROCK, Cover.ALPINE, Cover.SAND, Cover.SNOW, Cover.SNOWY_WOOD), 0.5),
    **dict.fromkeys((Cover.RED_ROOF, Cover.GREY_ROOF, Cover.HALL), 2.0),
}
"""How much parcels of a cover differ beyond season and vigour, against parcels of crops."""
PARCEL_DEVIATION, PATCH_DEVIATION = 0.08, 0.06
EVEN = 0.6
"""Share of a deviation that all bands have in common."""
GRANULARITY = 4096

Floats = NDArray[np.float32]
Table = NDArray[np.float64]


@lru_cache(maxsize=8)
def state_spectra(day: float) -> Floats:
    """Surface reflectance x 10000 of every state of every Cover on a day of the northern year. Pure.

    (band, cover * STATES + state); a state is shift * 32 + vigour * 8 + patch.
    """
    parcels = np.stack([_grow(day, shift) for shift in SHIFTS])  # (shift, vigour, cover, band)
    parcels = parcels.reshape(len(SHIFTS) * len(VIGOURS), len(Cover), len(BANDS))
    unlike = np.array([UNLIKENESS.get(cover, 1.0) for cover in Cover])[:, None]
    parcels = parcels * (1.0 + unlike * _deviations(1, len(parcels), PARCEL_DEVIATION)[:, None, :])
    calm = np.where(unlike == 0.0, 0.4, 1.0)
    patches = 1.0 + calm * _deviations(2, STATES // len(parcels), PATCH_DEVIATION)[:, None, :]
    states = parcels[:, None] * patches[None]  # (parcel, patch, cover, band)
    table = np.moveaxis(states, (3, 2), (0, 1)).reshape(len(BANDS), -1).astype(np.float32)
    table.setflags(write=False)
    return table


def _grow(day: float, shift: float) -> Table:
    # of each vigour, cover and band
    lazy = spectra_on((day + LAZY * shift) % DAYS)
    sown = spectra_on((day + shift) % DAYS)
    soil = np.array(SPECTRA["soil"], dtype=np.float64)
    grown = np.repeat(lazy[None], len(VIGOURS), axis=0)
    needles, leaves = lazy[Cover.CONIFER], lazy[Cover.BROADLEAF]
    for number, (vigour, brightness, mixed) in enumerate(zip(VIGOURS, SOILS, MIXED, strict=True)):
        for cover in CROPS:
            grown[number, cover] = brightness * soil + vigour * (sown[cover] - soil)
        grown[number, Cover.PASTURE] = soil + (0.35 + 0.65 * vigour) * (sown[Cover.PASTURE] - soil)
        grown[number, Cover.CONIFER] = needles + mixed * (leaves - needles)
        grown[number, Cover.BROADLEAF] = leaves + mixed * (needles - leaves)
    return np.asarray(np.maximum(grown, 1.0))


def _deviations(seed: int, count: int, deviation: float) -> Table:
    # (count, band), mean 0; some of it common to all bands
    random = np.random.default_rng(seed)
    common, own = random.standard_normal((count, 1)), random.standard_normal((count, len(BANDS)))
    mixed = np.sqrt(EVEN) * common + np.sqrt(1.0 - EVEN) * own
    return np.asarray(np.round(deviation * np.clip(mixed, -2.5, 2.5) * GRANULARITY) / GRANULARITY)
