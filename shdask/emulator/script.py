"""Evalscripts, run by V8: setup() once, evaluatePixel() for every pixel of typed arrays.

Refuses to know where pixels come from, and to guard itself: whoever runs it must be able to be killed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from py_mini_racer import JSEvalException, JSOOMException, JSParseException, MiniRacer

from shdask.emulator.functions import PRELUDE
from shdask.emulator.loop import Feed, choose_chunk, make_loop
from shdask.emulator.refusal import Refusal
from shdask.emulator.setup import ScriptOutput, ScriptSetup, read_setup

SURVEY = """
globalThis.__survey = function (inputs, outputs) {
  const put = (target, input, entry) => {
    if (input.key === null) Object.assign(target, entry); else target[input.key] = entry;
  };
  const collections = {}, known = {};
  for (const input of inputs) {
    // orbits come without their tiles here, and tiles without the time range
    const bare = input.scenes.map((scene) => { const copy = {...scene}; delete copy.tiles; return copy; });
    const span = input.kind === "orbits" ? {from: new Date(input.from), to: new Date(input.to)} : {};
    put(collections, input, {...span, scenes: input.kind ? {[input.kind]: bare} : {}});
  }
  const filtered = inputs.some((input) => input.kind) && typeof preProcessScenes === "function";
  const left = filtered ? preProcessScenes(collections) : collections;
  const kept = inputs.map((input) => {
    if (!input.kind) return input.dates.map((_, index) => index);
    const entry = input.key === null ? left : (left || {})[input.key];
    const scenes = entry && entry.scenes && entry.scenes[input.kind];
    if (!Array.isArray(scenes) || !scenes.every((scene) => scene && scene.__idx in input.scenes)) {
      throw new Error("preProcessScenes() must return collections of the scenes it was given");
    }
    return scenes.map((scene) => scene.__idx);
  });
  inputs.forEach((input, number) => {
    put(known, input, {scenes: kept[number].map((index) => ({date: new Date(input.dates[index])}))});
  });
  if (typeof updateOutput === "function") updateOutput(outputs, known);
  return JSON.stringify({kept, bands: Object.fromEntries(Object.entries(outputs).map(([id, o]) => [id, o.bands]))});
};
1
"""


class Script:
    """An evalscript loaded into a V8 context of its own, with its loops compiled and warm after the first run.

    For each request: ``survey`` where the setup varies, ``begin``, ``run`` for as many pixels as there are, ``finish``.
    """

    def __init__(self, context: MiniRacer, setup: ScriptSetup) -> None:
        self._context = context
        self.setup = setup
        self._shape: tuple[tuple[Feed, ...], tuple[ScriptOutput, ...]] | None = None
        self._source: NDArray[np.float32] | None = None
        self._targets: list[NDArray[Any]] = []

    @classmethod
    def load(cls, source: str) -> Script:
        """The script, with setup() already run; raises Refusal (400) for one that does not load."""
        context = MiniRacer()
        try:
            _evaluate(context, PRELUDE)
            _evaluate(context, SURVEY)
            _evaluate(context, source)
            _evaluate(
                context, "if (typeof evaluatePixel !== 'function') throw new Error('evaluatePixel is missing'); 1"
            )
            returned = json.loads(_evaluate(context, "JSON.stringify(setup())") or "null")
            updates = bool(_evaluate(context, "typeof updateOutput === 'function'"))
            return cls(context, read_setup(returned, updates_output=updates))
        except BaseException:
            context.close()
            raise

    def close(self) -> None:
        """Free the context; the script must not be run again."""
        self._source, self._targets, self._shape = None, [], None
        self._context.close()

    def survey(self, described: Sequence[Mapping[str, Any]]) -> tuple[list[list[int]], ScriptSetup]:
        """preProcessScenes() and updateOutput() on these descriptions of stacks.

        Returns which samples are left, per input, and the setup with the outputs' bands as they are now. Raises
        Refusal (400).
        """
        outputs = {output.id: {"bands": output.bands} for output in self.setup.outputs}
        answer = json.loads(_evaluate(self._context, f"__survey({json.dumps(described)}, {json.dumps(outputs)})"))
        return answer["kept"], self.setup.with_bands(answer["bands"])

    def begin(self, feeds: Sequence[Feed], outputs: Sequence[ScriptOutput], scenes: Mapping[str, Any]) -> None:
        """Get ready for the pixels of a request: what goes in, what comes out, and the script's ``scenes``."""
        shape = (tuple(feeds), tuple(outputs))
        if self._shape != shape:
            self._allocate(*shape)
            self._shape = shape
        _evaluate(self._context, f"__loop.begin({json.dumps(scenes)})")

    def run(self, planes: Sequence[NDArray[np.float32]], shape: tuple[int, int]) -> list[NDArray[Any]]:
        """evaluatePixel() over planes in DN, by input, band and sample, each (y, x) of this shape.

        Returns a (band, y, x) per output.
        Integers are rounded half up and clamped, AUTO is stretched from [0, 1]. Raises Refusal (400) with the script's
        own error, RuntimeError before ``begin``.
        """
        if self._source is None:
            raise RuntimeError("begin() comes first")
        chunk = self._source.shape[1]
        flat = [np.ascontiguousarray(plane).reshape(-1) for plane in planes]
        size = shape[0] * shape[1]
        results = [np.empty((len(target), size), dtype=target.dtype) for target in self._targets]
        for start in range(0, size, chunk):
            stop = min(start + chunk, size)
            for index, plane in enumerate(flat):
                self._source[index, : stop - start] = plane[start:stop]
            _evaluate(self._context, f"__loop.run({stop - start})")
            for result, target in zip(results, self._targets, strict=True):
                result[:, start:stop] = target[:, : stop - start]
        return [result.reshape(len(result), *shape) for result in results]

    def finish(self) -> str:
        """The JSON of what the script left in ``outputMetadata.userData``; an empty object where it left nothing."""
        return str(_evaluate(self._context, "__loop.finish()"))

    def _allocate(self, feeds: tuple[Feed, ...], outputs: tuple[ScriptOutput, ...]) -> None:
        # numpy reads no empty buffer
        count, chunk = max(1, sum(feed.planes for feed in feeds)), choose_chunk(feeds, outputs)
        # these names are memory of V8 itself: numpy reads and writes it without a copy
        source: Any = self._context.eval(f"globalThis.__in = new ArrayBuffer({4 * count * chunk})")
        self._source = np.frombuffer(source, np.float32).reshape(count, chunk)
        self._targets = []
        for number, output in enumerate(outputs):
            nbytes = output.dtype.itemsize * output.bands * chunk
            target: Any = self._context.eval(f"globalThis.__out{number} = new ArrayBuffer({nbytes})")
            self._targets.append(np.frombuffer(target, output.dtype).reshape(output.bands, chunk))
        _evaluate(self._context, make_loop(feeds, outputs, sole=len(self.setup.outputs) == 1, chunk=chunk))


def _evaluate(context: MiniRacer, source: str) -> Any:
    try:
        return context.eval(source)
    except (JSEvalException, JSParseException, JSOOMException) as error:
        first_line = str(error).strip().partition("\n")[0]
        raise Refusal(400, "RENDERER_EXCEPTION", f"Failed to evaluate script!\n{first_line}") from None
