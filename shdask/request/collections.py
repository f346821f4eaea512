"""The service's collections: their bands, units, stored types, options and limits, read from collections.toml.

Refuses to know what a job does with them.
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import Any, TypeAlias

from shdask.errors import PlanError

USER_PREFIXES = ("byoc-", "batch-", "zarr-")
"""Collections that users bring: any band name is allowed, and values are taken for 16 bit DN."""
_NOTHING: Mapping[str, Any] = MappingProxyType({})

Choice: TypeAlias = tuple[bool | int | float | str, ...] | Mapping[str, tuple[bool | int | float | str, ...]]
"""Values that an option may have; of an option that is an object, those of each of its members."""


def _nothing() -> Mapping[str, Any]:
    return _NOTHING


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoding:
    """How values are bought as integers: sent are (value - offset) / scale, rounded."""

    sample_type: str
    scale: float
    offset: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class BandInfo:
    """What the service says of one band."""

    name: str
    units: tuple[str, ...]
    """Units it can be asked in, the usual one first."""
    dtype: str
    """The smallest numpy type that holds the values in the usual unit."""
    classes: bool = False
    """Whether values are codes, which no resampling but nearest may mix."""
    reflectance_per_dn: float | None = None
    """REFLECTANCE = DN x this; None where the band is no reflectance, or the factor is not constant."""
    encoding: Encoding | None = None
    """How values in the usual unit are bought as 16 bit; None: they are sent as ``dtype``."""
    needs_filter: Mapping[str, tuple[Any, ...]] = field(default_factory=_nothing)
    """Option of ``dataFilter`` -> the values that the band exists with."""
    needs_processing: Mapping[str, tuple[Any, ...]] = field(default_factory=_nothing)

    @property
    def is_power(self) -> bool:
        """Whether decibels can be made of it."""
        return "LINEAR_POWER" in self.units


@dataclass(frozen=True, slots=True, kw_only=True)
class Surcharge:
    """What an option of ``processing`` makes of the price."""

    option: str
    value: Any
    factor: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Requirement:
    """What else an option of ``processing`` needs."""

    option: str
    value: Any
    needs: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Collection:
    """One collection, by the service's own name for it."""

    name: str
    bands: Mapping[str, BandInfo] | None
    """None where users name the bands."""
    catalog_id: str | None
    """The Catalog's name of it; None where there are no acquisitions, and so no time axis."""
    orbit_dates: bool
    """Whether one request can return several days (ORBIT mosaicking)."""
    has_clouds: bool = False
    """Whether scenes can be filtered and ordered by cloud cover."""
    has_time: bool = True
    """Whether a job must name its time; a user's collection may have acquisitions and still be asked without."""
    coarsest_m_per_px: float | None = None
    """The service refuses requests with longer pixels; None where no limit is published."""
    since: date | None = None
    """Before this day nothing can have been acquired; None where that is not known."""
    filter_defaults: Mapping[str, Any] = field(default_factory=_nothing)
    """Options of ``dataFilter`` that are sent unless a job says otherwise."""
    filter_options: Mapping[str, Choice] = field(default_factory=_nothing)
    """Options of ``dataFilter``, beyond those of every collection, and their values."""
    processing_options: Mapping[str, Choice] = field(default_factory=_nothing)
    presets: Mapping[str, Mapping[str, Any]] = field(default_factory=_nothing)
    """Name -> options of ``processing``; the first is used unless a job says otherwise."""
    surcharges: tuple[tuple[Surcharge, ...], ...] = ()
    """Of each tuple the first that holds counts; they are multiplied."""
    requirements: tuple[Requirement, ...] = ()

    @property
    def processing_defaults(self) -> Mapping[str, Any]:
        """Options of ``processing`` that are sent unless a job says otherwise: the first preset's."""
        return next(iter(self.presets.values()), _NOTHING)

    def band(self, name: str) -> BandInfo:
        """The band called ``name``. Pure. Raises PlanError with close names where there is none."""
        if self.bands is None:
            return BandInfo(name=name, units=("DN",), dtype="uint16")
        if name not in self.bands:
            raise PlanError(
                f"{self.name} has no band {name!r}{closest(name, self.bands)}; it has {', '.join(self.bands)}"
            )
        return self.bands[name]


def find_collection(name: str) -> Collection:
    """The collection that the service calls ``name``. Raises PlanError with close names where it is not known."""
    known = _known()
    if name in known:
        return known[name]
    if name.startswith(USER_PREFIXES) and name not in USER_PREFIXES:
        # the documentation's table of mosaicking has no ORBIT for Zarr
        return Collection(
            name=name, bands=None, has_time=False, catalog_id=name, orbit_dates=not name.startswith("zarr-")
        )
    raise PlanError(
        f"collection {name!r} is not known{closest(name, known)}; this version builds from "
        f"{', '.join(known)} and your own {', '.join(f'{p}<id>' for p in USER_PREFIXES)}"
    )


def closest(word: str, known: Iterable[str]) -> str:
    """Text such as `` (did you mean B02?)`` naming the words nearest to ``word``, empty where none is near. Pure."""
    by_lower = {name.lower(): name for name in known}
    near = difflib.get_close_matches(word.lower(), by_lower, n=3, cutoff=0.6)
    return f" (did you mean {' or '.join(by_lower[name] for name in near)}?)" if near else ""


@cache
def _known() -> Mapping[str, Collection]:
    tables = tomllib.loads(files("shdask.request").joinpath("collections.toml").read_text("utf-8"))
    return MappingProxyType({name: _read(name, table) for name, table in tables.items()})


def _read(name: str, table: Mapping[str, Any]) -> Collection:
    tables = {key: table[key] for key in ("has_clouds", "orbit_dates", "coarsest_m_per_px", "since") if key in table}
    return Collection(
        name=name,
        bands=MappingProxyType({band: _read_band(band, group) for group in table["groups"] for band in group["bands"]}),
        catalog_id=table.get("catalog_id"),
        has_time="catalog_id" in table,
        filter_defaults=MappingProxyType(table.get("filter_defaults", {})),
        filter_options=_read_choices(table.get("filter_options", {})),
        processing_options=_read_choices(table.get("processing_options", {})),
        presets=MappingProxyType(
            {preset: MappingProxyType(options) for preset, options in table.get("presets", {}).items()}
        ),
        surcharges=tuple(
            tuple(Surcharge(**each) for each in alternatives) for alternatives in table.get("surcharges", {}).values()
        ),
        requirements=tuple(Requirement(**each) for each in table.get("requirements", ())),
        **tables,
    )


def _read_band(name: str, group: Mapping[str, Any]) -> BandInfo:
    encoding = group.get("encoding")
    return BandInfo(
        name=name,
        units=tuple(group["units"]),
        dtype=group["dtype"],
        classes=group.get("classes", False),
        reflectance_per_dn=group.get("reflectance_per_dn"),
        encoding=None if encoding is None else Encoding(**encoding),
        needs_filter=_read_choices(group.get("needs_filter", {})),
        needs_processing=_read_choices(group.get("needs_processing", {})),
    )


def _read_choices(table: Mapping[str, Any]) -> Mapping[str, Any]:
    return MappingProxyType(
        {
            option: _read_choices(values) if isinstance(values, dict) else tuple(values)
            for option, values in table.items()
        }
    )
