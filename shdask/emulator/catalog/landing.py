"""What the Catalog tells of itself.

Refuses to know its collections beyond their names.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from shdask.emulator.catalog.collections import STAC_VERSION, CatalogCollection, make_link

GEOJSON = "application/geo+json"
FEATURES, FILTERS = "http://www.opengis.net/spec/ogcapi-features-1/1.0", "http://www.opengis.net/spec/cql2/1.0"
STAC = "https://api.stacspec.org/v1.0.0"
CONFORMS_TO = (
    *(f"{FEATURES}/conf/{name}" for name in ("core", "oas30", "geojson")),
    *(f"{STAC}/{name}" for name in ("core", "collections")),
    *(f"{STAC}/ogcapi-features{name}" for name in ("", "#fields", "#context", "#filter")),
    *(f"{STAC}/item-search{name}" for name in ("", "#fields", "#context", "#filter")),
    *(f"http://www.opengis.net/spec/ogcapi-features-3/1.0/conf/{name}" for name in ("filter", "features-filter")),
    *(f"{FILTERS}/conf/{name}" for name in ("cql2-text", "cql2-json", "basic-cql2")),
)
"""Source: the example of the OpenAPI description."""


def describe_catalog(root: str, collections: Iterable[CatalogCollection]) -> dict[str, Any]:
    """The landing page; ``root`` is the Catalog's URL without a slash at the end. Pure."""
    conformance = "STAC conformance classes implemented by this server"
    return {
        "type": "Catalog",
        "stac_version": STAC_VERSION,
        "id": "sentinel-hub",
        "title": "Sentinel Hub STAC catalog",
        "description": "STAC v1.0.0 implementation like Sentinel Hub's, by an emulator",
        "conformsTo": CONFORMS_TO,
        "links": [
            make_link(f"{root}/", "root"),
            make_link(f"{root}/", "self"),
            make_link(f"{root}/collections", "data"),
            {**make_link(f"{root}/conformance", "conformance"), "title": conformance},
            {**make_link(f"{root}/search", "search", GEOJSON), "title": "STAC search", "method": "GET"},
            {**make_link(f"{root}/search", "search", GEOJSON), "title": "STAC search", "method": "POST"},
            *(
                {**make_link(f"{root}/collections/{collection.id}", "child"), "title": collection.title}
                for collection in collections
            ),
        ],
    }


def describe_collections(root: str, collections: Iterable[CatalogCollection]) -> dict[str, Any]:
    """The list of collections. Pure."""
    return {
        "links": [
            make_link(f"{root}/", "root"),
            make_link(f"{root}/collections/", "self"),
            make_link(f"{root}/", "parent"),
        ],
        "collections": [collection.describe(root) for collection in collections],
    }
