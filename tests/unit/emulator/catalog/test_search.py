"""Searches carried out: lazy, resumable, newest first, and as wide as asked."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from shapely.geometry import MultiPolygon, Point, box

from shdask.emulator.catalog.collections import CatalogCollection
from shdask.emulator.catalog.error import CatalogError
from shdask.emulator.catalog.item import find_bbox, write_item
from shdask.emulator.catalog.query import SearchQuery
from shdask.emulator.catalog.search import CatalogSearch
from shdask.emulator.globe import WORLD
from shdask.emulator.source import Scene

NOON = datetime(2024, 6, 10, 12, tzinfo=UTC)
NOW = datetime(2024, 7, 1, tzinfo=UTC)
ANY = SearchQuery(
    collection="hourly",
    start=datetime(2020, 1, 1, tzinfo=UTC),
    end=NOON,
    areas=(),
    ids=None,
    limit=3,
    offset=0,
    fields=None,
    filter=None,
    filter_language=None,
    distinct=None,
)


class Hourly:
    """A source with one scene an hour, alternately in the east and in the west; counts what it is asked for."""

    def __init__(self):
        self.made, self.searches = 0, 0

    def search(self, area, start, end):
        """Newest first."""
        self.searches += 1
        time = end.replace(minute=0, second=0, microsecond=0)
        while time >= start:
            self.made += 1
            scene = self.find(f"{time:%Y-%m-%dT%H}")
            if area.intersects(self.footprint(scene)):
                yield scene
            time -= timedelta(hours=1)

    def find(self, scene_id):
        """The id is the hour."""
        if "T" not in scene_id:
            return None
        time = datetime.fromisoformat(scene_id).replace(tzinfo=UTC)
        return Scene(id=scene_id, time=time, cloud_cover=float(time.hour))

    def footprint(self, scene):
        """A box on one side."""
        return box(10, 40, 20, 50) if scene.time.hour % 2 else box(-20, 40, -10, 50)

    def properties(self, scene):
        """Clouds grow with the hour."""
        return {"eo:cloud_cover": scene.cloud_cover, "side": "east" if scene.time.hour % 2 else "west"}


@pytest.fixture
def source():
    """A fresh source."""
    return Hourly()


@pytest.fixture
def collection(source):
    """The source as a collection."""
    side = {"type": "string", "enum": ["east", "west", "north"]}
    return CatalogCollection(
        id="hourly",
        source=source,
        title="Hourly",
        description="One scene an hour",
        start=datetime(2024, 6, 1, tzinfo=UTC),
        queryables={"eo:cloud_cover": {"type": "number"}, "side": side},
        distinct=("date", "side"),
    )


@pytest.fixture
def find(collection):
    """Finds the ids, or the values, of a page and where the next one begins."""
    searches = CatalogSearch(timer=lambda: 0.0, timeout_s=1.0)

    def found(**changes):
        page = searches.find(collection, replace(ANY, **changes), NOW)
        return [scene.id for scene in page.scenes] if page.values is None else list(page.values), page.next

    return found


def test_page_looks_no_further_than_it_must(source, find):
    """Three of four years of scenes are found by looking at four."""
    assert find() == (["2024-06-10T12", "2024-06-10T11", "2024-06-10T10"], 3)
    assert source.made == 4


def test_next_page_goes_on_where_the_last_one_ended(source, find):
    """Paging searches once, and looks at each scene once."""
    find()
    assert find(offset=3) == (["2024-06-10T09", "2024-06-10T08", "2024-06-10T07"], 6)
    assert (source.searches, source.made) == (1, 7)


def test_last_page_has_no_next(find):
    """Exactly as many scenes as asked for, and fewer, end the pages; beyond them is nothing."""
    start = NOON - timedelta(hours=2)
    assert find(start=start) == (["2024-06-10T12", "2024-06-10T11", "2024-06-10T10"], None)
    assert find(start=start, offset=2) == (["2024-06-10T10"], None)
    assert find(start=start, offset=50) == ([], None)


def test_open_ends_are_the_collection_s_start_and_now(find):
    """Nothing is found before the collection begins nor after now."""
    assert find(end=None, limit=1)[0] == ["2024-07-01T00"]
    assert find(start=None, end=datetime(2024, 6, 1, 1, tzinfo=UTC)) == (["2024-06-01T01", "2024-06-01T00"], None)
    assert find(end=datetime(2099, 1, 1, tzinfo=UTC), limit=1)[0] == ["2024-07-01T00"]
    assert find(start=datetime(2099, 1, 1, tzinfo=UTC), end=None) == ([], None)


def test_all_areas_must_be_met(find):
    """One area leaves one side, two that no scene meets leave none of a day."""
    east, west = box(11, 41, 12, 42), Point(-15, 45)
    assert find(areas=(east,))[0] == ["2024-06-10T11", "2024-06-10T09", "2024-06-10T07"]
    assert find(areas=(WORLD, west))[0] == ["2024-06-10T12", "2024-06-10T10", "2024-06-10T08"]
    assert find(areas=(east, west), start=NOON - timedelta(days=1)) == ([], None)


def test_filter_leaves_what_holds(find):
    """Conditions on properties hold for every scene found."""
    assert find(filter="eo:cloud_cover < 3 AND side = 'east'", limit=2)[0] == ["2024-06-10T01", "2024-06-09T01"]


def test_ids_are_found_newest_first(source, find):
    """Known ids within time and area, without a search."""
    names = frozenset(["2024-06-09T03", "nothing", "2024-06-10T05", "2024-06-10T04", "2019-01-01T01"])
    assert find(ids=names) == (["2024-06-10T05", "2024-06-10T04", "2024-06-09T03"], None)
    assert find(ids=names, areas=(Point(15, 45),)) == (["2024-06-10T05", "2024-06-09T03"], None)
    assert find(ids=frozenset()) == ([], None)
    assert source.searches == 0


def test_dates_need_one_scene_each(source, find):
    """Distinct dates are in order, and cost one look a day."""
    start = datetime(2024, 6, 7, tzinfo=UTC)
    assert find(distinct="date", start=start) == (["2024-06-07", "2024-06-08", "2024-06-09"], 3)
    assert find(distinct="date", start=start, offset=3) == (["2024-06-10"], None)
    assert source.made == 8


def test_dates_are_those_of_what_matches(find):
    """Filters and areas count for dates too."""
    start = NOON - timedelta(days=1)
    assert find(distinct="date", start=start, filter="eo:cloud_cover > 22") == (["2024-06-09"], None)
    assert find(distinct="date", start=start, areas=(Point(0, 0),)) == ([], None)


def test_distinct_values_are_each_listed_once(find):
    """The values of a property, sorted."""
    assert find(distinct="side", start=NOON - timedelta(days=1)) == (["east", "west"], None)


def test_other_properties_have_no_distinct_values(find):
    """What the collection does not document is refused."""
    with pytest.raises(CatalogError, match="date, side"):
        find(distinct="eo:cloud_cover")


def test_search_gives_up_and_can_be_taken_up(source, collection):
    """After the time allowed a search is a 500; asked again, it goes on from there."""
    clock = iter(range(1000))
    searches = CatalogSearch(timer=lambda: next(clock), timeout_s=30.0)
    query = replace(ANY, filter="side = 'east' AND eo:cloud_cover = 13", limit=2)
    with pytest.raises(CatalogError, match="too long") as caught:
        searches.find(collection, query, NOW)
    assert caught.value.status == 500
    assert [scene.id for scene in searches.find(collection, replace(query, limit=1), NOW).scenes] == ["2024-06-09T13"]
    assert source.searches == 1


def test_only_the_latest_searches_are_kept(source, find):
    """Memory does not grow with the number of different searches."""
    ends = [NOON - timedelta(hours=hour) for hour in range(40)]
    assert [find(end=end)[1] for end in ends] == [3] * 40
    find(end=ends[-1])
    assert source.searches == 40
    find(end=ends[0])
    assert source.searches == 41


def test_box_of_an_item_may_cross_the_antimeridian():
    """West is greater than east where both sides of 180 degrees belong to an item, and only there."""
    assert find_bbox(MultiPolygon([box(178, 1, 180, 2), box(-180, 1, -177, 3)])) == [178, 1, -177, 3]
    assert find_bbox(WORLD) == [-180, -90, 180, 90]
    assert find_bbox(box(170, 1, 180, 2)) == [170, 1, 180, 2]


def test_links_of_an_item_are_safe(collection):
    """Whatever a folder is called, the item's own link is one URL."""
    scene = Scene(id="a b/ü?_2024-06-10T12", time=NOON, cloud_cover=0.0)
    item = write_item(collection, scene, "http://here/catalog/v1")
    assert item["links"][1]["href"] == (
        "http://here/catalog/v1/collections/hourly/items/a%20b%2F%C3%BC%3F_2024-06-10T12"
    )
    assert item["properties"]["datetime"] == "2024-06-10T12:00:00Z"
    assert item["properties"]["proj:epsg"] == 32628
