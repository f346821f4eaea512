"""What the names of products tell: satellite, orbit, baseline, and which of two products show the same view. Pure.

Refuses to know catalogues and footprints.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_SENTINEL_2 = re.compile(
    r"(?P<satellite>S2[A-D])_MSI(?P<level>L1C|L2A)_(?P<sensed>\d{8}T\d{6})_N(?P<baseline>\d{4})_R(?P<orbit>\d{3})"
    r"_T(?P<tile>\w{5})_(?P<made>\d{8}T\d{6})"
)
_SENTINEL_2_OLD = re.compile(
    r"(?P<satellite>S2[A-D])_OPER_MSI_(?P<level>L1C|L2A)_TL_\w{4}_(?P<made>\d{8}T\d{6})_A(?P<absolute>\d{6})"
    r"_T(?P<tile>\w{5})_N(?P<baseline>\d\d\.\d\d)"
)
_SENTINEL_1 = re.compile(
    r"(?P<satellite>S1[A-D])_(?P<view>\w{2}_GRD\w_\w{4}_(?P<begin>\d{8}T\d{6}))_\d{8}T\d{6}_(?P<absolute>\d{6})"
    r"_(?P<datatake>[0-9A-F]{6})_[0-9A-F]{4}"
)
_LANDSAT = re.compile(
    r"(?P<satellite>L[COTEM]\d\d)_(?P<level>L[12])\w{2}_(?P<path>\d{3})(?P<row>\d{3})_(?P<sensed>\d{8})"
    r"_(?P<made>\d{8})_(?P<collection>\d\d)_(?P<tier>\w\w)"
)
_ORBITS_A_CYCLE_S1 = 175
_FIRST_ORBIT_S1 = {"S1A": 73, "S1B": 27}
"""Relative = (absolute - this) mod 175 + 1. Source: the mission's performance centre, forum.step.esa.int topic 7042."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Product:
    """What one product's name tells; None where it does not."""

    platform: str | None = None
    """As catalogues write it: ``sentinel-2a``, ``landsat-8``."""
    relative_orbit: int | None = None
    """Number of the track; Landsat's path."""
    baseline: str | None = None
    """Version of the processing, such as ``05.10``."""
    view: tuple[str, ...] | None = None
    """Equal for products of the same pixels seen in the same pass, however often they were processed."""
    made: tuple[str, ...] = ()
    """Orders the products of a view: the greater was processed later; () where the name does not tell."""


def read_product(name: str) -> Product:
    """What the product id ``name`` of Sentinel-1, Sentinel-2 or Landsat tells; nothing for any other. Pure."""
    for pattern, read in (
        (_SENTINEL_2, _sentinel_2),
        (_SENTINEL_2_OLD, _sentinel_2_old),
        (_SENTINEL_1, _sentinel_1),
        (_LANDSAT, _landsat),
    ):
        match = pattern.match(name)
        if match:
            return read(match)
    return Product()


def _sentinel_2(match: re.Match[str]) -> Product:
    baseline = f"{match['baseline'][:2]}.{match['baseline'][2:]}"
    return Product(
        platform=_sentinel(match["satellite"]),
        relative_orbit=int(match["orbit"]),
        baseline=baseline,
        view=match.group("satellite", "level", "sensed", "orbit", "tile"),
        made=(baseline, match["made"]),
    )


def _sentinel_2_old(match: re.Match[str]) -> Product:
    return Product(
        platform=_sentinel(match["satellite"]),
        baseline=match["baseline"],
        view=match.group("satellite", "level", "absolute", "tile"),
        made=match.group("baseline", "made"),
    )


def _sentinel_1(match: re.Match[str]) -> Product:
    first = _FIRST_ORBIT_S1.get(match["satellite"])
    return Product(
        platform=_sentinel(match["satellite"]),
        relative_orbit=None if first is None else (int(match["absolute"]) - first) % _ORBITS_A_CYCLE_S1 + 1,
        view=match.group("satellite", "view", "datatake"),
    )


def _landsat(match: re.Match[str]) -> Product:
    return Product(
        platform=f"landsat-{int(match['satellite'][2:])}",
        relative_orbit=int(match["path"]),
        view=match.group("satellite", "level", "path", "row", "sensed", "collection"),
        # a real-time product ("RT") is made again as one of a tier ("T1", "T2")
        made=(match["made"], match["tier"]),
    )


def _sentinel(satellite: str) -> str:
    return f"sentinel-{satellite[1:].lower()}"
