"""The JavaScript that runs evaluatePixel() over planar typed arrays, written for one script and one request's shape.

Refuses to run it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from shdask.emulator.evalscript.setup import ScriptOutput

CHUNK_PX = 262_144
"""Pixels per run: long enough to be fast once warm, small enough for the memory."""
CHUNK_VALUES = 2**24
"""Values per run at most, over all planes."""
MIN_CHUNK_PX = 4096
SPELT_OUT = 32
"""Samples of a pixel that are written one by one, which V8 runs at least twice as fast as a loop."""
ROUNDABLE = 1e9
"""Numbers this large in size are outside of every integer type, and still 32-bit integers."""

ARRAY_TYPES = {
    "int8": "Int8Array",
    "uint8": "Uint8Array",
    "int16": "Int16Array",
    "uint16": "Uint16Array",
    "float32": "Float32Array",
}

LOOP = """
globalThis.__loop = (function () {
  const {isArray, stringify} = __host, stride = %(chunk)d;
  const scenes = %(scenes)s, meta = {serviceVersion: "1.0.0", normalizationFactor: %(factor)s};
  const outMeta = {userData: undefined};
  %(inputs)s
  %(outputs)s
  return {
    run: function (n) {
      for (let i = 0; i < n; i++) {
        const r = evaluatePixel(%(samples)s, scenes, meta, {}, outMeta);
        let o, v, t;
        %(store)s
      }
      return 1;
    },
    finish: function () {
      if (typeof updateOutputMetadata === "function") updateOutputMetadata(scenes, meta, outMeta);
      const told = stringify(outMeta.userData);
      return told === undefined ? "{}" : told;
    },
  };
})();
// numpy writes into these buffers: the script must not move them
%(forget)s
1
"""

TAKE = """
      o = %(picked)s;
      if (!isArray(o) || o.length !== %(bands)d) {
        throw new Error("evaluatePixel() must return an array of %(bands)d values for output " + %(id)s);
      }
      %(store)s
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Feed:
    """What one input of setup() hands to evaluatePixel(): planes of DN, all samples of a band together."""

    bands: tuple[str, ...]
    divisors: tuple[float, ...]
    """Per band; sample = DN / divisor."""
    samples: int | None = None
    """How many samples the array of a pixel holds; None: one, without an array."""
    key: str | None = None
    """Its name among several inputs; None where it is the only one."""

    @property
    def planes(self) -> int:
        """How many planes of DN it takes. Pure."""
        return len(self.bands) * (1 if self.samples is None else self.samples)


