"""Acquisitions from the Catalog: searches cut into calls, read page by page, none lost while the catalogue changes.

Refuses to know what scenes are for; HTTP, limits and retries are the client's.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import shapely

from shdask.errors import DecodeError, ServiceUnavailable
from shdask.fetch.client import ServiceClient, Spent
from shdask.model import TimeInterval
from shdask.plan.acquisition import Acquisition, read_item
from shdask.plan.cost import price_search
from shdask.request.catalog import search_areas, search_body, search_filter, search_intervals
from shdask.request.reproject import split_at_antimeridian
from shdask.settings import PUBLISHED_PRICES, Prices

logger = logging.getLogger(__name__)

MAX_READINGS = 4
"""How often the pages of a call are read from the first on, before the catalogue is taken for broken."""
SLACK_DEGREES = 1e-5
"""A metre: what footprints and areas may be rounded by."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """One page of a search."""

    acquisitions: tuple[Acquisition, ...]
    next: int | None
    """Where the next page begins; None after the last."""


class _Changed(Exception):
    """A page does not begin where the one before it ended."""


def fetch_acquisitions(
    client: ServiceClient,
    *,
    collection: str,
    area: shapely.Geometry,
    interval: TimeInterval,
    data_filter: Mapping[str, Any] | None = None,
    spent: Spent | None = None,
    prices: Prices = PUBLISHED_PRICES,
) -> list[Acquisition]:
    """Every scene of ``collection`` whose footprint meets ``area`` in the half-open ``interval``, by time and id.

    ``area`` is polygonal, in EPSG:4326 (longitude, latitude); it may pass 180 degrees. ``data_filter`` is what Process
    requests filter by, in their words (``maxCloudCoverage`` in percent, ``orbitDirection``, ``polarization``, ...).
    ``collection`` is the Catalog's name, such as ``sentinel-2-l2a`` or ``byoc-<id>``.

    An area across the antimeridian is searched on either side; a long time in several calls. Each page but a call's
    first begins with the last item of the page before, so that a catalogue that changes while it is read is noticed;
    the call is then read again from its first page, until its pages join. Pages are paid one by one, at
    ``prices`` where the answers do not state it, and added to ``spent`` as they come, also where this raises.

    Raises PlanError for a filter that the Catalog does not have; ServiceUnavailable where its pages never joined;
    else as ``ServiceClient.process``.
    """
    spent = Spent() if spent is None else spent
    cql = search_filter(data_filter or {})
    found: dict[str, Acquisition] = {}
    for part in search_areas(area):
        for span in search_intervals(part, interval):
            search = _Search(
                client=client, collection=collection, area=part, interval=span, cql=cql, spent=spent, prices=prices
            )
            found.update((scene.id, scene) for scene in search.read())
    near = _near(area)
    inside = [
        scene
        for scene in found.values()
        # a millisecond is the finest that the service is asked by, and a hull may hold more than the area
        if interval.start <= scene.time < interval.end and shapely.intersects(scene.footprint, near)
    ]
    return sorted(inside, key=lambda scene: (scene.time, scene.id))


def decode_page(body: bytes) -> Page:
    """One answer of a search. Pure. Raises DecodeError for what is no list of scenes."""
    try:
        told = json.loads(body)
        items = told["features"]
        return Page(acquisitions=tuple(read_item(item) for item in items), next=_next(told) if items else None)
    # a body of brackets only nests deeper than Python reads
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise DecodeError(f"the catalogue answered with no list of scenes ({type(error).__name__}: {error})") from error


@dataclass(frozen=True, slots=True, kw_only=True)
class _Search:
    """One call: an area and a time, on as many pages as it takes."""

    client: ServiceClient
    collection: str
    area: shapely.Geometry
    interval: TimeInterval
    cql: str | None
    spent: Spent
    prices: Prices

    def read(self) -> list[Acquisition]:
        for _ in range(MAX_READINGS):
            try:
                return self._read_pages()
            except _Changed:
                logger.info("the catalogue changed while %s was read; reading again", self.collection)
        raise ServiceUnavailable(
            f"the catalogue of {self.collection} changed {MAX_READINGS} times while it was read; try again later"
        )

    def _read_pages(self) -> list[Acquisition]:
        page, offset = self._page(None), 0
        found = list(page.acquisitions)
        while page.next is not None:
            if page.next <= offset:
                raise DecodeError(f"the catalogue of {self.collection} turns back from item {offset} to {page.next}")
            # documented as a number that counts items; where it does not, pages cannot be made to overlap
            counts = page.next == offset + len(page.acquisitions) and len(page.acquisitions) > 1
            offset = page.next - counts
            page = self._page(offset)
            if counts and (not page.acquisitions or page.acquisitions[0].id != found[-1].id):
                raise _Changed
            found.extend(page.acquisitions[counts:])
        return found

    def _page(self, offset: int | None) -> Page:
        body = search_body(self.collection, area=self.area, interval=self.interval, cql=self.cql, next=offset)
        pu = price_search(self.area, self.interval, prices=self.prices)
        return self.client.search(body, pu, decode_page, spent=self.spent).value


def _next(told: Mapping[str, Any]) -> int | None:
    context = told.get("context")
    found = context.get("next") if isinstance(context, Mapping) else None
    if found is None:
        found = next((_body_of(link).get("next") for link in told.get("links") or () if _is_next(link)), None)
    return None if found is None else int(found)


def _is_next(link: object) -> bool:
    return isinstance(link, Mapping) and link.get("rel") == "next"


def _body_of(link: Mapping[str, Any]) -> Mapping[str, Any]:
    body = link.get("body")
    return body if isinstance(body, Mapping) else {}


def _near(area: shapely.Geometry) -> shapely.Geometry:
    """``area`` and a metre around it, cut at the antimeridian as footprints are."""
    widened = shapely.buffer(split_at_antimeridian(area, "EPSG:4326"), SLACK_DEGREES)
    shapely.prepare(widened)
    return widened
