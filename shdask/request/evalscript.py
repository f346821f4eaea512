"""Writes the evalscripts that return bands, as they are or encoded, with the data mask as the last band. Pure.

Refuses to know collections: which band exists, and in which units, is the plan's business.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from types import MappingProxyType

from shdask.errors import PlanError

DATA_MASK = "dataMask"
"""The service's band that is 1 where there is data; always the last band of our pictures."""

SAMPLE_DTYPES: Mapping[str, str] = MappingProxyType(
    {"UINT8": "uint8", "INT8": "int8", "UINT16": "uint16", "INT16": "int16", "FLOAT32": "float32"}
)
"""The service's sample types and the numpy dtype of the TIFF they give."""

_RANGES: Mapping[str, tuple[int, int]] = MappingProxyType(
    {"UINT8": (0, 255), "INT8": (-128, 127), "UINT16": (0, 65535), "INT16": (-32768, 32767)}
)

_SETUP = """\
//VERSION=3
function setup() {{
  return {{
    input: [{{bands: {bands}, units: {units}}}],
    output: {{id: "default", bands: {count}, sampleType: "{sample_type}"}},
    mosaicking: "{mosaicking}"
  }};
}}
function read(sample) {{
  const {values};
  if (!({is_valid})) return {nothing};
  return [{stored}, sample.dataMask];
}}
"""

_ONE_DATE = """\
function evaluatePixel(sample) {
  return read(sample);
}
"""

# An orbit's dateFrom is documented as ISO text where pixels are evaluated, and shown as a Date in examples before that.
# The documentation has one orbit a day; where there were two, the first with data is taken. Slots are remembered by the
# whole text, which is four times as fast as cutting the day out of it for every pixel. The language is that of 2015:
# which version the service runs is not known.
_MANY_DATES = """\
const SLOTS = new Map({dates}.map((day, index) => [day, index * {count}]));
const known = new Map();
function slotOf(orbit) {{
  const from = typeof orbit.dateFrom === "string" ? orbit.dateFrom : new Date(orbit.dateFrom).toISOString();
  let slot = known.get(from);
  if (slot === undefined) {{
    const day = from.slice(0, 10);
    slot = SLOTS.has(day) ? SLOTS.get(day) : -1;
    known.set(from, slot);
  }}
  return slot;
}}
function preProcessScenes(collections) {{
  collections.scenes.orbits = collections.scenes.orbits.filter((orbit) => slotOf(orbit) >= 0);
  return collections;
}}
function evaluatePixel(samples, scenes) {{
  const result = new Array({total}).fill(0);
  for (let i = 0; i < samples.length; i++) {{
    const slot = slotOf(scenes.orbits[i]);
    if (slot < 0 || result[slot + {band_count}] > 0) continue;
    const values = read(samples[i]);
    for (let k = 0; k < {count}; k++) result[slot + k] = values[k];
  }}
  return result;
}}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestedBand:
    """One band of a picture: what is asked for, and how the service encodes it before it is sent.

    With ``scale`` the service sends (f(v) - offset) / scale, which integer sample types round half up and clamp;
    f is 10 log10 where ``db``, else nothing. The value is then what was sent x scale + offset.
    """

    name: str
    unit: str
    """One of the service's unit names, such as DN or REFLECTANCE."""
    scale: float | None = None
    """None sends f(v) itself."""
    offset: float = 0.0
    db: bool = False
    """Whether decibels of the value are sent, for LINEAR_POWER."""

    def __post_init__(self) -> None:
        if not (self.name.isascii() and self.name.isidentifier()):
            raise PlanError(f"band {self.name!r} cannot stand in an evalscript: use letters, digits and underscores")
        if self.name == DATA_MASK:
            raise PlanError(f"{DATA_MASK} is always fetched; leave it out of the bands")
        if self.scale is not None and not (math.isfinite(self.scale) and self.scale > 0):
            raise PlanError(f"band {self.name}: scale = {self.scale} is not a number above 0")
        if not math.isfinite(self.offset) or (self.scale is None and self.offset != 0):
            raise PlanError(f"band {self.name}: offset = {self.offset} must be finite, and needs a scale beside it")


def make_evalscript(bands: Sequence[RequestedBand], sample_type: str, *, dates: Sequence[date] = ()) -> str:
    """An evalscript (V3) whose output ``default`` holds ``bands`` and then dataMask, all of ``sample_type``. Pure.

    Without ``dates``: SIMPLE mosaicking, ``len(bands) + 1`` bands. With them: ORBIT mosaicking, which the service cuts
    by UTC days; date by date, in this order, the bands and the mask of that day. A date without data is 0 with
    mask 0; days that are not named are filtered out before they are paid for.
    ``sample_type`` is a key of ``SAMPLE_DTYPES``. Where the mask is 0, or a value is no finite number (the logarithm
    of 0, a gap in the source), all bands and the mask are 0: what the service makes of NaN in integers is not known.
    Raises PlanError for no band or one given twice, a date given twice, or an unknown sample type.
    """
    names = [band.name for band in bands]
    check_bands(names, sample_type)
    if len(set(dates)) != len(dates):
        raise PlanError(f"a date is named twice: {', '.join(map(str, dates))}")
    count = len(names) + 1
    sizes = {"band_count": len(names), "count": count, "total": max(1, len(dates)) * count}
    setup = _SETUP.format(
        bands=json.dumps([*names, DATA_MASK]),
        units=json.dumps([*(band.unit for band in bands), "DN"]),
        count=sizes["total"],
        sample_type=sample_type,
        mosaicking="ORBIT" if dates else "SIMPLE",
        values=", ".join(f"v{index} = {encoded_value(band)}" for index, band in enumerate(bands)),
        is_valid=" && ".join(["sample.dataMask > 0", *(f"Number.isFinite(v{index})" for index in range(len(bands)))]),
        stored=", ".join(clamped_value(f"v{index}", band, sample_type) for index, band in enumerate(bands)),
        nothing=json.dumps([0] * count),
    )
    if not dates:
        return setup + _ONE_DATE
    return setup + _MANY_DATES.format(dates=json.dumps([day.isoformat()[:10] for day in dates]), **sizes)


def check_bands(names: Sequence[str], sample_type: str) -> None:
    """Raise PlanError for no band, one given twice, or a sample type that is no key of ``SAMPLE_DTYPES``. Pure."""
    if not names:
        raise PlanError("a layer needs at least one band")
    if len(set(names)) != len(names):
        raise PlanError(f"a band is named twice: {', '.join(names)}")
    if sample_type not in SAMPLE_DTYPES:
        raise PlanError(f"sample type {sample_type!r} is not known; choose one of {', '.join(SAMPLE_DTYPES)}")


def encoded_value(band: RequestedBand) -> str:
    """JavaScript for the value of ``band`` in ``sample`` as it is encoded, before it is rounded. Pure."""
    value = f"sample.{band.name}"
    if band.db:
        value = f"10 * Math.log10({value})"
    if band.scale is None:
        return value
    return f"({value} - ({float(band.offset)!r})) / {float(band.scale)!r}"


def clamped_value(name: str, band: RequestedBand, sample_type: str) -> str:
    """JavaScript for the encoded value called ``name`` within the range of ``sample_type``. Pure.

    As the page on evalscripts has it; the page on the DEM still says that larger numbers wrap around.
    """
    if band.scale is None or sample_type not in _RANGES:
        return name
    low, high = _RANGES[sample_type]
    return f"Math.min(Math.max({name}, {low}), {high})"
