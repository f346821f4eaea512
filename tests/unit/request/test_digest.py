"""Equal questions have equal digests."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shdask.errors import PlanError
from shdask.request.digest import request_digest

BODY = {
    "input": {"bounds": {"bbox": [10, 20.5, 30, 40]}, "data": [{"type": "dem"}]},
    "evalscript": "//VERSION=3\nfunction setup() {}",
    "output": {"width": 512, "height": 512},
}
NUMBERS = st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False)
JSON = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.text(),
    lambda parts: st.lists(parts, max_size=4) | st.dictionaries(st.text(max_size=5), parts, max_size=4),
    max_leaves=12,
)
BODIES = st.dictionaries(st.text(max_size=5), JSON, max_size=4)


def shuffled(value: Any) -> Any:
    """The same JSON with the keys of every mapping the other way round."""
    if isinstance(value, dict):
        return {key: shuffled(value[key]) for key in reversed(value)}
    return [shuffled(part) for part in value] if isinstance(value, list) else value


def with_floats(value: Any) -> Any:
    """The same JSON with every integer written as a float."""
    if isinstance(value, dict):
        return {key: with_floats(part) for key, part in value.items()}
    if isinstance(value, list):
        return [with_floats(part) for part in value]
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value


@given(body=BODIES)
def test_the_order_of_keys_does_not_count(body: dict[str, Any]):
    """A mapping is the same in any order."""
    assert request_digest([shuffled(body)]) == request_digest([body])


@given(body=BODIES)
def test_the_way_a_number_is_written_does_not_count(body: dict[str, Any]):
    """10 and 10.0 are one number."""
    assert request_digest([with_floats(body)]) == request_digest([body])


@given(body=BODIES)
def test_a_body_that_went_over_the_wire_has_the_same_digest(body: dict[str, Any]):
    """What a log or a journal of JSON holds can be matched with the ledger."""
    assert request_digest([json.loads(json.dumps(body))]) == request_digest([body])


@pytest.mark.parametrize(
    "change",
    [
        {"evalscript": "//VERSION=3\nfunction setup() { }"},
        {"output": {"width": 513, "height": 512}},
        {"input": {"bounds": {"bbox": [10, 20.500000000000004, 30, 40]}, "data": [{"type": "dem"}]}},
        {"input": {"bounds": {"bbox": [20.5, 10, 30, 40]}, "data": [{"type": "dem"}]}},
        {"more": None},
    ],
)
def test_another_question_has_another_digest(change: dict[str, Any]):
    """Script, size, place, the order of a list and every further key count."""
    assert request_digest([BODY | change]) != request_digest([BODY])


def test_true_is_not_one():
    """A switch is no number."""
    assert request_digest([{"a": True}]) != request_digest([{"a": 1}])


def test_the_order_and_number_of_requests_count():
    """A tile of two windows is not a tile of one, nor of the two the other way round."""
    other = BODY | {"evalscript": ""}
    digests = {request_digest(bodies) for bodies in ([BODY], [BODY, BODY], [BODY, other], [other, BODY], [])}
    assert len(digests) == 5


def test_a_digest_never_moves():
    """Rows of older releases stay comparable: SHA-256 of the sorted, space-free JSON, cut to 32 digits."""
    assert request_digest([{"b": 10.0, "a": [1.5, -0.0]}]) == "050e5cfa6f3b32257b3c8fca71ee1061"


def test_a_number_that_json_cannot_hold_is_refused():
    """NaN equals nothing, so it has no digest."""
    with pytest.raises(PlanError, match="nan"):
        request_digest([{"a": float("nan")}])
