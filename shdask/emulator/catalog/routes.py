"""The routes of the Catalog, a STAC API, on both families of paths.

Refuses to find scenes and to describe them: it turns HTTP into the other modules' words and back.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
from starlette.datastructures import URL
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from shdask.emulator.account.limits import Limited, Limits
from shdask.emulator.account.oauth import TokenIssuer
from shdask.emulator.catalog.collections import CatalogCollection, list_collections, make_link
from shdask.emulator.catalog.error import CatalogError
from shdask.emulator.catalog.item import write_item
from shdask.emulator.catalog.landing import CONFORMS_TO, GEOJSON, describe_catalog, describe_collections
from shdask.emulator.catalog.price import price_search_pu
from shdask.emulator.catalog.query import SearchQuery, SearchRules, read_parameters, read_search
from shdask.emulator.catalog.search import CatalogSearch
from shdask.emulator.config import EmulatorConfig
from shdask.emulator.inspection.journal import Journal
from shdask.emulator.process.payload import collect
from shdask.emulator.refusal import Refusal
from shdask.emulator.source import Source

CATALOG_PREFIXES = ("/api/v1/catalog/1.0.0", "/catalog/v1")
ITEMS_PARAMETERS = ("bbox", "datetime", "limit", "next")
NEXT_TITLE = "Next set of results"

Handler = Callable[[Request], Awaitable[Response]]

logger = logging.getLogger(__name__)


class CatalogRoutes:
    """The handlers; calls count against the account's requests, searches against its processing units."""

    def __init__(
        self,
        *,
        config: EmulatorConfig,
        sources: Mapping[str, Source],
        issuer: TokenIssuer,
        limits: Limits,
        journal: Journal,
        clock: Callable[[], float],
        timer: Callable[[], float],
    ) -> None:
        """``clock`` is the one of tokens and of what has been acquired, ``timer`` the one of limits."""
        self._collections = list_collections(sources, config.archives)
        self._forbidden = frozenset(config.forbidden_collections)
        self._rules = SearchRules.of(config)
        self._max_nbytes = config.max_body_nbytes
        self._search = CatalogSearch(timer=timer, timeout_s=config.catalog_timeout_s)
        self._issuer = issuer
        self._limits = limits
        self._journal = journal
        self._clock = clock
        self._timer = timer

    def routes(self) -> list[Route]:
        """All of them, ready for an application; each path also with a slash at its end, as the documentation has."""
        # the landing page and the conformance classes are public
        guards = {
            "": _guard(self.landing),
            "/conformance": _guard(self.conformance),
            "/collections": _guard(self._account(self.list_collections)),
            "/collections/{collection}": _guard(self._account(self.collection)),
            "/collections/{collection}/queryables": _guard(self._account(self.queryables)),
            "/collections/{collection}/items": _guard(self._account(self.items)),
            "/collections/{collection}/items/{item}": _guard(self._account(self.item)),
            "/search": _guard(self._account(self.search)),
        }
        return [
            Route(prefix + path + slash, guard, methods=["GET", "POST"] if path == "/search" else ["GET"])
            for prefix in CATALOG_PREFIXES
            for path, guard in guards.items()
            for slash in ("", "/")
        ]

    async def landing(self, request: Request) -> Response:
        """GET: the Catalog itself."""
        return _json(describe_catalog(_root(request), self._allowed()))

    async def conformance(self, request: Request) -> Response:
        """GET: the conformance classes."""
        del request
        return _json({"conformsTo": CONFORMS_TO})

    async def list_collections(self, request: Request) -> Response:
        """GET: all collections the account may see."""
        return _json(describe_collections(_root(request), self._allowed()))

    async def collection(self, request: Request) -> Response:
        """GET: one collection."""
        return _json(self._choose(request.path_params["collection"]).describe(_root(request)))

    async def queryables(self, request: Request) -> Response:
        """GET: what the collection's items may be filtered by."""
        collection = self._choose(request.path_params["collection"])
        return _json(collection.describe_queryables(_root(request)), media_type="application/schema+json")

    async def item(self, request: Request) -> Response:
        """GET: one item."""
        _check_accept(request)
        collection, name = self._choose(request.path_params["collection"]), request.path_params["item"]
        scene = await asyncio.to_thread(collection.source.find, name)
        if scene is None:
            raise CatalogError(404, "NotFound", f"The collection {collection.id} has no item {name}.")
        return _json(write_item(collection, scene, _root(request)), media_type=GEOJSON)

    async def items(self, request: Request) -> Response:
        """GET: a collection's items by box and time."""
        _check_accept(request)
        collection = self._choose(request.path_params["collection"])
        parameters = {name: request.query_params[name] for name in ITEMS_PARAMETERS if name in request.query_params}
        query = read_parameters({**parameters, "collections": collection.id}, replace(self._rules, datetime="optional"))
        root = _root(request)
        features, following, headers = await self._buy(collection, query, root)
        own = URL(f"{root}/collections/{collection.id}/items?{request.url.query}".rstrip("?"))
        links: list[dict[str, Any]] = [
            make_link(f"{root}/", "root"),
            make_link(str(own), "self", GEOJSON),
            make_link(f"{root}/collections/{collection.id}", "parent"),
            *_link_next(own, following),
        ]
        body = {
            "type": "FeatureCollection",
            "features": features,
            "links": links,
            "timeStamp": self._now().isoformat(timespec="microseconds").replace("+00:00", "Z"),
            "numberReturned": len(features),
        }
        return _json(body, media_type=GEOJSON, headers=headers)

    async def search(self, request: Request) -> Response:
        """GET, POST: items, or the values they have, that match."""
        _check_accept(request)
        own = URL(f"{_root(request)}/search")
        if request.method == "POST":
            query = read_search(await collect(request.stream(), self._max_nbytes), self._rules)
        else:
            query = read_parameters(request.query_params, self._rules)
            own = own.replace(query=request.url.query)
        features, following, headers = await self._buy(self._choose(query.collection), query, _root(request))
        next_links = _link_next(own, following)
        if request.method == "POST":
            next_links = [
                {**link, "href": str(own), "method": "POST", "body": {"next": following}, "merge": True}
                for link in next_links
            ]
        context = {"limit": query.limit, "returned": len(features)}
        body = {
            "type": "FeatureCollection",
            "features": features,
            "links": [make_link(str(own), "self", GEOJSON), *next_links],
            "context": context if following is None else {"next": following, **context},
        }
        return _json(body, media_type=GEOJSON, headers=headers)

    async def _buy(
        self, collection: CatalogCollection, query: SearchQuery, root: str
    ) -> tuple[list[Any], int | None, dict[str, str]]:
        # the features of a page, where the next one begins, and the price as headers
        now = self._now()
        pu = price_search_pu(query.bbox, query.start or collection.start, query.end or now)
        if limited := self._limits.charge(pu, self._timer()):
            raise _TurnedAway(limited)

        def find() -> tuple[list[Any], int | None]:
            page = self._search.find(collection, query, now)
            if page.values is not None:
                return list(page.values), page.next
            items = [write_item(collection, scene, root) for scene in page.scenes]
            return [query.fields.select(item) if query.fields else item for item in items], page.next

        try:
            features, following = await asyncio.to_thread(find)
        except BaseException:
            self._limits.refund(pu, self._timer())
            raise
        self._limits.settle(pu, self._timer())
        self._journal.spend(pu)
        return features, following, {"x-processingunits-spent": repr(float(np.float32(pu)))}

    def _account(self, handler: Handler) -> Handler:
        async def admitted(request: Request) -> Response:
            self._issuer.check(request.headers.get("authorization"), self._clock())
            if limited := self._limits.admit(self._timer()):
                raise _TurnedAway(limited)
            try:
                return await handler(request)
            except _TurnedAway:
                raise
            except Exception:
                self._limits.forgive(self._timer())
                raise

        return admitted

    def _choose(self, name: str) -> CatalogCollection:
        if name in self._forbidden:
            description = f"You are not authorized to see the collection {name}."
            raise CatalogError(403, "InsufficientPermissions", description)
        if name not in self._collections:
            raise CatalogError(400, "IllegalCollection", f"The collection {name} is not in this catalogue.")
        return self._collections[name]

    def _allowed(self) -> list[CatalogCollection]:
        return [collection for name, collection in self._collections.items() if name not in self._forbidden]

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._clock(), UTC)


