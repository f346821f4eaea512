"""A plan in a notebook: its figures as a table, and a map of the windows of each group.

Pure. Refuses to load anything from elsewhere, and to trust a name.
"""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from shdask.plan.sketch import draw_windows
from shdask.plan.summary import summarize

if TYPE_CHECKING:
    from shdask.plan.cube import CubePlan
    from shdask.plan.summary import GroupSummary

MOST_MAPS = 6
"""Of the first groups; a cube in many UTM zones has very many."""


def draw_plan(plan: CubePlan) -> str:
    """HTML of what ``plan`` costs, with maps of its windows. Pure."""
    summary = summarize(plan)
    rows = "".join(
        f'<tr><th style="text-align:left">{escape(label)}</th><td style="text-align:left">{escape(words)}</td></tr>'
        for label, words in summary.rows()
    )
    maps = "".join(_map(each) for each in summary.groups[:MOST_MAPS])
    more = len(summary.groups) - MOST_MAPS
    left_out = f"<p>and {more} more groups, without a map</p>" if more > 0 else ""
    return f"<b>CubePlan</b><table>{rows}</table>{maps}{left_out}"


def _map(group: GroupSummary) -> str:
    name = group.path or group.plan.layer.name
    legend = f"{escape(name)}: area green, whole tiles blue, windows brown"
    return f'<figure style="margin:1em 0">{draw_windows(group.plan)}<figcaption>{legend}</figcaption></figure>'
