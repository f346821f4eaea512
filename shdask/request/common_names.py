"""Common names of bands, the same for every satellite: red, nir, swir16.

Pure. Refuses to know layers and what they store.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from types import MappingProxyType

from shdask.errors import PlanError

_SENTINEL_2 = {
    "coastal": "B01",
    "blue": "B02",
    "green": "B03",
    "red": "B04",
    "rededge071": "B05",
    "rededge075": "B06",
    "rededge078": "B07",
    "nir": "B08",
    "nir08": "B8A",
    "nir09": "B09",
    "swir16": "B11",
    "swir22": "B12",
}
_LANDSAT = {
    "coastal": "B01",
    "blue": "B02",
    "green": "B03",
    "red": "B04",
    "nir08": "B05",
    "swir16": "B06",
    "swir22": "B07",
    "lwir11": "B10",
}
COMMON_NAMES: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {
        "sentinel-2-l1c": {**_SENTINEL_2, "cirrus": "B10"},
        "sentinel-2-l2a": _SENTINEL_2,
        "landsat-ot-l1": {**_LANDSAT, "pan": "B08", "cirrus": "B09", "lwir12": "B11"},
        "landsat-ot-l2": _LANDSAT,
    }
)
"""Collection -> common name -> the service's name. Names are those of STAC's eo extension, whose table tells which band
of Sentinel-2 and Landsat 8 each is (https://github.com/stac-extensions/eo#common-band-names)."""


def find_bands(names: Iterable[str], *, stored: Iterable[str], collection: str) -> tuple[str, ...]:
    """The arrays among ``stored`` that ``names``, each an array's own or a common one, stand for, in their order. Pure.

    Raises PlanError that tells which there are.
    """
    there = tuple(stored)
    common = COMMON_NAMES.get(collection, {})
    known = {**{name: band for name, band in common.items() if band in there}, **{band: band for band in there}}
    names = tuple(names)
    missing = [name for name in names if name not in known]
    if missing:
        close = difflib.get_close_matches(missing[0], known, n=1)
        hint = f"; did you mean {close[0]}?" if close else ""
        raise PlanError(
            f"bands: {', '.join(missing)} cannot be had from {collection or 'the cube'}, which has here "
            f"{', '.join(known)}{hint}"
        )
    return tuple(known[name] for name in names)
