"""What is asked of a collection."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from shdask.sentinelhub import DataCollection, MosaickingOrder, ResamplingType, SentinelHubRequest
from shdask.sentinelhub.inputs import InputDataDict
from shdask.sentinelhub.times import time_range

DAY = dt.date(2024, 6, 1)
NOON = dt.datetime(2024, 6, 1, 12, 30, tzinfo=dt.UTC)
ask = SentinelHubRequest.input_data


@pytest.mark.parametrize(
    ("interval", "start", "end"),
    [
        ("2024-06-01", "2024-06-01T00:00:00Z", "2024-06-01T23:59:59Z"),
        (DAY, "2024-06-01T00:00:00Z", "2024-06-01T23:59:59Z"),
        (NOON, "2024-06-01T12:30:00Z", "2024-06-01T12:30:00Z"),
        (NOON.replace(tzinfo=None), "2024-06-01T12:30:00Z", "2024-06-01T12:30:00Z"),
        ("2024-06-01T12:30:00+02:00", "2024-06-01T12:30:00+02:00", "2024-06-01T12:30:00+02:00"),
        ((DAY, "2024-06-10"), "2024-06-01T00:00:00Z", "2024-06-10T23:59:59Z"),
        (["2024-06-01T10:00", DAY], "2024-06-01T10:00:00Z", "2024-06-01T23:59:59Z"),
        ((None, DAY), "..", "2024-06-01T23:59:59Z"),
        ((DAY, ".."), "2024-06-01T00:00:00Z", ".."),
        ("..", "..", ".."),
    ],
)
def test_times_are_written_as_an_interval(interval: Any, start: str, end: str) -> None:
    """A date is a whole day, a moment is itself, an open end is two dots."""
    assert time_range(interval) == {"from": start, "to": end}


@pytest.mark.parametrize("interval", [("2024-06-02", "2024-06-01"), (DAY,), (DAY, DAY, DAY), 7, "nonsense"], ids=repr)
def test_what_is_no_interval_is_refused(interval: Any) -> None:
    """So is an interval that ends before it starts."""
    with pytest.raises(ValueError, match=r"no time|after it has ended|nonsense"):
        time_range(interval)


@pytest.mark.parametrize(
    ("collection", "filters"),
    [
        ("SENTINEL2_L2A", None),
        ("DEM_COPERNICUS_90", {"demInstance": "COPERNICUS_90"}),
        ("SENTINEL1_IW", {"acquisitionMode": "IW", "polarization": "DV", "resolution": "HIGH"}),
        (
            "SENTINEL1_EW_SH_ASC",
            {"acquisitionMode": "EW", "polarization": "SH", "resolution": "MEDIUM", "orbitDirection": "ASCENDING"},
        ),
    ],
)
def test_a_collection_brings_its_filters(collection: str, filters: dict[str, str] | None) -> None:
    """Mode, polarization, resolution, orbit and DEM instance are the collection's."""
    assert ask(DataCollection[collection]).get("dataFilter") == filters


def test_words_are_members_or_their_values() -> None:
    """An order and a resampling are given as member or text; a resampling in any case."""
    told = ask(
        DataCollection.DEM, mosaicking_order="leastCC", upsampling="bilinear", downsampling=ResamplingType.BICUBIC
    )
    assert told == {
        "type": "dem",
        "dataFilter": {"mosaickingOrder": MosaickingOrder.LEAST_CC.value},
        "processing": {"upsampling": "BILINEAR", "downsampling": "BICUBIC"},
    }


def test_other_arguments_reach_into_the_filters() -> None:
    """The service's own members are laid over what is written."""
    more = {"dataFilter": {"previewMode": "DETAIL"}, "processing": {"harmonizeValues": False}}
    told = ask(DataCollection.SENTINEL2_L1C, maxcc=0.5, other_args=more)
    assert told["dataFilter"] == {"maxCloudCoverage": 50, "previewMode": "DETAIL"}
    assert told["processing"] == {"harmonizeValues": False}


@pytest.mark.parametrize("share", [-0.01, 1.01, 30, float("nan")])
def test_cloud_cover_is_a_share(share: float) -> None:
    """Percent are refused with a hint."""
    with pytest.raises(ValueError, match=r"for 30 % write 0\.3"):
        ask(DataCollection.SENTINEL2_L2A, maxcc=share)


def test_an_entry_remembers_its_deployment() -> None:
    """It is a plain dictionary for JSON, and says where its collection lives."""
    entry = ask(DataCollection.MODIS)
    assert entry == {"type": "modis"}
    assert entry.service_url == "https://services-uswest2.sentinel-hub.com"
    assert repr(InputDataDict({"type": "x"}, service_url="u")) == "InputDataDict({'type': 'x'}, service_url=u)"
