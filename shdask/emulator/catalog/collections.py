"""What the Catalog tells of each collection: description, extent, what may be filtered by and listed.

Refuses to know scenes.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from importlib import resources
from typing import Any

from shdask.emulator.catalog.filter import Queryables
from shdask.emulator.source import CataloguedSource, Source
from shdask.emulator.times import BEGINNING, write_time

STAC_VERSION = "1.0.0"
DATE = "date"


@dataclass(frozen=True, slots=True, kw_only=True)
class CatalogCollection:
    """One collection of the Catalog."""

    id: str
    source: CataloguedSource
    title: str
    description: str
    extensions: tuple[str, ...] = ()
    bbox: tuple[float, ...] = (-180.0, -90.0, 180.0, 90.0)
    """(left, bottom, right, top) in degrees."""
    start: datetime = BEGINNING
    queryables: Queryables = field(default_factory=dict)
    distinct: tuple[str, ...] = (DATE,)
    """What a search may list the values of."""
    summaries: Mapping[str, Any] = field(default_factory=dict)

    def describe(self, root: str) -> dict[str, Any]:
        """Its STAC collection; ``root`` is the Catalog's URL without a slash at the end. Pure."""
        own = f"{root}/collections/{self.id}"
        return {
            "stac_version": STAC_VERSION,
            "stac_extensions": list(self.extensions),
            "type": "Collection",
            "id": self.id,
            "title": self.title,
            "description": self.description,
            "license": "proprietary",
            "providers": [{"name": "shdask emulator", "roles": ["producer", "host"]}],
            "extent": {
                "spatial": {"bbox": [list(self.bbox)]},
                "temporal": {"interval": [[write_time(self.start), None]]},
            },
            "summaries": dict(self.summaries),
            "links": [
                make_link(f"{root}/", "root"),
                make_link(own, "self"),
                make_link(f"{root}/collections", "parent"),
                make_link(
                    f"{own}/queryables", "http://www.opengis.net/def/rel/ogc/1.0/queryables", "application/schema+json"
                ),
                make_link(f"{own}/items", "items", "application/geo+json"),
            ],
        }

    def describe_queryables(self, root: str) -> dict[str, Any]:
        """A JSON Schema of what its filters may name. Pure."""
        return {
            "$schema": "https://json-schema.org/draft/2019-09/schema",
            "$id": f"{root}/collections/{self.id}/queryables/",
            "type": "object",
            "title": "Queryables for Catalog STAC API",
            "description": "Queryable names for the Catalog STAC API Item Search filter.",
            "properties": {name: dict(schema) for name, schema in self.queryables.items()},
            "additionalProperties": False,
        }


def list_collections(sources: Mapping[str, Source], archives: Mapping[str, str]) -> dict[str, CatalogCollection]:
    """Collection id -> what the Catalog tells of it; old names and collections without a catalogue are left out.

    ``archives`` are EmulatorConfig's. Reads the list of known collections.
    """
    text = resources.files("shdask.emulator.catalog").joinpath("collections.toml").read_text(encoding="utf-8")
    known = tomllib.loads(text)
    return {
        name: _make_collection(name, source, known.get(name))
        for name, source in sources.items()
        if isinstance(source, CataloguedSource) and (name in known or name in archives)
    }


def make_link(href: str, relation: str, kind: str = "application/json") -> dict[str, str]:
    """A STAC link. Pure."""
    return {"href": href, "rel": relation, "type": kind}


def _make_collection(name: str, source: CataloguedSource, known: Mapping[str, Any] | None) -> CatalogCollection:
    if known is None:
        return CatalogCollection(id=name, source=source, title=name, description="GeoTIFFs of a folder")
    return CatalogCollection(
        id=name,
        source=source,
        title=known["title"],
        description=known["description"],
        extensions=tuple(known["extensions"]),
        bbox=tuple(known["bbox"]),
        start=known["start"],
        queryables=known["queryables"],
        distinct=tuple(known["distinct"]),
        summaries=known["summaries"],
    )
