"""Watches the wire: every call of the service's routes and its answer become one exchange.

Refuses to change a byte of either, and to remember a credential.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from shdask.emulator.inspection.journal import Exchange, Journal
from shdask.emulator.inspection.record import Recorder
from shdask.emulator.inspection.routes import OWN_PREFIX

FAULT_STATE = "fault"
"""Where in a call's ASGI state the name of the fault stands that was played on it."""
REQUEST_NBYTES = 8 * 2**20
"""Kept of a request's body; far more than any evalscript needs."""
READ_AHEAD_NBYTES = 2**20
CREDENTIAL_HEADERS = frozenset({"authorization", "proxy-authorization", "cookie", "x-api-key"})

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Scope = MutableMapping[str, Any]
App = Callable[[Scope, Receive, Send], Awaitable[None]]


@dataclass(slots=True, kw_only=True)
class _Wire:
    """What went over one connection for one call, so far."""

    request: list[bytes] = field(default_factory=list)
    request_nbytes: int = 0
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    answer: list[bytes] = field(default_factory=list)
    whole: bool = False

    def hear(self, message: Message) -> None:
        """Note what the client sent, the beginning of it where it is long."""
        piece = message.get("body", b"")
        self.request.append(piece[: max(0, REQUEST_NBYTES - self.request_nbytes)])
        self.request_nbytes += len(piece)

    def say(self, message: Message) -> bool:
        """Note what the application answers; True where that is the end of it."""
        if message["type"] == "http.response.start":
            self.status, self.headers = message["status"], _headers(message.get("headers", ()))
            return False
        self.answer.append(message.get("body", b""))
        ends = not self.whole and not message.get("more_body")
        self.whole = self.whole or ends
        return ends


class Watch:
    """An ASGI application around another; the emulator's own routes and the lifespan pass unseen."""

    def __init__(
        self,
        app: App,
        journal: Journal,
        recorder: Recorder | None,
        *,
        clock: Callable[[], float] = time.time,
        timer: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._app = app
        self._journal = journal
        self._recorder = recorder
        self._clock = clock
        self._timer = timer
        self._number = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer as the application does; the exchange is kept and on disk before its last bytes are sent."""
        if scope["type"] != "http" or scope["path"].startswith(OWN_PREFIX):
            await self._app(scope, receive, send)
            return
        self._journal.connect(scope.get("client"))
        self._number += 1
        number, wire, came, started = self._number, _Wire(), self._clock(), self._timer()

        async def finish() -> None:
            exchange = _make_exchange(number, scope, wire, came, self._timer() - started)
            self._journal.answer(exchange)
            if self._recorder is not None:
                await self._recorder.write(exchange)

        # a call that is turned away at the door would be kept without its body
        ahead = await _read_ahead(scope, receive)
        for message in ahead:
            wire.hear(message)

        async def hear() -> Message:
            if ahead:
                return ahead.pop(0)
            message = await receive()
            wire.hear(message)
            return message

        async def say(message: Message) -> None:
            if wire.say(message):
                await finish()
            await send(message)

        try:
            await self._app(scope, hear, say)
        finally:
            if not wire.whole:
                wire.status = 0
                await finish()


async def _read_ahead(scope: Scope, receive: Receive) -> list[Message]:
    """What the client sends, where it is a small body of known length; else nothing."""
    length = _headers(scope["headers"]).get("content-length", "")
    if not length.isdecimal() or int(length) > READ_AHEAD_NBYTES:
        return []
    messages = [await receive()]
    while messages[-1].get("more_body"):
        messages.append(await receive())
    return messages


def _make_exchange(number: int, scope: Any, wire: _Wire, came: float, duration_s: float) -> Exchange:
    answer = b"".join(wire.answer)
    exchange = Exchange(
        number=number,
        time=datetime.fromtimestamp(came, UTC),
        method=scope["method"],
        path=scope["path"],
        query=scope.get("query_string", b"").decode(errors="replace"),
        request_headers={
            name: value for name, value in _headers(scope["headers"]).items() if name not in CREDENTIAL_HEADERS
        },
        request_body=b"".join(wire.request),
        status=wire.status,
        answer_headers=wire.headers,
        answer=answer,
        answer_nbytes=len(answer),
        duration_s=duration_s,
        fault=scope.get("state", {}).get(FAULT_STATE),
    )
    return exchange.without_contents() if exchange.service == "token" else exchange


def _headers(raw: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    return {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in raw}
