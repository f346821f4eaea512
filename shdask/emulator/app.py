"""The service's routes: token and Process, and where the others come from.

Refuses to render and to listen: it turns HTTP into the other modules' words and back.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import partial
from typing import Any
from urllib.parse import parse_qsl

import numpy as np
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match, Route

from shdask.emulator.account.limits import Limits, make_token_bucket
from shdask.emulator.account.oauth import OAuthError, TokenIssuer, TooManyTokens
from shdask.emulator.account.routes import AccountRoutes
from shdask.emulator.async_process.delivery import Courier
from shdask.emulator.async_process.jobs import Jobs
from shdask.emulator.async_process.quote import Quotes
from shdask.emulator.async_process.routes import ASYNC_PATHS, AsyncRoutes
from shdask.emulator.async_process.till import Till
from shdask.emulator.catalog.routes import CATALOG_PREFIXES, CatalogRoutes
from shdask.emulator.config import EmulatorConfig
from shdask.emulator.faults.routes import FaultRoutes
from shdask.emulator.faults.rules import FaultBook
from shdask.emulator.faults.text import read_faults
from shdask.emulator.faults.wire import Faulty
from shdask.emulator.inspection.journal import Journal
from shdask.emulator.inspection.openapi import make_description
from shdask.emulator.inspection.page import Inspection, describe_buckets
from shdask.emulator.inspection.record import make_recorder
from shdask.emulator.inspection.routes import OwnRoutes
from shdask.emulator.inspection.watch import Watch
from shdask.emulator.process.body import read_body
from shdask.emulator.process.job import itemize, make_job
from shdask.emulator.process.payload import collect, read_payload
from shdask.emulator.process.price import price_pu
from shdask.emulator.process.reply import CROSS_ORIGIN, choose_reply
from shdask.emulator.refusal import Refusal, wrong_method
from shdask.emulator.render.pool import RendererPool
from shdask.emulator.render.survey import Surveyor
from shdask.emulator.responses import answer_call, answer_json, turn_away
from shdask.emulator.sources import make_sources

TOKEN_PATHS = (
    "/auth/realms/main/protocol/openid-connect/token",
    "/oauth/token",
    "/auth/realms/CDSE/protocol/openid-connect/token",
)
PROCESS_PATHS = ("/api/v1/process", "/process/v1")


class Emulator:
    """The state behind the routes: tokens, limits, counts and renderers. Lives on one event loop."""

    def __init__(
        self, config: EmulatorConfig, *, clock: Callable[[], float] = time.time, timer: Callable[[], float]
    ) -> None:
        self._config = config
        self._clock = clock
        self._timer = timer
        self._issuer = TokenIssuer(
            client_id=config.client_id,
            client_secret=config.client_secret,
            lifetime_s=config.token_lifetime_s,
            bucket=make_token_bucket(config, clock()),
        )
        self._limits = Limits.make(config, timer(), clock())
        self._journal = Journal(config.recorded_requests, config.recorded_nbytes)
        self._faults = FaultBook(read_faults(config.faults), seed=config.fault_seed, now=timer())
        self._sources = make_sources(config)
        self.pool = RendererPool(config, config.renderers)
        self._surveyor = Surveyor(self.pool, self._sources)
        quotes = Quotes(config=config, sources=self._sources, surveyor=self._surveyor, clock=clock)
        self._quotes = quotes
        self.jobs = Jobs(
            config=config,
            quotes=quotes,
            pool=RendererPool(config, config.async_renderers),
            courier=Courier(config),
            till=Till(taken=config.async_pu_taken, limits=self._limits, journal=self._journal, timer=timer),
            clock=clock,
        )

    async def token(self, request: Request) -> Response:
        """POST: a token for client credentials in a form."""
        form = dict(parse_qsl((await request.body()).decode(errors="replace"), keep_blank_values=True))
        try:
            authorization = request.headers.get("authorization")
            return answer_json(self._issuer.issue(form, self._clock(), authorization=authorization))
        except OAuthError as error:
            return answer_json(error.body, error.status)
        except TooManyTokens as error:
            return turn_away(self._limits.advice.too_many(error.wait_s))

    async def process(self, request: Request) -> Response:
        """POST: images and metadata, or one of the service's errors; sleeps the configured latency before either."""
        return await answer_call(self._answer(request), self._config.latency_s)

    async def _answer(self, request: Request) -> Response:
        if request.method == "OPTIONS":
            return Response(headers=CROSS_ORIGIN)
        self._issuer.check(request.headers.get("authorization"), self._clock())
        if limited := self._limits.admit(self._timer()):
            return turn_away(limited)
        try:
            return await self._sell(request)
        except Exception:
            self._limits.forgive(self._timer())
            raise

    async def _sell(self, request: Request) -> Response:
        headers = request.headers
        max_nbytes = self._config.max_body_nbytes
        raw = await collect(request.stream(), max_nbytes)
        payload = read_payload(raw, headers.get("content-type", ""), headers.get("content-encoding", ""), max_nbytes)
        self._journal.record(payload)
        now = datetime.fromtimestamp(self._clock(), UTC)
        body = read_body(payload)
        reply = choose_reply(body.output.responses, headers.get("accept", "*/*"), self._config.several_without_tar)
        job = make_job(body, self._sources, reply, now, self._config)
        surveyed = await self._surveyor.survey(job)
        pu = price_pu(itemize(job, surveyed.setup, surveyed.samples))
        if limited := self._limits.charge(pu, self._timer()):
            return turn_away(limited)
        try:
            content = await self.pool.render(job)
        except BaseException:
            self._limits.refund(pu, self._timer())
            raise
        self._limits.settle(pu, self._timer())
        self._journal.spend(pu)
        # the service computes in 32-bit floats, and shows it
        spent = {"x-processingunits-spent": repr(float(np.float32(pu)))}
        response = Response(content, media_type=reply.media_type, headers={**CROSS_ORIGIN, **spent})
        # observed answers come in chunks, and do not say how long they are
        del response.headers["content-length"]
        return response

    def catalog_routes(self) -> list[Route]:
        """The routes of the Catalog."""
        return CatalogRoutes(
            config=self._config,
            sources=self._sources,
            issuer=self._issuer,
            limits=self._limits,
            journal=self._journal,
            clock=self._clock,
            timer=self._timer,
        ).routes()

    def async_routes(self) -> list[Route]:
        """The routes of asynchronous jobs."""
        return AsyncRoutes(
            config=self._config,
            issuer=self._issuer,
            limits=self._limits,
            faults=self._faults,
            quotes=self._quotes,
            jobs=self.jobs,
            clock=self._clock,
            timer=self._timer,
        ).routes()

    def account_routes(self) -> list[Route]:
        """The routes by which an account asks about its limits."""
        return AccountRoutes(issuer=self._issuer, limits=self._limits, clock=self._clock, timer=self._timer).routes()

    def own_routes(self) -> list[Route]:
        """The routes that the service does not have."""

        def refill() -> None:
            self._limits.refill(self._timer())
            self._issuer.refill(self._clock())
            self._faults.restart(self._timer())
            self.jobs.reset()

        describe = partial(
            make_description,
            token_paths=TOKEN_PATHS,
            process_paths=PROCESS_PATHS,
            async_paths=ASYNC_PATHS,
            catalog_paths=CATALOG_PREFIXES,
        )
        own = OwnRoutes(
            journal=self._journal, issuer=self._issuer, counts=self._counts, refill=refill, describe=describe
        )
        faults = FaultRoutes(self._faults, timer=self._timer)
        return own.routes() + faults.routes() + Inspection(journal=self._journal, totals=self._totals).routes()

    def _counts(self) -> dict[str, Any]:
        return {
            **self._journal.stats(),
            "tokens_issued": self._issuer.issued,
            "faults": self._faults.counts(),
            "jobs": self.jobs.counts(),
        }

    def _totals(self) -> dict[str, Any]:
        buckets = describe_buckets(self._limits, self._timer())
        return {**self._counts(), "buckets": buckets, "job_list": self.jobs.told()}

    def watch(self, app: Any) -> Any:
        """``app`` with faults played on its calls, and every exchange kept and, where asked for, recorded."""
        revoke = self._issuer.revoke_all
        faulty = Faulty(app, self._faults, revoke_tokens=revoke, clock=self._clock, timer=self._timer)
        return Watch(faulty, self._journal, make_recorder(self._config))


