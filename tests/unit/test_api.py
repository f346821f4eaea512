"""The public functions meet their arguments."""

from __future__ import annotations

import pytest

import shdask
from shdask.errors import PlanError


@pytest.mark.parametrize("job", [{"aoi": "a.geojson"}, 5, None])
def test_what_is_no_job_is_refused_with_what_is_one(job: object) -> None:
    """Before anything is read."""
    with pytest.raises(PlanError, match=r"is no job; give a CubeSpec, a CubePlan or a job file's path"):
        shdask.make_plan(job)  # type: ignore[arg-type]  # what a newcomer tries
