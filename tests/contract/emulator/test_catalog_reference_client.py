"""The service's own Python client searches the emulator's Catalog: its pages, filters and shapes are understood."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace

import pytest
from shapely.geometry import box

ALPS = (9.5, 46.4, 13.1, 48.0)
JUNE = ("2024-06-01", "2024-06-30")


@pytest.fixture
def hub(reference, monkeypatch):
    """The client, a catalogue of the emulator, and its collections pointed there."""
    monkeypatch.setenv("OAUTHLIB_INSECURE_TRANSPORT", "1")
    return SimpleNamespace(
        **vars(reference),
        get_available_timestamps=reference.client.api.catalog.get_available_timestamps,
        catalog=reference.client.SentinelHubCatalog(config=reference.config),
        radar=reference.client.DataCollection.SENTINEL1_IW_ASC,
        alps=reference.client.BBox(ALPS, reference.client.CRS.WGS84),
    )


def test_catalogue_tells_of_itself(hub):
    """Landing page and conformance come without a token, collections and one of them with it."""
    links = hub.catalog.get_info()["links"]
    assert {link["href"].startswith(hub.config.sh_base_url) for link in links} == {True}
    assert len(hub.catalog.get_conformance()["conformsTo"]) == 18
    assert {"sentinel-2-l2a", "sentinel-1-grd"} <= {found["id"] for found in hub.catalog.get_collections()}
    assert hub.catalog.get_collection(hub.radar)["id"] == "sentinel-1-grd"


@pytest.mark.parametrize("limit", [30, 100])
def test_search_pages_through_hundreds(hub, limit):
    """More than 250 items come page by page, each once, newest first, whatever the page."""
    items = list(hub.catalog.search(hub.optical, bbox=hub.alps, time=("2024-04-01", "2024-06-30"), limit=limit))
    times = [item["properties"]["datetime"] for item in items]
    assert len({item["id"] for item in items}) == len(items) > 250
    assert times == sorted(times, reverse=True)


def test_iterator_reads_times_geometries_and_ids(hub):
    """What the client makes of items: aware times, geometries that meet the box, ids."""
    found = hub.catalog.search(hub.optical, bbox=hub.alps, time=("2024-06-01", "2024-06-03"))
    first, last = datetime(2024, 6, 1, tzinfo=UTC), datetime(2024, 6, 4, tzinfo=UTC)
    assert {first <= time <= last for time in found.get_timestamps()} == {True}
    assert {geometry.geometry.intersects(box(*ALPS)) for geometry in found.get_geometries()} == {True}
    assert {name.startswith("S2") for name in found.get_ids()} == {True}


def test_filter_as_text_and_as_json(hub):
    """Both languages leave the same items."""
    search = {"bbox": hub.alps, "time": JUNE}
    text = list(hub.catalog.search(hub.optical, filter="eo:cloud_cover > 10 AND eo:cloud_cover < 20", **search))
    expression = {
        "op": "and",
        "args": [
            {"op": ">", "args": [{"property": "eo:cloud_cover"}, 10]},
            {"op": "<", "args": [{"property": "eo:cloud_cover"}, 20]},
        ],
    }
    assert text
    assert text == list(hub.catalog.search(hub.optical, filter=expression, filter_lang="cql2-json", **search))


def test_collection_brings_its_own_filters(hub):
    """The client's ascending IW collection sends filters for polarization, resolution, mode and direction."""
    items = list(hub.catalog.search(hub.radar, bbox=hub.alps, time=JUNE))
    told = {(item["properties"]["sat:orbit_state"], item["properties"]["sar:instrument_mode"]) for item in items}
    assert told == {("ascending", "IW")}


def test_fields_and_distinct(hub):
    """Chosen members, and the days there are."""
    fields = {"include": ["id", "properties.eo:cloud_cover"], "exclude": ["geometry", "assets", "links"]}
    (item,) = list(hub.catalog.search(hub.optical, bbox=hub.alps, time=("2024-06-01", "2024-06-03"), fields=fields))[:1]
    assert sorted(item) == ["bbox", "id", "properties", "type"]
    days = list(hub.catalog.search(hub.optical, bbox=hub.alps, time=JUNE, distinct="date", limit=7))
    assert days == sorted(set(days))
    assert days[0].startswith("2024-06-0")


@pytest.mark.filterwarnings("ignore:The 'shapely.ops.transform:DeprecationWarning")  # theirs to mend
def test_geometry_and_ids(hub):
    """A geometry of another CRS is sent in degrees; ids are found without a time."""
    geometry = hub.client.Geometry(box(*ALPS), hub.client.CRS.WGS84).transform(hub.client.CRS.POP_WEB)
    items = list(hub.catalog.search(hub.optical, geometry=geometry, time=("2024-06-01", "2024-06-03")))
    name = items[0]["id"]
    assert [item["id"] for item in hub.catalog.search(hub.optical, ids=[name])] == [name]
    assert hub.catalog.get_feature(hub.optical, name)["id"] == name


def test_available_timestamps(hub):
    """The client's shortcut: times of clear scenes at least an hour apart."""
    times = hub.get_available_timestamps(
        bbox=hub.alps, time_interval=JUNE, data_collection=hub.optical, maxcc=0.3, config=hub.config
    )
    assert times
    assert times == sorted(times)
