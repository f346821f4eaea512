"""The areas that a cube was asked for, kept beside it, so that a later build can tell what it has and what it lacks.

Refuses to know tiles.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
import shapely

from shdask.assemble.lease import FOLDER
from shdask.assemble.place import Place
from shdask.errors import WrongStore
from shdask.plan.area import Area
from shdask.plan.group import GroupPlan

KEY = f"{FOLDER}/areas.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptArea:
    """One of them, equal to another where what was asked for is."""

    identity: tuple[tuple[str, Any], ...]
    area: Area = field(compare=False)
    """Exactly as it was, in the array's pixels."""

    @classmethod
    def of(cls, plan: GroupPlan) -> Self:
        """The one that ``plan`` asks for. Pure."""
        return cls(identity=tuple(plan.area_identity().items()), area=plan.area)


def keep_areas(place: Place, areas: Sequence[KeptArea]) -> None:
    """Keep these with the cube, in place of those that were kept."""
    told = [{**dict(kept.identity), "edges": _edges_text(kept.area)} for kept in areas]
    place.write(KEY, json.dumps(told).encode())


def kept_areas(place: Place, shape: tuple[int, int]) -> list[KeptArea]:
    """Those of the cube at ``place``, oldest first; none where it cannot grow. Raises StoreError."""
    told = place.read(KEY)
    if told is None:
        return []
    try:
        return [_read_area(row, shape) for row in json.loads(told)]
    except (ValueError, KeyError, TypeError, AttributeError, shapely.errors.ShapelyError) as error:
        raise WrongStore(f"{place.name}/{KEY} cannot be read: {error}") from error


def _edges_text(area: Area) -> str:
    """Edges as WKB, a line each: every number to the bit."""
    lines = shapely.MultiLineString(list(area.edges.reshape(-1, 2, 2)))
    return base64.b64encode(lines.wkb).decode()


def _read_area(row: dict[str, Any], shape: tuple[int, int]) -> KeptArea:
    lines = shapely.from_wkb(base64.b64decode(row.pop("edges")))
    edges = shapely.get_coordinates(lines).reshape(-1, 4)
    reach = np.maximum.accumulate(edges[:, 3])
    area = Area(edges=edges, reach=reach, shape=shape, all_touched=bool(row["all_touched"]))
    return KeptArea(identity=tuple(row.items()), area=area)
