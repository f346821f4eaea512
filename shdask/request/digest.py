"""What a request asks for, as one short text: equal questions have equal digests, however they were written. Pure.

Refuses to know HTTP, tiles and prices.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Mapping
from typing import Any

from shdask.errors import PlanError
from shdask.request.body import encode_json

_DIGEST_CHARS = 32
"""128 bits: two different requests of one cube never meet."""


def request_digest(bodies: Iterable[Mapping[str, Any]]) -> str:
    """32 hexadecimal digits of the requests' bodies, in their order. Pure.

    Neither the order of keys nor the way a number is written counts (10 and 10.0 are one); an evalscript stands in
    it by its SHA-256. Raises PlanError for a number that JSON cannot hold.
    """
    digest = hashlib.sha256()
    for body in bodies:
        digest.update(encode_json(_canonical(body)) + b"\n")
    return digest.hexdigest()[:_DIGEST_CHARS]


def _canonical(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _script_mark(part) if key == "evalscript" else _canonical(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_canonical(part) for part in value]
    return _normal(value) if isinstance(value, float) else value


def _script_mark(script: Any) -> Any:
    if not isinstance(script, str):
        return _canonical(script)
    return {"sha256": hashlib.sha256(script.encode()).hexdigest()}


def _normal(number: float) -> float:
    """An int where the number is whole, so that -0.0 and 0, 10 and 10.0 are one."""
    if not math.isfinite(number):
        raise PlanError(f"a request cannot hold the number {number}")
    return int(number) if number.is_integer() else number
