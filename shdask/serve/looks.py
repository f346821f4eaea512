"""Which bands a picture is made of, and how their numbers become colours.

Pure. Refuses to know cubes and files.
"""

from __future__ import annotations

import colorsys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from shdask.errors import PlanError
from shdask.plan.composite_spec import ORIGIN_DAY

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.floating[Any]]
    Mask = NDArray[np.bool_]
    Legend = Callable[[Sequence[int]], list[tuple[str, str]]]

GAMMA = 0.7
_JOINT, _EACH = (0.5, 99.5), (2.0, 98.0)
"""Percentiles between which all bands together are stretched, or each by itself."""
_LEAST_POWER = 1e-5
"""Below the noise of any radar: -50 dB."""
_SUN = np.array([-1.0, -1.0, np.sqrt(2.0)]) / 2
"""(x east, y south, z up) towards a sun in the north-west, 45 degrees high."""

_COMMON: Mapping[str, Mapping[str, Sequence[str]]] = MappingProxyType(
    {
        "sentinel-2": {"red": ("B04",), "green": ("B03",), "blue": ("B02",), "nir": ("B08", "B8A")},
        "landsat-ot": {"red": ("B04",), "green": ("B03",), "blue": ("B02",), "nir": ("B05",)},
    }
)
"""Beginning of a collection's name -> the bands of a colour, the better one first."""
_ANY: Mapping[str, Sequence[str]] = MappingProxyType(
    {"red": ("red", "B04"), "green": ("green", "B03"), "blue": ("blue", "B02"), "nir": ("nir", "B08")}
)
POLARIZATIONS = ("VV", "HH", "VH", "HV")

SCL: Mapping[int, tuple[str, str]] = MappingProxyType(
    {
        0: ("no data", "#000000"),
        1: ("saturated", "#ff0000"),
        2: ("dark, shadow of relief", "#2f2f2f"),
        3: ("cloud shadow", "#643200"),
        4: ("vegetation", "#00a000"),
        5: ("not vegetated", "#ffe65a"),
        6: ("water", "#0000ff"),
        7: ("unclassified", "#808080"),
        8: ("cloud, likely", "#c0c0c0"),
        9: ("cloud", "#ffffff"),
        10: ("thin cirrus", "#64c8ff"),
        11: ("snow or ice", "#ff96ff"),
    }
)
"""Class -> its name and colour, those of the service's page of Sentinel-2 L2A's scene classification."""
_OTHERS = ("#4e79a7", "#f28e2b", "#e15759", "#76b7b2", "#59a14f", "#edc948", "#b07aa1", "#ff9da7", "#9c755f", "#bab0ac")
"""For the first classes of no known meaning: Tableau's ten."""
_GOLDEN = 0.618034
"""Of the way around the hues: multiples of it are never near one that came shortly before."""
_DAYS = ("#440154", "#31688e", "#35b779", "#fde725")
"""From the first to the last day of a composite: four of matplotlib's viridis."""
_TERRAIN = (
    (0.0, (56, 118, 70)),
    (0.25, (142, 175, 108)),
    (0.5, (217, 205, 150)),
    (0.75, (160, 122, 85)),
    (1.0, (250, 250, 250)),
)
"""(share of the way from the lowest to the highest, colour)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """How a picture is made."""

    name: str
    bands: tuple[str, ...]
    paint: Callable[[Floats, Mask, float], Floats]
    """(band, y, x), (y, x) shown and metres per pixel -> (3, y, x) in 0..1."""
    legend: Legend | None = None
    """Of codes, all that a picture shows: what each is called, and its colour as #rrggbb."""
    ends: tuple[str, str] | None = None
    """Of one measurement: the colours, as #rrggbb, of `stretch_ends` of its values and of what lies beyond."""


