"""The folder name of a cached answer, as sentinelhub-py names it, and what of a request may be written or shown.

Refuses to know files.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from shdask.request.delivery import SECRET_MEMBERS

HIDDEN = "***"
_SECRET_KEYS = SECRET_MEMBERS | {"authorization"}
"""In lower case: those of deliveries, and of a header."""
_WRITTEN_ORDER = (
    "url", "payload", "input", "bounds", "properties", "crs", "bbox", "geometry",
    "data", "type", "id", "coordinates", "dataFilter", "timeRange", "from", "to",
    "maxCloudCoverage", "mosaickingOrder", "acquisitionMode", "polarization", "resolution", "orbitDirection",
    "timeliness", "demInstance", "processing", "upsampling", "downsampling",
    "evalscript", "evalscriptReference", "output", "responses", "identifier", "format", "delivery", "s3",
    "accessKey", "secretAccessKey", "iamRoleARN", "region", "width", "height", "resx", "resy",
)  # fmt: skip  # read as lines of the body
"""The order in which sentinelhub-py writes the keys that it knows, whatever object they are in."""
_RANKS: Mapping[str, int] = {key: rank for rank, key in enumerate(_WRITTEN_ORDER)}


def hashed_name(url: str | None, payload: object) -> str:
    """The folder name of the request, the same for every order of its keys. Pure.

    It is sentinelhub-py's name wherever the keys have the order in which sentinelhub-py writes them.
    """
    return written_name(url, _ordered(payload))


def written_name(url: str | None, payload: object) -> str:
    """sentinelhub-py's own name for the request: the MD5 of its JSON, keys in the order they have. Pure."""
    text = json.dumps({"url": url, "payload": payload})
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


def redacted(value: Any) -> Any:
    """A copy of JSON-like ``value`` with every secret in it replaced. Pure."""
    if isinstance(value, Mapping):
        return {
            key: HIDDEN if str(key).lower() in _SECRET_KEYS and isinstance(inner, str) else redacted(inner)
            for key, inner in value.items()
        }
    if isinstance(value, list | tuple):
        return [redacted(inner) for inner in value]
    return value


def secrets_of(value: Any) -> frozenset[str]:
    """The secrets that ``redacted`` would replace. Pure."""
    if isinstance(value, Mapping):
        own = {
            inner
            for key, inner in value.items()
            if str(key).lower() in _SECRET_KEYS and isinstance(inner, str) and inner
        }
        return frozenset(own).union(*(secrets_of(inner) for inner in value.values()))
    if isinstance(value, list | tuple):
        return frozenset().union(*(secrets_of(inner) for inner in value))
    return frozenset()


def _ordered(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _ordered(value[key]) for key in sorted(value, key=_rank)}
    if isinstance(value, list | tuple):
        return [_ordered(inner) for inner in value]
    return value


def _rank(key: object) -> tuple[int, str]:
    name = str(key)
    return _RANKS.get(name, len(_RANKS)), name
