"""What lies ahead of a cube: what is left to pay, how long it will take, and what to do next. Pure.

Refuses to know where a cube lives and how it is read.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from shdask.assemble.layout import Layout
from shdask.assemble.rows import LedgerSummary, RunEnd
from shdask.plan.cost import price_request

EXIT_BUDGET = 4
PACE_ROWS = (16, 64, 256)
"""The pace is taken over so many last tiles; the slowest and the fastest of them bound the estimate."""
MAX_PU = "--max-pu"
SPARE = 1.05
"""A cap that is advised is so much above what is projected: answers that were lost may be charged."""
CURES = {
    2: "mend what it says, then go on",
    3: "set SH_CLIENT_ID and SH_CLIENT_SECRET to credentials that are accepted, then go on",
    130: "go on; only what is missing is fetched",
}
"""By the exit code of the last run."""


def share_left(layout: Layout, rows: NDArray[np.int64], columns: NDArray[np.int64], left: NDArray[np.bool_]) -> float:
    """The share of a cube's price that its tiles in ``left`` have, 0 to 1; arrays are by tile index. Pure."""
    side, (height, width) = layout.tile_px, layout.shape
    last_row, last_column = (height - 1) // side, (width - 1) // side
    inner, corner = layout.extent(0, 0).shape, layout.extent(last_row, last_column).shape
    # bands multiply all alike
    table = np.array([[price_request((y, x), 1) for x in (inner[1], corner[1])] for y in (inner[0], corner[0])])
    prices = table[(rows == last_row).astype(np.intp), (columns == last_column).astype(np.intp)]
    whole = float(prices.sum())
    return float(prices[left].sum()) / whole if whole else 0.0


def eta_s(pace: Sequence[float], left: int, now: float) -> tuple[float, float] | None:
    """(low, high) seconds: ``left`` tiles at the fastest and at the slowest of several recent paces. Pure.

    ``pace`` are the POSIX times of the last tiles, oldest first. The time since the last one counts, so that a build
    that stands still is told ever longer. None where there is no pace yet.
    """
    counts = {min(count, len(pace)) for count in PACE_ROWS}
    spans = [max(0.0, now - pace[-count]) / count for count in counts if count > 1]
    return (left * min(spans), left * max(spans)) if spans and left else None


def next_step(ledger: LedgerSummary, *, owner: str | None, owner_state: str, pu_left: float, spooled: int) -> str:
    """What a person should do about a cube that is not complete. Pure."""
    end = ledger.end
    if owner_state == "living":
        return "wait for the build; look again"
    if owner_state == "unknown":
        return f"see whether {owner} still works, and end it if it does not; then go on"
    if spooled:
        return f"mend the store, then go on; tiles that are paid for wait on this machine's disk: {spooled}"
    if end is None:
        return "go on; only what is missing is fetched"
    if end.resume_at is not None:
        return f"the account's quota is used up until {end.resume_at}; then go on"
    return _after(end, pu_left)


def _after(end: RunEnd, pu_left: float) -> str:
    if end.exit_code == EXIT_BUDGET:
        return f"the cap is reached; go on with one that holds the {pu_left:.2f} PU that are left"
    return CURES.get(end.exit_code, "go on; only what is missing or failed is fetched")


def next_words(ledger: LedgerSummary, *, store: str, owner_state: str, pu_left: float) -> list[str]:
    """The words of a shell for `next_step`; ``JOB`` stands where no job file is known. Pure."""
    if owner_state == "living":
        return ["shdask", "status", store]
    run, end = ledger.runs[-1] if ledger.runs else None, ledger.end
    options = list(run.options) if run else []
    if end is not None and end.exit_code == EXIT_BUDGET and end.resume_at is None:
        if MAX_PU in options:
            at = options.index(MAX_PU)
            del options[at : at + 2]
        options += [MAX_PU, str(math.ceil(pu_left * SPARE))]
    return ["shdask", "build", run.job if run and run.job else "JOB", store, *options]
