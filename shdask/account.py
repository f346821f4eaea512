"""What a process does with an account by itself: one client with limiter and token, and searches of the catalogue.

Refuses to know builds and clusters.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import shapely

from shdask.errors import PlanError
from shdask.fetch.auth import ClientCredentials
from shdask.fetch.budget import Budget
from shdask.fetch.catalog import fetch_acquisitions
from shdask.fetch.client import RequestsTransport, ServiceClient, Spent
from shdask.fetch.limiter import LimiterState, LocalRateGate
from shdask.plan.acquisition import WGS84
from shdask.plan.grid import Grid
from shdask.plan.group import GroupPlan
from shdask.plan.timeline import Timeline, make_timeline
from shdask.request.collections import find_collection
from shdask.request.reproject import reproject
from shdask.settings import Credentials, Deployment

DEGREES_OFF = 1e-4
"""Ten metres: the catalogue's footprints are rougher."""


@contextmanager
def open_service(
    deployment: Deployment, credentials: Credentials | None, *, connections: int = 1, budget: Budget | None = None
) -> Iterator[ServiceClient]:
    """A client of this process alone, logged in, with no cap but ``budget``.

    Raises AuthError when the credentials are refused, or there are none.
    """
    credentials = credentials or Credentials.load()
    transport = RequestsTransport(pool_size=connections)
    try:
        tokens = ClientCredentials(transport, deployment, credentials)
        tokens.token()
        gate = LocalRateGate(LimiterState.for_deployment(deployment))
        yield ServiceClient(deployment, transport, gate, tokens, budget=budget)
    finally:
        transport.close()


def fetch_timeline(client: ServiceClient, plan: GroupPlan, spent: Spent) -> Timeline:
    """The steps of ``plan``'s layer over its array, from the catalogue. What it costs is added to ``spent``.

    Raises as `fetch_acquisitions` does, and PlanError where the layer has no time.
    """
    layer = plan.layer
    if layer.interval is None:
        raise PlanError(f"layers.{layer.name}: cadence {layer.cadence!r} needs time = [first day, last day]; add it")
    acquisitions = fetch_acquisitions(
        client,
        collection=find_collection(layer.collection).catalog_id or layer.collection,
        area=outline(plan.grid),
        interval=layer.interval,
        data_filter=_filter_of(layer.data_json(layer.parts[0], None)[layer.inputs.index(layer.leading)]),
        spent=spent,
        prices=plan.deployment.prices,
    )
    return make_timeline(acquisitions, layer.cadence, layer.interval)


def outline(grid: Grid) -> shapely.Geometry:
    """The whole array as a polygon in EPSG:4326. Pure."""
    return reproject(shapely.box(*grid.bounds()), grid.crs, WGS84, tolerance=DEGREES_OFF)


def _filter_of(source: dict[str, Any]) -> dict[str, Any]:
    found = dict(source.get("dataFilter", {}))
    for key in ("timeRange", "mosaickingOrder"):
        found.pop(key, None)
    return found
