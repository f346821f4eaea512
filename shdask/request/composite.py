"""Writes the evalscripts by which the service makes one picture of many dates: median, medoid, greatest NDVI. Pure.

Refuses to know collections, and which band tells clear ground.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from shdask.errors import PlanError
from shdask.request.evalscript import DATA_MASK, RequestedBand, check_bands, clamped_value, encoded_value

CompositeMethod = Literal["median", "medoid", "max-ndvi"]

# A day's dateFrom is read as in the scripts of several dates: as text or Date. The language is that of 2015.
_SETUP = """\
//VERSION=3
function setup() {{
  return {{
    input: [{{bands: {bands}, units: {units}}}],
    output: {{id: "default", bands: {count}, sampleType: "{sample_type}"}},
    mosaicking: "ORBIT"
  }};
}}
const known = new Map();
function dayOf(orbit) {{
  const from = typeof orbit.dateFrom === "string" ? orbit.dateFrom : new Date(orbit.dateFrom).toISOString();
  let day = known.get(from);
  if (day === undefined) {{
    day = Math.floor(Date.parse(from.slice(0, 10)) / 86400000);
    known.set(from, day);
  }}
  return day;
}}
function read(sample) {{
  if (!({is_clear})) return null;
  const {values};
  if (!({is_finite})) return null;
  return [{sent}];
}}
function evaluatePixel(samples, scenes) {{
  const dates = [];
  for (let i = 0; i < samples.length; i++) {{
    const values = read(samples[i]);
    if (values !== null) dates.push({{day: dayOf(scenes.orbits[i]), values: values}});
  }}
  if (dates.length === 0) return {nothing};
  const found = pick(dates);
  return [{found}];
}}
function best(dates, score) {{
  let chosen = dates[0];
  let least = score(chosen.values);
  for (let i = 1; i < dates.length; i++) {{
    const here = score(dates[i].values);
    if (here > least || (here === least && dates[i].day > chosen.day)) continue;
    chosen = dates[i];
    least = here;
  }}
  return chosen;
}}
"""

_MEDIAN = """\
function medians(dates) {{
  const middle = dates.length >> 1;
  const result = [];
  for (let k = 0; k < {band_count}; k++) {{
    const sorted = dates.map((date) => date.values[k]).sort((a, b) => a - b);
    result.push(dates.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2);
  }}
  return result;
}}
"""

_PICKS = {
    "median": """\
function pick(dates) {{
  return {{day: 0, values: medians(dates){rounded}}};
}}
""",
    "medoid": """\
const WEIGHTS = {weights};
function pick(dates) {{
  const centre = medians(dates);
  return best(dates, (values) => {{
    let distance = 0;
    for (let k = 0; k < {band_count}; k++) {{
      const off = values[k] - centre[k];
      distance += off * off * WEIGHTS[k];
    }}
    return distance;
  }});
}}
""",
    "max-ndvi": """\
