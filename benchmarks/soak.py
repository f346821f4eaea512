"""Does anything grow while 20,000 small tiles go through one cluster: memory, open files, threads, connections?"""

from __future__ import annotations

import os
from typing import Any

from benchmarks.record import write_result
from tests.cluster.soak import soak

SAMPLED = (1_000, 5_000, 10_000, 15_000, 20_000)


def run() -> dict[str, Any]:
    """20,000 tiles; the growth is from tile 1,000 to the last."""
    found = soak(SAMPLED[-1], SAMPLED)
    first, last = found["samples"][SAMPLED[0]], found["samples"][SAMPLED[-1]]
    growth = {
        name: {figure: round(last[name][figure] - value, 1) for figure, value in figures.items()}
        for name, figures in first.items()
    }
    return {**found, "growth": growth}


if __name__ == "__main__":
    os.environ["SHDASK_LEARN"] = "0"  # the user's own plans learn nothing of it
    write_result("soak", (__doc__ or "").strip(), run())
