"""A search of the Catalog, from a JSON body or from the parameters of a URL: checked field by field.

Refuses to know scenes, and which collections exist.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

import shapely
from pydantic import BaseModel, ConfigDict, Field, StrictFloat, StrictInt, StrictStr, ValidationError
from shapely.geometry import LineString, Point, box, shape
from shapely.geometry.base import BaseGeometry

from shdask.emulator.catalog.error import invalid
from shdask.emulator.catalog.fields import Fields
from shdask.emulator.config import EmulatorConfig
from shdask.emulator.globe import WORLD
from shdask.emulator.process.body import CRS84, explain
from shdask.emulator.times import OPEN, read_time

MAX_LIMIT = 100
MAX_NEXT = 10**9
FLAT, WITH_HEIGHT = 4, 6
GEOMETRIES = ("Point", "MultiPoint", "LineString", "MultiLineString", "Polygon", "MultiPolygon")

Number = StrictInt | StrictFloat


class FieldsBody(BaseModel):
    """``fields``."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    include: list[StrictStr] | None = None
    exclude: list[StrictStr] | None = None


class SearchBody(BaseModel):
    """A whole search, as sent; null stands for what is left out."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    collections: list[StrictStr] = Field(min_length=1, max_length=1)
    datetime: StrictStr | None = None
    bbox: list[Number] | None = None
    intersects: dict[str, Any] | None = None
    ids: list[StrictStr] | None = None
    limit: StrictInt | None = Field(default=None, ge=1)
    next: StrictInt | None = Field(default=None, ge=0, le=MAX_NEXT)
    fields: FieldsBody | None = None
    filter: dict[str, Any] | StrictStr | None = None
    filter_lang: Literal["cql2-text", "cql2-json"] | None = Field(default=None, alias="filter-lang")
    filter_crs: StrictStr | None = Field(default=None, alias="filter-crs")
    distinct: StrictStr | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchRules:
    """What the documentation leaves open, as EmulatorConfig's ``catalog_*`` have it."""

    datetime: Literal["required", "unless_ids", "optional"] = "unless_ids"
    two_areas: Literal["refuse", "both"] = "refuse"
    fields_include: Literal["merged", "alone"] = "merged"
    fields_both: Literal["exclude", "include"] = "exclude"
    default_limit: int = 10

    @classmethod
    def of(cls, config: EmulatorConfig) -> SearchRules:
        """Those of an emulator. Pure."""
        return cls(
            datetime=config.catalog_datetime,
            two_areas=config.catalog_two_areas,
            fields_include=config.catalog_fields_include,
            fields_both=config.catalog_fields_both,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchQuery:
    """What is searched for; the filter is still unread, since it depends on the collection."""

    collection: str
    start: datetime | None
    """Inclusive; None is open."""
    end: datetime | None
    areas: tuple[BaseGeometry, ...]
    """In degrees, all of which a footprint must meet; empty: anywhere."""
    ids: frozenset[str] | None
    limit: int
    offset: int
    fields: Fields | None
    filter: dict[str, Any] | str | None
    filter_language: str | None
    distinct: str | None

    @property
    def bbox(self) -> tuple[float, float, float, float]:
        """(west, south, east, north) around the smallest of its areas, for the price. Pure."""
        found = min(self.areas, key=lambda area: box(*area.bounds).area, default=WORLD)
        west, south, east, north = found.bounds
        return west, south, east, north


def read_search(raw: bytes, rules: SearchRules) -> SearchQuery:
    """The search in a JSON body. Pure; raises CatalogError (400)."""
    try:
        body = SearchBody.model_validate_json(raw)
    except ValidationError as error:
        raise invalid(_explain(error)) from None
    return _make_query(body, rules)


def read_parameters(parameters: Mapping[str, str], rules: SearchRules) -> SearchQuery:
    """The search in a URL's parameters, lists parted by commas, ``fields`` to exclude with a minus before them.

    Pure; raises CatalogError (400).
    """
    values: dict[str, Any] = dict(parameters)
    for name in ("collections", "ids"):
        if name in values:
            values[name] = values[name].split(",")
    for name in ("limit", "next"):
        if name in values:
            values[name] = _read_number(name, values[name], int)
    if "bbox" in values:
        values["bbox"] = [_read_number("bbox", part, float) for part in values["bbox"].split(",")]
    if "intersects" in values:
        values["intersects"] = _read_json("intersects", values["intersects"])
    if values.get("filter-lang") == "cql2-json" and "filter" in values:
        values["filter"] = _read_json("filter", values["filter"])
    if "fields" in values:
        names = [name for name in values["fields"].split(",") if name]
        values["fields"] = {
            "include": [name.removeprefix("+") for name in names if not name.startswith("-")],
            "exclude": [name[1:] for name in names if name.startswith("-")],
        }
    try:
        body = SearchBody.model_validate(values)
    except ValidationError as error:
        raise invalid(_explain(error)) from None
    return _make_query(body, rules)


def _make_query(body: SearchBody, rules: SearchRules) -> SearchQuery:
    if body.filter_crs not in {None, CRS84}:
        raise invalid(f"filter-crs must be {CRS84}.")
    if body.bbox is not None and body.intersects is not None and rules.two_areas == "refuse":
        raise invalid("Only one of bbox and intersects may be given.")
    start, end = _read_interval(body, rules)
    areas = [] if body.bbox is None else [_read_bbox(body.bbox)]
    if body.intersects is not None:
        areas.append(_read_geometry(body.intersects))
    return SearchQuery(
        collection=body.collections[0],
        start=start,
        end=end,
        areas=tuple(areas),
        ids=None if body.ids is None else frozenset(body.ids),
        limit=min(body.limit or rules.default_limit, MAX_LIMIT),
        offset=body.next or 0,
        fields=None if body.fields is None else _make_fields(body.fields, rules),
        filter=body.filter,
        filter_language=body.filter_lang,
        distinct=body.distinct,
    )


def _make_fields(body: FieldsBody, rules: SearchRules) -> Fields:
    return Fields(
        include=tuple(body.include or ()),
        exclude=tuple(body.exclude or ()),
        includes=rules.fields_include,
        both=rules.fields_both,
    )


def _read_interval(body: SearchBody, rules: SearchRules) -> tuple[datetime | None, datetime | None]:
    if body.datetime is None:
        if rules.datetime == "optional" or (rules.datetime == "unless_ids" and body.ids is not None):
            return None, None
        raise invalid("datetime must be given.")
    parts = body.datetime.split("/")
    if len(parts) == 1:
        instant = _read_time(parts[0])
        return instant, instant
    if len(parts) > 2:  # noqa: PLR2004  # two ends
        raise invalid("datetime must be a time, or two with a slash between them.")
    start, end = (None if part == OPEN else _read_time(part) for part in parts)
    if start is not None and end is not None and start > end:
        raise invalid("datetime must not end before it starts.")
    return start, end


def _read_time(text: str) -> datetime:
    try:
        return read_time(text)
    except ValueError:
        raise invalid(f"datetime: {text} is no date and time as in RFC 3339.") from None


def _read_bbox(numbers: list[int | float]) -> BaseGeometry:
    if len(numbers) not in {FLAT, WITH_HEIGHT}:
        raise invalid("bbox must have four or six numbers.")
    half = len(numbers) // 2
    west, south, east, north = numbers[0], numbers[1], numbers[half], numbers[half + 1]
    if not (all(map(math.isfinite, numbers)) and max(abs(west), abs(east)) <= 180 and max(-south, north) <= 90):  # noqa: PLR2004  # degrees
        raise invalid("bbox must be in degrees, longitude first, within [-180, -90, 180, 90].")
    if south > north:
        raise invalid("bbox must have its lower edge first.")
    if west > east:
        return shapely.union(box(west, south, 180.0, north), box(-180.0, south, east, north))
    if (west, south) == (east, north):
        return Point(west, south)
    if west == east or south == north:
        return LineString([(west, south), (east, north)])
    return box(west, south, east, north)


def _read_geometry(geojson: dict[str, Any]) -> BaseGeometry:
    kind = geojson.get("type")
    if kind not in GEOMETRIES:
        raise invalid(f"intersects must be one of {', '.join(GEOMETRIES)}.")
    try:
        geometry = shapely.force_2d(shape({"type": kind, "coordinates": geojson.get("coordinates")}))
    except (TypeError, ValueError, IndexError, KeyError, OverflowError, shapely.errors.GEOSException):
        raise invalid("intersects cannot be read as GeoJSON.") from None
    if geometry.is_empty or not WORLD.covers(box(*geometry.bounds)):
        raise invalid("intersects must be in degrees, longitude first, within [-180, -90, 180, 90].")
    if not geometry.is_valid:
        raise invalid(f"intersects is not valid: {shapely.is_valid_reason(geometry)}.")
    return geometry


def _read_number(name: str, text: str, kind: type[int | float]) -> float:
    try:
        return kind(text)
    except ValueError:
        raise invalid(f"{name}: {text} is no number.") from None


def _read_json(name: str, text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise invalid(f"{name} cannot be read as JSON.") from None


def _explain(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_context=False)[0]
    place = ".".join(str(part) for part in first["loc"]) or "body"
    return f"{place}: {explain(first)}"
