"""The OpenAPI 3.1 description of all that is served; the schemas of bodies come from the models that read them.

Refuses to describe what is not in the code: texts are in openapi.json beside it, paths come from the routes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any

from pydantic.json_schema import models_json_schema

from shdask.emulator.async_process.body import ASYNC_SIZES, AsyncBody
from shdask.emulator.catalog.query import SearchBody
from shdask.emulator.faults.rules import KINDS
from shdask.emulator.inspection.routes import OWN_PREFIX
from shdask.emulator.process.area import DEFAULT_PX, MAX_PX
from shdask.emulator.process.body import CRS84, EPSG_CODES, ProcessBody
from shdask.emulator.times import OPEN

CATALOG = {
    "/": "catalogLanding",
    "/conformance": "catalogConformance",
    "/collections": "catalogCollections",
    "/collections/{collectionId}": "catalogCollection",
    "/collections/{collectionId}/queryables": "catalogQueryables",
    "/collections/{collectionId}/items": "catalogItems",
    "/collections/{collectionId}/items/{featureId}": "catalogItem",
    "/search": "catalogSearch",
}
OTHERS = {
    "/aux/ratelimit/contract": "contract",
    "/aux/ratelimit/statistics/tokenCounts/{userId}": "tokenCounts",
    OWN_PREFIX: "page",
    OWN_PREFIX + "stats": "stats",
    OWN_PREFIX + "requests": "requests",
    OWN_PREFIX + "jobs": "jobs",
    OWN_PREFIX + "reset": "reset",
    OWN_PREFIX + "revoke-tokens": "revokeTokens",
    OWN_PREFIX + "faults": "faults",
    OWN_PREFIX + "inspection.json": "inspection",
    OWN_PREFIX + "exchanges/{number}.json": "exchange",
    OWN_PREFIX + "exchanges/{number}.png": "thumbnail",
    OWN_PREFIX + "openapi.json": "openapi",
}
KEYWORDS = {"ge": "minimum", "le": "maximum"}
"""pydantic's own words, which it writes for a number that a function reads first."""
METHODS = ("get", "post", "delete", "options")


def make_description(
    *,
    token_paths: Sequence[str],
    process_paths: Sequence[str],
    async_paths: Sequence[str],
    catalog_paths: Sequence[str],
) -> dict[str, Any]:
    """The document, as JSON. Reads a file of the package; the first path of several has the plain operation ids."""
    told = json.loads(files("shdask.emulator.inspection").joinpath("openapi.json").read_text("utf-8"))
    errors = told.pop("errors")
    items = {name: _complete(item, errors) for name, item in told.pop("items").items()}
    paths = {path: _number(items["token"], index) for index, path in enumerate(token_paths)}
    paths |= {path: _number(items["process"], index) for index, path in enumerate(process_paths)}
    for index, path in enumerate(async_paths):
        paths[path] = _number(items["asyncSubmit"], index)
        paths[path + "/{requestId}"] = _number(items["asyncStatus"], index)
    paths |= {
        root + path: _number(items[name], index)
        for index, root in enumerate(catalog_paths)
        for path, name in CATALOG.items()
    }
    paths |= {path: items[name] for path, name in OTHERS.items()}
    schemas = told["components"]["schemas"]
    schemas |= _describe_bodies()
    schemas["Fault"]["properties"]["kind"]["enum"] = [*KINDS, *(int(kind) for kind in KINDS if kind.isdecimal())]
    return {"openapi": "3.1.0", **told, "servers": [{"url": "/"}], "security": [{"oauth2": []}], "paths": paths}


def _complete(item: Mapping[str, Any], errors: Mapping[str, Mapping[str, str]]) -> dict[str, Any]:
    """The item with its service's errors among the answers of each method."""
    completed = dict(item)
    for method in METHODS:
        if method in item:
            told = {name: member for name, member in item[method].items() if name != "errors"}
            group = errors[item[method]["errors"]]
            refused = {status: {"$ref": f"#/components/responses/{name}"} for status, name in group.items()}
            completed[method] = {**told, "responses": {**refused, **told["responses"]}}
    return completed


def _number(item: Mapping[str, Any], index: int) -> dict[str, Any]:
    """The item with operation ids of its own, where it is not the first of its kind."""
    return {
        name: {**member, "operationId": f"{member['operationId']}{index + 1}"} if name in METHODS and index else member
        for name, member in item.items()
    }


def _describe_bodies() -> dict[str, Any]:
    _, described = models_json_schema(
        [(ProcessBody, "validation"), (AsyncBody, "validation"), (SearchBody, "validation")],
        by_alias=True,
        ref_template="#/components/schemas/{model}",
    )
    schemas: dict[str, Any] = _plain(described["$defs"])
    schemas["ProcessBody"]["required"] = ["input", "evalscript"]
    # what is read or checked by functions of ours, of which a generated schema cannot tell
    schemas["BoundsProperties"]["properties"]["crs"] = {
        "enum": [CRS84, *(f"http://www.opengis.net/def/crs/EPSG/0/{code}" for code in sorted(EPSG_CODES))],
        "default": CRS84,
    }
    end = {"anyOf": [{"type": "string", "format": "date-time"}, {"const": OPEN}]}
    schemas["TimeRange"]["properties"] = {"from": end, "to": end}
    side = {"type": "integer", "minimum": 1, "maximum": MAX_PX, "default": DEFAULT_PX}
    schemas["Output"]["properties"] |= {"width": side, "height": side}
    schemas["AsyncBody"]["required"] = ["input", "output"]
    schemas["AsyncBody"]["oneOf"] = [{"required": ["evalscript"]}, {"required": ["evalscriptReference"]}]
    side = {"type": "integer", "minimum": 1, "maximum": ASYNC_SIZES.max_px}
    schemas["AsyncOutput"]["properties"] |= {"width": side, "height": side}
    return schemas


def _plain(schema: Any) -> Any:
    """A generated schema without titles, which repeat names, and defaults, which are the models' own values."""
    if isinstance(schema, list):
        return [_plain(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        KEYWORDS.get(name, name): {key: _plain(value) for key, value in member.items()}
        if name == "properties"
        else _plain(member)
        for name, member in schema.items()
        if name != "default" and not (name == "title" and isinstance(member, str))
    }
