"""The service's collections: their bands, units, stored types and limits, read from collections.toml.

Refuses to know what a job does with them.
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from functools import cache
from importlib.resources import files
from types import MappingProxyType

from shdask.errors import PlanError

USER_PREFIXES = ("byoc-", "batch-", "zarr-")
"""Collections that users bring: any band name is allowed, and values are taken for 16 bit DN."""


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Collection:
    """One collection, by the service's own name for it."""

    name: str
    bands: Mapping[str, BandInfo] | None
    """None where users name the bands."""
    has_clouds: bool = False
    """Whether scenes can be filtered and ordered by cloud cover."""
    has_time: bool = True
    coarsest_m_per_px: float | None = None
    """The service refuses requests with longer pixels; None where no limit is published."""
    since: date | None = None
    """Before this day nothing can have been acquired; None where that is not known."""

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
        return Collection(name=name, bands=None, has_time=False)
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
    return MappingProxyType(
        {
            name: Collection(
                name=name,
                bands=MappingProxyType(
                    {
                        band: BandInfo(
                            name=band,
                            units=tuple(group["units"]),
                            dtype=group["dtype"],
                            classes=group.get("classes", False),
                            reflectance_per_dn=group.get("reflectance_per_dn"),
                        )
                        for group in table["groups"]
                        for band in group["bands"]
                    }
                ),
                has_clouds=table["has_clouds"],
                coarsest_m_per_px=table["coarsest_m_per_px"],
                since=table["since"],
            )
            for name, table in tables.items()
        }
    )