function pick(dates) {{
  return best(dates, (values) => {{
    const red = {red}, nir = {nir};
    return red + nir === 0 ? 1 : (red - nir) / (red + nir);
  }});
}}
""",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class CompositeRule:
    """How many dates become one picture, and which pixels of them count."""

    method: CompositeMethod
    clear_band: str | None = None
    """Read to tell clear ground; None counts whatever holds data."""
    clear_classes: tuple[int, ...] = ()
    """Its codes that are clear; none where bits decide."""
    bad_bits: int = 0
    """Its bits of which a clear pixel has none."""
    clear_unit: str = "DN"
    """What its codes are asked in: probabilities and angles are in units of their own."""
    red_nir: tuple[RequestedBand, RequestedBand] | None = None
    """What NDVI is made of, for ``max-ndvi``; they may be among the bands of the picture."""
    ndvi_steps: tuple[tuple[float, float], ...] = ()
    """(scale, offset) by which sent red and nir become what NDVI is made of; none: those they are asked with."""
    weights: tuple[float, ...] = ()
    """For ``medoid``: what a squared step of each band counts, as values are sent."""
    has_origin: bool = False
    """Whether the day that a pixel was taken from is told as well."""

    def describe(self) -> dict[str, Any]:
        """As JSON types; what is not said was not there before it could be said. Pure."""
        unsaid = {"ndvi_steps": (), "clear_unit": "DN"}
        return {key: value for key, value in asdict(self).items() if key not in unsaid or value != unsaid[key]}

    def values(self, bands: Sequence[RequestedBand]) -> tuple[RequestedBand, ...]:
        """What values are read of for a picture of ``bands``, each once: those first. Pure."""
        names = {band.name for band in bands}
        return (*bands, *(band for band in self.red_nir or () if band.name not in names))

    def read(self, bands: Sequence[RequestedBand]) -> tuple[RequestedBand, ...]:
        """All that is read, each once and without the data mask: the price goes by it. Pure."""
        codes = () if self.clear_band is None else (RequestedBand(name=self.clear_band, unit=self.clear_unit),)
        return (*self.values(bands), *codes)


def make_composite_script(bands: Sequence[RequestedBand], sample_type: str, rule: CompositeRule) -> str:
    """An evalscript (V3) with ORBIT mosaicking: of every pixel one value of each band, of its clear dates. Pure.

    Output ``default`` holds ``bands``, then how many dates were clear, then, where ``rule.has_origin``, the day since
    1970-01-01 (UTC) that the pixel was taken from, then dataMask; all of ``sample_type``, a key of ``SAMPLE_DTYPES``.
    A date counts where its dataMask is 1, its code of ``rule.clear_band`` is clear, and all that is read is finite;
    where none does, all is 0. Values are first rounded and clamped as the picture of one date would hold them.

    ``median``: of each band by itself, the mean of the middle two where dates are even in number, rounded half up in
    integer types. ``medoid``: the date whose values are nearest to those medians, by the weighted sum of squares.
    ``max-ndvi``: the date of the greatest (nir - red) / (nir + red), -1 where that has no value. Of equal dates the
    earliest is taken.
    Raises PlanError as `make_evalscript`, and for a rule without what its method needs.
    """
    read, valued = rule.read(bands), rule.values(bands)
    check_bands([band.name for band in read], sample_type)
    if rule.method == "max-ndvi" and rule.red_nir is None:
        raise PlanError("max-ndvi needs a red and a near infrared band; name them")
    if rule.method == "medoid" and len(rule.weights) != len(bands):
        raise PlanError(f"medoid of {len(bands)} bands needs a weight for each, not {len(rule.weights)}")
    if rule.has_origin and rule.method == "median":
        raise PlanError("a median is of no one date; leave out the day of origin")
    names = [band.name for band in valued]
    extra = ["dates.length", *(["found.day"] if rule.has_origin else []), "1"]
    count = len(bands) + len(extra)
    red, nir = ("", "") if rule.red_nir is None else _of_ndvi(rule.red_nir, rule.ndvi_steps, names)
    return (_SETUP + ("" if rule.method == "max-ndvi" else _MEDIAN) + _PICKS[rule.method]).format(
        bands=json.dumps([*(band.name for band in read), DATA_MASK]),
        units=json.dumps([*(band.unit for band in read), "DN"]),
        count=count,
        sample_type=sample_type,
        is_clear=" && ".join(["sample.dataMask > 0", *_clear(rule)]),
        values=", ".join(f"v{index} = {encoded_value(band)}" for index, band in enumerate(valued)),
        is_finite=" && ".join(f"Number.isFinite(v{index})" for index in range(len(valued))),
        sent=", ".join(_sent(f"v{index}", band, sample_type) for index, band in enumerate(valued)),
        nothing=json.dumps([0] * count),
        found=", ".join([*(f"found.values[{index}]" for index in range(len(bands))), *extra]),
        band_count=len(bands),
        rounded="" if sample_type == "FLOAT32" else ".map((value) => Math.floor(value + 0.5))",
        weights=json.dumps(list(rule.weights)),
        red=red,
        nir=nir,
    )


def _clear(rule: CompositeRule) -> list[str]:
    if rule.clear_band is None:
        return []
    code = f"sample.{rule.clear_band}"
    if rule.clear_classes:
        return [f"{json.dumps(list(rule.clear_classes))}.indexOf({code}) >= 0"]
    return [f"({code} & {rule.bad_bits}) === 0"]


def _sent(name: str, band: RequestedBand, sample_type: str) -> str:
    """As the picture of one date would hold it."""
    if sample_type == "FLOAT32":
        return f"Math.fround({name})"
    return f"Math.floor({clamped_value(name, band, sample_type)} + 0.5)"


def _of_ndvi(red_nir: Sequence[RequestedBand], told: Sequence[tuple[float, float]], names: Sequence[str]) -> list[str]:
    """As sent where one step is the other's, for NDVI is then the same and exact."""
    values = [f"values[{names.index(band.name)}]" for band in red_nir]
    steps = told or [(1.0 if band.scale is None else band.scale, band.offset) for band in red_nir]
    if are_alike(steps):
        return values
    return [f"({value} * {scale!r} + ({offset!r}))" for value, (scale, offset) in zip(values, steps, strict=True)]


def are_alike(steps: Sequence[tuple[float, float]]) -> bool:
    """Whether the NDVI of two bands in these (scale, offset) is that of their numbers as they are sent. Pure."""
    (red, red_offset), (nir, nir_offset) = steps
    return red == nir and red_offset == nir_offset == 0.0
