"""Writes the body of the engine's Process requests: one TIFF, cut at the half-open intervals of a plan. Pure.

Refuses to know plans, tiles and HTTP.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from shdask.errors import PlanError
from shdask.model import TimeInterval
from shdask.request.parts import body_json, input_json, output_json, response_json, without_none

_MILLISECOND = timedelta(milliseconds=1)


def data_json(
    collection: str,
    *,
    interval: TimeInterval | None = None,
    max_cloud_cover: float | None = None,
    mosaicking_order: str | None = None,
    upsampling: str | None = None,
    downsampling: str | None = None,
    identifier: str | None = None,
    data_filter: Mapping[str, Any] | None = None,
    processing: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """One entry of ``input.data``; what is None is left out, so that the service's default holds. Pure.

    ``max_cloud_cover`` is a share, 0 to 1, and is sent as whole percent. Resampling names are the service's:
    NEAREST, BILINEAR, BICUBIC. ``identifier`` names the entry for a script that reads several of them;
    ``data_filter`` and ``processing`` are the collection's own options, by the service's names.
    Raises PlanError for a share outside 0 to 1, for an interval without a millisecond, and for an option that is
    said twice.
    """
    cloud = None if max_cloud_cover is None else _percent(max_cloud_cover)
    resampling = {"upsampling": upsampling, "downsampling": downsampling}
    chosen = {
        "timeRange": None if interval is None else time_range_json(interval),
        "maxCloudCoverage": cloud,
        "mosaickingOrder": mosaicking_order,
    }
    return input_json(
        collection,
        identifier=identifier,
        data_filter=_join(chosen, data_filter or {}),
        processing=_join({key: value and value.upper() for key, value in resampling.items()}, processing or {}),
    )


def process_body(
    *,
    bounds: Mapping[str, Any],
    data: Sequence[Mapping[str, Any]],
    evalscript: str,
    width: int,
    height: int,
    media_type: str = "image/tiff",
    outputs: Sequence[str] = ("default",),
) -> dict[str, Any]:
    """The body of one Process request for ``outputs`` of its script, by their ids. Pure.

    Several outputs come as a tar, where the request's header ``Accept`` says so.
    ``width`` and ``height`` are pixels and always sent: from ``resx``/``resy`` the service would derive a size by a
    rounding rule it does not document. Raises PlanError for a size below one pixel.
    """
    if width < 1 or height < 1:
        raise PlanError(f"a request of {width} x {height} pixels has no pixel")
    return body_json(
        bounds=dict(bounds),
        data=[dict(entry) for entry in data],
        evalscript=evalscript,
        output=output_json([response_json(each, media_type) for each in outputs], size=(int(width), int(height))),
    )


def time_range_json(interval: TimeInterval) -> dict[str, str]:
    """The service's ``timeRange``, closed at both ends, that holds the milliseconds of the half-open interval. Pure.

    ``to`` is the end minus 1 ms, so that a scene at midnight falls in exactly one step.
    Raises PlanError for an interval that holds no whole millisecond.
    """
    start, last = _next_millisecond(interval.start), _next_millisecond(interval.end) - _MILLISECOND
    if start > last:
        raise PlanError(f"the interval {interval.start} .. {interval.end} holds no millisecond")
    return {"from": _rfc3339(start), "to": _rfc3339(last)}


def encode_json(body: Mapping[str, Any]) -> bytes:
    """The body as canonical UTF-8 JSON: sorted keys, no spaces, so that equal bodies are equal bytes. Pure.

    Raises PlanError for a number that JSON cannot hold (NaN, infinity).
    """
    try:
        text = json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    except ValueError as error:
        raise PlanError(f"the request cannot be written as JSON: {error}") from error
    return text.encode()


def _join(chosen: Mapping[str, Any], more: Mapping[str, Any]) -> dict[str, Any]:
    chosen = without_none(chosen)
    twice = sorted(chosen.keys() & more.keys())
    if twice:
        raise PlanError(f"{', '.join(twice)} is said twice, as an option and by the layer's own field; leave one out")
    return {**chosen, **more}


def _percent(share: float) -> int:
    if not 0 <= share <= 1:
        raise PlanError(f"max_cloud_cover is a share from 0 to 1, not {share}; for 30 % write 0.3")
    # round, not int: 0.29 * 100 is 28.999999999999996
    return round(share * 100)


def _next_millisecond(moment: datetime) -> datetime:
    past = moment.microsecond % 1000
    return moment if past == 0 else moment + timedelta(microseconds=1000 - past)


def _rfc3339(moment: datetime) -> str:
    precision = "milliseconds" if moment.microsecond else "seconds"
    return moment.replace(tzinfo=None).isoformat(timespec=precision) + "Z"
