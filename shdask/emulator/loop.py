"""The JavaScript that runs evaluatePixel() over planar typed arrays, written for one script and one request's shape.

Refuses to run it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from shdask.emulator.setup import ScriptOutput

CHUNK_PX = 262_144
"""Pixels per run: long enough to be fast once warm, small enough for the memory."""
CHUNK_VALUES = 2**24
"""Values per run at most, over all planes."""
MIN_CHUNK_PX = 4096

ARRAY_TYPES = {
    "int8": "Int8Array",
    "uint8": "Uint8Array",
    "int16": "Int16Array",
    "uint16": "Uint16Array",
    "float32": "Float32Array",
}

LOOP = """
globalThis.__loop = (function () {
  const stride = %(chunk)d;
  const meta = {serviceVersion: "1.0.0", normalizationFactor: %(factor)s};
  let scenes = {}, outMeta = {userData: undefined};
  %(inputs)s
  %(outputs)s
  return {
    begin: function (known) {
      scenes = known;
      outMeta = {userData: undefined};
      return 1;
    },
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
      return JSON.stringify(outMeta.userData === undefined ? {} : outMeta.userData);
    },
  };
})();
1
"""

TAKE = """
      o = %(picked)s;
      if (!Array.isArray(o) || o.length !== %(bands)d) {
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


def make_loop(feeds: Sequence[Feed], outputs: Sequence[ScriptOutput], *, sole: bool, chunk: int) -> str:
    """JavaScript that defines ``__loop`` over the buffers ``__in`` and ``__out0``, ``__out1``, ... Pure.

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
        "inputs": "\n  ".join(inputs),
        "outputs": "\n  ".join(targets),
        "samples": samples,
        "store": "".join(_take(number, output, sole=sole) for number, output in enumerate(outputs)),
    }


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
        at = "i" if feed.samples is None else "k * stride + i"
        sample = ", ".join(
            f"{json.dumps(band)}: {name}[{at}]" + ("" if divisor == 1 else f" / {divisor!r}")
            for band, name, divisor in zip(feed.bands, names, feed.divisors, strict=True)
        )
        if feed.samples is None:
            expressions.append(f"{{{sample}}}")
            continue
        # a fresh array for every pixel: scripts sort and cut it
        lines.append(
            f"const take{number} = function (i) {{ const a = []; "
            f"for (let k = 0; k < {count}; k++) a.push({{{sample}}}); return a; }};"
        )
        expressions.append(f"take{number}(i)")
    if len(feeds) == 1 and feeds[0].key is None:
        return lines, expressions[0]
    keyed = (f"{json.dumps(feed.key)}: {taken}" for feed, taken in zip(feeds, expressions, strict=True))
    return lines, f"{{{', '.join(keyed)}}}"


def _take(number: int, output: ScriptOutput, *, sole: bool) -> str:
    key = json.dumps(output.id)
    bare = "Array.isArray(r) ? r : " if sole else ""
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
    rounded = "(v + 0.5) | 0" if info.min == 0 else "(t = (v + 0.5) | 0) > v + 0.5 ? t - 1 : t"
    outside = f"v !== v ? 0 : v < {info.min} ? {info.min} : {info.max}"
    return f"v = {stretched}; {target}[i] = v >= {info.min} && v <= {info.max} ? ({rounded}) : {outside};"
