"""The group of a store that holds a layer in a zone, in a cube that may still be growing.

Refuses to know what a group holds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from shdask.assemble.store import read_root_attributes
from shdask.assemble.tree import begun_groups
from shdask.errors import WrongStore
from shdask.serve.open import SCOUT, zone_of

if TYPE_CHECKING:
    from shdask.assemble.place import Place


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerGroup:
    """One layer in one zone."""

    path: str
    """Below the cube's root; empty where the root is the group."""
    zone: str
    """The UTM zone's EPSG code; empty in a cube of one grid."""
    layer: str
    place: Place
    attributes: Mapping[str, Any]
    """Of the group's root, as JSON types."""


def find_groups(place: Place) -> list[LayerGroup]:
    """Every group that has been begun, but for coarse looks at others. Raises StoreError where there is no cube."""
    found = []
    for path, inner in begun_groups(place).items():
        if path.startswith(SCOUT):
            continue
        attributes = read_root_attributes(inner)
        found.append(
            LayerGroup(
                path=path, zone=zone_of(path) or "", layer=attributes["layer"], place=inner, attributes=attributes
            )
        )
    return found


def find_group(place: Place, zone: str, layer: str) -> LayerGroup:
    """The group of ``layer`` in ``zone``, empty in a cube of one grid. Raises WrongStore that names those there are."""
    groups = find_groups(place)
    fitting = [group for group in groups if (group.zone, group.layer) == (zone, layer)]
    if len(fitting) == 1:
        return fitting[0]
    there = ", ".join(f"{group.layer!r} in zone {group.zone!r}" for group in groups) or "none yet"
    raise WrongStore(f"{place.name} has no layer {layer!r} in zone {zone!r}; its layers so far: {there}")
