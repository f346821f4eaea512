"""Reading a catalogue that answers from a script: pages, changes while reading, broken answers, prices."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
import shapely

from shdask.errors import DecodeError, PlanError, RequestRejected, ServiceUnavailable
from shdask.fetch.auth import AccessToken
from shdask.fetch.catalog import decode_page, fetch_acquisitions
from shdask.fetch.client import ServiceClient, Spent
from shdask.fetch.retry import RetryPolicy
from shdask.fetch.transport import RequestsTransport, Timeouts
from shdask.model import TimeInterval

VALLEY = shapely.box(14, 46, 14.2, 46.2)
MONTH = TimeInterval(start=datetime(2024, 6, 1, tzinfo=UTC), end=datetime(2024, 7, 1, tzinfo=UTC))
Fetch = Callable[..., list[str]]


class Pass:
    """A gate that lets everything through and notes prices, and a source of one token."""

    def __init__(self) -> None:
        self.prices: list[float] = []

    def acquire(self, pu: float) -> float:
        """A permit at once."""
        self.prices.append(pu)
        return 0.0

    def answered(self) -> None:
        """Not of interest."""

    def failed(self, text: str) -> None:
        """Not of interest."""

    def rejected(self, retry_after_s: float | None) -> None:
        """Not of interest."""

    def token(self) -> AccessToken:
        """The one token."""
        return AccessToken(value="token", expires_at=0.0)

    def refused(self, token: AccessToken) -> None:
        """Not of interest."""


@pytest.fixture
def gate() -> Pass:
    """The gate of the client."""
    return Pass()


@pytest.fixture
def fetch(deploy: Any, gate: Pass, clock: Any) -> Iterator[Fetch]:
    """Ids of a valley's scenes in June, as a scripted server tells them; members go to ``fetch_acquisitions``."""
    transport = RequestsTransport(2)

    def run(server: Any, *, catalog_path: str = "/api/v1/catalog/1.0.0", **members: Any) -> list[str]:
        client = ServiceClient(
            deploy(server.url, catalog_path=catalog_path),
            transport,
            gate,
            gate,
            RetryPolicy(max_retries=3),
            timeouts=Timeouts(connect_s=1, read_s=1, total_s=1),
            clock=clock,
            sleep=clock.sleep,
        )
        asked = {"collection": "sentinel-2-l2a", "area": VALLEY, "interval": MONTH, **members}
        return [scene.id for scene in fetch_acquisitions(client, **asked)]

    yield run
    transport.close()


@pytest.fixture
def pages(reply: Any) -> Callable[..., list[Any]]:
    """Answers that hold these items each; a number after them is ``next``."""

    def make(*contents: tuple[Any, ...], **headers: str) -> list[Any]:
        return [reply(headers=headers, body=page(*content)) for content in contents]

    return make


def item(name: str, **members: Any) -> dict[str, Any]:
    """An item over the valley whose second is the number that its name begins with."""
    return {
        "id": name,
        "geometry": {"type": "Polygon", "coordinates": [[[13, 45], [15, 45], [15, 47], [13, 47], [13, 45]]]},
        "properties": {"datetime": f"2024-06-10T10:00:{int(name[0]):02d}Z"},
        **members,
    }


def page(*content: Any) -> bytes:
    items = [item(one) if isinstance(one, str) else one for one in content if not isinstance(one, int)]
    following = [("next", one) for one in content if isinstance(one, int)]
    context = {"limit": 100, "returned": len(items), **dict(following)}
    return json.dumps({"type": "FeatureCollection", "features": items, "context": context}).encode()


def offsets(server: Any) -> list[int | None]:
    return [json.loads(seen.body).get("next") for seen in server.seen]


def test_scenes_come_in_order_of_time(fetch: Fetch, serve: Any, pages: Any) -> None:
    """Whatever the catalogue's order."""
    assert fetch(serve(*pages(("2a", "1a", "1b")))) == ["1a", "1b", "2a"]


@pytest.mark.parametrize("path", ["/api/v1/catalog/1.0.0", "/catalog/v1"])
def test_a_search_is_posted_with_the_token(fetch: Fetch, serve: Any, pages: Any, path: str) -> None:
    """To either family of paths; never asking for application/json, which the Catalog refuses."""
    server = serve(*pages(()))
    fetch(server, catalog_path=path)
    seen = server.seen[0]
    assert (seen.method, seen.path) == ("POST", path + "/search")
    assert (seen.headers["authorization"], seen.headers["accept"]) == ("Bearer token", "*/*")
    assert json.loads(seen.body)["collections"] == ["sentinel-2-l2a"]