def make_app(config: EmulatorConfig, *, timer: Callable[[], float] = time.monotonic) -> Any:
    """The emulator as an ASGI application; its renderers start and end with its lifespan."""
    emulator = Emulator(config, timer=timer)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        emulator.pool.start()
        try:
            yield
        finally:
            await emulator.jobs.close()
            emulator.pool.close()

    routes = [
        *(Route(path, emulator.token, methods=["POST"]) for path in TOKEN_PATHS),
        *(Route(path, emulator.process, methods=["POST", "OPTIONS"]) for path in PROCESS_PATHS),
        *emulator.async_routes(),
        *emulator.catalog_routes(),
        *emulator.account_routes(),
        *emulator.own_routes(),
    ]
    handlers = {404: _refuse_route, 405: _refuse_route}
    return emulator.watch(Starlette(routes=routes, lifespan=lifespan, exception_handlers=handlers))


async def _refuse_route(request: Request, _: Exception) -> Response:
    # one path may have a route for each of its methods
    found = [route for route in request.app.routes if route.matches(request.scope)[0] is not Match.NONE]
    if not found:
        refusal = Refusal(404, "COMMON_NOT_FOUND", "HTTP 404 Not Found")
        return answer_json(refusal.body(), refusal.status)
    refusal = wrong_method()
    response = answer_json(refusal.body(), refusal.status)
    response.headers["Allow"] = ", ".join(sorted({method for route in found for method in route.methods}))
    return response
