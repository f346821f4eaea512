"""What a run may have shown."""

from __future__ import annotations

from shdask.plan.measured import RunFigures

RUN = RunFigures(
    kind="loopback sentinel-2-l2a bands", pu_spent=3.0, pu_projected=2.0, pu_formula=2.0, nbytes=400,
    nbytes_projected=1000, requests=9, answers=8, answers_s=4.0, seconds=30.0, seconds_projected=20.0,
)  # fmt: skip  # one row
"""Its price and time were half as much again as foreseen; an answer took half a second."""
