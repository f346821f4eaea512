"""A picture of three maps side by side: what the satellite sees, what is true, and what the net says.

Refuses to know how any of them was made.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageDraw

import shdask

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from shdask.patches.table import Patches

PANEL_PX = 480
GAP_PX = 8
LEGEND_PX = 40
PALETTE = (
    *((64, 110, 190), (20, 80, 50), (70, 150, 60), (170, 205, 110), (240, 215, 110), (235, 150, 50)),
    *((250, 240, 40), (190, 90, 170), (170, 130, 100), (235, 230, 215), (200, 50, 50), (150, 150, 150)),
)
"""(red, green, blue) by class."""


def draw_maps(path: str, cube: Path, maps: Sequence[NDArray[np.uint8]], test: Patches, classes: Sequence[str]) -> None:
    """Write a PNG: near infrared, red and green of July, then ``maps`` (y, x) of classes; all pale outside ``test``."""
    colours = np.array(PALETTE, np.float64)
    inside = np.zeros(maps[0].shape, np.bool_)
    for patch in test:
        inside[patch.y0 : patch.y0 + patch.size_px, patch.x0 : patch.x0 + patch.size_px] = True
    shown = [_see(cube), *(colours[each] for each in maps)]
    panels = [_shrink(np.where(inside[..., None], each, 160 + 0.37 * each)) for each in shown]
    width = 3 * PANEL_PX + 2 * GAP_PX
    picture = Image.new("RGB", (width, PANEL_PX + LEGEND_PX), "white")
    for number, panel in enumerate(panels):
        picture.paste(panel, (number * (PANEL_PX + GAP_PX), 0))
    draw = ImageDraw.Draw(picture)
    step = width // len(classes)
    for number, name in enumerate(classes):
        x, y = number * step + 4, PANEL_PX + 14
        draw.rectangle((x, y, x + 12, y + 12), fill=PALETTE[number], outline="black")
        draw.text((x + 17, y), name, fill="black")
    picture.quantize(256, dither=Image.Dither.NONE).save(path, optimize=True)


def _see(cube: Path) -> NDArray[np.float64]:
    month: Any = shdask.open_cube(cube, time=("2024-07-01", "2024-07-31"))
    bands = [np.asarray(month[name].to_numpy()[0], np.float64) for name in ("B08", "B04", "B03")]
    tops = (5000, 2600, 2200)
    return np.stack([np.clip(band / top, 0, 1) * 255 for band, top in zip(bands, tops, strict=True)], axis=-1)


def _shrink(pixels: NDArray[np.float64]) -> Image.Image:
    return Image.fromarray(pixels.astype(np.uint8)).resize((PANEL_PX, PANEL_PX), Image.Resampling.NEAREST)
