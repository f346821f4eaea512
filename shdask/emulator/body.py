"""The JSON of a Process request, checked field by field.

Refuses to know which collections exist and what a script declares.
"""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from shdask.emulator.refusal import Refusal, Violation, bad_payload, not_emulated
from shdask.emulator.source import Resampling

CRS84 = "http://www.opengis.net/def/crs/OGC/1.3/CRS84"
EPSG_URI = re.compile(r"http://www\.opengis\.net/def/crs/EPSG/0/([1-9][0-9]*)")
EPSG_CODES = frozenset(
    {
        *(4326, 3857, *range(32601, 32661), *range(32701, 32761)),
        *(2154, 2180, 2193, 3003, 3004, 3005, 3006, 3031, 3035, 3161, 3346, 3413, 3416, 3578, 3580, 3765, 3794, 3844),
        *(3912, 3995, 4026, 5514, 28992, 32184),
    }
)
"""Documentation page "Process API: CRS support"."""
RFC3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)", re.ASCII)
OPEN = ".."
"""An open end of a time range, as the service's own client writes it."""
MAX_VIOLATIONS = 20
VERSION_3 = re.compile(r"\s*//\s*VERSION\s*=\s*3(?![\d.])")


def _read_time(value: object) -> object:
    if value == OPEN:
        return None
    if not isinstance(value, str) or not RFC3339.fullmatch(value):
        raise ValueError("must be a date and time as in RFC 3339")
    try:
        return datetime.fromisoformat(value).astimezone(UTC)
    except OverflowError:
        raise ValueError("is beyond the calendar") from None


def _read_integer(value: object) -> object:
    # JSON has no integers: 10.0 is one, 10.5 and "10" are not
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _read_crs(value: object) -> object:
    if value == CRS84:
        return "EPSG:4326"
    match = EPSG_URI.fullmatch(value) if isinstance(value, str) else None
    if match is None or int(match[1]) not in EPSG_CODES:
        raise ValueError(f"the CRS {value} is not supported")
    return f"EPSG:{match[1]}"


Time = Annotated[datetime | None, BeforeValidator(_read_time)]
Integer = Annotated[int, BeforeValidator(_read_integer)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True, strict=True, allow_inf_nan=False)


class BoundsProperties(_Part):
    """``input.bounds.properties``; the CRS as pyproj reads it, x first."""

    crs: Annotated[str, BeforeValidator(_read_crs)] = "EPSG:4326"


class Bounds(_Part):
    """``input.bounds``."""

    bbox: list[float] | None = Field(default=None, min_length=4, max_length=4)
    geometry: dict[str, Any] | None = None
    properties: BoundsProperties = BoundsProperties()


class TimeRange(_Part):
    """``dataFilter.timeRange``, both ends inclusive; None is open."""

    start: Time = Field(alias="from")
    end: Time = Field(alias="to")

    @model_validator(mode="after")
    def _check_order(self) -> Self:
        if self.start is not None and self.end is not None and self.start > self.end:
            raise ValueError("from must not be after to")
        return self


class DataFilter(_Part):
    """``input.data[].dataFilter``."""

    time_range: TimeRange | None = Field(default=None, alias="timeRange")
    mosaicking_order: Literal["mostRecent", "leastRecent", "leastCC"] = Field("mostRecent", alias="mosaickingOrder")
    max_cloud_coverage: float = Field(100.0, alias="maxCloudCoverage", ge=0, le=100)


class Processing(_Part):
    """``input.data[].processing``."""

    upsampling: Resampling = "NEAREST"
    downsampling: Resampling = "NEAREST"


class DataItem(_Part):
    """``input.data[]``."""

    type: str
    id: str | None = None
    data_filter: DataFilter = Field(default=DataFilter.model_validate({}), alias="dataFilter")
    processing: Processing = Processing()


class Input(_Part):
    """``input``."""

    bounds: Bounds
    data: list[DataItem] = Field(min_length=1)


class Format(_Part):
    """``output.responses[].format``."""

    type: str = "image/png"
    quality: Integer = Field(default=90, ge=0, le=100)


class Response(_Part):
    """``output.responses[]``."""

    identifier: str = "default"
    format: Format = Format()


class Output(_Part):
    """``output``."""

    width: Integer | None = Field(default=None, ge=1)
    height: Integer | None = Field(default=None, ge=1)
    resx: float | None = Field(default=None, gt=0)
    resy: float | None = Field(default=None, gt=0)
    responses: list[Response] = Field(default=[Response()], min_length=1)


class ProcessBody(_Part):
    """A whole Process request."""

    input: Input
    evalscript: str | None = None
    output: Output = Output()


def read_body(raw: bytes) -> ProcessBody:
    """The request in these bytes. Pure; raises Refusal (400) that names each offending place."""
    if not raw.strip():
        raise Refusal(400, "COMMON_BAD_PAYLOAD", "Request body should be non-empty.")
    try:
        body = ProcessBody.model_validate(_parse(raw))
    except ValidationError as error:
        violations = tuple(
            Violation(parameter="->".join(str(part) for part in item["loc"]) or "body", violation=item["msg"])
            for item in error.errors(include_url=False, include_context=False, include_input=False)[:MAX_VIOLATIONS]
        )
        message = f"Invalid request: {violations[0].parameter}: {violations[0].violation}"
        raise Refusal(400, "COMMON_BAD_PAYLOAD", message, violations) from None
    if not body.evalscript or not body.evalscript.strip():
        raise Refusal(400, "COMMON_EXCEPTION", "Missing or empty evalscript.")
    if not VERSION_3.match(body.evalscript):
        raise not_emulated("evalscripts of other versions than 3: the first line must be //VERSION=3")
    return body


def _parse(raw: bytes) -> object:
    # of a key that occurs twice the last one holds, as in most parsers; NaN and Infinity are no JSON
    try:
        return json.loads(raw.decode(), parse_constant=_refuse_constant)
    except RecursionError:
        raise bad_payload("The body is nested too deeply.", "body") from None
    except ValueError as error:
        raise bad_payload(f"The body is not JSON: {error}", "body") from None


def _refuse_constant(name: str) -> object:
    raise ValueError(f"{name} is not allowed")
