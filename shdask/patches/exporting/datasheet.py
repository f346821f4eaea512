"""What a user of patches asks first: what they show, where and when, from which source, in which sets, at what price.

Refuses to read pixels; it tells what the table of patches and the cube's attributes know.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pyproj import Transformer

from shdask import __version__
from shdask.assemble.ledger import read_ledger
from shdask.assemble.place import Place, open_place
from shdask.assemble.store import read_cube_attributes
from shdask.assemble.time_axis import frozen_timeline
from shdask.assemble.tree import begun_groups
from shdask.patches.summary import count_leakage
from shdask.patches.table import NO_LABEL, SPLITS
from shdask.plan.scout import is_scout

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from shdask.patches.table import Patches

JSON_NAME, MARKDOWN_NAME = "datasheet.json", "README.md"
WGS84 = "EPSG:4326"
COPERNICUS = "Contains modified Copernicus Sentinel data {years}"
"""The notice that the Legal Notice on the use of Copernicus Sentinel Data asks for where data were modified."""
LANDSAT = "Landsat data courtesy of the U.S. Geological Survey"
_MARKUP = re.compile(r"[\\`*\[\]<>|~&]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])|^[#+=-]")
"""What Markdown and the HTML in it read as more than text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerSource:
    """What one layer's pixels were made of."""

    layer: str
    collection: str
    bands: tuple[str, ...]
    resolution: tuple[float, float]
    """(x, y) in units of ``crs``."""
    crs: str
    first_date: str
    """Of its time axis, or of the time it is a mosaic of; empty where it has no time."""
    last_date: str
    dates: int
    """On its time axis; 0 where it has none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Datasheet:
    """Of the patches of one cube."""

    cube: str
    size_px: int
    seed: int
    splits: Mapping[str, int]
    """Number of patches by set; those left out of all sets too."""
    classes: Mapping[str, Mapping[str, int]]
    """Set -> class -> number of patches with that label; empty without labels."""
    overlapping_pairs: int
    """Pairs of patches of different sets that show the same ground; 0 is what it should be."""
    bounds: tuple[float, float, float, float]
    """(left, bottom, right, top) of all patches, degrees WGS84."""
    first_date: str
    """Of the patches' own dates, UTC; empty where none has one."""
    last_date: str
    layers: tuple[LayerSource, ...]
    pu_spent: float
    """Of the whole cube, coarse looks among it, whatever of it patches show."""
    licence: tuple[str, ...]
    notes: tuple[str, ...] = ()
    """What was dropped when the patches were chosen, and why."""
    shdask_version: str = __version__

    def as_dict(self) -> dict[str, Any]:
        """As JSON types. Pure."""
        return asdict(self)

    def markdown(self) -> str:
        """For people. Pure."""
        left, bottom, right, top = self.bounds
        name = _plain(Path(self.cube).name)
        lines = [
            f"# {sum(self.splits.values())} patches of {self.size_px} x {self.size_px} px from {name}",
            "",
            f"- **Where**: {left:.4f}, {bottom:.4f} to {right:.4f}, {top:.4f} (longitude, latitude; WGS84)",
            *([f"- **Dates of patches**: {self.first_date} to {self.last_date}"] if self.first_date else []),
            f"- **Bought for**: {self.pu_spent:.2f} processing units, the whole cube",
            f"- **Chosen** with seed {self.seed}, by shdask {self.shdask_version}",
            f"- **Leakage**: {self.overlapping_pairs} pairs of patches of different sets show the same ground",
            "",
            "## Sources",
            "",
            *_table(
                ("layer", "collection", "bands", "pixel", "dates"),
                [_layer_row(layer) for layer in self.layers],
            ),
            "",
            "## Sets",
            "",
            *_table(("set", "patches"), [(split, str(count)) for split, count in self.splits.items()]),
        ]
        if self.classes:
            names = sorted({name for counts in self.classes.values() for name in counts})
            rows = [(split, *(str(counts.get(name, 0)) for name in names)) for split, counts in self.classes.items()]
            lines += ["", "## Classes", "", *_table(("set", *names), rows)]
        if self.notes:
            lines += ["", "## How they were chosen", "", *(f"- {_plain(note)}" for note in self.notes)]
        return "\n".join([*lines, "", "## Licence", "", *(f"- {_plain(line)}" for line in self.licence)]) + "\n"


def make_datasheet(
    store: str | os.PathLike[str] | Place, patches: Patches, *, classes: Sequence[str] = (), licence: Sequence[str] = ()
) -> Datasheet:
    """The datasheet of ``patches`` of the cube at ``store``. Reads metadata alone.

    ``classes`` are names by label, the table's where left out; ``licence`` are further lines, of labels for instance.
    Raises StoreError where there is no cube of ours.
    """
    place = open_place(store)
    groups = begun_groups(place)
    layers = tuple(_describe_layer(inner) for path, inner in groups.items() if not is_scout(path))
    dates = patches.date[~np.isnat(patches.date)]
    return Datasheet(
        cube=place.name,
        size_px=patches.size_px,
        seed=patches.seed,
        splits={split: len(patches.of_split(split)) for split in SPLITS},
        classes=_count_classes(patches, classes or patches.classes),
        overlapping_pairs=_count_overlapping(patches),
        bounds=_bounds_in_degrees(patches),
        first_date=str(dates.min()) if dates.size else "",
        last_date=str(dates.max()) if dates.size else "",
        layers=layers,
        pu_spent=sum(read_ledger(inner).pu_spent for inner in groups.values()),
        licence=(*_notices(layers), *licence),
        notes=patches.notes,
    )


