"""A process of its own that runs setup() of one evalscript in V8 and tells what it returned.

Refuses to know anything of ours: it is run as a file, reads the script from stdin and writes JSON to stdout.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from pathlib import Path

DEADLINE_EXIT, MEMORY_EXIT, NO_V8_EXIT = 3, 4, 5
WATCH_S = 0.02
TOLD_LINES, TOLD_CHARACTERS = 2, 300

# What every script finds. Functions and colour scales are stand-ins: setup() may be run without them, pixels may not.
PRELUDE = """
(function () {
  const global = globalThis, stringify = JSON.stringify;
  global.Mosaicking = {SIMPLE: "SIMPLE", ORBIT: "ORBIT", TILE: "TILE"};
  global.SampleType = {
    INT8: "INT8", UINT8: "UINT8", INT16: "INT16", UINT16: "UINT16", FLOAT32: "FLOAT32", AUTO: "AUTO"
  };
  global.JAVA_DOUBLE_MAX_VAL = 1.7976931348623157E308;
  const anything = new Proxy(function () {}, {
    get: (_, name) => (name === Symbol.toPrimitive ? () => 0 : name === Symbol.iterator ? [][name] : anything),
    apply: () => anything,
    construct: () => anything
  });
  for (const name of [
    "index", "inverse", "valueMap", "valueInterpolate", "colorBlend", "int2rgb", "rgb2int", "normalizeRGB", "combine",
    "ColorMapVisualizer", "ColorRampVisualizer", "ColorGradientVisualizer", "HighlightCompressVisualizer",
    "DefaultVisualizer", "Identity", "blueRed", "redTemperature", "greenWhite", "oceanColor",
    "decodeS3OLCIQualityFlags", "decodeL8C2Qa"
  ]) global[name] = anything;
  Object.defineProperty(global, "__tell", {value: (kinds, returned) => stringify({kinds, returned})});
})();
0
"""
TELL = """
__tell(
  [typeof setup, typeof evaluatePixel, typeof updateOutput],
  typeof setup === "function" ? setup() : null
)
"""


def main() -> None:
    """Run the script on stdin; arguments are the deadline in seconds and the memory in bytes."""
    deadline_s, max_nbytes = float(sys.argv[1]), int(sys.argv[2])
    script = sys.stdin.buffer.read().decode()
    try:
        from py_mini_racer import JSEvalException, MiniRacer
    except ImportError:
        os._exit(NO_V8_EXIT)
    # V8 lets other threads run; its own deadline leaves a process that hangs, and its own limit does not see buffers
    threading.Thread(target=_watch, args=(time.monotonic() + deadline_s, max_nbytes, os.getppid()), daemon=True).start()
    context = MiniRacer()
    try:
        for source in (PRELUDE, f"{script}\n;0"):
            context.eval(source)
        answer = {"told": context.eval(TELL)}
    except JSEvalException as error:
        lines = str(error).replace("<anonymous>", "evalscript").splitlines()[:TOLD_LINES]
        answer = {"error": " ".join(line.strip()[:TOLD_CHARACTERS] for line in lines)}
    sys.stdout.write(json.dumps(answer, default=str))
    sys.stdout.flush()
    # contexts left open may hang at exit
    os._exit(0)


def _watch(until: float, max_nbytes: int, parent: int) -> None:
    statm = Path("/proc/self/statm")
    while os.getppid() == parent:
        if time.monotonic() > until:
            os._exit(DEADLINE_EXIT)
        if statm.exists() and int(statm.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") > max_nbytes:
            os._exit(MEMORY_EXIT)
        time.sleep(WATCH_S)
    os._exit(DEADLINE_EXIT)


if __name__ == "__main__":
    main()
