"""Searches carried out: scenes that match, newest first, page by page, and the values they have.

Refuses to know HTTP and JSON. Lazy: what a page does not need is not looked for.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from shdask.emulator.catalog.collections import DATE, CatalogCollection
from shdask.emulator.catalog.error import CatalogError, invalid
from shdask.emulator.catalog.filter import Condition, read_filter
from shdask.emulator.catalog.query import SearchQuery
from shdask.emulator.globe import WORLD
from shdask.emulator.source import Scene

EARLIEST = datetime(1972, 7, 23, tzinfo=UTC)
"""The first satellite that mapped land; a start before it is taken for it."""
KEPT = 16
TICK = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """A stretch of a search's answer."""

    scenes: tuple[Scene, ...] = ()
    values: tuple[str, ...] | None = None
    """Of a search for distinct values, instead of scenes."""
    next: int | None = None
    """Where the next page begins; None: there is none."""


class _Finding:
    """The scenes of one search so far; pages of it go on where the last one ended."""

    def __init__(self, candidates: Iterator[Scene], accept: Callable[[Scene], bool]) -> None:
        self._candidates = candidates
        self._accept = accept
        self._found: list[Scene] = []
        self._lock = threading.Lock()

    def take(self, count: int, check: Callable[[], None]) -> list[Scene]:
        """The first ``count`` scenes or all; ``check`` may raise, and the search can be taken up later."""
        with self._lock:
            while len(self._found) < count:
                check()
                scene = next(self._candidates, None)
                if scene is None:
                    break
                if self._accept(scene):
                    self._found.append(scene)
            return self._found[:count]


class CatalogSearch:
    """Finds; keeps the latest searches, so that paging through them is cheap. May be used from several threads."""

    def __init__(self, *, timer: Callable[[], float], timeout_s: float) -> None:
        """``timer`` counts seconds."""
        self._timer = timer
        self._timeout_s = timeout_s
        self._kept: OrderedDict[object, _Finding] = OrderedDict()
        self._lock = threading.Lock()

    def find(self, collection: CatalogCollection, query: SearchQuery, now: datetime) -> Page:
        """The page that a query asks for; nothing is acquired after ``now``.

        Raises CatalogError: 400 for a filter or a distinct that the collection does not have, 500 after the time
        allowed.
        """
        conditions: tuple[Condition, ...] = ()
        if query.filter is not None:
            conditions = read_filter(query.filter, query.filter_language, collection.queryables)
        check = self._make_check()
        first, stop = query.offset, query.offset + query.limit
        if query.distinct is not None:
            values = _list_values(collection, query, conditions, now, check)
            return Page(values=tuple(values[first:stop]), next=stop if len(values) > stop else None)
        found = self._find(collection, query, conditions, now).take(stop + 1, check)
        return Page(scenes=tuple(found[first:stop]), next=stop if len(found) > stop else None)

    def _find(
        self, collection: CatalogCollection, query: SearchQuery, conditions: tuple[Condition, ...], now: datetime
    ) -> _Finding:
        areas = tuple(area.wkb for area in query.areas)
        # an open end stays where it was while someone pages, and moves with the day
        key = (collection.id, query.start, query.end or now.date(), areas, query.ids, conditions)
        with self._lock:
            if key not in self._kept:
                self._kept[key] = _make_finding(collection, query, conditions, now)
                if len(self._kept) > KEPT:
                    self._kept.popitem(last=False)
            self._kept.move_to_end(key)
            return self._kept[key]

    def _make_check(self) -> Callable[[], None]:
        end = self._timer() + self._timeout_s

        def check() -> None:
            if self._timer() > end:
                raise CatalogError(500, "Timeout", "The search took too long; narrow its area, time or filter.")

        return check


def _make_finding(
    collection: CatalogCollection, query: SearchQuery, conditions: tuple[Condition, ...], now: datetime
) -> _Finding:
    source, others = collection.source, query.areas[1:]

    def accept(scene: Scene) -> bool:
        if others and not all(area.intersects(source.footprint(scene)) for area in others):
            return False
        if not conditions:
            return True
        properties = source.properties(scene)
        return all(condition.holds(properties) for condition in conditions)

    return _Finding(_list_candidates(collection, query, now), accept)


def _list_candidates(collection: CatalogCollection, query: SearchQuery, now: datetime) -> Iterator[Scene]:
    source, (start, end) = collection.source, _span(collection, query, now)
    area = query.areas[0] if query.areas else WORLD
    if query.ids is None:
        return source.search(area, start, end) if start <= end else iter(())
    known = [scene for name in query.ids if (scene := source.find(name)) is not None]
    inside = [scene for scene in known if start <= scene.time <= end and area.intersects(source.footprint(scene))]
    return iter(sorted(inside, key=lambda scene: (scene.time, scene.id), reverse=True))


def _span(collection: CatalogCollection, query: SearchQuery, now: datetime) -> tuple[datetime, datetime]:
    start = collection.start if query.start is None else max(query.start, EARLIEST)
    return start, now if query.end is None else min(query.end, now)


def _list_values(
    collection: CatalogCollection,
    query: SearchQuery,
    conditions: tuple[Condition, ...],
    now: datetime,
    check: Callable[[], None],
) -> list[str]:
    name = query.distinct or ""
    if name not in collection.distinct:
        raise invalid(f"Distinct values of {name} cannot be had; this collection has {', '.join(collection.distinct)}.")
    if name == DATE:
        return sorted(_list_dates(collection, query, conditions, now, check))
    values: set[str] = set()
    finding, wanted = _make_finding(collection, query, conditions, now), len(collection.queryables[name]["enum"])
    number = 0
    while len(values) < wanted and len(found := finding.take(number + 1, check)) > number:
        values.add(collection.source.properties(found[number])[name])
        number += 1
    return sorted(values)


def _list_dates(
    collection: CatalogCollection,
    query: SearchQuery,
    conditions: tuple[Condition, ...],
    now: datetime,
    check: Callable[[], None],
) -> Iterator[str]:
    start, end = _span(collection, query, now)
    while start <= end:
        check()
        # one scene is enough for a day
        midnight = end.replace(hour=0, minute=0, second=0, microsecond=0)
        day = replace(query, start=max(start, midnight), end=end)
        if _make_finding(collection, day, conditions, now).take(1, check):
            yield midnight.date().isoformat()
        end = midnight - TICK