def test_pages_overlap_by_an_item(fetch: Fetch, serve: Any, pages: Any) -> None:
    """The second begins with the last of the first, which shows that nothing has shifted."""
    server = serve(*pages(("4", "3", 2), ("3", "2", "1", 4), ("1", "0")))
    assert fetch(server) == ["0", "1", "2", "3", "4"]
    assert offsets(server) == [None, 1, 3]


def test_a_catalogue_that_shifts_is_read_again(fetch: Fetch, serve: Any, pages: Any) -> None:
    """Scene 4 is taken away between two pages, so that 2 moves up into the page that was read: it is not lost."""
    server = serve(*pages(("4", "3", 2), ("2", "1"), ("3", "2", 2), ("2", "1")))
    assert fetch(server) == ["1", "2", "3"]
    assert offsets(server) == [None, 1, None, 1]


def test_a_catalogue_that_empties_is_read_again(fetch: Fetch, serve: Any, pages: Any) -> None:
    """The second page lost even the item that it should begin with."""
    assert fetch(serve(*pages(("4", "3", 2), (), ("4",)))) == ["4"]


def test_a_catalogue_that_never_stands_still_is_an_error(fetch: Fetch, serve: Any, pages: Any) -> None:
    """Better none than an axis with a gap."""
    with pytest.raises(ServiceUnavailable, match="changed 4 times while it was read"):
        fetch(serve(*pages(*[("4", "3", 2), ("9", "8")] * 4)))


def test_pages_that_do_not_count_items_are_followed_as_they_are(fetch: Fetch, serve: Any, pages: Any) -> None:
    """A ``next`` that is no offset cannot be moved back by one."""
    server = serve(*pages(("4", "3", 1000), ("2", "1", 2000), ("0",)))
    assert fetch(server) == ["0", "1", "2", "3", "4"]
    assert offsets(server) == [None, 1000, 2000]


def test_pages_of_one_item_are_followed_as_they_are(fetch: Fetch, serve: Any, pages: Any) -> None:
    """With an overlap they would never advance."""
    server = serve(*pages(("2", 1), ("1", 2), ("0",)))
    assert fetch(server) == ["0", "1", "2"]


def test_a_catalogue_that_turns_back_is_an_error(fetch: Fetch, serve: Any, pages: Any) -> None:
    """Or it would be read for ever."""
    with pytest.raises(DecodeError, match="turns back from item 1000 to 1000"):
        fetch(serve(*pages(("4", "3", 1000), ("2", "1", 1000))))


def test_a_scene_on_two_pages_is_one(fetch: Fetch, serve: Any, pages: Any) -> None:
    """Ids are unique."""
    assert fetch(serve(*pages(("1", "2", 1000), ("2", "1")))) == ["1", "2"]


def test_a_next_link_stands_for_a_missing_context(fetch: Fetch, serve: Any, reply: Any) -> None:
    """STAC's own way to page."""
    link = {"rel": "next", "body": {"next": 2}, "merge": True}
    first = json.dumps({"features": [item("2"), item("1")], "links": [{"rel": "self"}, link]}).encode()
    server = serve(reply(body=first), reply(body=page("1", "0")))
    assert fetch(server) == ["0", "1", "2"]


def test_a_page_without_items_is_the_last(fetch: Fetch, serve: Any, pages: Any) -> None:
    """Even where it names a next one."""
    server = serve(*pages((100,)))
    assert fetch(server) == []
    assert len(server.seen) == 1


def test_scenes_outside_of_time_or_area_are_left_out(fetch: Fetch, serve: Any, pages: Any) -> None:
    """The catalogue is asked in closed intervals, and for hulls; a scene at the end belongs to what follows."""
    late = item("3", properties={"datetime": "2024-07-01T00:00:00Z"})
    far = item("4", geometry={"type": "Polygon", "coordinates": [[[20, 45], [21, 45], [21, 46], [20, 45]]]})
    assert fetch(serve(*pages(("1", late, far)))) == ["1"]


def test_a_scene_without_footprint_is_kept(fetch: Fetch, serve: Any, pages: Any) -> None:
    """It may hold data anywhere in its bbox, or anywhere at all."""
    assert fetch(serve(*pages((item("1", geometry=None, bbox=[13, 45, 15, 47]), item("2", geometry=None))))) == [
        "1",
        "2",
    ]


