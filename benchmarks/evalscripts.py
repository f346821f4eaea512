"""How many megapixels a second does an evalscript run through in bulk, and how many if called for each pixel?"""

from __future__ import annotations

import statistics
import time
from contextlib import closing
from typing import Any

import numpy as np
from py_mini_racer import MiniRacer

from shdask.emulator.evalscript.loop import Feed
from shdask.emulator.evalscript.script import Script

SIDE_PX = 2500
DEEP_SIDE_PX = 1000
CALLED_SIDE_PX = 100
REPEATS = 5
SEED = 7
SCRIPTS = {
    "true_colour": """//VERSION=3
function setup() { return {input: ["B02", "B03", "B04"], output: {bands: 3}}; }
function evaluatePixel(s) { return [2.5 * s.B04, 2.5 * s.B03, 2.5 * s.B02]; }""",
    "ndvi": """//VERSION=3
function setup() { return {input: ["B04", "B08"], output: {bands: 1, sampleType: "FLOAT32"}}; }
function evaluatePixel(s) { return [(s.B08 - s.B04) / (s.B08 + s.B04)]; }""",
    "two_outputs": """//VERSION=3
function setup() {
  return {
    input: ["B02", "B03", "B04", "B08", "dataMask"],
    output: [{id: "rgb", bands: 4, sampleType: "UINT16"}, {id: "ndvi", bands: 1, sampleType: "FLOAT32"}],
  };
}
function evaluatePixel(s) {
  return {rgb: [s.B04 * 10000, s.B03 * 10000, s.B02 * 10000, s.dataMask], ndvi: [index(s.B08, s.B04)]};
}""",
    "orbit_of_10_dates": """//VERSION=3
function setup() {
  return {input: ["B04", "B08"], output: {bands: 1, sampleType: "FLOAT32"}, mosaicking: "ORBIT"};
}
function evaluatePixel(samples) {
  let best = -1;
  for (const s of samples) best = Math.max(best, index(s.B08, s.B04));
  return [best];
}""",
}


def run() -> dict[str, Any]:
    """Each script over random planes, in a context that is warm; nothing is fetched, drawn or encoded."""
    found = {
        name: measure(source, DEEP_SIDE_PX if name.startswith("orbit") else SIDE_PX, samples)
        for name, source in SCRIPTS.items()
        for samples in [10 if name.startswith("orbit") else None]
    }
    called = call_each(SCRIPTS["true_colour"])
    return {
        "scripts": found,
        "called_for_each_pixel_from_python": called,
        "bulk_is_faster_by": round(found["true_colour"]["warm_mpx_per_s"] / called["mpx_per_s"]),
    }


def measure(source: str, side: int, samples: int | None) -> dict[str, Any]:
    """Megapixels a second, and a second of a core: the first run of a new context, the median of those that follow."""
    random = np.random.default_rng(SEED)
    with closing(Script.load(source)) as script:
        names = tuple(band.name for band in script.setup.inputs[0].bands)
        divisors = tuple(1.0 if name == "dataMask" else 10000.0 for name in names)
        feed = Feed(bands=names, divisors=divisors, samples=samples)
        script.begin([feed], script.setup.outputs, {"orbits": [{}] * (samples or 0)})
        planes = [random.integers(0, 10000, (side, side)).astype(np.float32) for _ in range(feed.planes)]
        times = [_time(script, planes, side) for _ in range(REPEATS + 1)]
    first, *warm = (side * side / 1e6 / elapsed for elapsed, _ in times)
    per_core = [side * side / 1e6 / spent for _, spent in times[1:]]
    return {
        "side_px": side,
        "first_mpx_per_s": round(first, 1),
        "warm_mpx_per_s": round(statistics.median(warm), 1),
        "warm_mpx_per_core_s": round(statistics.median(per_core), 1),
        "samples_per_pixel": samples or 1,
    }


def call_each(source: str) -> dict[str, Any]:
    """The same script called from Python pixel by pixel, on a small image; larger ones would take hours."""
    with closing(MiniRacer()) as context:
        context.eval(source)
        pixels = np.random.default_rng(SEED).random((CALLED_SIDE_PX**2, 3)).tolist()
        began = time.perf_counter()
        for blue, green, red in pixels:
            context.eval(f"JSON.stringify(evaluatePixel({{B02: {blue}, B03: {green}, B04: {red}}}))")
        seconds = time.perf_counter() - began
    per_s = len(pixels) / seconds / 1e6
    return {
        "side_px": CALLED_SIDE_PX,
        "mpx_per_s": round(per_s, 6),
        "seconds_for_2500_x_2500_extrapolated": round(SIDE_PX**2 / 1e6 / per_s),
    }


def _time(script: Script, planes: list[Any], side: int) -> tuple[float, float]:
    # a machine that others use as well shows in the difference of the two
    began, began_core = time.perf_counter(), time.process_time()
    script.run(planes, (side, side))
    return time.perf_counter() - began, time.process_time() - began_core