class _TurnedAway(Exception):
    """A call that a limit stopped."""

    def __init__(self, limited: Limited) -> None:
        super().__init__(limited)
        self.limited = limited


def _guard(handler: Handler) -> Handler:
    async def guarded(request: Request) -> Response:
        try:
            return await handler(request)
        except _TurnedAway as error:
            return _json(error.limited.body, status=error.limited.status, headers=error.limited.headers)
        except Refusal as refusal:
            return _json(refusal.body(), status=refusal.status)
        except CatalogError as error:
            return _json(error.body(), status=error.status)
        except Exception:
            logger.exception("the Catalog failed to answer")
            failure = CatalogError(500, "InternalServerError", "The emulator failed; its own log says how.")
            return _json(failure.body(), status=failure.status)

    return guarded


def _check_accept(request: Request) -> None:
    # since version 1.0.0 of the Catalog application/json is no name for its features; the status is not documented
    accepted = {kind.partition(";")[0].strip().lower() for kind in request.headers.get("accept", "*/*").split(",")}
    if not accepted & {GEOJSON, "application/*", "*/*", ""}:
        raise CatalogError(406, "NotAcceptable", f"The answer can only be had as {GEOJSON}.")


def _link_next(own: URL, following: int | None) -> list[dict[str, Any]]:
    if following is None:
        return []
    href = str(own.include_query_params(next=following))
    return [{**make_link(href, "next", GEOJSON), "title": NEXT_TITLE}]


def _root(request: Request) -> str:
    path = request.url.path
    prefix = next(prefix for prefix in CATALOG_PREFIXES if path.startswith(prefix))
    return str(request.base_url).rstrip("/") + prefix


def _json(
    body: Any, *, status: int = 200, media_type: str = "application/json", headers: Mapping[str, str] | None = None
) -> Response:
    return Response(json.dumps(body), status_code=status, media_type=media_type, headers=headers)
