"""The JSON of a Process request, checked field by field.

Refuses to know which collections exist and what a script declares.
"""

from __future__ import annotations

import json
import re
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails

from shdask.emulator.process.options import DataItem
from shdask.emulator.refusal import Refusal, Violation, bad_payload, not_emulated

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
MAX_VIOLATIONS = 20
VERSION_3 = re.compile(r"\s*//\s*VERSION\s*=\s*3(?![\d.])")


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


Integer = Annotated[int, BeforeValidator(_read_integer)]


class Part(BaseModel):
    """Part of a body: strict, and deaf to what it does not know."""

    model_config = ConfigDict(extra="ignore", frozen=True, strict=True, allow_inf_nan=False)


class BoundsProperties(Part):
    """``input.bounds.properties``; the CRS as pyproj reads it, x first."""

    crs: Annotated[str, BeforeValidator(_read_crs)] = "EPSG:4326"


class Bounds(Part):
    """``input.bounds``."""

    bbox: list[float] | None = Field(default=None, min_length=4, max_length=4)
    geometry: dict[str, Any] | None = None
    properties: BoundsProperties = BoundsProperties()


class Input(Part):
    """``input``."""

    bounds: Bounds
    data: list[DataItem] = Field(min_length=1)


class Format(Part):
    """``output.responses[].format``."""

    type: str = "image/png"
    quality: Integer = Field(default=90, ge=0, le=100)


class Response(Part):
    """``output.responses[]``."""

    identifier: str = "default"
    format: Format = Format()


class Output(Part):
    """``output``."""

    width: Integer | None = Field(default=None, ge=1)
    height: Integer | None = Field(default=None, ge=1)
    resx: float | None = Field(default=None, gt=0)
    resy: float | None = Field(default=None, gt=0)
    responses: list[Response] = Field(default=[Response()], min_length=1)


class ProcessBody(Part):
    """A whole Process request."""

    input: Input
    evalscript: str | None = None
    output: Output = Output()


Body = TypeVar("Body", bound=ProcessBody)


def read_body(raw: bytes) -> ProcessBody:
    """The request in these bytes. Pure; raises Refusal (400) that names each offending place."""
    body = validate(raw, ProcessBody)
    check_script(body.evalscript)
    return body


def check_script(script: str | None) -> None:
    """Accept an evalscript that may be run; raises Refusal (400) for none and for other versions. Pure."""
    if not script or not script.strip():
        raise Refusal(400, "COMMON_EXCEPTION", "Missing or empty evalscript.")
    if not VERSION_3.match(script):
        raise not_emulated("evalscripts of other versions than 3: the first line must be //VERSION=3")


def validate(raw: bytes, model: type[Body]) -> Body:
    """The body of this kind in these bytes. Pure; raises Refusal (400) that names each offending place."""
    if not raw.strip():
        raise Refusal(400, "COMMON_BAD_PAYLOAD", "Request body should be non-empty.")
    try:
        return model.model_validate(_parse(raw))
    except ValidationError as error:
        violations = tuple(
            Violation(parameter="->".join(str(part) for part in item["loc"]) or "body", violation=explain(item))
            for item in error.errors(include_url=False, include_context=False, include_input=False)[:MAX_VIOLATIONS]
        )
        message = f"Invalid request: {violations[0].parameter}: {violations[0].violation}"
        raise Refusal(400, "COMMON_BAD_PAYLOAD", message, violations) from None


def explain(error: ErrorDetails) -> str:
    """What is wrong with one place, in words that do not name our classes. Pure."""
    if error["type"] in {"model_type", "dict_type"}:
        return "Input should be an object"
    return error["msg"].removeprefix("Value error, ")


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
