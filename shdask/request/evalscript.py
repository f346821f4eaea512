"""Writes the evalscript that returns bands as they are, with the data mask as the last one. Pure.

Refuses to know collections: which band exists, and in which units, is the plan's business.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from types import MappingProxyType

from shdask.errors import PlanError

DATA_MASK = "dataMask"
"""The service's band that is 1 where there is data; always the last band of our pictures."""

SAMPLE_DTYPES: Mapping[str, str] = MappingProxyType(
    {"UINT8": "uint8", "INT8": "int8", "UINT16": "uint16", "INT16": "int16", "FLOAT32": "float32"}
)
"""The service's sample types and the numpy dtype of the TIFF they give."""

_TEMPLATE = """\
//VERSION=3
function setup() {{
  return {{
    input: [{{bands: {bands}, units: {units}}}],
    output: {{id: "default", bands: {count}, sampleType: "{sample_type}"}}
  }};
}}
function evaluatePixel(sample) {{
  return [{samples}];
}}
"""


def make_evalscript(bands: Sequence[str], units: Sequence[str], sample_type: str) -> str:
    """An evalscript (V3, SIMPLE mosaicking) whose output ``default`` holds ``bands`` and then dataMask. Pure.

    ``units`` holds one of the service's unit names per band, such as DN or REFLECTANCE. The picture has
    ``len(bands) + 1`` bands of ``sample_type`` (a key of ``SAMPLE_DTYPES``).
    Raises PlanError for a band name that is no ASCII identifier, a band given twice or none at all, dataMask among
    the bands, a unit missing, or an unknown sample type.
    """
    _check_bands(bands)
    if len(units) != len(bands):
        raise PlanError(f"{len(bands)} bands but {len(units)} units; give one unit per band")
    if sample_type not in SAMPLE_DTYPES:
        raise PlanError(f"sample type {sample_type!r} is not known; choose one of {', '.join(SAMPLE_DTYPES)}")
    names = [*bands, DATA_MASK]
    return _TEMPLATE.format(
        bands=json.dumps(names),
        units=json.dumps([*units, "DN"]),
        count=len(names),
        sample_type=sample_type,
        samples=", ".join(f"sample.{name}" for name in names),
    )


def _check_bands(bands: Sequence[str]) -> None:
    if not bands:
        raise PlanError("a layer needs at least one band")
    for name in bands:
        if not (name.isascii() and name.isidentifier()):
            raise PlanError(f"band {name!r} cannot stand in an evalscript: use letters, digits and underscores")
        if name == DATA_MASK:
            raise PlanError(f"{DATA_MASK} is always fetched; leave it out of the bands")
    if len(set(bands)) != len(bands):
        raise PlanError(f"a band is named twice: {', '.join(bands)}")
