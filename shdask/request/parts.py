"""Writes the parts of a request's body one by one, for callers who put a body together themselves. Pure.

Refuses to know collections, geometries and which values the service accepts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from shdask.errors import PlanError

PROCESS_MAX_PX = 2500
"""The longest side of one Process request's picture."""
ASYNC_PROCESS_MAX_PX = 10_000
"""The longest side of one Async Process job's picture."""


def input_json(
    collection: str,
    *,
    identifier: str | None = None,
    data_filter: Mapping[str, Any] | None = None,
    processing: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """One entry of ``input.data``; what is None or empty is left out, so that the service's default holds. Pure."""
    entry: dict[str, Any] = {"type": collection}
    if identifier:
        entry["id"] = identifier
    for key, part in (("dataFilter", data_filter), ("processing", processing)):
        said = without_none(part or {})
        if said:
            entry[key] = said
    return entry


def response_json(identifier: str, media_type: str) -> dict[str, Any]:
    """One entry of ``output.responses``. Pure."""
    return {"identifier": identifier, "format": {"type": media_type}}


def output_json(
    responses: Sequence[Mapping[str, Any]],
    *,
    delivery: Mapping[str, Any] | None = None,
    size: tuple[int, int] | None = None,
    resolution: tuple[float, float] | None = None,
) -> dict[str, Any]:
    """The ``output`` member. ``size`` is (width, height) in pixels, ``resolution`` (x, y) in units of the CRS. Pure.

    With neither, the service renders 256 x 256 pixels. Raises PlanError for both.
    """
    if size and resolution:
        raise PlanError("give size or resolution, not both: the service derives one from the other")
    output: dict[str, Any] = {"responses": responses}
    if delivery is not None:
        output["delivery"] = delivery
    if size:
        output["width"], output["height"] = map(_plain, size)
    if resolution:
        output["resx"], output["resy"] = map(_plain, resolution)
    return output


def body_json(
    *,
    bounds: Mapping[str, Any],
    data: Sequence[Mapping[str, Any]],
    evalscript: str | None = None,
    evalscript_reference: Mapping[str, Any] | None = None,
    output: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """A whole body. Pure. Raises PlanError unless there is exactly one of evalscript and reference to one."""
    if (evalscript is None) == (evalscript_reference is None):
        raise PlanError("give exactly one of evalscript and evalscript_reference")
    parts = {"evalscript": evalscript, "evalscriptReference": evalscript_reference, "output": output}
    return {"input": {"bounds": bounds, "data": data}, **without_none(parts)}


def merge_json(written: Mapping[str, Any], more: Mapping[str, Any]) -> dict[str, Any]:
    """``written`` with ``more`` laid over it, member by member where both have an object. Pure.

    Neither is changed. Raises TypeError where ``more`` has members for what is no object in ``written``.
    """
    merged = dict(written)
    for key, value in more.items():
        if not (isinstance(value, Mapping) and key in merged):
            merged[key] = value
        elif isinstance(merged[key], Mapping):
            merged[key] = merge_json(merged[key], value)
        elif value:
            raise TypeError(f"{key!r} is {merged[key]!r} and has no members; {value!r} cannot be laid over it")
    return merged


def without_none(members: Mapping[str, Any]) -> dict[str, Any]:
    """The members that are not None. Pure."""
    return {key: value for key, value in members.items() if value is not None}


def _plain(number: Any) -> Any:
    """A number that JSON can hold, where numpy's cannot be written."""
    return number.item() if hasattr(number, "item") else number