def choose_look(
    wanted: str | Sequence[str] | None,
    *,
    bands: Sequence[str],
    source: str,
    classes: Sequence[str],
    units: Mapping[str, str],
) -> Look:
    """How a layer with ``bands`` of the collection ``source`` is drawn; ``units`` are what its bands' attributes say.

    ``wanted`` is ``true-colour``, ``false-colour``, ``radar``, ``terrain``, ``hillshade``, or one or three bands;
    without it true colour, radar or terrain where there are bands for it, else the first band that is no class. Pure.
    Raises PlanError for bands that the layer does not have.
    """
    makers: dict[str, Callable[[], Look | None]] = {
        "true-colour": lambda: _colours("true-colour", ("red", "green", "blue"), bands, source),
        "false-colour": lambda: _colours("false-colour", ("nir", "red", "green"), bands, source),
        "radar": lambda: _radar(bands, units),
        "terrain": lambda: _terrain("terrain", bands, source),
        "hillshade": lambda: _terrain("hillshade", bands, source),
    }
    if isinstance(wanted, str) and wanted in makers:
        look = makers[wanted]()
        if look is None:
            raise PlanError(f"bands: the layer has no bands for {wanted!r}; it has {', '.join(bands)}")
        return look
    if wanted is None:
        found = (makers[name]() for name in ("true-colour", "radar", "terrain"))
        first = next((band for band in bands if band not in classes), bands[0])
        return next((look for look in found if look is not None), None) or _one(first, classes, source)
    names = (wanted,) if isinstance(wanted, str) else tuple(wanted)
    unknown = [name for name in names if name not in bands]
    if unknown or len(names) not in {1, 3}:
        what = f"there is no {unknown[0]!r}" if unknown else f"{len(names)} bands are no picture"
        raise PlanError(f"bands: {what}; give one or three of {', '.join(bands)}, or one of {', '.join(makers)}")
    if len(names) == 1:
        return _one(names[0], classes, source)
    return Look(name=", ".join(names), bands=names, paint=_paint_each)


def _colours(name: str, colours: Sequence[str], bands: Sequence[str], source: str) -> Look | None:
    known = next((table for start, table in _COMMON.items() if source.startswith(start)), _ANY)
    found = [next((band for band in known[colour] if band in bands), None) for colour in colours]
    chosen = tuple(band for band in found if band is not None)
    if len(chosen) < len(colours):
        return None
    return Look(name=name, bands=chosen, paint=_paint_joint if name == "true-colour" else _paint_each)


def _radar(bands: Sequence[str], units: Mapping[str, str]) -> Look | None:
    chosen = tuple(band for band in POLARIZATIONS if band in bands)[:2]
    if not chosen:
        return None
    is_db = tuple(units.get(band) == "dB" for band in chosen)

    def paint(values: Floats, shown: Mask, metres: float) -> Floats:
        decibels = [
            part if known else 10 * np.log10(np.maximum(part, _LEAST_POWER))
            for part, known in zip(values, is_db, strict=True)
        ]
        if len(decibels) == 1:
            return _paint_grey(np.stack(decibels), shown, metres)
        return _paint_each(np.stack([*decibels, decibels[0] - decibels[1]]), shown, metres)

    return Look(name="radar, dB", bands=chosen, paint=paint)


def _terrain(name: str, bands: Sequence[str], source: str) -> Look | None:
    band = "DEM" if "DEM" in bands else bands[0] if source == "dem" else None
    if band is None:
        return None

    def paint(values: Floats, shown: Mask, metres: float) -> Floats:
        light = _hillshade(values[0], shown, metres)
        if name == "hillshade":
            return np.stack([light] * 3)
        return _hypsometric(values[0], shown) * (0.45 + 0.55 * light)

    ends = None if name == "hillshade" else (_hex_bytes(_TERRAIN[0][1]), _hex_bytes(_TERRAIN[-1][1]))
    return Look(name=name, bands=(band,), paint=paint, ends=ends)


def _one(band: str, classes: Sequence[str], source: str) -> Look:
    if band not in classes:
        return Look(name=band, bands=(band,), paint=_paint_grey, ends=("#000000", "#ffffff"))
    legend: Legend = _tell_codes
    if band == ORIGIN_DAY:
        legend = _tell_days
    elif band == "SCL" and source.startswith("sentinel-2"):
        legend = _tell_scl

    def paint(values: Floats, shown: Mask, metres: float) -> Floats:
        del metres
        codes, places = np.unique(values[0][shown].astype(np.int64), return_inverse=True)
        colours = [_parse(colour) for _, colour in legend(codes.tolist())]
        painted = np.zeros((3, *shown.shape))
        painted[:, shown] = np.array(colours).reshape(-1, 3)[places].T
        return painted

    return Look(name=band, bands=(band,), paint=paint, legend=legend)


