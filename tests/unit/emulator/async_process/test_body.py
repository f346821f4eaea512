"""Orders: what they name, and where files go."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shdask.emulator.async_process.body import Place, Right, read_order
from shdask.emulator.refusal import Refusal

S3 = {"url": "s3://bucket/a/b", "accessKey": "key", "secretAccessKey": "secret", "region": "eu-west-1"}
ORDER = {
    "input": {"bounds": {"bbox": [0, 0, 1, 1]}, "data": [{"type": "pattern"}]},
    "evalscript": "//VERSION=3\n",
    "output": {"width": 10, "height": 10, "delivery": {"s3": S3}},
}


def order(**s3: object) -> bytes:
    """An order with these members of its bucket changed; None removes one."""
    changed = {name: value for name, value in {**S3, **s3}.items() if value is not None}
    return json.dumps({**ORDER, "output": {**ORDER["output"], "delivery": {"s3": changed}}}).encode()


def place(path: str) -> Place:
    """Somewhere in a bucket."""
    return Place(bucket="bucket", path=path, right=Right())


def test_an_order_says_where_and_by_which_right():
    """The bucket, the folder, the keys and their region."""
    delivery = read_order(order()).delivery
    assert (delivery.bucket, delivery.path) == ("bucket", "a/b")
    assert delivery.right == Right(access_key="key", secret_access_key="secret", region="eu-west-1")


def test_a_role_stands_for_keys():
    """It needs none."""
    told = read_order(order(accessKey=None, secretAccessKey=None, iamRoleARN="arn")).delivery
    assert told.right == Right(iam_role_arn="arn", region="eu-west-1")


@pytest.mark.parametrize(
    "s3",
    [
        {"accessKey": None},
        {"secretAccessKey": None},
        {"accessKey": None, "secretAccessKey": None},
        {"secretAccessKey": None, "iamRoleARN": "arn"},
        {"url": "s3://"},
        {"url": "s3://A/b"},
        {"url": "gs://bucket/b"},
        {"url": "bucket/b"},
    ],
)
def test_a_place_without_a_name_or_a_right_is_refused(s3):
    """400, in words that hold no key."""
    with pytest.raises(Refusal) as caught:
        read_order(order(**s3))
    assert caught.value.status == 400
    assert "secret" not in json.dumps(caught.value.body()).replace("secretAccessKey", "")


def test_no_repr_shows_a_key():
    """Neither of the order nor of its parts."""
    told = read_order(order(secretAccessKey="hidden-secret", accessKey="hidden-key"))
    assert "hidden-secret" not in repr(told)


def test_what_is_told_of_an_order_has_no_keys():
    """And all the rest."""
    told = read_order(order()).told
    assert told["output"]["delivery"] == {"s3": {"url": "s3://bucket/a/b", "region": "eu-west-1"}}
    assert told["input"] == ORDER["input"]


@pytest.mark.parametrize(
    ("path", "key"),
    [
        ("", "7/default.tif"),
        ("a", "a/7/default.tif"),
        ("a/<REQUEST_ID>", "a/7/default.tif"),
        ("<OUTPUT>", "default.tif"),
        ("<OUTPUT>/<REQUEST_ID>", "default/7.tif"),
        ("x-<REQUEST_ID>-<OUTPUT>-<REQUEST_ID>", "x-7-default-7.tif"),
    ],
)
def test_placeholders_are_filled(path, key):
    """Each, wherever it stands; a path without any has the documented ones."""
    assert place(path).key("7", "default", "tif") == key


@given(
    st.lists(st.sampled_from(["a", "b-", "/", "<REQUEST_ID>", "<OUTPUT>"]), max_size=6).map(
        lambda p: "".join(p).strip("/")
    ),
    st.lists(st.sampled_from(["x", "y", "error", "request"]), min_size=2, max_size=2, unique=True),
)
def test_two_outputs_of_a_job_never_share_a_key(path, outputs):
    """Whatever the template."""
    keys = {place(path).key("7", output, "json") for output in outputs}
    assert len(keys) == 2
