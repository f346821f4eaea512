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


class Script:
    """An evalscript loaded into a V8 context of its own, with its loops compiled and warm after the first run.

    For each request: ``begin``, ``run`` for as many pixels as there are, ``finish``.
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
        self._source, self._targets, self._shape = None, [], None
        self._context.close()

    def begin(self, feeds: Sequence[Feed], outputs: Sequence[ScriptOutput], scenes: Mapping[str, Any]) -> None:
        """Get ready for the pixels of a request: what goes in, what comes out, and the script's ``scenes``."""
        shape = (tuple(feeds), tuple(outputs))
        if self._shape != shape:
            self._allocate(*shape)
            self._shape = shape
        _evaluate(self._context, f"__loop.begin({json.dumps(scenes)})")

    def run(self, planes: Sequence[NDArray[np.float32]]) -> list[NDArray[Any]]:
        """evaluatePixel() over planes in DN: (y, x) each, by input, band and sample; returns a (band, y, x) per output.

        Integers are rounded half up and clamped, AUTO is stretched from [0, 1]. Raises Refusal (400) with the script's
        own error, RuntimeError before ``begin``.
        """
        if self._source is None:
            raise RuntimeError("begin() comes first")
        shape, chunk = planes[0].shape, self._source.shape[1]
        flat = [np.ascontiguousarray(plane).reshape(-1) for plane in planes]
        size = flat[0].size
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
        count, chunk = sum(feed.planes for feed in feeds), choose_chunk(feeds, outputs)
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
