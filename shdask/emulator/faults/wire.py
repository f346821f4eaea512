"""Plays faults on calls: between the application and the TCP connection, down to its reset.

Refuses to choose them, and to know what the application answers.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import time
from collections.abc import Callable

from uvicorn.protocols.http.h11_impl import H11Protocol

from shdask.emulator.faults.answers import Answer, make_answer, spoil_answer
from shdask.emulator.faults.rules import FaultBook, Strike
from shdask.emulator.inspection.journal import service_of
from shdask.emulator.inspection.routes import OWN_PREFIX
from shdask.emulator.inspection.watch import FAULT_STATE, App, Message, Receive, Scope, Send

TRANSPORT_STATE = "transport"
"""Where in a call's ASGI state the transport of its connection stands."""
LENGTH_HEADERS = frozenset({b"content-length", b"transfer-encoding"})
PIECES_PER_S = 20
RESET_ON_CLOSE = struct.pack("ii", 1, 0)
"""SO_LINGER with no time: what is unsent is dropped, and the other side gets a RST."""


class WireProtocol(H11Protocol):
    """uvicorn's HTTP/1.1, which lets the application see the connection."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's own
        """Called by asyncio; the state is copied for every call of the connection."""
        super().connection_made(transport)
        self.app_state = {**self.app_state, TRANSPORT_STATE: transport}


class Faulty:
    """An ASGI application around another, on whose calls the faults of a book are played.

    It needs WireProtocol beneath it. The emulator's own routes and the lifespan pass untouched.
    """

    def __init__(
        self,
        app: App,
        book: FaultBook,
        *,
        revoke_tokens: Callable[[], object],
        clock: Callable[[], float] = time.time,
        timer: Callable[[], float] = time.monotonic,
    ) -> None:
        """``timer`` is the one of the book."""
        self._app = app
        self._book = book
        self._revoke_tokens = revoke_tokens
        self._clock = clock
        self._timer = timer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer as the application does, or as the fault that strikes."""
        if scope["type"] != "http" or scope["path"].startswith(OWN_PREFIX) or not self._book.armed:
            await self._app(scope, receive, send)
            return
        body = await _read_body(receive)
        if body is None:
            return
        receive = _replay(body, receive)
        strike = self._book.strike(service_of(scope["path"]), body, self._timer())
        if strike is None:
            await self._app(scope, receive, send)
            return
        scope.setdefault("state", {})[FAULT_STATE] = strike.fault.kind
        if strike.fault.kind == "revoke":
            self._revoke_tokens()
            await self._app(scope, receive, send)
            return
        answer = await self._find_answer(strike, scope, receive)
        await _play(strike, answer, scope, receive, send)

    async def _find_answer(self, strike: Strike, scope: Scope, receive: Receive) -> Answer | None:
        real = await _collect(self._app, scope, receive) if strike.fault.needs_answer else None
        made = make_answer(strike, self._clock())
        if made is not None or real is None:
            return made
        return await asyncio.to_thread(spoil_answer, strike, real)


async def _play(strike: Strike, answer: Answer | None, scope: Scope, receive: Receive, send: Send) -> None:
    fault, kind = strike.fault, strike.fault.kind
    if kind == "hang":
        await _until_gone(receive)
    elif kind in {"reset", "close"} or answer is None:
        await _hang_up(scope, receive, reset=kind == "reset")
    elif kind in {"cut", "cut-chunked", "reset-body"}:
        await _start(send, answer, chunked=kind == "cut-chunked")
        await send(_body(answer.body[: int(len(answer.body) * fault.at)], more=True))
        await _hang_up(scope, receive, reset=kind == "reset-body")
    elif kind == "drip":
        await _start(send, answer)
        await _drip(answer.body, fault.nbytes_per_s, receive, send)
    elif kind != "delay" or not await _is_gone(receive, fault.delay_s):
        await _start(send, answer)
        await send(_body(answer.body, more=False))


async def _drip(body: bytes, nbytes_per_s: float, receive: Receive, send: Send) -> None:
    step = max(1, int(nbytes_per_s / PIECES_PER_S))
    gone = asyncio.ensure_future(_until_gone(receive))
    try:
        for start in range(0, len(body), step):
            await asyncio.wait({gone}, timeout=step / nbytes_per_s)
            if gone.done():
                return
            await send(_body(body[start : start + step], more=True))
        await send(_body(b"", more=False))
    finally:
        gone.cancel()


async def _hang_up(scope: Scope, receive: Receive, *, reset: bool) -> None:
    """End the connection, with a RST or, once everything is sent, in good order; and wait until it has ended."""
    transport: asyncio.Transport = scope["state"][TRANSPORT_STATE]
    if reset:
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
        transport.abort()
    else:
        transport.close()
    await _until_gone(receive)


async def _start(send: Send, answer: Answer, *, chunked: bool = False) -> None:
    # a head without a length makes the server send chunks
    length = [] if chunked else [(b"content-length", str(len(answer.body)).encode())]
    await send({"type": "http.response.start", "status": answer.status, "headers": [*answer.headers, *length]})


def _body(content: bytes, *, more: bool) -> Message:
    return {"type": "http.response.body", "body": content, "more_body": more}


async def _collect(app: App, scope: Scope, receive: Receive) -> Answer:
    """What the application answers, none of it sent."""
    start: Message = {}
    parts: list[bytes] = []

    async def keep(message: Message) -> None:
        if message["type"] == "http.response.start":
            start.update(message)
        else:
            parts.append(message.get("body", b""))

    await app(scope, receive, keep)
    headers = tuple((name, value) for name, value in start["headers"] if name not in LENGTH_HEADERS)
    return Answer(status=start["status"], headers=headers, body=b"".join(parts))


async def _read_body(receive: Receive) -> bytes | None:
    """The whole body of the call; None where the client left before its end."""
    parts: list[bytes] = []
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        parts.append(message.get("body", b""))
        if not message.get("more_body"):
            return b"".join(parts)


def _replay(body: bytes, receive: Receive) -> Receive:
    """A ``receive`` that first tells the body that was read, and then listens on."""
    told = iter([{"type": "http.request", "body": body, "more_body": False}])

    async def replay() -> Message:
        return next(told, None) or await receive()

    return replay


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _is_gone(receive: Receive, within_s: float) -> bool:
    try:
        await asyncio.wait_for(_until_gone(receive), within_s)
    except TimeoutError:
        return False
    return True
