"""A cube in a notebook: what it holds, a map of its tiles and a picture; and ``ds.shdask``, which brings them.

Refuses to load anything from elsewhere, and to trust a name.
"""

from __future__ import annotations

import base64
import os
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from shdask.assemble.layout import Layout
from shdask.assemble.place import Place, open_place
from shdask.assemble.pyramid import find_levels, outdated_tiles
from shdask.assemble.store import read_cube_attributes
from shdask.assemble.template import DATA_MASK
from shdask.assemble.time_axis import TIME
from shdask.assemble.tree import begun_groups
from shdask.assemble.verify import CubeTiles
from shdask.errors import ShdaskError
from shdask.model import TileState
from shdask.serve.open import SCOUT, IncompleteCubeWarning
from shdask.serve.preview import SIZE_PX, Preview, preview

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from shdask.serve.narrow import Day

CARD_PX = 420
"""Longer side of a card's picture and map, at most."""
MOST_GROUPS = 4
"""Of a cube that have a card each; one in many UTM zones has very many."""
MOST_CELLS = 48
"""Along the longer side of a map; where there are more tiles, several share one."""
_COLOURS = {
    TileState.WRITTEN: "#1f4e79",
    TileState.EMPTY: "#c9c9c9",
    TileState.FAILED: "#c0392b",
    TileState.UNTRIED: "#f2d16b",
}


def draw_store(store: str | os.PathLike[str] | Place) -> str:
    """HTML of the cube at ``store``: for each group its facts, a map of its tiles and a picture.

    What cannot be read is said instead of drawn: a notebook shows the rest. Raises nothing of ours.
    """
    try:
        root = open_place(store)
        groups = {path: place for path, place in begun_groups(root).items() if not path.startswith(SCOUT)}
        shown = list(groups.items())[:MOST_GROUPS]
        cards = [_draw_group(root, path, place) for path, place in shown]
    except ShdaskError as error:
        return _said(error)
    more = len(groups) - len(shown)
    left_out = f"<p>and {more} more groups, without a card</p>" if more else ""
    return f"{''.join(cards)}{left_out}"


def _draw_group(root: Place, path: str, place: Place) -> str:
    attributes = read_cube_attributes(place)
    tiles_of = CubeTiles.of(place, attributes)
    cells = tiles_of.cells
    counts = {state: int((cells == state).sum()) for state in TileState}
    tiles = ", ".join(f"{count} {state.name.lower()}" for state, count in counts.items() if count)
    height, width = attributes["spatial:shape"]
    rows = [
        ("cube", f"{root.name}/{path}" if path else root.name),
        ("layer", f"{attributes['layer']}: {', '.join(attributes['bands'])} of {attributes['source']}"),
        ("grid", f"{width} x {height} px of {attributes['spatial:transform'][0]:g} in {attributes['proj:code']}"),
        *([("steps", str(cells.shape[0]))] if cells.ndim > 2 else []),  # noqa: PLR2004  # (y, x)
        ("tiles", tiles),
        *_overview_rows(place, attributes),
    ]
    side = CARD_PX
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", IncompleteCubeWarning)  # the map shows what is missing
            picture = preview(root.name, layer=path or None, size_px=CARD_PX)
        drawn, side = _image(picture), max(picture.size)
    except ShdaskError as error:
        drawn = _said(error)
    return f"{_table(rows)}<div>{_draw_tiles(cells, tiles_of.layout, side)}{drawn}</div>"


def _overview_rows(place: Place, attributes: dict[str, Any]) -> list[tuple[str, str]]:
    outdated = outdated_tiles(place, attributes)
    if outdated is None:
        return []
    levels = ", ".join(f"1:{level.factor}" for level in find_levels(attributes))
    count = int(outdated.sum())
    told = f"{count} tiles are newer; run shdask overviews" if count else "up to date"
    return [("overviews", f"{levels}; {told}")]


