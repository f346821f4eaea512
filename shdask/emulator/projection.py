"""Coordinate reference systems as pyproj knows them, kept once they are made, because making one takes milliseconds.

Refuses to know what is projected.
"""

from __future__ import annotations

from functools import lru_cache

from pyproj import CRS, Transformer

METRES_PER_DEGREE = 111319.49
"""Of longitude at the equator, WGS84."""


@lru_cache(maxsize=128)
def find_transformer(source: str, target: str) -> Transformer:
    """From one CRS to another, each as pyproj reads it, x or longitude first on both sides."""
    return Transformer.from_crs(source, target, always_xy=True)


@lru_cache(maxsize=128)
def is_geographic(crs: str) -> bool:
    """Whether the CRS's unit is the degree."""
    return bool(CRS.from_user_input(crs).is_geographic)
