"""The demo in a folder of the user's."""

from __future__ import annotations

from pathlib import Path

import pytest

import shdask
from shdask.demo.run import lay_out_job
from shdask.errors import SettingsError


def test_the_demos_job_can_be_planned_where_it_is_laid_out(tmp_path: Path) -> None:
    """In a folder that did not exist, and again."""
    folder = tmp_path / "demo"
    assert shdask.make_plan(lay_out_job(folder)) is not None
    assert lay_out_job(folder) == folder / "job.toml"


@pytest.mark.parametrize("name", ["job.toml", "country.geojson", "picture.png"])
def test_a_file_of_the_users_is_not_overwritten(tmp_path: Path, name: str) -> None:
    """Nothing is copied; the message names the file and the cure."""
    (tmp_path / name).write_text("dear")
    with pytest.raises(SettingsError, match=rf"holds a {name} that the demo would overwrite; .*--store demo/cube"):
        lay_out_job(tmp_path)
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [(name, "dear")]


def test_the_demo_of_jobs_says_where_to_deliver(tmp_path: Path) -> None:
    """Its job goes by Async Process, and holds no key."""
    spec = shdask.CubeSpec.from_file(lay_out_job(tmp_path / "demo", "job_async.toml"))
    assert spec.layers["s2"].route == "async"
    assert spec.delivery is not None
    assert spec.delivery.s3_url == "s3://deliveries/demo"
