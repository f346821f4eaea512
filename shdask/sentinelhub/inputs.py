"""Writes what is asked of a collection: one entry of a request's ``input.data``, with its deployment beside it. Pure.

Refuses to know areas, outputs and how a request is sent.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from decimal import Decimal
from enum import Enum
from typing import Any

from shdask.request.parts import input_json, merge_json
from shdask.sentinelhub.collections import ORBIT_DIRECTION_BOTH, DataCollection
from shdask.sentinelhub.constants import MosaickingOrder, ResamplingType
from shdask.sentinelhub.times import RawTimeInterval, time_range


class InputDataDict(dict[str, Any]):
    """An entry of ``input.data`` that remembers which deployment its collection lives on."""

    def __init__(self, input_data_dict: Mapping[str, Any], *, service_url: str | None = None) -> None:
        super().__init__(input_data_dict)
        self.service_url = service_url

    def __repr__(self) -> str:
        return f"{type(self).__name__}({super().__repr__()}, service_url={self.service_url})"


def input_data(
    data_collection: DataCollection,
    *,
    identifier: str | None = None,
    time_interval: RawTimeInterval | None = None,
    maxcc: float | None = None,
    mosaicking_order: MosaickingOrder | str | None = None,
    upsampling: ResamplingType | str | None = None,
    downsampling: ResamplingType | str | None = None,
    other_args: Mapping[str, Any] | None = None,
) -> InputDataDict:
    """One entry of ``input.data``. Pure.

    ``identifier`` names the entry for an evalscript that reads several. ``time_interval`` is a day, a moment or a pair;
    dates are whole days. ``maxcc`` is a share, 0 to 1, sent as whole percent, rounded down. ``other_args`` are the
    service's own members, laid over the rest one by one.
    Raises ValueError for a collection without a Process API id and for a value that cannot be read.
    """
    entry = input_json(
        data_collection.api_id,
        identifier=identifier,
        data_filter={
            "timeRange": time_range(time_interval) if time_interval else None,
            "maxCloudCoverage": None if maxcc is None else _whole_percent(maxcc),
            "mosaickingOrder": _word(MosaickingOrder, mosaicking_order),
            **_collection_filter(data_collection),
        },
        processing={
            "upsampling": _word(ResamplingType, upsampling),
            "downsampling": _word(ResamplingType, downsampling),
        },
    )
    return InputDataDict(merge_json(entry, other_args or {}), service_url=data_collection.service_url)


def choose_base_url(data: Sequence[Mapping[str, Any]], configured: str) -> str:
    """The deployment that every collection of ``data`` is on; ``configured`` where they leave it open. Pure.

    Collections of several deployments go to the configured one if it is among them. Raises ValueError if it is not.
    """
    named: list[str | None] = [getattr(entry, "service_url", None) for entry in data]
    urls = sorted({url.rstrip("/") for url in named if url is not None})
    own = configured.rstrip("/")
    if not urls or own in urls:
        return own
    if len(urls) > 1:
        raise ValueError(
            f"the collections are on different deployments: {', '.join(urls)}; sh_base_url would decide between "
            f"them, but it is {own}"
        )
    return urls[0]


def _whole_percent(share: float) -> int:
    if not 0 <= share <= 1:
        raise ValueError(f"maxcc is a share from 0 to 1, not {share}; for 30 % write 0.3")
    # As the number was written: 0.29 * 100 is 28.999999999999996, and would cost a percent.
    return math.floor(Decimal(repr(float(share))) * 100)


def _word(words: type[Enum], said: Any) -> str | None:
    """The service's word for a member, its value, or the member of that name in sentinelhub-py's enumeration."""
    return str(words(getattr(said, "value", said)).value) if said else None


def _collection_filter(collection: Any) -> dict[str, str | None]:
    def upper(name: str) -> str | None:
        value: str | None = getattr(collection, name)
        return value.upper() if value else None

    direction = upper("orbit_direction")
    return {
        "acquisitionMode": upper("swath_mode"),
        "polarization": upper("polarization"),
        "resolution": upper("resolution"),
        "orbitDirection": None if direction == ORBIT_DIRECTION_BOTH else direction,
        "timeliness": collection.timeliness or None,
        "demInstance": collection.dem_instance or None,
    }
