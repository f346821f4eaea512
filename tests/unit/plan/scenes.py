"""Scenes for tests of time axes, made from a few words."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import shapely

from shdask.model import TimeInterval
from shdask.plan.acquisition import Acquisition

SQUARE = shapely.box(14, 46, 15, 47)


def utc(text: str) -> datetime:
    """``2024-06-10T10:11:12`` in UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def span(start: str, end: str) -> TimeInterval:
    """The half-open interval between two such texts."""
    return TimeInterval(start=utc(start), end=utc(end))


def scene(name: str, time: str, **members: Any) -> Acquisition:
    """A scene of Sentinel-2A on orbit 22; members replace its own."""
    own: dict[str, Any] = {"footprint": SQUARE, "platform": "sentinel-2a", "relative_orbit": 22}
    return Acquisition(id=name, time=utc(time), **{**own, **members})


def product(tile: str, time: str, *, baseline: str = "0510", orbit: int = 22, made: str = "20240701T000000") -> str:
    """A Sentinel-2 product id, whose datatake began at ``time``, such as ``20240610T100559``."""
    return f"S2A_MSIL2A_{time}_N{baseline}_R{orbit:03d}_T{tile}_{made}"
