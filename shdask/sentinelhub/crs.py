"""Coordinate reference systems by EPSG code: read from every usual spelling, written as each reader wants them.

Refuses to know geometries, and which systems the service renders in.
"""

from __future__ import annotations

import numbers
import re
import warnings
from collections.abc import Callable, Mapping
from functools import cache
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar

import pyproj

from shdask.request.bounds import crs_uri
from shdask.sentinelhub.exceptions import SHUserWarning
from shdask.sentinelhub.named import Named

_LONGITUDE_FIRST = "+proj=longlat +ellps=WGS84 +datum=WGS84 +no_defs"
"""WGS 84 with x for longitude, which EPSG:4326 itself has not."""
_URN = re.compile(r"urn:ogc:def:crs:.+:(?P<code>[^:]+)", re.IGNORECASE)
_SHORTEST_CODE = 4


class CRS(metaclass=Named):
    """One coordinate reference system. Equal codes are one object, so ``is`` works, also after pickling.

    Reads 32633, ``"32633"``, ``"EPSG:32633"``, an OGC URN, ``{"init": ...}``, anything with ``to_epsg()`` (pyproj,
    rasterio, odc-geo), and a CRS of sentinelhub-py. x is always east or longitude, y north or latitude.
    Raises ValueError for anything else.
    """

    __slots__ = ("name", "value")

    name: str
    """``WGS84``, ``POP_WEB``, ``UTM_33N``, else ``EPSG_`` and the code."""
    value: str
    """The EPSG code."""

    if TYPE_CHECKING:
        WGS84: ClassVar[CRS]
        POP_WEB: ClassVar[CRS]

    def __new__(cls, value: object) -> CRS:  # noqa: PYI034  # equal codes are one object of this very class
        """The one object of the code that ``value`` spells."""
        return value if isinstance(value, CRS) else _intern(_read_code(value))

    @classmethod
    def _named(cls) -> Mapping[str, CRS]:
        return _members()

    @classmethod
    def has_value(cls, value: str) -> bool:
        """Whether ``value`` is the code of a system with a name of its own. Pure."""
        return value in _names_by_code()

    @staticmethod
    def get_utm_from_wgs84(lng: float, lat: float) -> CRS:
        """The UTM zone that holds a point in degrees, with the exceptions of Norway and Svalbard. Pure.

        Raises ValueError for a longitude beyond 180 and a latitude outside -80 .. 84, where UTM ends.
        """
        if not (-80 <= lat <= 84 and -180 <= lng <= 180):  # noqa: PLR2004  # the edges of UTM
            raise ValueError(f"({lng}, {lat}) is outside the UTM zones: longitude -180 .. 180, latitude -80 .. 84")
        return CRS(f"32{6 if lat >= 0 else 7}{_utm_zone(lng, lat):02}")

    @property
    def epsg(self) -> int:
        """The EPSG code as a number. Pure."""
        return int(self.value)

    @property
    def opengis_string(self) -> str:
        """The URI by which the service knows it. Pure."""
        return crs_uri(self.epsg)

    def ogc_string(self) -> str:
        """Authority and code, ``EPSG:32633``. Pure."""
        return f"EPSG:{self.value}"

    def is_utm(self) -> bool:
        """Whether it is one of the 120 WGS 84 UTM zones. Pure."""
        return self.name.startswith("UTM_")

    def projection(self) -> pyproj.Proj:
        """The projection for pyproj, in the units of the system."""
        return _projection(self.value)

    def pyproj_crs(self) -> pyproj.CRS:
        """The CRS for pyproj; WGS 84 has longitude first."""
        return _pyproj_crs(self.value)

    def get_transform_function(self, other: CRS, always_xy: bool = True) -> Callable[..., tuple[Any, ...]]:
        """A function from (x, y) here to (x, y) in ``other``; numbers or arrays."""
        return _transform_function(self.value, CRS(other).value, always_xy)

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, CRS) and self.value == other.value)

    def __hash__(self) -> int:
        return hash((CRS, self.value))

    def __reduce__(self) -> tuple[type[CRS], tuple[str]]:
        return CRS, (self.value,)

    def __repr__(self) -> str:
        return f"CRS('{self.value}')"

    def __str__(self) -> str:
        return self.ogc_string()


@cache
def _intern(code: str) -> CRS:
    crs = object.__new__(CRS)
    crs.value = code
    crs.name = _names_by_code().get(code, f"EPSG_{code}")
    return crs


@cache
def _members() -> Mapping[str, CRS]:
    return MappingProxyType({name: _intern(code) for code, name in _names_by_code().items()})


@cache
def _names_by_code() -> Mapping[str, str]:
    zones = {
        f"32{digit}{zone:02}": f"UTM_{zone}{half}" for half, digit in (("N", 6), ("S", 7)) for zone in range(1, 61)
    }
    return MappingProxyType({"4326": "WGS84", "3857": "POP_WEB", **zones})


@cache
def _projection(code: str) -> pyproj.Proj:
    return pyproj.Proj(_definition(code), preserve_units=True)


@cache
def _pyproj_crs(code: str) -> pyproj.CRS:
    return pyproj.CRS(_definition(code))


@cache
def _transform_function(source: str, target: str, always_xy: bool) -> Callable[..., tuple[Any, ...]]:
    function: Callable[..., tuple[Any, ...]] = pyproj.Transformer.from_proj(
        _projection(source), _projection(target), always_xy=always_xy
    ).transform
    return function


def _definition(code: str) -> str:
    return _LONGITUDE_FIRST if code == "4326" else f"EPSG:{code}"


def _read_code(value: object) -> str:
    spelled = value["init"] if isinstance(value, dict) and "init" in value else value
    if hasattr(spelled, "to_epsg"):
        return _code_of_projection(spelled)
    if hasattr(spelled, "ogc_string"):  # a CRS of sentinelhub-py
        spelled = spelled.ogc_string()
    word = str(spelled) if isinstance(spelled, (str, numbers.Integral)) else ""
    if "urn:ogc:def:crs" in word.lower():
        found = _URN.match(word)
        word = found["code"] if found else ""
    code = "4326" if word.upper() == "CRS84" else word.lower().replace("epsg:", "").strip()
    if not (code.isascii() and code.isdigit() and len(code) >= _SHORTEST_CODE):
        raise ValueError(f"{value!r} is not a CRS; expected an EPSG code such as 32633 or 'EPSG:32633'")
    return code


def _code_of_projection(crs: Any) -> str:
    if crs == pyproj.CRS(4326):
        warnings.warn(
            f"{crs!r} has latitude first, but coordinates here are (longitude, latitude): mind their order",
            category=SHUserWarning,
            stacklevel=4,
        )
    epsg = crs.to_epsg()
    if epsg is not None:
        return str(epsg)
    if crs == _pyproj_crs("4326"):
        return "4326"
    raise ValueError(f"this CRS has no EPSG code, and the service knows no other: {crs!r}")


def _utm_zone(lng: float, lat: float) -> int:
    if 56 <= lat < 64 and 3 <= lng < 12:  # noqa: PLR2004  # south-western Norway lies in one zone
        return 32
    if lat >= 72 and 0 <= lng < 42:  # noqa: PLR2004  # Svalbard: zones 32, 34 and 36 do not exist up there
        return next(zone for edge, zone in ((9, 31), (21, 33), (33, 35), (42, 37)) if lng < edge)
    return int((lng + 180) // 6) % 60 + 1
