"""Filters in CQL2: what holds, and what is refused."""

from __future__ import annotations

from functools import reduce

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shdask.emulator.catalog.error import CatalogError
from shdask.emulator.catalog.filter import BETWEEN, COMPARISONS, Condition, read_filter

QUERYABLES = {"eo:cloud_cover": {"type": "number"}, "sat:orbit_state": {"type": "string"}}
ITEM = {"eo:cloud_cover": 20.0, "sat:orbit_state": "ascending"}


def holds(source, language=None):
    """Whether the item above meets all conditions of a filter."""
    return all(condition.holds(ITEM) for condition in read_filter(source, language, QUERYABLES))


def read_or_refuse(text):
    """The operators of a filter, or the status of its refusal."""
    try:
        return {condition.operator for condition in read_filter(text, None, QUERYABLES)}
    except CatalogError as error:
        return {error.status}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("eo:cloud_cover = 20", True),
        ("eo:cloud_cover = 2e1", True),
        ("eo:cloud_cover=20.5", False),
        ("eo:cloud_cover <> 20", False),
        ("eo:cloud_cover < 20", False),
        ("eo:cloud_cover <= 20", True),
        ("eo:cloud_cover>20", False),
        ("eo:cloud_cover >= 20", True),
        ("eo:cloud_cover > -1", True),
        ("eo:cloud_cover BETWEEN 10 AND 20", True),
        ("eo:cloud_cover between 20.5 and 30", False),
        ('"eo:cloud_cover" < 30', True),
        ("sat:orbit_state = 'ascending'", True),
        ("sat:orbit_state='descending'", False),
        ("sat:orbit_state <> 'it''s'", True),
        ("eo:cloud_cover > 10 AND eo:cloud_cover < 20", False),
        ("eo:cloud_cover between 10 and 30 and sat:orbit_state = 'ascending'", True),
        ("(eo:cloud_cover > 10 AND ((eo:cloud_cover < 30))) AND (sat:orbit_state <> 'descending')", True),
    ],
)
def test_text_is_understood(text, expected):
    """Comparisons, between and AND hold as CQL2 says, whatever the case of the words and the blanks."""
    assert holds(text) is expected
    assert holds(f"  {text}\n", "cql2-text") is expected


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ({"op": "=", "args": [{"property": "eo:cloud_cover"}, 20]}, True),
        ({"op": "<>", "args": [{"property": "sat:orbit_state"}, "ascending"]}, False),
        ({"op": "<", "args": [{"property": "eo:cloud_cover"}, 20.1]}, True),
        ({"op": "and", "args": [{"op": "=", "args": [{"property": "eo:cloud_cover"}, 5]}]}, False),
        ({"op": "between", "args": [{"property": "eo:cloud_cover"}, 20, 21]}, True),
        ({"op": "between", "args": [{"property": "eo:cloud_cover"}, 21, 22]}, False),
        (
            {
                "op": "and",
                "args": [
                    {"op": ">=", "args": [{"property": "eo:cloud_cover"}, 20]},
                    {
                        "op": "and",
                        "args": [
                            {"op": "<=", "args": [{"property": "eo:cloud_cover"}, 20]},
                            {"op": "=", "args": [{"property": "sat:orbit_state"}, "descending"]},
                        ],
                    },
                ],
            },
            False,
        ),
    ],
)
def test_json_is_understood(expression, expected):
    """The same in cql2-json, nested too."""
    assert holds(expression) is expected
    assert holds(expression, "cql2-json") is expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "eo:cloud_cover",
        "eo:cloud_cover <",
        "eo:cloud_cover < 10 OR eo:cloud_cover > 20",
        "NOT eo:cloud_cover < 10",
        "eo:cloud_cover IN (1, 2)",
        "eo:cloud_cover IS NULL",
        "sat:orbit_state LIKE 'a%'",
        "eo:cloud_cover != 20",
        "eo:cloud_cover == 20",
        "20 = eo:cloud_cover",
        "eo:cloud_cover + 1 = 20",
        "eo:cloud_cover < eo:cloud_cover",
        "eo:cloud_cover < 10 AND",
        "AND eo:cloud_cover < 10",
        "(eo:cloud_cover < 10",
        "eo:cloud_cover < 10)",
        "()",
        "eo:cloud_cover < 10 eo:cloud_cover < 20",
        "eo:cloud_cover between 10",
        "eo:cloud_cover between 10, 20",
        "eo:cloud_cover < '10'",
        "eo:cloud_cover < true",
        "sat:orbit_state = 5",
        "sat:orbit_state = 'ascending",
        "sat:orbit_state = ascending",
        "sat:orbit_state between 'a' and 'b'",
        "gsd = 10",
        "properties.eo:cloud_cover < 10",
        "S_INTERSECTS(geometry, POINT(0 0))",
    ],
)
def test_text_beyond_the_documentation_is_refused(text):
    """Other operators, other logic, unknown properties, wrong types and broken text are a 400."""
    with pytest.raises(CatalogError) as caught:
        read_filter(text, None, QUERYABLES)
    assert (caught.value.status, caught.value.code) == (400, "InvalidParameter")


