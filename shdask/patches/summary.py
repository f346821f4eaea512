"""Patches at a glance: how many of which set and class, what leaks between sets, and a map.

Pure. Refuses to grow with them: on the map those that cannot be told apart are one.
"""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np

from shdask.patches.geometry import find_centres
from shdask.patches.splits import measure_leakage
from shdask.patches.table import NO_LABEL, SPLITS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from shdask.patches.splits import Leakage
    from shdask.patches.table import Patches

LONGER_SIDE = 360
"""Of the map, in units of the screen."""
DOTS_ACROSS = 120
"""Along the longer side of the map."""
COLOURS = ("#1f4e79", "#c55a11", "#7b2d8b", "#999999")
"""Of `SPLITS`."""
MOST_CLASSES = 20
"""That are told of."""


def count_leakage(patches: Patches, nearer_than_m: float) -> Leakage:
    """How much train, validation and test see of each other's ground, or of what lies nearer than that. Pure.

    Pairs of patches of different sets, by their outlines on the ground: to a pixel on one grid, and across UTM zones a
    pixel more than less. Several patches of one place, at different dates, each count. Raises PlanError where there
    are more than 30 million pairs.
    """
    from shdask.patches.geometry import squares_of

    kept = patches.take(patches.split != SPLITS.index("left out"))
    return measure_leakage(squares_of(kept), kept.split, nearer_than_m)


def describe(patches: Patches) -> list[tuple[str, str]]:
    """(label, words) rows for people. Pure."""
    metres = f"{patches.size_px} x {patches.size_px} px of {patches.cube}, seed {patches.seed}"
    rows = [("size", metres), ("sets", ", ".join(f"{count} {name}" for name, count in count_splits(patches).items()))]
    labels = count_labels(patches)
    if labels:
        told = [f"{count} of {_name(patches, label)}" for label, count in list(labels.items())[:MOST_CLASSES]]
        more = len(labels) - len(told)
        rows.append(("classes", ", ".join(told) + (f" and {more} more" if more > 0 else "")))
    zones = np.unique(patches.zone)
    if zones.size > 1:
        rows.append(("zones", ", ".join(zones.tolist())))
    dates = patches.date[~np.isnat(patches.date)]
    if dates.size:
        first, last = np.datetime_as_string(np.array([dates.min(), dates.max()]), "D").tolist()
        rows.append(("dates", f"{np.unique(dates).size} from {first} to {last}"))
    for name, share in (("valid", patches.valid_share), ("clear", patches.clear_share)):
        if np.isfinite(share).any():
            rows.append((name, f"{np.nanmean(share):.0%} on average, at least {np.nanmin(share):.0%}"))
    return [*rows, *(("note", note) for note in patches.notes)]


def count_splits(patches: Patches) -> dict[str, int]:
    """How many patches each set has, and how many are left out. Pure."""
    counts = np.bincount(patches.split, minlength=len(SPLITS)).tolist()
    return dict(zip(SPLITS, counts, strict=True))


def count_labels(patches: Patches) -> dict[int, int]:
    """How many patches each class has, left out ones too; nothing where there are no classes. Pure."""
    labels, counts = np.unique(patches.label[patches.label != NO_LABEL], return_counts=True)
    return dict(zip(labels.tolist(), counts.tolist(), strict=True))


def summarize(patches: Patches) -> dict[str, Any]:
    """What `describe` says, as JSON types. Pure."""
    return {
        "patches": len(patches),
        "size_px": patches.size_px,
        "cube": patches.cube,
        "seed": patches.seed,
        "splits": count_splits(patches),
        "classes": {_name(patches, label): count for label, count in count_labels(patches).items()},
        "notes": list(patches.notes),
    }


def draw_patches(patches: Patches) -> str:
    """HTML of `describe`, with a map as inline SVG. Pure."""
    rows = "".join(
        f'<tr><th style="text-align:left">{escape(label)}</th><td style="text-align:left">{escape(words)}</td></tr>'
        for label, words in describe(patches)
    )
    legend = ", ".join(
        f'<span style="color:{colour}">{name}</span>' for name, colour in zip(SPLITS, COLOURS, strict=True)
    )
    picture = f"<figure style='margin:1em 0'>{draw_map(patches)}<figcaption>{legend}</figcaption></figure>"
    return f"<b>{len(patches)} Patches</b><table>{rows}</table>{picture if len(patches) else ''}"


def draw_map(patches: Patches) -> str:
    """Where patches lie, north up, longitude as wide as it is in the middle: an ``<svg>`` of 300 kB at most. Pure.

    Coloured by set; of several that fall on one dot the least common set shows. It holds numbers only.
    """
    longitude, latitude = find_centres(patches)
    if not longitude.size:
        return ""
    # the widest gap in longitude is the back of the map
    turned = np.sort(longitude)
    gaps = np.diff(np.append(turned, turned[0] + 360.0))
    west = turned[(int(np.argmax(gaps)) + 1) % turned.size]
    x = (longitude - west) % 360.0 * np.cos(np.radians(latitude.mean()))
    y = latitude.max() - latitude
    cell = max(float(x.max()), float(y.max()), 1e-9) / DOTS_ACROSS
    columns, rows = (x / cell).astype(np.int64), (y / cell).astype(np.int64)
    size = LONGER_SIDE / (DOTS_ACROSS + 1)
    counts = np.bincount(patches.split, minlength=len(SPLITS))
    order = np.lexsort((counts[patches.split], rows * (DOTS_ACROSS + 2) + columns))
    _, first = np.unique((rows * (DOTS_ACROSS + 2) + columns)[order], return_index=True)
    shown = order[first]
    paths = "".join(
        f'<path fill="{colour}" d="{_dots(columns[some], rows[some], size)}"/>'
        for split, colour in enumerate(COLOURS)
        if (some := shown[patches.split[shown] == split]).size
    )
    width, height = (int(cells.max()) + 1 for cells in (columns, rows))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width * size:.0f}" height="{height * size:.0f}" '
        f'viewBox="0 0 {width * size:.1f} {height * size:.1f}" role="img" aria-label="map of the patches">{paths}</svg>'
    )


def _dots(columns: NDArray[np.int64], rows: NDArray[np.int64], size: float) -> str:
    """Dots side by side in a row are one piece; ``columns`` ascend within ``rows``, which ascend."""
    starts = np.flatnonzero(np.concatenate(([True], (np.diff(rows) != 0) | (np.diff(columns) != 1))))
    lengths = np.diff(np.append(starts, rows.size)) * size
    return "".join(
        f"M{x:.1f} {y:.1f}h{length:.1f}v{size:.1f}h-{length:.1f}z"
        for x, y, length in zip(
            (columns[starts] * size).tolist(), (rows[starts] * size).tolist(), lengths.tolist(), strict=True
        )
    )


def _name(patches: Patches, label: int) -> str:
    return patches.classes[label] if patches.classes else str(label)
