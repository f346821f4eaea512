"""The evalscripts that return bands, as they are or encoded."""

from __future__ import annotations

from datetime import date

import pytest

from shdask.errors import PlanError
from shdask.request.evalscript import SAMPLE_DTYPES, RequestedBand, make_evalscript

B04 = RequestedBand(name="B04", unit="REFLECTANCE")
SCL = RequestedBand(name="SCL", unit="DN")
JUNE = [date(2024, 6, 1), date(2024, 6, 6)]


def test_the_data_mask_is_the_last_band_in_and_out():
    """One TIFF holds values and mask, so that neither can be missing or from another moment."""
    assert make_evalscript([B04, SCL], "UINT16") == (
        "//VERSION=3\n"
        "function setup() {\n"
        "  return {\n"
        '    input: [{bands: ["B04", "SCL", "dataMask"], units: ["REFLECTANCE", "DN", "DN"]}],\n'
        '    output: {id: "default", bands: 3, sampleType: "UINT16"},\n'
        '    mosaicking: "SIMPLE"\n'
        "  };\n"
        "}\n"
        "function read(sample) {\n"
        "  const v0 = sample.B04, v1 = sample.SCL;\n"
        "  if (!(sample.dataMask > 0 && Number.isFinite(v0) && Number.isFinite(v1))) return [0, 0, 0];\n"
        "  return [v0, v1, sample.dataMask];\n"
        "}\n"
        "function evaluatePixel(sample) {\n"
        "  return read(sample);\n"
        "}\n"
    )


def test_the_dates_are_literals_of_the_script():
    """A script says by itself which days it returns: equal scripts, equal pictures."""
    script = make_evalscript([B04, SCL], "UINT16", dates=JUNE)
    assert '["2024-06-01", "2024-06-06"]' in script
    assert 'bands: 6, sampleType: "UINT16"},\n    mosaicking: "ORBIT"' in script


@pytest.mark.parametrize("name", ["B 1", "1B", "", "B-1", "B1]}; while(true){}", "č", "dataMask"])
def test_a_band_that_is_no_identifier_is_refused(name: str):
    """A name goes into a program: nothing but a name may."""
    with pytest.raises(PlanError, match=r"letters, digits and underscores|always fetched"):
        RequestedBand(name=name, unit="DN")


@pytest.mark.parametrize(
    ("coding", "reason"),
    [
        ({"scale": 0.0}, "scale = 0.0 is not a number above 0"),
        ({"scale": -1.0}, "scale = -1.0 is not a number above 0"),
        ({"scale": float("nan")}, "scale = nan is not a number above 0"),
        ({"scale": 1.0, "offset": float("inf")}, "offset = inf must be finite"),
        ({"offset": 2.0}, "needs a scale"),
    ],
)
def test_a_coding_that_cannot_be_undone_is_refused(coding: dict[str, float], reason: str):
    """What is stored must lead back to a value."""
    with pytest.raises(PlanError, match=reason):
        RequestedBand(name="VV", unit="LINEAR_POWER", **coding)


@pytest.mark.parametrize(
    ("bands", "sample_type", "dates", "reason"),
    [
        ([], "UINT16", [], "at least one band"),
        ([SCL, SCL], "UINT16", [], "band is named twice: SCL, SCL"),
        ([SCL], "AUTO", [], "choose one of UINT8"),
        ([SCL], "UINT16", [JUNE[0], JUNE[0]], "date is named twice"),
    ],
)
def test_bands_that_cannot_be_asked_for_are_refused(
    bands: list[RequestedBand], sample_type: str, dates: list[date], reason: str
):
    """Each mistake is named before any request is sent."""
    with pytest.raises(PlanError, match=reason):
        make_evalscript(bands, sample_type, dates=dates)


def test_each_sample_type_has_the_dtype_of_its_name():
    """A picture is checked against this before anyone sees a pixel."""
    assert dict(SAMPLE_DTYPES) == {name: name.lower() for name in ("UINT8", "INT8", "UINT16", "INT16", "FLOAT32")}
