"""The routes that the service does not have: what an emulator saw, and what can be done to it.

Refuses to answer for the service, and to keep any state of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from shdask.emulator.account.oauth import TokenIssuer
from shdask.emulator.inspection.journal import Journal

OWN_PREFIX = "/emulator/"


class OwnRoutes:
    """Handlers under ``/emulator/``; they need no token, as the emulator listens on loopback only."""

    def __init__(
        self,
        *,
        journal: Journal,
        issuer: TokenIssuer,
        counts: Callable[[], Mapping[str, Any]],
        refill: Callable[[], None],
        describe: Callable[[], Mapping[str, Any]],
    ) -> None:
        """``counts`` are the stats; ``refill`` fills the buckets, and starts the faults from their first call.

        ``describe`` gives OpenAPI's.
        """
        self._journal = journal
        self._issuer = issuer
        self._counts = counts
        self._refill = refill
        self._describe = describe

    def routes(self) -> list[Route]:
        """All of them, ready for an application."""
        return [
            Route(OWN_PREFIX + "openapi.json", self.openapi, methods=["GET"]),
            Route(OWN_PREFIX + "stats", self.stats, methods=["GET"]),
            Route(OWN_PREFIX + "requests", self.requests, methods=["GET"]),
            Route(OWN_PREFIX + "reset", self.reset, methods=["POST"]),
            Route(OWN_PREFIX + "revoke-tokens", self.revoke_tokens, methods=["POST"]),
        ]

    async def openapi(self, request: Request) -> Response:
        """GET: the description of all routes."""
        del request
        return JSONResponse(self._describe())

    async def stats(self, request: Request) -> Response:
        """GET: counts since the start or the last reset."""
        del request
        return JSONResponse(self._counts())

    async def requests(self, request: Request) -> Response:
        """GET: the latest Process bodies, oldest first."""
        del request
        return JSONResponse(self._journal.bodies())

    async def reset(self, request: Request) -> Response:
        """POST: zero counts and full buckets; tokens stay valid."""
        del request
        self._journal.reset()
        self._issuer.issued = 0
        self._refill()
        return JSONResponse({})

    async def revoke_tokens(self, request: Request) -> Response:
        """POST: end the life of every token."""
        del request
        return JSONResponse({"revoked": self._issuer.revoke_all()})
