"""Which members of an item an answer has, by the ``fields`` of a search.

Refuses to know what the members mean.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

DEFAULTS = ("id", "type", "geometry", "bbox", "links", "assets", "properties.datetime")
"""Documentation page "Catalog API", chapter "Fields"."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fields:
    """The ``fields`` of a search, members as paths such as ``properties.gsd``."""

    include: tuple[str, ...]
    exclude: tuple[str, ...]
    includes: Literal["merged", "alone"] = "merged"
    """As EmulatorConfig.catalog_fields_include."""
    both: Literal["exclude", "include"] = "exclude"
    """As EmulatorConfig.catalog_fields_both."""

    def select(self, item: Mapping[str, Any]) -> dict[str, Any]:
        """The chosen members of an item, in its order. Pure."""
        alone = self.include and self.includes == "alone"
        kept = _keep(item, self.include if alone else (*DEFAULTS, *self.include))
        kept = _drop(kept, self.exclude)
        if self.both == "include" and self.exclude:
            kept = _merge(kept, _keep(item, self.include))
        return {name: kept[name] for name in item if name in kept}


def _keep(item: Mapping[str, Any], paths: Iterable[str]) -> dict[str, Any]:
    kept: dict[str, Any] = {}
    for path in paths:
        name, _, rest = path.partition(".")
        if name not in item:
            continue
        if not rest:
            kept[name] = item[name]
        elif isinstance(item[name], Mapping):
            kept[name] = _merge(kept.get(name, {}), _keep(item[name], (rest,)))
    return kept


def _drop(item: Mapping[str, Any], paths: Iterable[str]) -> dict[str, Any]:
    left = dict(item)
    for path in paths:
        name, _, rest = path.partition(".")
        if rest and isinstance(left.get(name), Mapping):
            left[name] = _drop(left[name], (rest,))
        elif not rest:
            left.pop(name, None)
    return left


def _merge(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, Any]:
    both = {**first, **second}
    for name in first.keys() & second.keys():
        if isinstance(first[name], Mapping) and isinstance(second[name], Mapping):
            both[name] = _merge(first[name], second[name])
    return both
