"""The public functions meet their arguments."""

from __future__ import annotations

from typing import Any

import pytest

import shdask
from shdask.errors import PlanError


@pytest.mark.parametrize("job", [{"aoi": "a.geojson"}, 5, None])
def test_what_is_no_job_is_refused_with_what_is_one(job: object) -> None:
    """Before anything is read."""
    with pytest.raises(PlanError, match=r"is no job; give a CubeSpec, a CubePlan or a job file's path"):
        shdask.make_plan(job)  # type: ignore[arg-type]  # what a newcomer tries


@pytest.mark.parametrize(
    "script", ["//VERSION=2\n", "//VERSION=3\nfunction evaluatePixel() {}\n"], ids=["old", "no-setup"]
)
def test_a_script_that_declares_nothing_is_named_with_its_layer(script: str) -> None:
    """A job may have several."""
    pytest.importorskip("py_mini_racer", reason="V8 is not installed")
    outputs = {"default": {"bands": ["ndvi"]}}
    ndvi = {"collection": "sentinel-2-l2a", "evalscript": script, "input_bands": ["B04"], "outputs": outputs}
    job: dict[str, Any] = {
        "aoi": [14.40, 46.00, 14.44, 46.03],
        "crs": "EPSG:32633",
        "resolution": 20,
        "time": ["2024-06-01", "2024-06-30"],
        "layers": {"s2": {"collection": "sentinel-2-l2a", "bands": ["B04"]}, "ndvi": ndvi},
    }
    with pytest.raises(PlanError, match=r"^layers\.ndvi\.evalscript: the f"):
        shdask.make_plan(shdask.CubeSpec(**job))
