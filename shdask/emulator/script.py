"""Evalscripts, run by V8: setup() once, evaluatePixel() for every pixel of typed arrays.

Refuses to know where pixels come from, and to guard itself: whoever runs it must be able to be killed.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from py_mini_racer import JSEvalException, JSOOMException, JSParseException, MiniRacer

from shdask.emulator.refusal import Refusal
from shdask.emulator.setup import ScriptOutput, ScriptSetup, read_setup

CHUNK_PX = 262_144
"""Pixels per run: long enough to be fast once warm, small enough for the memory."""

PRELUDE = """
globalThis.Mosaicking = {SIMPLE: "SIMPLE", ORBIT: "ORBIT", TILE: "TILE"};
globalThis.SampleType = {
  INT8: "INT8", UINT8: "UINT8", INT16: "INT16", UINT16: "UINT16", FLOAT32: "FLOAT32", AUTO: "AUTO"
};
1
"""

ARRAY_TYPES = {
    "int8": "Int8Array",
    "uint8": "Uint8Array",
    "int16": "Int16Array",
    "uint16": "Uint16Array",
    "float32": "Float32Array",
}

LOOP = """
globalThis.__run = (function () {
  const stride = %(chunk)d;
  const scenes = {}, meta = {serviceVersion: "1.0.0", normalizationFactor: %(factor)s}, outMeta = {userData: undefined};
  %(inputs)s
  %(outputs)s
  return function (n) {
    for (let i = 0; i < n; i++) {
      const r = evaluatePixel({%(sample)s}, scenes, meta, undefined, outMeta);
      const o = Array.isArray(r) ? r : (r === null || r === undefined) ? undefined : r[%(id)s];
      if (!Array.isArray(o) || o.length !== %(bands)d) {
        throw new Error("evaluatePixel() must return an array of %(bands)d values for output " + %(id)s);
      }
      let v, t;
      %(store)s
    }
    return 1;
  };
})();
1
"""


class Script:
    """An evalscript loaded into a V8 context of its own, with its loops compiled and warm after the first run."""

    def __init__(self, context: MiniRacer, setup: ScriptSetup) -> None:
        self._context = context
        self.setup = setup
        self._loop: tuple[ScriptOutput, tuple[float, ...]] | None = None
        self._arrays: tuple[NDArray[Any], NDArray[Any]] | None = None

    @classmethod
    def load(cls, source: str) -> Script:
        """The script, with setup() already run; raises Refusal (400) for one that does not load."""
        context = MiniRacer()
        try:
            _evaluate(context, PRELUDE)
            _evaluate(context, source)
            _evaluate(
                context, "if (typeof evaluatePixel !== 'function') throw new Error('evaluatePixel is missing'); 1"
            )
            returned = json.loads(_evaluate(context, "JSON.stringify(setup())") or "null")
            return cls(context, read_setup(returned))
        except BaseException:
            context.close()
            raise

    def close(self) -> None:
        """Free the context; the script must not be run again."""
        self._arrays = None
        self._context.close()

    def run(
        self, values: Sequence[NDArray[np.float32]], divisors: tuple[float, ...], output: ScriptOutput
    ) -> NDArray[Any]:
        """evaluatePixel() over planes in DN, one (y, x) plane per input band; sample = DN / divisor.

        Returns (band, y, x) of the output's type: integers rounded half up and clamped, AUTO stretched from [0, 1].
        Raises Refusal (400) with the script's own error.
        """
        source, target = self._prepare(divisors, output)
        shape = values[0].shape
        planes = [np.ascontiguousarray(plane).reshape(-1) for plane in values]
        result = np.empty((output.bands, planes[0].size), dtype=output.dtype)
        for start in range(0, planes[0].size, CHUNK_PX):
            stop = min(start + CHUNK_PX, planes[0].size)
            for index, plane in enumerate(planes):
                source[index, : stop - start] = plane[start:stop]
            _evaluate(self._context, f"__run({stop - start})")
            result[:, start:stop] = target[:, : stop - start]
        return result.reshape(output.bands, *shape)

    def _prepare(self, divisors: tuple[float, ...], output: ScriptOutput) -> tuple[NDArray[Any], NDArray[Any]]:
        if self._arrays is None or self._loop != (output, divisors):
            count = len(divisors)
            item = output.dtype.itemsize
            sizes = (4 * count * CHUNK_PX, item * output.bands * CHUNK_PX)
            # both names are memory of V8 itself: numpy reads and writes it without a copy
            source: Any = self._context.eval(f"globalThis.__in = new ArrayBuffer({sizes[0]})")
            target: Any = self._context.eval(f"globalThis.__out = new ArrayBuffer({sizes[1]})")
            names = tuple(band.name for band in self.setup.inputs)
            _evaluate(self._context, make_loop(names, divisors, output))
            self._arrays = (
                np.frombuffer(source, np.float32).reshape(count, CHUNK_PX),
                np.frombuffer(target, output.dtype).reshape(output.bands, CHUNK_PX),
            )
            self._loop = (output, divisors)
        return self._arrays


def make_loop(names: tuple[str, ...], divisors: tuple[float, ...], output: ScriptOutput) -> str:
    """JavaScript that runs evaluatePixel() over planar typed arrays, with literal names so that V8 can inline. Pure.

    Rounding is floor(v + 0.5), as the documentation's tables have it; NaN becomes 0 in integers (undocumented).
    """
    inputs = [f"const in{i} = new Float32Array(__in, 4 * stride * {i}, stride);" for i in range(len(names))]
    array_type = ARRAY_TYPES[output.dtype.name]
    item = output.dtype.itemsize
    outputs = [f"const out{i} = new {array_type}(__out, {item} * stride * {i}, stride);" for i in range(output.bands)]
    sample = [
        f"{json.dumps(name)}: in{i}[i]" + ("" if divisor == 1 else f" / {divisor!r}")
        for i, (name, divisor) in enumerate(zip(names, divisors, strict=True))
    ]
    store = [_store(i, output) for i in range(output.bands)]
    return LOOP % {
        "chunk": CHUNK_PX,
        "factor": repr(1 / max(divisors)),
        "inputs": "\n  ".join(inputs),
        "outputs": "\n  ".join(outputs),
        "sample": ", ".join(sample),
        "id": json.dumps(output.id),
        "bands": output.bands,
        "store": "\n      ".join(store),
    }


def _store(index: int, output: ScriptOutput) -> str:
    if output.dtype.kind == "f":
        return f"out{index}[i] = +o[{index}];"
    info = np.iinfo(output.dtype)
    stretched = f"o[{index}] * 255" if output.sample_type == "AUTO" else f"+o[{index}]"
    # `| 0` cuts towards zero and is seven times as fast as Math.floor; below zero it is mended
    rounded = "(v + 0.5) | 0" if info.min == 0 else "(t = (v + 0.5) | 0) > v + 0.5 ? t - 1 : t"
    outside = f"v !== v ? 0 : v < {info.min} ? {info.min} : {info.max}"
    return f"v = {stretched}; out{index}[i] = v >= {info.min} && v <= {info.max} ? ({rounded}) : {outside};"


def _evaluate(context: MiniRacer, source: str) -> Any:
    try:
        return context.eval(source)
    except (JSEvalException, JSParseException, JSOOMException) as error:
        first_line = str(error).strip().partition("\n")[0]
        raise Refusal(400, "RENDERER_EXCEPTION", f"Failed to evaluate script!\n{first_line}") from None
