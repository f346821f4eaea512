"""Which members an item of an answer has."""

from __future__ import annotations

import pytest

from shdask.emulator.catalog.fields import Fields

ITEM = {
    "stac_version": "1.0.0",
    "id": "a",
    "type": "Feature",
    "geometry": {"type": "MultiPolygon", "coordinates": []},
    "bbox": [1, 2, 3, 4],
    "properties": {"datetime": "2024-06-10T10:00:00Z", "gsd": 10, "eo:cloud_cover": 5.0},
    "assets": {"data": {"href": "x", "title": "s3"}},
    "collection": "c",
    "links": [],
}
DEFAULT = {
    "id": "a",
    "type": "Feature",
    "geometry": ITEM["geometry"],
    "bbox": [1, 2, 3, 4],
    "properties": {"datetime": "2024-06-10T10:00:00Z"},
    "assets": ITEM["assets"],
    "links": [],
}
CLOUDS = {"datetime": "2024-06-10T10:00:00Z", "eo:cloud_cover": 5.0}


def select(include=(), exclude=(), **rules):
    """The members left of the item above."""
    return Fields(include=tuple(include), exclude=tuple(exclude), **rules).select(ITEM)


def test_empty_fields_are_the_default_set():
    """Neither include nor exclude: the documented default members and nothing else."""
    assert select() == DEFAULT


def test_include_adds_to_the_default_set():
    """A path adds one property, a name all of them; unknown names add nothing."""
    assert select(["properties.eo:cloud_cover", "nothing", "id.x"]) == {**DEFAULT, "properties": CLOUDS}
    assert select(["properties"]) == {**DEFAULT, "properties": ITEM["properties"]}
    assert select(["collection"]) == {**DEFAULT, "collection": "c"}


def test_exclude_removes_from_the_default_set():
    """Names and paths are taken away."""
    assert select(exclude=["geometry", "properties.datetime", "assets.data.href", "nothing.x"]) == {
        "id": "a",
        "type": "Feature",
        "bbox": [1, 2, 3, 4],
        "properties": {},
        "assets": {"data": {"title": "s3"}},
        "links": [],
    }


def test_published_example_of_both():
    """The example of the OpenAPI description: id, type, bbox and all properties are left."""
    left = select(["id", "type", "bbox", "properties"], ["geometry", "links", "assets"])
    assert left == {name: ITEM[name] for name in ("id", "type", "bbox", "properties")}


@pytest.mark.parametrize(("both", "left"), [("exclude", False), ("include", True)])
def test_what_is_both_included_and_excluded_is_a_choice(both, left):
    """The page leaves it out, the OpenAPI description keeps it."""
    selected = select(["geometry", "properties.gsd"], ["geometry", "properties"], both=both)
    assert ("geometry" in selected) is left
    assert selected.get("properties", {}) == ({"gsd": 10} if left else {})


def test_include_may_stand_alone():
    """As once observed: nothing but what was included."""
    selected = select(["id", "properties.eo:cloud_cover"], includes="alone")
    assert selected == {"id": "a", "properties": {"eo:cloud_cover": 5.0}}


def test_members_keep_their_order():
    """An answer lists members as the item does, and the item is left alone."""
    assert list(select(["collection", "stac_version"])) == list(ITEM)
    assert ITEM["properties"]["gsd"] == 10