def choose_chunk(feeds: Sequence[Feed], outputs: Sequence[ScriptOutput]) -> int:
    """Pixels per run of a loop over these. Pure."""
    planes = sum(feed.planes for feed in feeds) + sum(output.bands for output in outputs)
    return max(MIN_CHUNK_PX, min(CHUNK_PX, CHUNK_VALUES // max(1, planes)))


def make_loop(
    feeds: Sequence[Feed], outputs: Sequence[ScriptOutput], scenes: Mapping[str, Any], *, sole: bool, chunk: int
) -> str:
    """JavaScript that defines ``__loop`` over the buffers ``__in`` and ``__out0``, ``__out1``, ... Pure.

    ``scenes`` is the script's argument of that name, as JSON values.
    ``sole``: setup() declares one output, whose values may come as a bare array. Names are literal so that V8 can
    inline them. Rounding is floor(v + 0.5), as the documentation's tables have it; NaN becomes 0 in integers
    (undocumented).
    """
    inputs, samples = _write_inputs(feeds)
    targets = [
        f"const out{number}_{band} = new {ARRAY_TYPES[output.dtype.name]}"
        f"(__out{number}, {output.dtype.itemsize} * stride * {band}, stride);"
        for number, output in enumerate(outputs)
        for band in range(output.bands)
    ]
    divisors = [divisor for feed in feeds for divisor in feed.divisors]
    return LOOP % {
        "chunk": chunk,
        "factor": repr(1 / max(divisors)),
        "scenes": json.dumps(scenes),
        "forget": "".join(f"delete globalThis.{name}; " for name in buffer_names(outputs)),
        "inputs": "\n  ".join(inputs),
        "outputs": "\n  ".join(targets),
        "samples": samples,
        "store": "".join(_take(number, output, sole=sole) for number, output in enumerate(outputs)),
    }


def buffer_names(outputs: Sequence[ScriptOutput]) -> list[str]:
    """The names of the buffers of a loop: the inputs', then one per output. Pure."""
    return ["__in", *(f"__out{number}" for number in range(len(outputs)))]


def _write_inputs(feeds: Sequence[Feed]) -> tuple[list[str], str]:
    lines: list[str] = []
    expressions: list[str] = []
    plane = 0
    for number, feed in enumerate(feeds):
        count = 1 if feed.samples is None else feed.samples
        names = [f"in{number}_{band}" for band in range(len(feed.bands))]
        for name in names:
            lines.append(f"const {name} = new Float32Array(__in, 4 * stride * {plane}, stride * {count});")
            plane += count
        # a fresh array for every pixel: scripts sort and cut it
        if feed.samples is None:
            expressions.append(_sample(feed, names, "i"))
        elif count <= SPELT_OUT:
            samples = (_sample(feed, names, f"{k} * stride + i") for k in range(count))
            expressions.append(f"[{', '.join(samples)}]")
        else:
            lines.append(
                f"const take{number} = function (i) {{ const a = []; "
                f"for (let k = 0; k < {count}; k++) a.push({_sample(feed, names, 'k * stride + i')}); return a; }};"
            )
            expressions.append(f"take{number}(i)")
    if len(feeds) == 1 and feeds[0].key is None:
        return lines, expressions[0]
    keyed = (f"{json.dumps(feed.key)}: {taken}" for feed, taken in zip(feeds, expressions, strict=True))
    return lines, f"{{{', '.join(keyed)}}}"


def _sample(feed: Feed, names: Sequence[str], at: str) -> str:
    values = (
        f"{json.dumps(band)}: {name}[{at}]" + ("" if divisor == 1 else f" / {divisor!r}")
        for band, name, divisor in zip(feed.bands, names, feed.divisors, strict=True)
    )
    return f"{{{', '.join(values)}}}"


def _take(number: int, output: ScriptOutput, *, sole: bool) -> str:
    key = json.dumps(output.id)
    bare = "isArray(r) ? r : " if sole else ""
    return TAKE % {
        "picked": f"{bare}(r === null || r === undefined) ? undefined : r[{key}]",
        "bands": output.bands,
        "id": key,
        "store": "\n      ".join(_store(f"out{number}_{band}", band, output) for band in range(output.bands)),
    }


def _store(target: str, band: int, output: ScriptOutput) -> str:
    if output.dtype.kind == "f":
        return f"{target}[i] = +o[{band}];"
    info = np.iinfo(output.dtype)
    stretched = f"o[{band}] * 255" if output.sample_type == "AUTO" else f"+o[{band}]"
    # `| 0` cuts towards zero and is seven times as fast as Math.floor; below zero it is mended
    mend = "" if info.min == 0 else "if (t > v + 0.5) t--; "
    # clamped with bits: a branch on every bright pixel would halve the speed
    clamp = f"t -= {info.max}; t = (t & (t >> 31)) + {info.max - info.min}; t = (t & ~(t >> 31)) + {info.min};"
    outside = f"v > 0 ? {info.max} : v < 0 ? {info.min} : 0"
    return (
        f"v = {stretched}; if (v > -{ROUNDABLE} && v < {ROUNDABLE}) {{ t = (v + 0.5) | 0; {mend}{clamp} }} "
        f"else t = {outside}; {target}[i] = t;"
    )