@pytest.mark.parametrize(
    "expression",
    [
        {},
        {"op": "="},
        {"op": "=", "args": []},
        {"op": "=", "args": [20, {"property": "eo:cloud_cover"}]},
        {"op": "=", "args": [{"property": "eo:cloud_cover"}, {"property": "eo:cloud_cover"}]},
        {"op": "=", "args": [{"property": "eo:cloud_cover"}, True]},
        {"op": "=", "args": [{"property": "eo:cloud_cover"}, None]},
        {"op": "=", "args": [{"property": 5}, 5]},
        {"op": ["="], "args": [{"property": "eo:cloud_cover"}, 5]},
        {"op": "eq", "args": [{"property": "eo:cloud_cover"}, 5]},
        {"op": "between", "args": [{"property": "eo:cloud_cover"}, [5, 6]]},
        {"op": "and", "args": []},
        {"op": "and", "args": ["a", "b"]},
        {"op": "or", "args": [{"op": "=", "args": [{"property": "eo:cloud_cover"}, 5]}] * 2},
        {"op": "not", "args": [{"op": "=", "args": [{"property": "eo:cloud_cover"}, 5]}]},
        {"op": "=", "args": [{"property": "gsd"}, 10]},
        {"op": "=", "args": [{"property": "eo:cloud_cover"}, "5"]},
    ],
)
def test_json_beyond_the_documentation_is_refused(expression):
    """The same in cql2-json."""
    with pytest.raises(CatalogError) as caught:
        read_filter(expression, None, QUERYABLES)
    assert caught.value.status == 400


@pytest.mark.parametrize(("source", "language"), [("eo:cloud_cover = 1", "cql2-json"), ({}, "cql2-text"), (5, None)])
def test_filter_must_be_in_its_language(source, language):
    """A text is no cql2-json, and an object no cql2-text."""
    with pytest.raises(CatalogError, match="filter-lang"):
        read_filter(source, language, QUERYABLES)


def test_deep_filters_do_no_harm():
    """A hundred thousand brackets or levels are read or refused without running out of stack."""
    deep = "(" * 100_000 + "eo:cloud_cover = 20" + ")" * 100_000
    assert holds(deep)
    expression = {"op": "=", "args": [{"property": "eo:cloud_cover"}, 20]}
    nested = reduce(lambda inner, _: {"op": "and", "args": [expression, inner]}, range(20_000), expression)
    assert holds(nested)


def test_item_without_the_property_does_not_match():
    """A comparison with what an item does not have is false, even <>."""
    assert not Condition(property="gsd", operator="<>", values=(5,)).holds(ITEM)


@given(
    name=st.sampled_from(["eo:cloud_cover", "sat:orbit_state"]),
    operator=st.sampled_from(list(COMPARISONS)),
    number=st.floats(-1e6, 1e6),
    text=st.text(),
)
def test_text_and_json_say_the_same(name, operator, number, text):
    """Any comparison is the same conditions in both languages."""
    value = number if name == "eo:cloud_cover" else text
    written = repr(value) if name == "eo:cloud_cover" else "'" + text.replace("'", "''") + "'"
    expected = (Condition(property=name, operator=operator, values=(value,)),)
    assert read_filter(f"{name}{operator}{written}", None, QUERYABLES) == expected
    assert read_filter({"op": operator, "args": [{"property": name}, value]}, None, QUERYABLES) == expected


@given(text=st.text(alphabet="eo:cloud_cover sat AND between<>=()'\"0123456789.-\n", max_size=60))
def test_any_text_is_read_or_refused(text):
    """Whatever is sent becomes conditions of known operators, or a 400."""
    assert read_or_refuse(text) <= {*COMPARISONS, BETWEEN, 400}