def draw_dataset(cube: xr.Dataset) -> str:
    """HTML of what `open_cube` gave of a store, or a part of it: its facts and a picture.

    Of a job that is not built only facts: to look at a notebook must not buy anything. Raises what computing raises.
    """
    bands = [str(name) for name in cube.data_vars if name != DATA_MASK]
    rows = [
        ("layer", f"{cube.attrs.get('layer', '')}: {', '.join(bands)} of {cube.attrs.get('source', '')}"),
        ("grid", f"{cube.sizes['x']} x {cube.sizes['y']} px in {cube.attrs.get('proj:code', '')}"),
    ]
    if TIME in cube.dims and cube.sizes[TIME]:
        times = cube[TIME].to_numpy()
        days = " to ".join(str(np.datetime_as_string(time, "D")) for time in (times.min(), times.max()))
        rows.append(("steps", f"{times.size}, {days}"))
    if "identity" not in cube.attrs:
        return f"{_table(rows)}<p>no picture: it would be bought for it; ds.shdask.preview() does that</p>"
    try:
        drawn = _image(preview(cube, size_px=CARD_PX))
    except ShdaskError as error:
        drawn = _said(error)
    return f"{_table(rows)}<div>{drawn}</div>"


@xr.register_dataset_accessor("shdask")  # type: ignore[no-untyped-call]  # xarray has no types for it
@dataclass(frozen=True, slots=True)
class CubeAccessor:
    """``ds.shdask`` of what `open_cube` gives: a card in notebooks, and pictures."""

    cube: xr.Dataset

    def preview(
        self, *, time: Day | None = None, bands: str | Sequence[str] | None = None, size_px: int = SIZE_PX
    ) -> Preview:
        """`shdask.preview` of this Dataset: of what it shows, all pixels are read, and of a job they are bought."""
        return preview(self.cube, time=time, bands=bands, size_px=size_px)

    def _repr_html_(self) -> str:
        return draw_dataset(self.cube)


def _table(rows: Sequence[tuple[str, str]]) -> str:
    lines = "".join(
        f'<tr><th style="text-align:left">{escape(label)}</th><td style="text-align:left">{escape(words)}</td></tr>'
        for label, words in rows
    )
    return f"<table>{lines}</table>"


def _said(error: Exception) -> str:
    return f"<p>no picture: {escape(str(error))}</p>"


def _image(picture: Preview) -> str:
    data = base64.b64encode(picture._repr_png_()).decode()  # ours
    words = ", ".join(word for word in (picture.layer, picture.look, picture.time or "") if word)
    return f'<img alt="{escape(words)}" src="data:image/png;base64,{data}" style="vertical-align:top"/>'


def _draw_tiles(cells: NDArray[np.uint8], layout: Layout, side: int) -> str:
    """An ``<svg>`` of (time, tile_y, tile_x) or (tile_y, tile_x): over all dates, the state that most needs a look.

    Its longer side is ``side``, as that of the picture beside it, of which it has the scale: tiles at the edge are
    drawn as far as the cube reaches. Below it stands what its colours mean.
    """
    flat = cells.reshape(-1, *cells.shape[-2:])
    factor = max(1, -(-max(flat.shape[1:]) // MOST_CELLS))
    scale = side / max(layout.shape)
    size, (height, width) = layout.tile_px * factor * scale, (edge * scale for edge in layout.shape)
    found = list(_squares(flat, factor))
    squares = "".join(
        f'<rect x="{x * size:.1f}" y="{y * size:.1f}" width="{min(size, width - x * size):.1f}" '
        f'height="{min(size, height - y * size):.1f}" fill="{_COLOURS[state]}"/>'
        for y, x, state in found
    )
    seen = {state for _, _, state in found}
    key = ", ".join(
        f'<span style="color:{colour}">\u25a0</span> {state.name.lower()}'
        for state, colour in _COLOURS.items()
        if state in seen
    )
    return (
        f'<div style="display:inline-block;vertical-align:top">'
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}" '
        f'viewBox="0 0 {width:.1f} {height:.1f}" role="img" aria-label="map of the tiles" '
        f'style="margin-right:1em"><g stroke="white" stroke-width="0.5">{squares}</g></svg><br/>{key}</div>'
    )


def _squares(cells: NDArray[np.uint8], factor: int) -> Iterator[tuple[int, int, TileState]]:
    for y in range(0, cells.shape[1], factor):
        for x in range(0, cells.shape[2], factor):
            here = cells[:, y : y + factor, x : x + factor]
            order = (TileState.FAILED, TileState.UNTRIED, TileState.WRITTEN, TileState.EMPTY)
            found = next((state for state in order if (here == state).any()), None)
            if found is not None:
                yield y // factor, x // factor, found
