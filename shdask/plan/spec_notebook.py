"""A spec in a notebook: what is asked for as a table, and an outline of the area.

Refuses to plan; reads no more than the area's file.
"""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

import numpy as np
import shapely

from shdask.errors import PlanError
from shdask.inputs import WGS84, read_area
from shdask.plan.sketch import AREA, LONGER_SIDE, OUTLINE

if TYPE_CHECKING:
    from shdask.plan.spec import CubeSpec

MOST_POINTS = 4000
"""Of an outline; one with more is drawn coarser."""


def draw_spec(spec: CubeSpec) -> str:
    """HTML of ``spec``. Reads the area's file; where that cannot be, says why instead of drawing it."""
    said = spec.model_dump(exclude_defaults=True, exclude={"aoi", "layers"})
    rows = [(name, _words(value)) for name, value in said.items() if name != "delivery"]  # with where its keys are
    for name, layer in spec.layers.items():
        rows += [(f"{name}: {key}", _words(value)) for key, value in layer.model_dump(exclude_defaults=True).items()]
    lines = "".join(
        f'<tr><th style="text-align:left">{escape(label)}</th><td style="text-align:left">{escape(words)}</td></tr>'
        for label, words in rows
    )
    return f"<b>CubeSpec</b><table>{lines}</table>{_map(spec)}"


def _words(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} = {_words(inner)}" for key, inner in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(_words(each) for each in value)
    text = str(value)
    return text if len(text) <= LONGER_SIDE else f"{text[:LONGER_SIDE]}..."


def _map(spec: CubeSpec) -> str:
    if spec.aoi is None:
        return ""
    try:
        area = read_area(spec.aoi, crs=spec.aoi_crs, layer=spec.aoi_layer, where=spec.aoi_where, folder=spec.folder)
    except PlanError as error:
        return f"<p>no map: {escape(str(error))}</p>"
    return draw_outline(area.geometry, is_degrees=area.crs == WGS84)


def draw_outline(geometry: shapely.Geometry, *, is_degrees: bool) -> str:
    """A polygonal ``geometry`` (x east, y north) as an ``<svg>`` element, north up. Pure.

    Degrees are narrowed as they are in the middle of the picture. It holds numbers only.
    """
    left, bottom, right, top = shapely.bounds(geometry).tolist()
    narrow = float(np.cos(np.radians((bottom + top) / 2))) if is_degrees else 1.0
    longer = max((right - left) * narrow, top - bottom)
    scale = LONGER_SIDE / longer if longer > 0 else 1.0
    width, height = max(1.0, (right - left) * narrow * scale), max(1.0, (top - bottom) * scale)
    coarse = shapely.simplify(geometry, 0.5 / scale)
    path = "".join(
        _ring(shapely.get_coordinates(ring), left, top, narrow * scale, scale)
        for part in shapely.get_parts(coarse)
        for ring in shapely.get_rings(part)
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}" '
        f'viewBox="-1 -1 {width + 2:.1f} {height + 2:.1f}" role="img" aria-label="map of the area">'
        f'<path fill="{AREA}" fill-rule="evenodd" stroke="{OUTLINE}" stroke-width="0.8" d="{path}"/></svg>'
    )


def _ring(points: np.ndarray, left: float, top: float, across: float, down: float) -> str:
    stride = max(1, len(points) // MOST_POINTS)
    x, y = (points[::stride, 0] - left) * across, (top - points[::stride, 1]) * down
    return "M" + "L".join(f"{px:.1f} {py:.1f}" for px, py in zip(x.tolist(), y.tolist(), strict=True)) + "Z"
