"""What a catalogue offers, against what layers read."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from shdask.doctor.offer import (
    Offer,
    check_collections,
    check_time,
    explain_missing,
    find_missing,
    read_children,
    read_offers,
)
from shdask.plan.layer import LayerPlan, make_layer
from shdask.plan.spec import CubeSpec
from shdask.settings import DEPLOYMENTS

CDSE = DEPLOYMENTS["cdse"]
L2A: dict[str, Any] = {
    "id": "sentinel-2-l2a",
    "extent": {"temporal": {"interval": [["2016-11-01T00:00:00Z", None]]}},
    "summaries": {"eo:bands": [{"name": "B01"}, {"name": "B02"}, {"common_name": "red"}]},
}


@pytest.fixture
def layer() -> LayerPlan:
    """Of Sentinel-2 in June 2024."""
    spec = CubeSpec(
        aoi=(14.0, 46.0, 14.1, 46.1),
        crs="utm",
        resolution=10,
        time=("2024-06-01", "2024-06-30"),
        layers={"s2": {"collection": "sentinel-2-l2a", "bands": ["B02"]}},
    )
    return make_layer("s2", spec.layers["s2"], spec.interval)


def day(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def test_a_collection_is_read_as_stac_has_it() -> None:
    """Begin, end where there is one, and the bands that have a name."""
    offer = Offer(start=day("2016-11-01"), end=None, bands=("B01", "B02"))
    assert read_offers({"collections": [L2A]}) == {"sentinel-2-l2a": offer}


@pytest.mark.parametrize(
    "told",
    [
        {},
        {"collections": None},
        {"collections": ["sentinel-2-l2a"]},
        {"collections": [{"title": "no id"}]},
        {"collections": [{"id": 7}]},
    ],
)
def test_a_list_of_something_else_offers_nothing(told: dict[str, Any]) -> None:
    """And is no fault of ours."""
    assert read_offers(told) == {}


@pytest.mark.parametrize("extent", [None, {}, {"temporal": {"interval": []}}, {"temporal": {"interval": [["x", "y"]]}}])
def test_an_extent_that_cannot_be_read_is_not_known(extent: Any) -> None:
    """The collection is offered all the same."""
    assert read_offers({"collections": [{"id": "a", "extent": extent}]}) == {"a": Offer()}


def test_children_of_the_entry_page_are_collections() -> None:
    """By the last part of each link's address; other links do not count."""
    links = [
        {"rel": "child", "href": "https://x/api/v1/catalog/1.0.0/collections/sentinel-1-grd"},
        {"rel": "child", "href": "https://x/collections/dem/"},
        {"rel": "search", "href": "https://x/search"},
        {"rel": "child"},
        "noise",
    ]
    assert read_children({"links": links}) == {"sentinel-1-grd", "dem"}


def test_what_has_no_catalogue_is_not_missed() -> None:
    """Heights have no acquisitions, so no catalogue lists them."""
    assert find_missing(["dem", "sentinel-1-grd", "byoc-mine"], ["byoc-mine"]) == ("sentinel-1-grd",)


def test_a_missing_collection_is_sent_where_it_is() -> None:
    """Landsat is not at the Copernicus deployment."""
    assert explain_missing("landsat-ot-l2", CDSE) == (
        "https://sh.dataspace.copernicus.eu does not offer landsat-ot-l2",
        "it is offered by services-uswest2; correct deployment in [service] (SH_BASE_URL goes before it)",
    )


def test_each_missing_collection_fails_alone() -> None:
    """With 2; what is there is told in one line."""
    found = check_collections(("sentinel-2-l2a", "dem", "landsat-ot-l2"), {"sentinel-2-l2a": Offer()}, CDSE)
    assert [(each.outcome, each.exit_code) for each in found] == [("failed", 2), ("ok", 0)]
    assert found[1].found == "sentinel-2-l2a, dem (in no catalogue)"


@pytest.mark.parametrize(
    ("start", "end", "outcome"),
    [
        (None, None, "ok"),
        ("2016-11-01", None, "ok"),
        ("2024-06-01", None, "ok"),
        ("2024-06-02", None, "note"),
        ("2024-06-30", None, "note"),
        ("2024-07-01", None, "warning"),
        ("2016-11-01", "2024-05-31", "warning"),
        ("2016-11-01", "2024-06-01", "ok"),
    ],
)
def test_time_is_held_against_the_collections(
    layer: LayerPlan, start: str | None, end: str | None, outcome: str
) -> None:
    """A job of June 2024: what begins within it is worth a word, what lies outside of it a warning."""
    offer = Offer(start=start and day(start), end=end and day(end))
    found = check_time(layer, {"sentinel-2-l2a": offer})
    assert found is not None
    assert (found.outcome, found.layer, found.found[:24]) == (outcome, "s2", "2024-06-01 to 2024-06-30")