def test_long_times_are_searched_in_several_calls(fetch: Fetch, serve: Any, pages: Any) -> None:
    """Half a year each over a valley, one after the other, without a gap."""
    server = serve(*pages(("1",)))
    year = TimeInterval(start=datetime(2024, 1, 1, tzinfo=UTC), end=datetime(2025, 1, 1, tzinfo=UTC))
    assert fetch(server, interval=year) == ["1"]
    assert [json.loads(seen.body)["datetime"] for seen in server.seen] == [
        "2024-01-01T00:00:00Z/2024-06-30T23:59:59.999Z",
        "2024-07-01T00:00:00Z/2024-12-31T23:59:59.999Z",
    ]


def test_an_area_across_the_antimeridian_is_two_calls(fetch: Fetch, serve: Any, pages: Any) -> None:
    """And a scene that both find is one."""
    halves = [[[[179, 9], [180, 9], [180, 12], [179, 12], [179, 9]]], [[[-180, 9], [-179, 9], [-179, 12], [-180, 9]]]]
    server = serve(*pages((item("1", geometry={"type": "MultiPolygon", "coordinates": halves}),)))
    assert fetch(server, area=shapely.box(179.5, 10, 180.5, 11)) == ["1"]
    assert [json.loads(seen.body)["bbox"] for seen in server.seen] == [[179.5, 10, 180, 11], [-180, 10, -179.5, 11]]


def test_filters_go_along(fetch: Fetch, serve: Any, pages: Any) -> None:
    """In the Catalog's words."""
    server = serve(*pages(()))
    fetch(server, data_filter={"maxCloudCoverage": 30})
    assert json.loads(server.seen[0].body)["filter"] == "eo:cloud_cover <= 30"


def test_an_unknown_filter_sends_nothing(fetch: Fetch, serve: Any, pages: Any) -> None:
    """A mistake costs nothing."""
    server = serve(*pages(()))
    with pytest.raises(PlanError, match="mosaic"):
        fetch(server, data_filter={"mosaic": 1})
    assert server.seen == []


def test_every_page_is_permitted_and_counted_at_its_price(fetch: Fetch, serve: Any, pages: Any, gate: Pass) -> None:
    """By the published rule, where the answers state none."""
    spent = Spent()
    fetch(serve(*pages(("4", "3", 2), ("3", "2"))), spent=spent)
    assert gate.prices == [0.01, 0.01]
    assert (spent.requests, spent.pu) == (2, pytest.approx(0.02))


def test_stated_prices_are_counted(fetch: Fetch, serve: Any, pages: Any) -> None:
    """The answer knows best."""
    spent = Spent()
    fetch(serve(*pages(("1",), **{"x-processingunits-spent": "0.5"})), spent=spent)
    assert spent.pu == 0.5


@pytest.mark.parametrize(
    "body",
    [
        {"code": "IllegalCollection", "description": "no such collection"},
        {"error": {"status": 400, "code": "IllegalCollection", "message": "no such collection"}},
    ],
)
def test_refusals_of_both_forms_are_told(fetch: Fetch, serve: Any, reply: Any, body: dict[str, Any]) -> None:
    """The Catalog's own, and that of the other services; what was spent before stays counted."""
    spent = Spent()
    with pytest.raises(RequestRejected, match="400 IllegalCollection no such collection") as caught:
        fetch(serve(reply(status=400, body=json.dumps(body).encode())), spent=spent)
    assert (caught.value.code, spent.requests, spent.pu) == ("IllegalCollection", 1, 0.0)


def test_troubles_are_tried_again(fetch: Fetch, serve: Any, reply: Any, pages: Any) -> None:
    """429, 500 and an answer that is no list of scenes."""
    troubles = [reply(status=429), reply(status=500), reply(body=b"<html>")]
    assert fetch(serve(*troubles, *pages(("1",)))) == ["1"]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{}",
        b'{"features": 1}',
        b'{"features": [1]}',
        b'{"features": [{}]}',
        b'{"features": [{"id": "a", "properties": {"datetime": "yesterday"}}]}',
        b"[" * 100_000,
        page(item("1"))[:-30],
        json.dumps({"features": [item("1")], "context": {"next": "x"}}).encode(),
    ],
)
def test_what_is_no_list_of_scenes_is_an_error(body: bytes) -> None:
    """One that is asked for again; no scene is passed over."""
    with pytest.raises(DecodeError, match="no list of scenes"):
        decode_page(body)


def test_a_page_tells_its_scenes_and_the_next() -> None:
    """Both as they were sent."""
    read = decode_page(page("2", "1", 2))
    assert SimpleNamespace(ids=[one.id for one in read.acquisitions], next=read.next) == SimpleNamespace(
        ids=["2", "1"], next=2
    )
