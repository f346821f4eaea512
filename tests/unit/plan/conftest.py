"""Plans of small jobs, made without files or environment."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from shdask.inputs import ReferenceGrid, read_area
from shdask.plan.group import GroupPlan
from shdask.plan.placing import make_group
from shdask.plan.spec import CubeSpec
from shdask.settings import Deployment

JOB = {
    "crs": "EPSG:32633",
    "resolution": 10,
    "time": ("2024-06-01", "2024-06-30"),
    "layers": {"s2": {"collection": "sentinel-2-l2a", "bands": ["B02", "B03"]}},
}


@pytest.fixture
def deployment() -> Deployment:
    return Deployment(name="test", base_url="http://127.0.0.1:1", token_url="http://127.0.0.1:1/token")


@pytest.fixture
def job() -> dict[str, Any]:
    """Fields of a job that lacks only its area."""
    return dict(JOB)


@pytest.fixture(scope="session")
def plan_of() -> Callable[..., GroupPlan]:
    """Plans a job: ``plan_of(aoi, aoi_crs, like=..., field=...)``; fields add to or replace those of a small S2 job."""

    def plan(aoi: Any, aoi_crs: str = "EPSG:32633", *, grid: ReferenceGrid | None = None, **fields: Any) -> GroupPlan:
        own = {key: value for key, value in JOB.items() if grid is None or key not in {"crs", "resolution"}}
        like = {} if grid is None else {"like": "grid.tif"}
        spec = CubeSpec(**{**own, "aoi": aoi, "aoi_crs": aoi_crs, **like, **fields})
        area = None if aoi is None else read_area(aoi, crs=aoi_crs)
        deployment = Deployment(name="test", base_url="http://127.0.0.1:1", token_url="http://127.0.0.1:1/token")
        return make_group(spec, area=area, like=grid, deployment=deployment)

    return plan
