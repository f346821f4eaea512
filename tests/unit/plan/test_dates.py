"""Other days for a job's time axes, from the command line."""

from __future__ import annotations

from datetime import date

import pytest

from shdask.errors import PlanError
from shdask.plan.dates import override_time
from shdask.plan.spec import CubeSpec

JUNE = (date(2024, 6, 1), date(2024, 6, 30))


def a_spec(**layers: dict[str, object]) -> CubeSpec:
    own = {name: {"collection": "sentinel-2-l2a", "bands": ["B04"], **fields} for name, fields in layers.items()}
    return CubeSpec(aoi=(14, 46, 14.1, 46.1), crs="utm", resolution=20, time=JUNE, layers=own)


def test_only_layers_with_a_time_axis_take_the_days() -> None:
    """A mosaic is one picture of its own time, and another time would be another cube."""
    spec = override_time(a_spec(series={"cadence": "day"}, picture={}), "2024-07-01", "2024-07-31")
    assert spec.layers["series"].time == (date(2024, 7, 1), date(2024, 7, 31))
    assert spec.interval_of("picture") == a_spec(picture={}).interval_of("picture")


@pytest.mark.parametrize(
    ("first", "last", "said"),
    [
        ("2024-07-31", "2024-07-01", "swap them"),
        ("July", "2024-07-01", "write days as 2024-06-01 2024-06-30"),
    ],
)
def test_days_that_are_none_are_refused(first: str, last: str, said: str) -> None:
    """With the cure."""
    with pytest.raises(PlanError, match=said):
        override_time(a_spec(series={"cadence": "day"}), first, last)


def test_a_job_without_a_time_axis_is_refused() -> None:
    """There is nothing that other days could be appended to."""
    with pytest.raises(PlanError, match="no layer of the job has a time axis"):
        override_time(a_spec(picture={}), "2024-07-01", "2024-07-31")
