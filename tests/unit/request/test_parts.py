"""The parts of a body, one by one."""

from __future__ import annotations

import json
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shdask.errors import PlanError
from shdask.request.delivery import Secret, hide_secrets, s3_json
from shdask.request.parts import body_json, input_json, merge_json, output_json

trees = st.recursive(
    st.dictionaries(st.sampled_from("abc"), st.integers(), max_size=3),
    lambda more: st.dictionaries(st.sampled_from("abc"), more, max_size=3),
    max_leaves=8,
)


def test_empty_parts_are_left_out() -> None:
    """What is None or empty is not written, so that the service's default holds."""
    assert input_json("dem", identifier="", data_filter={"timeRange": None}, processing={}) == {"type": "dem"}


def test_members_are_laid_over_one_by_one() -> None:
    """Objects are merged, everything else is replaced, and new members come last."""
    merged = merge_json({"a": {"b": 1, "c": [1]}, "d": 2}, {"a": {"c": [], "e": 3}, "f": {}})
    assert json.dumps(merged) == '{"a": {"b": 1, "c": [], "e": 3}, "d": 2, "f": {}}'


@given(tree=trees)
def test_laying_a_tree_over_itself_changes_nothing(tree: dict[str, object]) -> None:
    """Merging is idempotent, and an empty object changes nothing."""
    assert merge_json(tree, tree) == tree == merge_json(tree, {})


def test_merging_changes_neither_side() -> None:
    """Both sides are as they were."""
    written, more = {"a": {"b": 1}}, {"a": {"c": 2}}
    merge_json(written, more)["a"]["d"] = 3
    assert (written, more) == ({"a": {"b": 1}}, {"a": {"c": 2}})


def test_members_of_no_object_are_refused() -> None:
    """A number has no members to lay others over."""
    with pytest.raises(TypeError, match="'a' is 1 and has no members"):
        merge_json({"a": 1}, {"a": {"b": 2}})


def test_size_and_resolution_exclude_each_other() -> None:
    """The service derives one from the other."""
    with pytest.raises(PlanError, match="not both"):
        output_json([], size=(1, 1), resolution=(1.0, 1.0))


@pytest.mark.parametrize("scripts", [{}, {"evalscript": "", "evalscript_reference": {}}], ids=["none", "two"])
def test_a_body_has_one_evalscript(scripts: dict[str, object]) -> None:
    """Neither none nor two are written."""
    with pytest.raises(PlanError, match="exactly one"):
        body_json(bounds={}, data=[], **scripts)


@pytest.mark.parametrize(
    "right",
    [
        {},
        {"access_key": "AK"},
        {"secret_access_key": "SK"},
        {"iam_role_arn": "arn", "access_key": "AK", "secret_access_key": "SK"},
    ],
    ids=["none", "half", "other half", "two"],
)
def test_one_right_to_a_bucket_is_needed(right: dict[str, str]) -> None:
    """A role or a whole pair of keys."""
    with pytest.raises(PlanError, match="iam_role_arn, or both"):
        s3_json("s3://b", **right)


def test_a_secret_is_sent_and_not_shown() -> None:
    """JSON has the secret, the repr has not; it is equal to the plain text."""
    place = s3_json("s3://b", access_key="AK", secret_access_key="SK-1")
    assert json.dumps(place) == '{"s3": {"url": "s3://b", "accessKey": "AK", "secretAccessKey": "SK-1"}}'
    assert repr(place) == "{'s3': {'url': 's3://b', 'accessKey': 'AK', 'secretAccessKey': '***'}}"
    assert place["s3"]["secretAccessKey"] == "SK-1"


def test_secrets_travel_hidden() -> None:
    """A pickled secret is the same text, and still hidden."""
    secret = pickle.loads(pickle.dumps(Secret("SK-1")))  # noqa: S301  # our own bytes
    assert (secret, repr(secret)) == ("SK-1", "'***'")


def test_hiding_leaves_the_original() -> None:
    """The caller's own dictionary shows what it showed."""
    own = {"s3": {"secretAccessKey": "SK-1"}}
    assert hide_secrets(own) == own
    assert "SK-1" in repr(own)
    assert "SK-1" not in repr(hide_secrets(own))
