"""What a job may say of the bucket that jobs of Async Process deliver to."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest

from shdask.errors import PlanError
from shdask.plan.delivery_spec import DeliveryOptions
from shdask.plan.spec import CubeSpec

JOB = """
[cube]
aoi = "area.geojson"
crs = "EPSG:32633"
resolution = 20
time = ["2024-06-01", "2024-06-30"]

[layers.s2]
collection = "sentinel-2-l2a"
bands = ["B02"]
route = "async"

[delivery]
s3_url = "s3://bucket/some/where/"
endpoint_url = "https://s3.example.org/"
region = "eu-central-1"
"""


def read(folder: Path, text: str) -> CubeSpec:
    (folder / "job.toml").write_text(text)
    return CubeSpec.from_file(folder / "job.toml")


def test_a_job_file_names_the_place(tmp_path: Path) -> None:
    """Slashes at the ends are dropped, and nothing is deleted unless it is asked for."""
    assert read(tmp_path, JOB).delivery == DeliveryOptions(
        s3_url="s3://bucket/some/where",
        endpoint_url="https://s3.example.org",
        region="eu-central-1",
        iam_role_arn=None,
        cleanup=False,
    )


def test_a_place_has_a_bucket_and_a_prefix() -> None:
    """Without slashes around them."""
    place = DeliveryOptions(s3_url="s3://bucket/some/where")
    assert (place.bucket, place.prefix) == ("bucket", "some/where")


def test_a_whole_bucket_is_a_place() -> None:
    """Its prefix is empty."""
    place = DeliveryOptions(s3_url="s3://bucket/")
    assert (place.s3_url, place.bucket, place.prefix) == ("s3://bucket", "bucket", "")


def test_without_the_table_there_is_no_delivery(tmp_path: Path) -> None:
    """Async Process is opt-in."""
    text = JOB.partition("[delivery]")[0].replace('route = "async"', "")
    assert read(tmp_path, text).delivery is None


def test_jobs_without_a_bucket_are_refused_with_the_cure(tmp_path: Path) -> None:
    """Before anything is sent, naming the layer that wants them."""
    with pytest.raises(
        PlanError, match=r"delivery: is missing, and layers\.s2 has route = \"async\"; give \[delivery\]"
    ):
        read(tmp_path, JOB.partition("[delivery]")[0])


@pytest.mark.parametrize("name", ["access_key", "secret_access_key", "AWS_SECRET_ACCESS_KEY", "session_token"])
def test_keys_are_never_read_from_a_job(tmp_path: Path, name: str) -> None:
    """The value is not shown; the cure is the environment."""
    with pytest.raises(PlanError, match=f"delivery.{name}: is never read from a job; set AWS_ACCESS_KEY_ID") as caught:
        read(tmp_path, f'{JOB}{name} = "hush"\n')
    assert "hush" not in str(caught.value)


@pytest.mark.parametrize(
    "fields", [{"s3_url": "s3://me:hush@b/x"}, {"s3_url": "s3://b", "endpoint_url": "http://me:hush@h"}]
)
def test_keys_in_urls_are_refused_and_not_shown(fields: dict[str, Any]) -> None:
    """URLs stand in messages, ledgers and plans."""
    with pytest.raises(PlanError, match="holds a key") as caught:
        DeliveryOptions(**fields)
    assert "hush" not in str(caught.value)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({}, 's3_url: is missing; write s3_url = "s3://bucket/prefix"'),
        ({"s3_url": "https://bucket/x"}, "'https://bucket/x' is no place in S3"),
        ({"s3_url": "s3:///x"}, "is no place in S3"),
        ({"s3_url": "s3://b/a//c"}, "is no place in S3"),
        ({"s3_url": "s3://b/../c"}, "is no place in S3"),
        ({"s3_url": "s3://b/<REQUEST_ID>"}, "is no place in S3; write s3://bucket/prefix"),
        ({"s3_url": "s3://b/x?hush"}, "'s3://b/x' is no place in S3"),
        ({"endpoint_url": "localhost:8333"}, "'localhost:8333' is no endpoint of S3; write it as https://host"),
        ({"endpoint_url": "http://h:x"}, "endpoint_url: is no URL"),
        ({"region": "Frankfurt"}, "'Frankfurt' is no region"),
        ({"iam_role_arn": "me"}, "'me' is no role; write it as \"arn:aws:iam::123456789012:role/name\""),
        ({"s3_uri": "s3://b"}, "s3_uri: is not known (did you mean s3_url?)"),
    ],
)
def test_wrong_places_are_refused_with_the_cure(fields: dict[str, Any], message: str) -> None:
    """Each names its field and what would be right."""
    with pytest.raises(PlanError) as caught:
        DeliveryOptions(**({"s3_url": "s3://b"} | fields if fields else {}))
    assert message in str(caught.value)


def test_a_role_may_stand_for_keys() -> None:
    """As AWS writes it, paths included."""
    role = "arn:aws:iam::123456789012:role/path/name"
    assert DeliveryOptions(s3_url="s3://b", iam_role_arn=role).iam_role_arn == role


def test_a_place_survives_pickling() -> None:
    """Plans hold it, and plans travel."""
    place = DeliveryOptions(s3_url="s3://bucket/x", region="eu-central-1")
    assert pickle.loads(pickle.dumps(place)) == place  # noqa: S301  # our own bytes
