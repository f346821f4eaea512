"""Our evalscripts run by V8: what setup() declares, and what becomes of every kind of value."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Sequence
from datetime import date, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from py_mini_racer import MiniRacer

from shdask.request.evalscript import SAMPLE_DTYPES, RequestedBand, make_evalscript

NAMES = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,8}", fullmatch=True).filter(lambda name: name != "dataMask")
SCALES = st.none() | st.floats(1e-6, 1e6)
DAYS = [date(2024, 2, 28) + timedelta(day) for day in range(4)]
ODD = [0.0, -1.0, 0.5, 1.0, 1e9, math.nan, math.inf, -math.inf]


@st.composite
def _bands(draw: st.DrawFn) -> list[RequestedBand]:
    names = draw(st.lists(NAMES, min_size=1, max_size=5, unique=True))
    return [
        RequestedBand(
            name=name,
            unit=draw(st.sampled_from(["DN", "REFLECTANCE", "LINEAR_POWER"])),
            scale=(scale := draw(SCALES)),
            offset=0.0 if scale is None else draw(st.floats(-1e6, 1e6)),
            db=draw(st.booleans()),
        )
        for name in names
    ]


@pytest.fixture(scope="module")
def run() -> Iterator[Callable[[str, str], Any]]:
    """Evaluates an expression where a script is loaded; NaN and infinities come as text."""
    with MiniRacer() as context:

        def evaluate(script: str, expression: str) -> Any:
            tell = "(_, v) => (typeof v === 'number' && !Number.isFinite(v) ? String(v) : v)"
            body = f"{script}; return JSON.stringify({expression}, {tell});"
            return json.loads(context.eval(f"(function () {{ {body} }})()"))

        yield evaluate


def _js(value: object) -> str:
    """A value as JavaScript, which unlike JSON has NaN and Infinity as Python's json writes them."""
    return json.dumps(value)


@given(bands=_bands(), sample_type=st.sampled_from(list(SAMPLE_DTYPES)), dates=st.lists(st.dates(), unique=True))
def test_setup_declares_what_was_asked_for(
    run: Callable[[str, str], Any], bands: list[RequestedBand], sample_type: str, dates: list[date]
) -> None:
    """Any bands, encodings and dates: valid JavaScript, whose setup() says inputs, outputs and mosaicking."""
    declared = run(make_evalscript(bands, sample_type, dates=dates), "setup()")
    assert declared == {
        "input": [
            {
                "bands": [*(band.name for band in bands), "dataMask"],
                "units": [*(band.unit for band in bands), "DN"],
            }
        ],
        "output": {"id": "default", "bands": max(1, len(dates)) * (len(bands) + 1), "sampleType": sample_type},
        "mosaicking": "ORBIT" if dates else "SIMPLE",
    }


@given(
    bands=_bands(),
    sample_type=st.sampled_from(list(SAMPLE_DTYPES)),
    values=st.lists(st.sampled_from(ODD) | st.floats(-1e7, 1e7), min_size=5, max_size=5),
    mask=st.sampled_from([0, 1]),
)
def test_no_value_that_is_no_number_is_ever_sent(
    run: Callable[[str, str], Any], bands: list[RequestedBand], sample_type: str, values: list[float], mask: int
) -> None:
    """Whatever the source holds: finite numbers under a mask of 1, or zeros under a mask of 0."""
    sample = {band.name: value for band, value in zip(bands, values, strict=False)} | {"dataMask": mask}
    sent = run(make_evalscript(bands, sample_type), f"evaluatePixel({_js(sample)})")
    assert len(sent) == len(bands) + 1
    assert all(isinstance(value, int | float) for value in sent)
    assert sent[-1] == 1 or not any(sent)


def _pixel(run: Callable[[str, str], Any], band: RequestedBand, sample_type: str, value: float) -> list[float]:
    sample = {band.name: value, "dataMask": 1}
    sent: list[float] = run(make_evalscript([band], sample_type), f"evaluatePixel({_js(sample)})")
    return sent


DB = RequestedBand(name="VV", unit="LINEAR_POWER", scale=0.01, offset=-50.0, db=True)
SHARE = RequestedBand(name="B04", unit="REFLECTANCE", scale=0.0001)


