"""The routes of the Async Process API, and the one that lists the emulator's jobs.

Refuses to know what becomes of a job.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from shdask.emulator.account.limits import Limits
from shdask.emulator.account.oauth import TokenIssuer
from shdask.emulator.async_process.body import read_order
from shdask.emulator.async_process.jobs import Jobs
from shdask.emulator.async_process.quote import Quotes
from shdask.emulator.config import EmulatorConfig
from shdask.emulator.faults.rules import FaultBook
from shdask.emulator.inspection.routes import OWN_PREFIX
from shdask.emulator.process.payload import collect, read_payload
from shdask.emulator.process.reply import CROSS_ORIGIN
from shdask.emulator.refusal import not_emulated, not_found, too_many_jobs
from shdask.emulator.responses import answer_call, answer_json, turn_away

ASYNC_PATHS = ("/api/v1/async/process", "/async/v1/process")


class AsyncRoutes:
    """Handlers that accept jobs and tell whether they run."""

    def __init__(
        self,
        *,
        config: EmulatorConfig,
        issuer: TokenIssuer,
        limits: Limits,
        faults: FaultBook,
        quotes: Quotes,
        jobs: Jobs,
        clock: Callable[[], float],
        timer: Callable[[], float],
    ) -> None:
        """``clock`` is the one of tokens, ``timer`` the one of limits and faults."""
        self._config = config
        self._issuer = issuer
        self._limits = limits
        self._faults = faults
        self._quotes = quotes
        self._jobs = jobs
        self._clock = clock
        self._timer = timer

    def routes(self) -> list[Route]:
        """All of them, ready for an application."""
        return [
            *(Route(path, self.submit, methods=["POST", "OPTIONS"]) for path in ASYNC_PATHS),
            *(Route(path + "/{request_id}", self.status, methods=["GET", "OPTIONS"]) for path in ASYNC_PATHS),
            Route(OWN_PREFIX + "jobs", self.jobs, methods=["GET"]),
        ]

    async def submit(self, request: Request) -> Response:
        """POST: a job is accepted, or one of the service's errors."""
        return await self._answer(request, self._accept)

    async def status(self, request: Request) -> Response:
        """GET: RUNNING, or 404 for a job that ended or never was."""
        return await self._answer(request, self._tell)

    async def jobs(self, request: Request) -> Response:
        """GET: the latest jobs, oldest first, without keys."""
        del request
        return JSONResponse(self._jobs.told())

    async def _answer(self, request: Request, act: Callable[[Request], Awaitable[Response]]) -> Response:
        if request.method == "OPTIONS":
            return Response(headers=CROSS_ORIGIN)
        return await answer_call(self._admit(request, act), self._config.latency_s)

    async def _admit(self, request: Request, act: Callable[[Request], Awaitable[Response]]) -> Response:
        self._issuer.check(request.headers.get("authorization"), self._clock())
        if limited := self._limits.admit(self._timer()):
            return turn_away(limited)
        try:
            response = await act(request)
        except Exception:
            self._limits.forgive(self._timer())
            raise
        response.headers.update(CROSS_ORIGIN)
        return response

    async def _tell(self, request: Request) -> Response:
        request_id = request.path_params["request_id"]
        if not self._jobs.is_running(request_id):
            raise not_found(f"Request {request_id}")
        return answer_json({"id": request_id, "status": "RUNNING"})

    async def _accept(self, request: Request) -> Response:
        headers, max_nbytes = request.headers, self._config.max_body_nbytes
        raw = await collect(request.stream(), max_nbytes)
        kind, encoding = headers.get("content-type", ""), headers.get("content-encoding", "")
        payload = read_payload(raw, kind, encoding, max_nbytes, forms=False)
        order = read_order(payload)
        render = self._quotes.draft(order)
        pu = None if order.script else await self._quotes.price(render)
        if self._config.s3_endpoint is None:
            raise not_emulated("Async Process without an S3 to deliver to: start it with --s3-endpoint")
        # from here on nothing waits, so that two calls never take one place
        now = self._timer()
        if self._jobs.full:
            busy = self._limits.advice.turn_away(too_many_jobs(), self._config.async_retry_after_s)
            return turn_away(self._limits.reject(busy, now))
        if pu is not None and (limited := self._limits.check_job(pu, now)):
            return turn_away(limited)
        job = self._jobs.accept(order, render, pu, self._faults.strike_job(payload, now))
        return answer_json({"id": job.id, "status": "RUNNING"})