def _parse(colour: str) -> tuple[float, ...]:
    return tuple(int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5))


def _hex(parts: Sequence[float]) -> str:
    return _hex_bytes([round(part * 255) for part in parts])


def _hex_bytes(parts: Sequence[int]) -> str:
    return "#" + bytes(parts).hex()


def _tell_scl(codes: Sequence[int]) -> list[tuple[str, str]]:
    return [SCL[code] if code in SCL else _tell_codes([code])[0] for code in codes]


def _tell_codes(codes: Sequence[int]) -> list[tuple[str, str]]:
    """Colours go by the code alone, so that two pictures can be compared."""
    return [
        (str(code), _OTHERS[code] if 0 <= code < len(_OTHERS) else _hex(_other_colour(code)))  # Tableau's, then any
        for code in codes
    ]


def _other_colour(code: int) -> tuple[float, float, float]:
    return colorsys.hsv_to_rgb(code * _GOLDEN % 1, 0.45 + 0.2 * (code % 3), 0.95 - 0.15 * (code // 3 % 3))


def _tell_days(days: Sequence[int]) -> list[tuple[str, str]]:
    """Dates of days since 1970-01-01, the later the lighter."""
    first, last = min(days, default=0), max(days, default=0)
    share = [(day - first) / max(last - first, 1) for day in days]
    stops = np.linspace(0, 1, len(_DAYS))
    parts = [np.interp(share, stops, column) for column in zip(*map(_parse, _DAYS), strict=True)]
    names = [str(np.datetime64(day, "D")) for day in days]
    return list(zip(names, map(_hex, zip(*parts, strict=True)), strict=True))


def _paint_joint(values: Floats, shown: Mask, metres: float) -> Floats:
    del metres
    low, high = np.percentile(values[:, shown], _JOINT) if shown.any() else (0.0, 1.0)
    return _tones(values, low, high) ** GAMMA


def _paint_each(values: Floats, shown: Mask, metres: float) -> Floats:
    del metres
    return np.stack([_stretch(band, shown) for band in values])


def _paint_grey(values: Floats, shown: Mask, metres: float) -> Floats:
    del metres
    return np.stack([_stretch(values[0], shown)] * 3)


def stretch_ends(band: Floats, shown: Mask) -> tuple[float, float]:
    """The values of ``band`` (y, x) that a picture of it draws darkest and lightest. Pure."""
    low, high = np.percentile(band[shown], _EACH) if shown.any() else (0.0, 1.0)
    return float(low), float(high)


def _stretch(band: Floats, shown: Mask) -> Floats:
    return _tones(band, *stretch_ends(band, shown))


def _tones(values: Floats, low: float, high: float) -> Floats:
    tones: Floats = np.clip((values - low) / max(high - low, 1e-6), 0, 1)
    return tones


def _hillshade(heights: Floats, shown: Mask, metres: float) -> Floats:
    """Light on the ground in 0..1, of slopes between neighbours; what is not shown is taken for level."""
    if min(heights.shape) < 2:  # noqa: PLR2004  # no neighbours
        return np.full(heights.shape, float(_SUN[2]))
    level = np.where(shown, heights, heights[shown].mean() if shown.any() else 0.0)
    south, east = np.gradient(level, metres)
    light: Floats = (_SUN[2] - _SUN[0] * east - _SUN[1] * south) / np.sqrt(1 + east**2 + south**2)
    return np.clip(light, 0, 1)


def _hypsometric(heights: Floats, shown: Mask) -> Floats:
    share = _stretch(heights, shown)
    stops = [at for at, _ in _TERRAIN]
    return np.stack([np.interp(share, stops, [colour[part] / 255 for _, colour in _TERRAIN]) for part in range(3)])
