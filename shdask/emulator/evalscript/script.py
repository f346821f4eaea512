"""Evalscripts, run by V8: setup() once, evaluatePixel() for every pixel of typed arrays.

Refuses to know where pixels come from, and to guard itself: whoever runs it must be able to be killed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from py_mini_racer import JSEvalException, MiniRacer

from shdask.emulator.evalscript.functions import PRELUDE
from shdask.emulator.evalscript.loop import Feed, buffer_names, choose_chunk, make_loop
from shdask.emulator.evalscript.setup import ScriptOutput, ScriptSetup, read_setup
from shdask.emulator.refusal import script_failed

TOLD_LINES = 2
TOLD_CHARACTERS = 300

HOST = """
Object.defineProperty(globalThis, "__host", {value: Object.freeze({
  isArray: Array.isArray,
  stringify: JSON.stringify,
  // JSON has no NaN and Infinity, which a nodataValue may be
  tell: ((stringify) => (value) => stringify(
    value, (_, part) => (typeof part === "number" && part - part !== 0 ? `${part}` : part)
  ))(JSON.stringify),
})});
1
"""
SURVEY = """
(function (inputs, outputs) {
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
  const bands = Object.fromEntries(Object.entries(outputs).map(([id, output]) => [id, output.bands]));
  return __host.stringify({kept, bands});
})
"""


class Script:
    """An evalscript loaded into a V8 context of its own, for one request: what it gathers is seen in no other.

    ``survey`` where the setup varies, ``begin``, ``run`` for as many pixels as there are, ``finish``.
    """

    def __init__(self, context: MiniRacer, setup: ScriptSetup) -> None:
        self._context = context
        self.setup = setup
        self._source: NDArray[np.float32] | None = None
        self._targets: list[NDArray[Any]] = []

    @classmethod
    def load(cls, source: str) -> Script:
        """The script, with setup() already run; raises Refusal (400) for one that does not load."""
        context = MiniRacer()
        try:
            _evaluate(context, PRELUDE)
            _evaluate(context, HOST)
            # whatever a script ends in, what it comes to is a number
            _evaluate(context, f"{source}\n;0")
            for name in ("setup", "evaluatePixel"):
                _demand(context, name)
            returned = _read(_evaluate(context, "__host.tell(setup())"))
            updates = _evaluate(context, "typeof updateOutput") == "function"
            return cls(context, read_setup(returned, updates_output=updates))
        except BaseException:
            context.close()
            raise

    def close(self) -> None:
        """Free the context; the script must not be run again."""
        self._source, self._targets = None, []
        self._context.close()

    def survey(self, described: Sequence[Mapping[str, Any]]) -> tuple[list[list[int]], ScriptSetup]:
        """preProcessScenes() and updateOutput() on these descriptions of stacks.

        Returns which samples are left, per input, and the setup with the outputs' bands as they are now. Raises
        Refusal (400).
        """
        outputs = {output.id: {"bands": output.bands} for output in self.setup.outputs}
        call = f"({SURVEY.strip()})({json.dumps(described)}, {json.dumps(outputs)})"
        answer = _read(_evaluate(self._context, call))
        # a script may have changed what arrays and objects do
        kept, bands = (answer.get("kept"), answer.get("bands")) if isinstance(answer, dict) else (None, None)
        known = [range(len(one["dates"])) for one in described]
        if not isinstance(bands, dict) or not isinstance(kept, list) or len(kept) != len(known):
            raise script_failed("Error: the script changed the language")
        if not all(index in indices for chosen, indices in zip(kept, known, strict=True) for index in chosen):
            raise script_failed("Error: preProcessScenes() must return collections of the scenes it was given")
        return kept, self.setup.with_bands(bands)

    def begin(self, feeds: Sequence[Feed], outputs: Sequence[ScriptOutput], scenes: Mapping[str, Any]) -> None:
        """Get ready for the pixels: what goes in, what comes out, and the script's ``scenes``. Raises Refusal (400)."""
        # numpy reads no empty buffer
        count, chunk = max(1, sum(feed.planes for feed in feeds)), choose_chunk(feeds, outputs)
        # these names are memory of V8 itself: numpy reads and writes it without a copy
        nbytes = [4 * count * chunk, *(output.dtype.itemsize * output.bands * chunk for output in outputs)]
        source, *targets = (
            self._allocate(name, size) for name, size in zip(buffer_names(outputs), nbytes, strict=True)
        )
        self._source = np.frombuffer(source, np.float32).reshape(count, chunk)
        self._targets = [
            np.frombuffer(target, output.dtype).reshape(output.bands, chunk)
            for target, output in zip(targets, outputs, strict=True)
        ]
        sole = len(self.setup.outputs) == 1
        _evaluate(self._context, make_loop(feeds, outputs, scenes, sole=sole, chunk=chunk))

    def run(self, planes: Sequence[NDArray[np.float32]], shape: tuple[int, int]) -> list[NDArray[Any]]:
        """evaluatePixel() over planes in DN, by input, band and sample, each (y, x) of this shape, row by row.

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

    def _allocate(self, name: str, nbytes: int) -> Any:
        buffer: Any = _evaluate(self._context, f"globalThis.{name} = new ArrayBuffer({nbytes})")
        if not isinstance(buffer, memoryview) or buffer.nbytes != nbytes:
            raise script_failed("Error: the script changed the language")
        return buffer


def _evaluate(context: MiniRacer, source: str) -> Any:
    try:
        return context.eval(source)
    except JSEvalException as error:
        # V8 tells the place and the error, then the line, then the stack
        lines = str(error).replace("<anonymous>", "evalscript.js").splitlines()[:TOLD_LINES]
        raise script_failed("\n".join(line[:TOLD_CHARACTERS] for line in lines)) from None


def _demand(context: MiniRacer, name: str) -> None:
    if _evaluate(context, f"typeof {name}") != "function":
        raise script_failed(f"Error: the function {name}() is missing")


def _read(told: Any) -> Any:
    try:
        return json.loads(told) if isinstance(told, str) else None
    except (ValueError, RecursionError):
        raise script_failed("Error: the script changed the language") from None
