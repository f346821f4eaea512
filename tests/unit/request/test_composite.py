"""The evalscripts of composites, run by V8: which dates count, and what is made of them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from py_mini_racer import MiniRacer

from shdask.errors import PlanError
from shdask.request.composite import CompositeRule, make_composite_script
from shdask.request.evalscript import RequestedBand

Run = Callable[[str, str], Any]
RED, NIR = RequestedBand(name="B04", unit="DN"), RequestedBand(name="B08", unit="DN")
BLUE = RequestedBand(name="B02", unit="DN")
STEPS = RequestedBand(name="B05", unit="REFLECTANCE", scale=0.5, offset=-1.0)
SCL: dict[str, Any] = {"clear_band": "SCL", "clear_classes": (4, 5)}
MEDIAN = CompositeRule(method="median")
MEDOID = CompositeRule(method="medoid", weights=(1.0, 1.0))
GREENEST = CompositeRule(method="max-ndvi", red_nir=(RED, NIR))
FIRST = date(2024, 6, 1)
VALUES = st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 10_000)), min_size=1, max_size=9)


@pytest.fixture(scope="module")
def run() -> Iterator[Run]:
    """Evaluates an expression where a script is loaded."""
    with MiniRacer() as context:

        def evaluate(script: str, expression: str) -> Any:
            return json.loads(context.eval(f"(function () {{ {script}; return JSON.stringify({expression}); }})()"))

        yield evaluate


def sample(red: float, nir: float = 0, **more: float) -> dict[str, float]:
    return {"B04": red, "B08": nir, "dataMask": 1, **more}


def pixel(samples: Sequence[dict[str, float]], days: Sequence[int] | None = None, *, as_dates: bool = False) -> str:
    """The call for samples of so many days after the first, in the order of the service."""
    numbers = range(len(samples)) if days is None else days
    one = "{{dateFrom: new Date('{0}T00:00:00Z')}}" if as_dates else "{{dateFrom: '{0}T00:00:00Z'}}"
    orbits = ", ".join(one.format(FIRST + timedelta(number)) for number in numbers)
    return f"evaluatePixel({json.dumps(list(samples))}, {{orbits: [{orbits}]}})"


def test_setup_reads_every_band_once_and_all_dates(run: Run) -> None:
    """Also those that are not stored: what NDVI is made of and the codes, which the price counts."""
    rule = CompositeRule(method="max-ndvi", red_nir=(RED, NIR), has_origin=True, **SCL)
    assert run(make_composite_script([BLUE, RED], "UINT16", rule), "setup()") == {
        "input": [{"bands": ["B02", "B04", "B08", "SCL", "dataMask"], "units": ["DN"] * 5}],
        "output": {"id": "default", "bands": 5, "sampleType": "UINT16"},
        "mosaicking": "ORBIT",
    }
    assert [band.name for band in rule.read([BLUE, RED])] == ["B02", "B04", "B08", "SCL"]


@given(values=VALUES)
def test_a_median_is_numpys(run: Run, values: list[tuple[int, int]]) -> None:
    """Of each band by itself."""
    sent = run(make_composite_script([RED, NIR], "FLOAT32", MEDIAN), pixel([sample(*each) for each in values]))
    assert sent == [*np.median(values, axis=0).tolist(), len(values), 1]


@given(values=VALUES)
def test_a_medoid_is_the_date_nearest_to_the_median(run: Run, values: list[tuple[int, int]]) -> None:
    """The first of those that are equally near."""
    sent = run(make_composite_script([RED, NIR], "UINT16", MEDOID), pixel([sample(*each) for each in values]))
    distances = ((np.array(values) - np.median(values, axis=0)) ** 2).sum(axis=1)
    assert sent == [*values[int(distances.argmin())], len(values), 1]


@given(values=VALUES)
def test_the_greenest_date_has_the_greatest_ndvi(run: Run, values: list[tuple[int, int]]) -> None:
    """-1 where both bands are 0."""
    sent = run(make_composite_script([RED, NIR], "UINT16", GREENEST), pixel([sample(*each) for each in values]))
    red, nir = np.array(values, np.float64).T
    ndvi = np.divide(nir - red, nir + red, out=np.full(red.shape, -1.0), where=nir + red > 0)
    assert sent == [*values[int(ndvi.argmax())], len(values), 1]


def test_ndvi_is_made_of_what_values_stand_for(run: Run) -> None:
    """Of integers of 0.0001 beside steps of 0.001 from -0.0005: 9 and 2 are 0.0009 and 0.0015, the greenest."""
    rule = replace(GREENEST, ndvi_steps=((0.0001, 0.0), (0.001, -0.0005)))
    script = make_composite_script([RED, NIR], "UINT16", rule)
    assert run(script, pixel([sample(6, 1), sample(4, 1), sample(9, 2)])) == [9, 2, 3, 1]
    assert "ndvi_steps" not in GREENEST.describe()


@pytest.mark.parametrize("as_dates", [False, True])
@pytest.mark.parametrize(("days", "origin"), [([4, 2, 7], 19875 + 2), ([9, 8, 3], 19875 + 3)])
def test_the_earliest_of_equal_dates_is_taken(run: Run, days: list[int], origin: int, as_dates: bool) -> None:
    """In whatever order the service has them, as text or as Dates; 1 June 2024 is day 19875."""
    rule = CompositeRule(method="medoid", weights=(1.0,), has_origin=True)
    sent = run(make_composite_script([RED], "UINT16", rule), pixel([sample(5)] * 3, days, as_dates=as_dates))
    assert sent == [5, 3, origin, 1]


@pytest.mark.parametrize(
    ("rule", "codes", "clear"),
    [
        (SCL, {"SCL": 4}, True),
        (SCL, {"SCL": 8}, False),
        ({"clear_band": "BQA", "bad_bits": 0b11111}, {"BQA": 0b1000000}, True),
        ({"clear_band": "BQA", "bad_bits": 0b11111}, {"BQA": 0b1001000}, False),
        ({}, {"SCL": 8}, True),
        ({}, {"dataMask": 0}, False),
        ({}, {"B04": None}, False),
    ],
    ids=["class", "cloud", "bits", "bad-bits", "unmasked", "no-data", "no-number"],
)
def test_only_clear_dates_count(run: Run, rule: dict[str, Any], codes: dict[str, Any], clear: bool) -> None:
    """By codes or bits, the data mask, and values that are numbers; without any, all is 0."""
    told = json.dumps(sample(7)).replace("}", f", {json.dumps(codes).strip('{}')}}}").replace("null", "NaN")
    call = f"evaluatePixel([{told}], {{orbits: [{{dateFrom: '2024-06-01T00:00:00Z'}}]}})"
    sent = run(make_composite_script([RED], "UINT16", CompositeRule(method="median", **rule)), call)
    assert sent == ([7, 1, 1] if clear else [0, 0, 0])


def test_no_date_is_no_data(run: Run) -> None:
    """As of a window that no scene reaches."""
    assert run(make_composite_script([RED], "UINT16", MEDIAN), pixel([])) == [0, 0, 0]


def test_values_are_first_made_what_a_dates_own_picture_would_hold(run: Run) -> None:
    """Encoded, clamped and rounded: 0.4 is step 2.8, which is sent as 3, and the middle of 3 and 4 as 4."""
    samples = [{"B05": 0.4, "dataMask": 1}, {"B05": 1.0, "dataMask": 1}, {"B05": -9.0, "dataMask": 1}]
    script = make_composite_script([STEPS], "UINT16", MEDIAN)
    assert run(script, pixel(samples[:2])) == [4, 2, 1]
    assert run(script, pixel(samples)) == [3, 3, 1]


@pytest.mark.parametrize(("sample_type", "middle"), [("INT16", -2), ("FLOAT32", -2.5)])
def test_medians_of_integers_are_rounded_half_up_by_the_script(run: Run, sample_type: str, middle: float) -> None:
    """Below 0 as well, where decibels are: whatever the service makes of halves."""
    script = make_composite_script([RED], sample_type, MEDIAN)
    assert run(script, pixel([sample(-3), sample(-2)])) == [middle, 2, 1]


def test_bands_weigh_by_their_steps(run: Run) -> None:
    """Of three dates the median is (1, 1); the third is off by one coarse step, the others by two fine ones and one."""
    rule = CompositeRule(method="medoid", weights=(100.0, 1.0))
    samples = [sample(1, 9), sample(0, 1), sample(2, 0)]
    assert run(make_composite_script([RED, NIR], "UINT16", rule), pixel(samples)) == [1, 9, 3, 1]


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        (CompositeRule(method="max-ndvi"), "needs a red and a near infrared band"),
        (CompositeRule(method="medoid"), "needs a weight for each"),
        (CompositeRule(method="median", has_origin=True), "of no one date"),
        (CompositeRule(method="median", clear_band="B04"), "named twice"),
    ],
)
def test_a_rule_that_lacks_something_is_refused(rule: CompositeRule, message: str) -> None:
    """Before anything is sent."""
    with pytest.raises(PlanError, match=message):
        make_composite_script([RED], "UINT16", rule)
