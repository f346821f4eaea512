"""The inspection page: the latest exchanges with their price and picture, totals and buckets.

Refuses to draw before somebody looks, and to show a secret.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import re
from collections import OrderedDict
from collections.abc import Callable, Mapping
from importlib.resources import files
from typing import Any

from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from shdask.emulator.account.limits import Limits
from shdask.emulator.account.routes import sampling_period
from shdask.emulator.inspection.journal import Exchange, Journal
from shdask.emulator.inspection.record import describe, read_request
from shdask.emulator.inspection.routes import OWN_PREFIX
from shdask.emulator.inspection.thumbnail import make_thumbnail

KEPT_THUMBNAILS = 256
NO_STORE = {"Cache-Control": "no-store"}
INLINE = re.compile(r"<(script|style)>(.*?)</\1>", re.DOTALL)


class _AsciiJSON(JSONResponse):
    """JSON in ASCII: callers may send halves of characters, which no encoding can say."""

    def render(self, content: Any) -> bytes:
        return json.dumps(content, allow_nan=False, separators=(",", ":")).encode("ascii")


class Inspection:
    """The routes of the page. What it shows is read from the journal when somebody asks."""

    def __init__(self, *, journal: Journal, totals: Callable[[], Mapping[str, Any]]) -> None:
        """``totals`` gives, ready for JSON, what stands above the list."""
        self._journal = journal
        self._totals = totals
        self._asked: dict[int, str] = {}
        self._thumbnails: OrderedDict[int, bytes | None] = OrderedDict()
        # one picture at a time, so that looking does not slow the answers
        self._drawing = asyncio.Lock()

    def routes(self) -> list[Route]:
        """All of them, ready for an application."""
        return [
            Route(OWN_PREFIX, self.page, methods=["GET"]),
            Route(OWN_PREFIX + "inspection.json", self.overview, methods=["GET"]),
            Route(OWN_PREFIX + "exchanges/{number:int}.json", self.exchange, methods=["GET"]),
            Route(OWN_PREFIX + "exchanges/{number:int}.png", self.picture, methods=["GET"]),
        ]

    async def page(self, request: Request) -> Response:
        """GET: the page itself; it loads nothing from elsewhere, and its policy forbids it to."""
        del request
        html = files("shdask.emulator.inspection").joinpath("page.html").read_text("utf-8")
        sources = " ".join(f"{kind}-src {_hash(text)};" for kind, text in INLINE.findall(html))
        policy = f"default-src 'none'; img-src 'self' data:; connect-src 'self'; {sources} frame-ancestors 'none'"
        headers = {**NO_STORE, "Content-Security-Policy": policy, "X-Content-Type-Options": "nosniff"}
        return HTMLResponse(html, headers=headers)

    async def overview(self, request: Request) -> Response:
        """GET: totals and a row per exchange, newest first."""
        del request
        held = self._journal.exchanges()
        # a body is read once, however often somebody looks
        known = self._asked
        self._asked = {each.number: known.get(each.number) or _tell_asked(read_request(each)) for each in held}
        rows = [_summarize(exchange, self._asked[exchange.number]) for exchange in held]
        return _AsciiJSON({**self._totals(), "exchanges": rows}, headers=NO_STORE)

    async def exchange(self, request: Request) -> Response:
        """GET: all of one exchange, without secrets."""
        found = self._find(request)
        return _gone() if found is None else _AsciiJSON(describe(found), headers=NO_STORE)

    async def picture(self, request: Request) -> Response:
        """GET: a small PNG of the answer, where it is a picture that is still held."""
        number = request.path_params["number"]
        async with self._drawing:
            found = self._find(request)
            if number not in self._thumbnails and found is not None and found.answer:
                kind = found.answer_headers.get("content-type", "")
                self._thumbnails[number] = await asyncio.to_thread(make_thumbnail, found.answer, kind)
                if len(self._thumbnails) > KEPT_THUMBNAILS:
                    self._thumbnails.popitem(last=False)
        content = None if found is None else self._thumbnails.get(number)
        return _gone() if content is None else Response(content, media_type="image/png", headers=NO_STORE)

    def _find(self, request: Request) -> Exchange | None:
        number = request.path_params["number"]
        return next((exchange for exchange in self._journal.exchanges() if exchange.number == number), None)


def describe_buckets(limits: Limits, now: float) -> list[dict[str, Any]]:
    """What every bucket holds and can hold at ``now``, ready for JSON."""
    return [
        {
            "kind": "requests" if kind == "REQUESTS" else "PU",
            "period": sampling_period(bucket.policy),
            "level": bucket.level(now),
            "capacity": bucket.policy.capacity,
        }
        for kind, buckets in limits.buckets().items()
        for bucket in buckets
    ]


def _summarize(exchange: Exchange, asked: str) -> dict[str, Any]:
    kind = exchange.answer_headers.get("content-type", "").partition(";")[0]
    return {
        "number": exchange.number,
        "time": exchange.time.isoformat(timespec="milliseconds"),
        "service": exchange.service,
        "method": exchange.method,
        "path": exchange.path,
        "status": exchange.status,
        "pu": exchange.pu,
        "ms": round(exchange.duration_s * 1000, 1),
        "nbytes": exchange.answer_nbytes,
        "type": kind,
        "fault": exchange.fault,
        "asked": asked,
        "error": _error(exchange) if exchange.status >= 400 else None,  # noqa: PLR2004  # errors begin there
        "picture": bool(exchange.answer) and (kind.startswith("image/") or kind.endswith("tar")),
    }


def _tell_asked(body: Any) -> str:
    """Collections and size of a request in a few words; whatever is not of the expected shape is left out."""
    if not isinstance(body, dict):
        return ""
    data = _member(body, "input", "data")
    names = [item.get("type") for item in data if isinstance(item, dict)] if isinstance(data, list) else []
    collections = body.get("collections")
    names += collections if isinstance(collections, list) else []
    words = [", ".join(str(name) for name in names)]
    output = body.get("output")
    if isinstance(output, dict):
        words += [
            f"{output[a]} x {output[b]}" for a, b in (("width", "height"), ("resx", "resy")) if {a, b} <= {*output}
        ]
    return " · ".join(word for word in words if word)


def _error(exchange: Exchange) -> str | None:
    try:
        body = json.loads(exchange.answer or b"")
    except ValueError:
        return None
    told = _member(body, "error", "message") or _member(body, "message") or _member(body, "description")
    return told if isinstance(told, str) else None


def _member(value: Any, *names: str) -> Any:
    for name in names:
        value = value.get(name) if isinstance(value, dict) else None
    return value


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _gone() -> Response:
    return JSONResponse({"message": "This exchange is not held any more, or holds no picture."}, 404)