@pytest.mark.parametrize(
    ("band", "sample_type", "value", "sent"),
    [
        (DB, "INT16", 0.1, [4000.0, 1]),
        (DB, "INT16", 1.0, [5000.0, 1]),
        (DB, "INT16", 0.0, [0, 0]),
        (DB, "INT16", -0.001, [0, 0]),
        (DB, "UINT8", 1.0, [255, 1]),
        (DB, "UINT8", 1e-9, [0, 1]),
        (SHARE, "UINT16", 0.25, [2500.0, 1]),
        (SHARE, "UINT16", -0.1, [0, 1]),
        (SHARE, "INT16", -0.1, [-1000.0, 1]),
        (SHARE, "INT16", 5.0, [32767, 1]),
        (SHARE, "UINT16", math.nan, [0, 0]),
        (SHARE, "FLOAT32", 5.0, [50000.0, 1]),
        (RequestedBand(name="DEM", unit="METERS"), "FLOAT32", -3.5, [-3.5, 1]),
        (RequestedBand(name="VV", unit="LINEAR_POWER", db=True), "FLOAT32", 0.01, [-20.0, 1]),
    ],
)
def test_a_value_is_encoded_by_scale_offset_and_decibels(
    run: Callable[[str, str], Any], band: RequestedBand, sample_type: str, value: float, sent: list[float]
) -> None:
    """(f(v) - offset) / scale, clamped to the type; the logarithm of nothing is no data."""
    assert _pixel(run, band, sample_type, value) == pytest.approx(sent, rel=1e-9)


def _orbits(days: Sequence[date], *, as_dates: bool) -> str:
    one = "{{dateFrom: new Date('{0}T00:00:00Z')}}" if as_dates else "{{dateFrom: '{0}T00:00:00Z'}}"
    return f"[{', '.join(one.format(day) for day in days)}]"


@pytest.mark.parametrize("as_dates", [False, True])
def test_scenes_of_other_days_are_left_out(run: Callable[[str, str], Any], as_dates: bool) -> None:
    """Before they are paid for, whether the service tells their day as text or as a Date."""
    script = make_evalscript([SHARE], "UINT16", dates=[DAYS[1], DAYS[3]])
    left = run(script, f"preProcessScenes({{scenes: {{orbits: {_orbits(DAYS, as_dates=as_dates)}}}}}).scenes.orbits")
    assert [orbit["dateFrom"][:10] for orbit in left] == ["2024-02-29", "2024-03-02"]


@given(
    seen=st.lists(st.sampled_from(range(4)), unique=True),
    masks=st.lists(st.sampled_from([0, 1]), min_size=4, max_size=4),
    asked=st.permutations(range(4)).flatmap(lambda days: st.integers(1, 4).map(lambda count: days[:count])),
)
def test_every_date_has_its_slot(
    run: Callable[[str, str], Any], seen: list[int], masks: list[int], asked: list[int]
) -> None:
    """In the order asked for, whatever order scenes come in; a day that was not seen is zeros."""
    band = RequestedBand(name="B04", unit="DN")
    script = make_evalscript([band], "UINT16", dates=[DAYS[day] for day in asked])
    samples = [{"B04": 10 + day, "dataMask": masks[day]} for day in seen]
    orbits = _orbits([DAYS[day] for day in seen], as_dates=False)
    sent = run(script, f"evaluatePixel({_js(samples)}, {{orbits: {orbits}}})")
    expected = {day: [10 + day, 1] for day in seen if masks[day]}
    assert sent == [value for day in asked for value in expected.get(day, [0, 0])]


def test_the_first_of_two_scenes_of_a_day_with_data_is_taken(run: Callable[[str, str], Any]) -> None:
    """The documentation has one scene a day; the first is the one that the mosaicking order puts on top."""
    script = make_evalscript([RequestedBand(name="B04", unit="DN")], "UINT16", dates=[DAYS[0]])
    samples = [{"B04": 5, "dataMask": 0}, {"B04": 6, "dataMask": 1}, {"B04": 7, "dataMask": 1}]
    orbits = _orbits([DAYS[0]] * 3, as_dates=False)
    assert run(script, f"evaluatePixel({_js(samples)}, {{orbits: {orbits}}})") == [6, 1]
