"""The evalscript that returns bands as they are."""

from __future__ import annotations

import pytest

from shdask.errors import PlanError
from shdask.request.evalscript import SAMPLE_DTYPES, make_evalscript


def test_the_data_mask_is_the_last_band_in_and_out():
    """One TIFF holds values and mask, so that neither can be missing or from another moment."""
    assert make_evalscript(["B04", "SCL"], ["REFLECTANCE", "DN"], "UINT16") == (
        "//VERSION=3\n"
        "function setup() {\n"
        "  return {\n"
        '    input: [{bands: ["B04", "SCL", "dataMask"], units: ["REFLECTANCE", "DN", "DN"]}],\n'
        '    output: {id: "default", bands: 3, sampleType: "UINT16"}\n'
        "  };\n"
        "}\n"
        "function evaluatePixel(sample) {\n"
        "  return [sample.B04, sample.SCL, sample.dataMask];\n"
        "}\n"
    )


@pytest.mark.parametrize("name", ["B 1", "1B", "", "B-1", "B1]}; while(true){}", "č"])
def test_a_band_that_is_no_identifier_is_refused(name: str):
    """A name goes into a program: nothing but a name may."""
    with pytest.raises(PlanError, match="letters, digits and underscores"):
        make_evalscript([name], ["DN"], "UINT16")


@pytest.mark.parametrize(
    ("bands", "units", "sample_type", "reason"),
    [
        ([], [], "UINT16", "at least one band"),
        (["B02", "B02"], ["DN", "DN"], "UINT16", "named twice"),
        (["B02", "dataMask"], ["DN", "DN"], "UINT16", "always fetched"),
        (["B02", "B03"], ["DN"], "UINT16", "2 bands but 1 units"),
        (["B02"], ["DN"], "AUTO", "choose one of UINT8"),
    ],
)
def test_bands_that_cannot_be_asked_for_are_refused(bands: list[str], units: list[str], sample_type: str, reason: str):
    """Each mistake is named before any request is sent."""
    with pytest.raises(PlanError, match=reason):
        make_evalscript(bands, units, sample_type)


def test_each_sample_type_has_the_dtype_of_its_name():
    """A picture is checked against this before anyone sees a pixel."""
    assert dict(SAMPLE_DTYPES) == {name: name.lower() for name in ("UINT8", "INT8", "UINT16", "INT16", "FLOAT32")}
