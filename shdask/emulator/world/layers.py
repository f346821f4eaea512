"""The layers beside reflectance: scene classes, cloud and snow probability, aerosols, angles of sun and view.

Refuses to know spectra.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from shdask.emulator.world.cover import BANDS, Cover
from shdask.emulator.world.ground import Ground
from shdask.emulator.world.orbit import EarthScene
from shdask.emulator.world.place import latitude_of
from shdask.emulator.world.states import STATES, state_spectra
from shdask.emulator.world.texture import paint
from shdask.emulator.world.view import View, sun_angles

WATERS = (Cover.SEA, Cover.SHALLOWS, Cover.LAKE, Cover.RIVER)
SNOWS = (Cover.SNOW, Cover.SNOWY_WOOD)
SATURATED, DARK, CLOUD_SHADOW, VEGETATION, BARE, WATER, UNCLASSIFIED = 1, 2, 3, 4, 5, 6, 7
CLOUD_MEDIUM, CLOUD_HIGH, THIN_CIRRUS, SNOW = 8, 9, 10, 11
"""Classes of SCL as published; 0 is no data."""
GLARE = 1.7
"""Light on snow that saturates the sensor."""
GLOOM = 0.42
SHADED, MISTY, VEILED, CLOUDED, COVERED = 0.25, 0.08, 0.06, 0.15, 0.6
"""Opacities from which a pixel is cloud shadow, unclassified, cirrus, cloud, and certainly cloud."""
GREEN_FROM = 0.4
"""Vegetation index."""
SNOW_DEPTH_M = 150.0
"""Above the snow line snow is certain from here on."""
FIELD_OF_VIEW = 20.6
"""Degrees, of the Multi-Spectral Instrument."""

F = np.float32
Floats = NDArray[np.float32]


def scene_class(view: View, day: float) -> Floats:
    """SCL (y, x) on a day of the northern year. Pure."""
    classes = _classes_of_states(day).take(view.state)
    water, snow = view.cover <= Cover.RIVER, view.cover >= Cover.SNOW
    paint(classes, DARK, (view.light < F(GLOOM)) & ~water & ~snow)
    paint(classes, SATURATED, (view.light > F(GLARE)) & snow)
    if view.shadow is not None:
        paint(classes, CLOUD_SHADOW, (view.shadow > F(SHADED)) & ~snow)
    if view.cloud is not None:
        thick = view.cloud
        paint(classes, UNCLASSIFIED, view.cloud > F(MISTY))
        if view.cirrus is not None:
            thick = view.cloud - view.cirrus
            paint(classes, THIN_CIRRUS, view.cirrus > F(VEILED))
        paint(classes, CLOUD_MEDIUM, thick > F(CLOUDED))
        paint(classes, CLOUD_HIGH, thick > F(COVERED))
    return classes.astype(np.float32)


def cloud_percent(view: View) -> Floats:
    """CLD (y, x), whole percent. Pure."""
    if view.cloud is None:
        return np.zeros_like(view.light)
    return np.asarray(np.floor(view.cloud * F(100) + F(0.5)))


def snow_percent(view: View) -> Floats:
    """SNW (y, x), whole percent; at least 50 where SCL has snow below clouds, else less. Pure."""
    if view.snow is None:
        return np.zeros_like(view.light)
    sure = np.clip(F(50) + view.snow * F(50 / SNOW_DEPTH_M), F(0), F(100))
    lying = view.cover >= Cover.SNOW
    sure = np.where(lying, sure, np.minimum(sure, F(49)))
    if view.cloud is not None:
        sure *= F(1) - view.cloud
    return np.asarray(np.floor(sure + F(0.5)), dtype=np.float32)


def aerosol_depth(view: View) -> Floats:
    """AOT (y, x), optical depth x 1000, whole. Pure."""
    return np.asarray(np.floor(view.haze * F(1000) + F(0.5)))


def angle(band: str, scene: EarthScene, ground: Ground, view: View) -> Floats:
    """An angle band (y, x) in degrees; azimuths clockwise from north, towards the sun or the satellite. Pure."""
    if band == "sunZenithAngles":
        return sun_angles(scene, ground)[0]
    if band == "sunAzimuthAngles":
        return sun_angles(scene, ground)[1]
    if band == "viewZenithMean":
        return np.abs(view.across) * F(FIELD_OF_VIEW / 2)
    # from pixels west of the track the satellite stands in the east
    heading = _heading(scene)
    return np.where(view.across < F(0), F(heading - 90.0), F(heading + 90.0)).astype(np.float32)


def _heading(scene: EarthScene) -> float:
    # of the descending satellite in the middle of the square
    latitude = math.radians(latitude_of((scene.row + 0.5) * scene.size))
    inclination = math.radians(scene.flight.orbit.inclination)
    return 180.0 - math.degrees(math.asin(max(-1.0, min(1.0, math.cos(inclination) / math.cos(latitude)))))


@lru_cache(maxsize=64)
def _classes_of_states(day: float) -> NDArray[np.uint8]:
    spectra = state_spectra(day)
    red, near_infrared = spectra[BANDS.index("B04")], spectra[BANDS.index("B08")]
    index = (near_infrared - red) / (near_infrared + red)
    classes = np.where(index > F(GREEN_FROM), VEGETATION, BARE).astype(np.uint8)
    by_cover = classes.reshape(len(Cover), STATES)
    by_cover[list(WATERS)] = WATER
    by_cover[list(SNOWS)] = SNOW
    classes.setflags(write=False)
    return classes
