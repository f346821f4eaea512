"""What the page says beside its map: a snapshot in words, bars and tables, as HTML.

Pure. Refuses to compute anything; whatever comes from elsewhere is escaped.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from shdask.cluster.snapshot import BuildSnapshot, TileMark

COLOURS = {
    TileMark.OUTSIDE: "#f4f4f2",
    TileMark.UNTRIED: "#cfd2d6",
    TileMark.IN_WORK: "#f0c419",
    TileMark.WRITTEN: "#0b6ba8",
    TileMark.EMPTY: "#8fc7ec",
    TileMark.FAILED: "#d1495b",
}
"""Told apart by their lightness too, so by eyes that see no red or green, and in print."""
NAMES = {
    TileMark.WRITTEN: "written",
    TileMark.EMPTY: "empty",
    TileMark.IN_WORK: "in work",
    TileMark.UNTRIED: "untried",
    TileMark.FAILED: "failed",
}
STYLE = """
:host { font: 13px/1.45 system-ui, 'Segoe UI', 'DejaVu Sans', sans-serif; color: #24292f; }
h2 { font-size: 12px; font-weight: 600; margin: 0 0 4px; color: #57606a; }
.bk-clearfix { display: block !important; width: 100%; }
b { font-weight: 600; }
.quiet { color: #57606a; }
.bad { color: #b3283c; }
.badge { display: inline-block; padding: 0 8px; border-radius: 9px; color: #fff; font-weight: 600; font-size: 12px; }
.cards { display: grid; grid-template-columns: repeat(4, 1fr); gap: 8px; }
.card { border: 1px solid #d8dee4; border-radius: 6px; padding: 5px 9px; min-width: 0; }
.card div { white-space: nowrap; overflow: hidden; text-overflow: ellipsis; }
.value { font-size: 18px; font-weight: 600; line-height: 1.3; }
.bar { position: relative; height: 14px; background: #eaeef2; border-radius: 3px; margin: 3px 0 2px; }
.bar i { position: absolute; inset: 0 auto 0 0; border-radius: 3px; }
.bar u { position: absolute; top: -3px; bottom: -3px; width: 2px; background: #24292f; }
.row { display: flex; justify-content: space-between; gap: 12px; }
.swatch { display: inline-block; width: 12px; height: 12px; border-radius: 2px; margin: 0 5px -1px 0; }
.legend span + span { margin-left: 18px; }
table { border-collapse: collapse; width: 100%; table-layout: fixed; }
th { text-align: left; font-weight: 600; color: #57606a; font-size: 12px; }
th, td { padding: 1px 8px 1px 0; border-bottom: 1px solid #eaeef2; overflow: hidden; text-overflow: ellipsis;
  white-space: nowrap; }
.cut { white-space: nowrap; overflow: hidden; text-overflow: ellipsis; padding-top: 6px; }
.why { max-height: 160px; overflow: auto; }
pre { font: 12px/1.4 ui-monospace, 'DejaVu Sans Mono', monospace; margin: 0; white-space: pre-wrap; }
"""
SHOWN_ROWS = 6
SILENT_S = 10.0
"""An owner says something every second."""


def say_state(snapshot: BuildSnapshot, now: float) -> str:
    """One line: what is built, whether it runs, and what it waits for or how it ended. Pure."""
    is_silent = now - snapshot.heard > SILENT_S
    if snapshot.ended is not None:
        is_well = snapshot.end == "done"
        word, colour, more = ("done", "#0b6ba8", "") if is_well else ("ended", "#b3283c", snapshot.end)
    elif is_silent:
        word, colour, more = "silent", "#b3283c", f"the owner was not heard of for {duration(now - snapshot.heard)}"
    else:
        word, colour, more = "running", "#3b7d3c", f"waits for {snapshot.waiting_for}" if snapshot.waiting_for else ""
    badge = f'<span class="badge" style="background:{colour}">{word}</span>'
    layer = f'<span class="quiet">{escape(snapshot.layer)}</span>'
    return f'<div class="cut">{badge}&ensp;{layer}&ensp;{escape(more)}</div>'


def legend(snapshot: BuildSnapshot) -> str:
    """The states' colours, and how many tiles are in each. Pure."""
    return f'<div class="legend">{"".join(_swatch(mark, snapshot.tiles[mark]) for mark in NAMES)}</div>'


def _swatch(mark: TileMark, count: int) -> str:
    return f'<span><i class="swatch" style="background:{COLOURS[mark]}"></i>{NAMES[mark]} <b>{count:,}</b></span>'


def cards(snapshot: BuildSnapshot, now: float) -> str:
    """The figures that people ask for first. Pure."""
    share = snapshot.done / snapshot.planned if snapshot.planned else 0.0
    rejected = f"{snapshot.rejected:,}" if not snapshot.rejected else f'<span class="bad">{snapshot.rejected:,}</span>'
    shown = [
        _card("done", f"{share:.1%}", f"{snapshot.done:,} of {snapshot.planned:,} tiles"),
        _card("left", duration(snapshot.remaining_s), f"after {duration(snapshot.seconds)}"),
        _card("requests", f"{snapshot.requests:,}", f"{snapshot.requests_per_minute:,.0f} a minute"),
        _card("answered 429", rejected, "too many requests"),
        _card("in flight", f"{snapshot.in_flight:,}", f"the oldest for {duration(snapshot.oldest_in_flight_s)}"),
        _card("owner heard", f"{duration(max(0.0, now - snapshot.heard))}", "ago"),
        _card("spool", _size(snapshot.spool_nbytes), "on workers' disks"),
        _jobs(snapshot),
    ]
    return f'<div class="cards">{"".join(shown)}</div>'


def _card(name: str, value: str, more: str) -> str:
    return f'<div class="card"><div class="quiet">{name}</div><div class="value">{value}</div><div>{more}</div></div>'


def _jobs(snapshot: BuildSnapshot) -> str:
    jobs = snapshot.jobs
    if not jobs:
        return _card("Async jobs", "none", "all by Process")
    stages = ", ".join(f"{count} {escape(stage)}" for stage, count in jobs.items() if stage != "done")
    return _card("Async jobs", f"{jobs.get('done', 0)} of {sum(jobs.values())} done", stages or "all delivered")


def spending(snapshot: BuildSnapshot) -> str:
    """Processing units: spent, planned, and the cap. Pure."""
    spent, plan, cap = snapshot.pu_spent, snapshot.pu_projected, snapshot.max_pu
    whole = max(spent, plan, cap if cap is not None and cap <= 2 * plan else 0.0) or 1.0
    over = spent > plan * 1.2 or (cap is not None and spent > cap)
    colour = COLOURS[TileMark.FAILED] if over else COLOURS[TileMark.WRITTEN]
    ticks = "".join(
        f'<u style="left:calc({_percent(mark, whole)} - 2px)"></u>' for mark in (plan, cap) if mark and mark <= whole
    )
    text = f"<b>{_amount(spent)}</b> spent of {_amount(plan)} planned"
    limit = "no cap" if cap is None else f"cap {_amount(cap)}"
    return (
        f'<h2>Processing units (PU)</h2><div class="bar"><i style="width:{_percent(spent, whole)};background:{colour}">'
        f'</i>{ticks}</div><div class="row"><span>{text}, {snapshot.pu_per_minute:,.1f} a minute</span>'
        f"<span>{limit}</span></div>"
    )


def buckets(snapshot: BuildSnapshot) -> str:
    """What the account's two buckets hold, and how fast they are used and filled. Pure."""
    if not snapshot.limits:
        return '<h2>Account limits</h2><span class="quiet">not known to this scheduler</span>'
    paces = {"requests": snapshot.requests_per_minute, "pu": snapshot.pu_per_minute}
    bars = "".join(_bucket(snapshot, name, paces[name]) for name in paces)
    share = snapshot.limits["rate_share"]
    slowed = "" if share >= 1 else f', <span class="bad">slowed to {share:.0%} by 429</span>'
    return f"<h2>Account limits: what the buckets hold{slowed}</h2>{bars}"


def _bucket(snapshot: BuildSnapshot, name: str, pace: float) -> str:
    limits, word = snapshot.limits, "PU" if name == "pu" else name
    level, burst, rate = limits[f"{name}_available"], limits[f"{name}_burst"], limits[f"{name}_per_s"] * 60
    return (
        f'<div class="bar"><i style="width:{_percent(level, burst)};background:#6d8aa6"></i></div><div class="row">'
        f"<span>{level:,.0f} of {burst:,.0f} {word}</span><span>{pace:,.0f} of {rate:,.0f} a minute</span></div>"
    )


def errors(snapshot: BuildSnapshot) -> str:
    """Failures by kind, with the last message of each. Pure."""
    rows = [
        (escape(error.kind), f"{error.count:,}", f"{error.tile}", _cut(error.message))
        for error in snapshot.errors[:SHOWN_ROWS]
    ]
    return _table("Errors by kind", (("kind", 26), ("count", 13), ("last tile", 17), ("last message", 44)), rows)


def slowest(snapshot: BuildSnapshot) -> str:
    """The tiles of this run that took longest. Pure."""
    rows = [
        (f"{slow.tile}", f"{slow.row}, {slow.column}", f"{slow.seconds:.1f}", escape(slow.worker))
        for slow in snapshot.slowest[:SHOWN_ROWS]
    ]
    return _table("Slowest tiles", (("tile", 16), ("row, column", 25), ("seconds", 18), ("worker", 41)), rows)


def workers(snapshot: BuildSnapshot) -> str:
    """What each worker has in its hands, the busiest first. Pure."""
    busy = sorted(snapshot.workers, key=lambda worker: (-worker.in_flight, worker.address))
    rows = [
        (escape(worker.address), f"{worker.in_flight}", f"{worker.tiles}", f"{worker.oldest_s:.1f}")
        for worker in busy[:SHOWN_ROWS]
    ]
    count = f"In flight by worker ({len(busy)})" if busy else "In flight by worker"
    return _table(count, (("worker", 43), ("sent", 15), ("tiles", 17), ("oldest, s", 25)), rows)


def explanation(snapshot: BuildSnapshot, tile: int | None) -> str:
    """Why a tile is bought as it is, once its owner has said so. Pure."""
    if tile is None:
        text = '<span class="quiet">Click on a tile to see why it is bought as it is, and for how much.</span>'
    elif tile in snapshot.explained:
        text = f"<pre>{escape(snapshot.explained[tile])}</pre>"
    elif snapshot.ended is not None:
        text = f"tile {tile}: the build has ended; <code>shdask plan JOB --explain {tile}</code> says the same"
    else:
        text = f"tile {tile}: the owner is asked ..."
    return f'<h2>Why this tile</h2><div class="why">{text}</div>'


def _table(title: str, columns: Sequence[tuple[str, int]], rows: Sequence[tuple[str, ...]]) -> str:
    if not rows:
        return f'<h2>{title}</h2><span class="quiet">none</span>'
    head = "".join(f'<th style="width:{width}%">{name}</th>' for name, width in columns)
    body = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows)
    return f"<h2>{title}</h2><table><tr>{head}</tr>{body}</table>"


def duration(seconds: float | None) -> str:
    """A time as people say it; a dash where it is not known. Pure."""
    if seconds is None:
        return "&ndash;"
    if seconds < 60:  # noqa: PLR2004  # a minute
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60:02d} min"  # noqa: PLR2004  # two hours


def _cut(text: str) -> str:
    """A text that may be cut short, and is whole under the pointer."""
    return f'<span title="{escape(text)}">{escape(text)}</span>'


def _percent(part: float, whole: float) -> str:
    return f"{100 * min(1.0, max(0.0, part / whole)) if whole else 0:.1f}%"


def _amount(pu: float) -> str:
    return f"{pu:,.0f}" if pu >= 100 else f"{pu:.2f}"  # noqa: PLR2004  # three digits tell enough


def _size(nbytes: int) -> str:
    return "empty" if not nbytes else f"{nbytes / 1e6:,.0f} MB"
