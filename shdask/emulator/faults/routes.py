"""The routes by which tests set faults while the emulator runs.

Refuses to read files: rules come in the call.
"""

from __future__ import annotations

import json
from collections.abc import Callable

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from shdask.emulator.faults.rules import FaultBook
from shdask.emulator.faults.text import parse_faults
from shdask.emulator.inspection.routes import OWN_PREFIX
from shdask.emulator.refusal import bad_payload


class FaultRoutes:
    """Handlers of ``/emulator/faults``; each answers with the rules in force and how often they struck."""

    def __init__(self, book: FaultBook, *, timer: Callable[[], float]) -> None:
        """``timer`` is the one of the book."""
        self._book = book
        self._timer = timer

    def routes(self) -> list[Route]:
        """All of them, ready for an application."""
        path = OWN_PREFIX + "faults"
        return [
            Route(path, self.show, methods=["GET"]),
            Route(path, self.set, methods=["POST"]),
            Route(path, self.clear, methods=["DELETE"]),
        ]

    async def show(self, request: Request) -> Response:
        """GET: each rule with the ``calls`` it counted and how often it ``struck``."""
        del request
        return JSONResponse(self._book.rules())

    async def set(self, request: Request) -> Response:
        """POST: a rule, a list of them, or a short text, as JSON; replacing the others or, with ``?add=true``, not.

        400 with the error wrapper where they cannot be read; nothing is changed then.
        """
        try:
            add = _read_add(request)
            faults = parse_faults(json.loads(await request.body()))
        except (ValueError, RecursionError) as error:
            refusal = bad_payload(str(error))
            return JSONResponse(refusal.body(), refusal.status)
        change = self._book.add if add else self._book.replace
        change(faults, self._timer())
        return await self.show(request)

    async def clear(self, request: Request) -> Response:
        """DELETE: no rules; what has struck stays counted in the stats."""
        self._book.replace((), self._timer())
        return await self.show(request)


def _read_add(request: Request) -> bool:
    text = request.query_params.get("add", "false")
    if text not in {"true", "false"}:
        raise ValueError(f"add must be true or false, not {text}")
    return text == "true"