def write_datasheet(folder: str | os.PathLike[str], datasheet: Datasheet) -> None:
    """Write ``README.md`` and ``datasheet.json`` into ``folder``."""
    told = json.dumps(datasheet.as_dict(), indent=2, allow_nan=False)
    (Path(folder) / JSON_NAME).write_text(told + "\n", "utf-8")
    (Path(folder) / MARKDOWN_NAME).write_text(datasheet.markdown(), "utf-8")


def _describe_layer(place: Place) -> LayerSource:
    attributes, timeline = read_cube_attributes(place), frozen_timeline(place)
    times = [] if timeline is None else sorted(step.time.date().isoformat() for step in timeline.steps)
    span = ["", ""]
    if "time_coverage_end" in attributes:  # which is the first moment that is not covered
        end = datetime.fromisoformat(attributes["time_coverage_end"]) - timedelta(milliseconds=1)
        span = [attributes["time_coverage_start"][:10], end.date().isoformat()]
    a, _, _, _, e, _ = attributes["spatial:transform"]
    return LayerSource(
        layer=str(attributes["layer"]),
        collection=str(attributes["source"]),
        bands=tuple(attributes["bands"]),
        resolution=(float(a), float(-e)),
        crs=str(attributes["proj:code"]),
        first_date=times[0] if times else span[0],
        last_date=times[-1] if times else span[1],
        dates=len(set(times)),
    )


def _layer_row(layer: LayerSource) -> tuple[str, ...]:
    span = f"{layer.first_date} to {layer.last_date}" if layer.first_date else "no time"
    number = f"{layer.dates} from {span}" if layer.dates else span
    x, y = layer.resolution
    return layer.layer, layer.collection, ", ".join(layer.bands), f"{x:g} x {y:g} in {layer.crs}", number


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    cells = [[_plain(cell) for cell in row] for row in (head, *rows)]
    return [f"| {' | '.join(row)} |" for row in (cells[0], ["---"] * len(head), *cells[1:])]


def _plain(text: str) -> str:
    """``text`` as one line that Markdown shows as it stands, whatever people call their cubes and classes. Pure."""
    line = "".join(letter for letter in " ".join(text.split()) if letter.isprintable())
    return _MARKUP.sub(r"\\\g<0>", line)


def _notices(layers: Sequence[LayerSource]) -> list[str]:
    """What those who give the data ask to be told."""
    sentinel = [layer for layer in layers if layer.collection.startswith("sentinel-")]
    years = sorted({date[:4] for layer in sentinel for date in (layer.first_date, layer.last_date) if date})
    lines = []
    if sentinel:
        lines.append(COPERNICUS.format(years="-".join(dict.fromkeys((*years[:1], *years[-1:])))).rstrip())
    if any(layer.collection.startswith("landsat-") for layer in layers):
        lines.append(LANDSAT)
    others = [layer.collection for layer in layers if not layer.collection.startswith(("sentinel-", "landsat-"))]
    return [*lines, *(f"{name}: the licence of its provider holds" for name in dict.fromkeys(others))]


def _count_classes(patches: Patches, classes: Sequence[str]) -> dict[str, dict[str, int]]:
    if not (patches.label != NO_LABEL).any():
        return {}
    found: dict[str, dict[str, int]] = {}
    for split in SPLITS:
        labels, counts = np.unique(patches.of_split(split).label, return_counts=True)
        pairs = zip(labels.tolist(), counts.tolist(), strict=True)
        found[split] = {_class_name(label, classes): count for label, count in pairs}
    return found


def _class_name(label: int, classes: Sequence[str]) -> str:
    if label == NO_LABEL:
        return "none"
    return classes[label] if 0 <= label < len(classes) else str(label)


def _count_overlapping(patches: Patches) -> int:
    in_sets = patches.split != SPLITS.index("left out")
    return count_leakage(patches, 0.0).overlapping if in_sets.any() else 0


def _bounds_in_degrees(patches: Patches) -> tuple[float, float, float, float]:
    left, bottom, right, top = patches.bounds.T
    corners = [_to_degrees(patches, x, y) for x in (left, right) for y in (bottom, top)]
    low, high = np.min([points.min(axis=0) for points in corners], 0), np.max([p.max(axis=0) for p in corners], 0)
    return float(low[0]), float(low[1]), float(high[0]), float(high[1])


def _to_degrees(patches: Patches, x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    """(patch, 2): longitude and latitude of a point of each."""
    points = np.empty((len(patches), 2))
    for epsg in np.unique(patches.epsg).tolist():
        mine = patches.epsg == epsg
        to_degrees = Transformer.from_crs(f"EPSG:{epsg}", WGS84, always_xy=True)
        points[mine] = np.stack(to_degrees.transform(x[mine], y[mine]), axis=1)
    return points
