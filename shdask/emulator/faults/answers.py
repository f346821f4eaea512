"""The answers that faults give: made up, or the real one spoilt.

Refuses to know which call they are given to, and the wire.
"""

from __future__ import annotations

import email.utils
import json
import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shdask.emulator.faults.rules import RetryAfter, Strike
from shdask.emulator.refusal import Refusal, bad_payload, phrase_of, too_many_requests, used_up

CHANGED = 64
"""One byte in so many is changed in a garbled body."""
ABSURD: tuple[RetryAfter, ...] = ("negative", "huge", "word", "date", "fraction")
WIDER = {"uint8": "uint16", "int8": "int16", "uint16": "uint32", "int16": "int32", "float32": "float64"}
TIFF = b"image/tiff"
PAGE = """<!DOCTYPE html>
<html>
<head><title>{title}</title></head>
<body><center><h1>{title}</h1></center><hr><center>gateway</center></body>
</html>
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A whole answer, before it is sent."""

    status: int
    headers: tuple[tuple[bytes, bytes], ...]
    """Names in lower case, without those that say how long the body is."""
    body: bytes


def make_answer(strike: Strike, posix_s: float) -> Answer | None:
    """The answer of a fault that needs no real one; None for kinds that are no answer. Pure."""
    fault = strike.fault
    if fault.kind == "html":
        return _page(200, "Welcome")
    if fault.kind == "json":
        return _json(200, Refusal(500, "RENDERER_EXCEPTION", "The request failed.").body())
    refusal = _REFUSALS.get(fault.kind)
    if refusal is None:
        return None
    if fault.page == "html":
        return _page(refusal.status, f"{refusal.status} {phrase_of(refusal.status)}")
    retry_after = _retry_after(strike, posix_s) if fault.kind == "429" else None
    headers = () if retry_after is None else ((b"retry-after", retry_after.encode()),)
    return _json(refusal.status, _error_body(strike, refusal), headers)


def spoil_answer(strike: Strike, answer: Answer) -> Answer:
    """The real answer as the fault leaves it: garbled, of another shape, or as it was.

    Deterministic; may take a second of processor time for a large TIFF. Touches memory only.
    """
    kind = strike.fault.kind
    alter = _ALTERATIONS.get(kind)
    if alter is not None and (b"content-type", TIFF) in answer.headers:
        return replace(answer, body=_rewrite_tiff(answer.body, alter))
    if alter is not None or kind == "garbled":
        return replace(answer, body=garble(answer.body, strike.luck))
    return answer


def garble(body: bytes, seed: int) -> bytes:
    """``body`` with one byte in 64 changed, and one at least; the same for the same seed. Pure."""
    rng = random.Random(seed)
    spoilt = bytearray(body)
    for place in rng.sample(range(len(body)), -(-len(body) // CHANGED)):
        spoilt[place] ^= rng.randrange(1, 256)
    return bytes(spoilt)


_REFUSALS: dict[str, Refusal] = {
    "400": bad_payload("Request body should be non-empty."),
    "401": Refusal(401, "COMMON_UNAUTHORIZED", "The access token is expired, revoked or unknown."),
    "403": used_up(),
    "429": too_many_requests(),
    "500": Refusal(500, "RENDERER_EXCEPTION", "java.util.concurrent.ExecutionException: the storage did not answer"),
    # no body of these has been observed
    "502": Refusal(502, "COMMON_EXCEPTION", "Bad Gateway"),
    "503": Refusal(503, "COMMON_EXCEPTION", "Service Unavailable"),
    "504": Refusal(504, "COMMON_EXCEPTION", "Gateway Timeout"),
}

_TOKEN_ERRORS: dict[int, tuple[str, str]] = {
    400: ("invalid_request", "Missing form parameter: grant_type"),
    401: ("invalid_client", "Invalid client or Invalid client credentials"),
}
"""What Keycloak says in the place of the other services' errors."""


def _error_body(strike: Strike, refusal: Refusal) -> dict[str, Any]:
    """An error in the form of its service: Keycloak and the Catalog have their own."""
    if strike.service == "token" and refusal.status in _TOKEN_ERRORS:
        error, description = _TOKEN_ERRORS[refusal.status]
        return {"error": error, "error_description": description}
    if strike.service == "catalog" and refusal.status not in {HTTPStatus.UNAUTHORIZED, HTTPStatus.TOO_MANY_REQUESTS}:
        return {"code": refusal.code, "description": refusal.message}
    return refusal.body()


def _retry_after(strike: Strike, posix_s: float) -> str | None:
    form = strike.fault.retry_after
    if form == "absurd":
        form = ABSURD[strike.luck % len(ABSURD)]
    values: dict[RetryAfter, str] = {
        "ms": "1000",
        "s": "1",
        "negative": "-1",
        "huge": "1000000000000",
        "word": "soon",
        "date": email.utils.formatdate(posix_s + 1, usegmt=True),
        "fraction": "3.5",
    }
    return values.get(form)


def _json(status: int, body: dict[str, Any], headers: tuple[tuple[bytes, bytes], ...] = ()) -> Answer:
    kind = (b"content-type", b"application/json")
    return Answer(status=status, headers=(kind, *headers), body=json.dumps(body).encode())


def _page(status: int, title: str) -> Answer:
    kind = (b"content-type", b"text/html; charset=utf-8")
    return Answer(status=status, headers=(kind,), body=PAGE.format(title=title).encode())


def _crop(image: NDArray[Any]) -> NDArray[Any]:
    return image[:, : max(1, image.shape[1] - 1), : image.shape[2] - 1] if image.shape[2] > 1 else image.repeat(2, 2)


def _widen(image: NDArray[Any]) -> NDArray[Any]:
    return image.astype(WIDER[image.dtype.name])


def _drop_band(image: NDArray[Any]) -> NDArray[Any]:
    return image[:-1] if len(image) > 1 else np.concatenate([image, image])


_ALTERATIONS: dict[str, Callable[[NDArray[Any]], NDArray[Any]]] = {
    "shape": _crop,
    "dtype": _widen,
    "bands": _drop_band,
}


def _rewrite_tiff(body: bytes, alter: Callable[[NDArray[Any]], NDArray[Any]]) -> bytes:
    from rasterio.io import MemoryFile

    with MemoryFile(body) as source, source.open() as image:
        pixels = alter(image.read())
        profile = {**image.profile, "dtype": pixels.dtype.name}
    profile.update(count=pixels.shape[0], height=pixels.shape[1], width=pixels.shape[2])
    with MemoryFile() as target:
        with target.open(**profile) as written:
            written.write(pixels)
        return bytes(target.read())
