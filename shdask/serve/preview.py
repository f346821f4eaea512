"""A picture of a cube for a person to look at, with its date, a scale bar and what its colours mean.

Refuses to be data: averaged, stretched and 8 bit.
"""

from __future__ import annotations

import io
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from shdask.assemble.conventions import GRID_MAPPING
from shdask.assemble.template import DATA_MASK
from shdask.assemble.time_axis import TIME
from shdask.errors import PlanError
from shdask.plan.cadence import ACQUISITION
from shdask.serve.coarse import Coarse, Scene, read_coarse
from shdask.serve.composite import SPAN
from shdask.serve.looks import Look, choose_look, stretch_ends
from shdask.serve.whole_file import write_whole

if TYPE_CHECKING:
    import xarray as xr
    from numpy.typing import NDArray
    from PIL.Image import Image
    from PIL.ImageDraw import ImageDraw

    from shdask.serve.narrow import Day

SIZE_PX = 1200
_SMALLEST_PX = 16
_ENOUGH_PX = 320
"""A picture of fewer pixels is enlarged by whole numbers, up to so many."""
_NARROWEST_PX = 320
"""Of the whole picture, so that its words have room."""
_LINE_PX, _EDGE_PX, _FONT_PX = 20, 10, 13
_BAR_SHARE = 0.25
"""Of the picture's width that a scale bar takes at most."""
_PAPER, _INK = "white", "#222222"
_BARE, _STRIPE, _STRIPE_PX = 235, 200, 6
"""Greys of where there is no data, and the width of its stripes: neither land, cloud nor shadow looks so."""
_MOST_WORDS = 24
"""Of a legend."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Preview:
    """A picture. A notebook shows it."""

    image: Image
    """RGB, the caption below; striped where there is no data."""
    layer: str
    look: str
    bands: tuple[str, ...]
    time: str | None
    """UTC, ISO 8601; None of a cube that is one picture."""
    size: tuple[int, int]
    """(y, x) of the picture without its caption."""
    metres_per_px: tuple[float, float]
    """(x, y) on the ground in the middle of the picture."""

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write it as PNG, whole or not at all.

        Raises PlanError for a name that says another format, StoreUnavailable where the place refuses.
        """
        check_name(path)
        write_whole(path, self._repr_png_())

    def as_dict(self) -> dict[str, object]:
        """What it shows, as JSON types."""
        return {
            "layer": self.layer,
            "look": self.look,
            "bands": list(self.bands),
            "time": self.time,
            "size": list(self.size),
            "metres_per_px": list(self.metres_per_px),
        }

    def _repr_png_(self) -> bytes:
        written = io.BytesIO()
        self.image.save(written, format="PNG")
        return written.getvalue()


def check_name(path: str | os.PathLike[str]) -> None:
    """Raises PlanError for a name that says another format than PNG. Pure."""
    if Path(path).suffix.lower() not in {"", ".png"}:
        raise PlanError(f"{os.fspath(path)}: a picture is written as PNG; call it {Path(path).stem}.png")


def preview(
    cube: str | os.PathLike[str] | xr.Dataset,
    *,
    layer: str | None = None,
    zone: str | int | None = None,
    time: Day | None = None,
    bands: str | Sequence[str] | None = None,
    size_px: int = SIZE_PX,
) -> Preview:
    """A picture of ``cube``, a store or what `open_cube` gave, whose longer side is at most ``size_px``.

    ``bands`` are one or three of the layer's, or a look by name: ``true-colour``, ``false-colour`` (near infrared,
    red, green), ``radar`` (two polarizations and their ratio in dB), ``terrain``, ``hillshade``. Without it: true
    colour, radar or terrain where there are bands for it, else a band in grey; classes have their own colours. ``time``
    is a day; without it the date that shows the most tiles under the clearest sky.

    Blocks of pixels are averaged over their valid ones and stretched between percentiles. A store's overviews are read
    where they are up to date; else all of its pixels, block by block, in bounded memory. Of a job that is not built,
    what is shown is bought. Raises StoreError and warns as `open_cube`; PlanError for bands that are not there.
    """
    if size_px < _SMALLEST_PX:
        raise PlanError(f"size_px = {size_px} is too small to see anything; give {_SMALLEST_PX} or more")
    if isinstance(cube, str | os.PathLike):
        scene = Scene.of_store(cube, layer=layer, zone=zone, time=time)
    else:
        scene = Scene.of_dataset(cube, time=time)
    found = scene.cube
    names = [str(name) for name in found.data_vars if name != DATA_MASK]
    units = {name: str(found[name].attrs.get("units", "")) for name in names}
    source = str(found.attrs.get("source", ""))
    look = choose_look(bands, bands=names, source=source, classes=scene.classes, units=units)
    pixels = read_coarse(scene, look.bands, size_px).enlarged(min(size_px, _ENOUGH_PX))
    metres = _metres_per_px(found, pixels)
    at = None if TIME not in found.coords else str(np.datetime_as_string(found[TIME].to_numpy(), "s"))
    name = str(found.attrs.get("layer", ""))
    words = [name, look.name, _say_when(at, found.attrs)]
    return Preview(
        image=_draw(pixels, look, metres, "  ".join(filter(None, words)), units.get(look.bands[0], "")),
        layer=name,
        look=look.name,
        bands=look.bands,
        time=at,
        size=pixels.shown.shape,
        metres_per_px=metres,
    )


def _draw(pixels: Coarse, look: Look, metres: tuple[float, float], title: str, unit: str) -> Image:
    from PIL import Image as Images
    from PIL import ImageDraw as Draws

    colours = look.paint(pixels.values, pixels.shown, metres[0]) * 255
    layers = np.where(pixels.shown, colours.round(), _stripes(pixels.shown.shape)).astype(np.uint8)
    picture = Images.fromarray(np.moveaxis(layers, 0, -1))
    width = max(picture.width, _NARROWEST_PX)
    rows = _legend_rows(_legend(pixels, look, unit), width)
    page = Images.new("RGB", (width, picture.height + _LINE_PX * (2 + len(rows)) + _EDGE_PX), _PAPER)
    page.paste(picture, ((width - picture.width) // 2, 0))
    draw = Draws.Draw(page)
    top = picture.height + _EDGE_PX // 2
    _write(draw, (_EDGE_PX, top), title)
    _draw_scale(draw, (_EDGE_PX, top + _LINE_PX), metres[0], picture.width)
    for number, row in enumerate(rows):
        _draw_legend(page, row, top + _LINE_PX * (2 + number))
    return page


def _stripes(shape: tuple[int, int]) -> NDArray[np.uint8]:
    """(y, x): what is drawn where there is no data."""
    y, x = np.ogrid[0 : shape[0], 0 : shape[1]]
    return np.where((x + y) // _STRIPE_PX % 2, _BARE, _STRIPE).astype(np.uint8)


def _say_when(at: str | None, attributes: Mapping[str, Any]) -> str:
    """The moment, the first day of a longer span, or the days that a picture without a time axis was asked for."""
    cadence = attributes.get(SPAN) or attributes.get("spec", {}).get("layer", {}).get("cadence", "day")
    if at is not None and cadence not in {"day", ACQUISITION}:
        return f"{cadence} from {at[:10]}"
    if at is not None:
        return at.removesuffix("T00:00:00").replace("T", " ") + ("" if at.endswith("T00:00:00") else " UTC")
    if "time_coverage_end" not in attributes:
        return ""
    start, end = (datetime.fromisoformat(str(attributes[f"time_coverage_{name}"])) for name in ("start", "end"))
    return f"{start.date()} to {(end - timedelta(milliseconds=1)).date()}"  # the end is not covered


def _write(draw: ImageDraw, at: tuple[float, float], text: str) -> float:
    """Write a line; returns where it ends."""
    from PIL.ImageFont import load_default

    font = load_default(_FONT_PX)
    draw.text(at, text, fill=_INK, font=font)
    return at[0] + draw.textlength(text, font=font)


def _draw_scale(draw: ImageDraw, at: tuple[int, int], metres: float, width: int) -> None:
    length = _round_length(metres * max(width * _BAR_SHARE, 1))
    x, y = at
    end, line = x + length / metres, y + _LINE_PX // 2
    draw.line((x, line, end, line), fill=_INK, width=2)
    for side in (x, end):
        draw.line((side, line - 4, side, line + 4), fill=_INK, width=2)
    text = f"{length / 1000:g} km" if length >= 1000 else f"{length:g} m"  # noqa: PLR2004  # a kilometre
    _write(draw, (end + _EDGE_PX, y), text)


def _round_length(metres: float) -> float:
    """The longest of 1, 2 and 5 times a power of ten that is no longer. Pure."""
    power = 10.0 ** math.floor(math.log10(metres))
    return max(part * power for part in (1, 2, 5) if part * power <= metres * (1 + 1e-9))


def _legend(pixels: Coarse, look: Look, unit: str) -> list[tuple[str, str | None]]:
    """(name, colour) of the classes that are seen, or of both ends; and of no data, which has no colour of its own."""
    found: list[tuple[str, str | None]] = []
    if look.ends is not None and pixels.shown.any():
        word = "" if unit == "1" else f" {unit}".rstrip()  # CF's unit of what has none
        low, high = (f"{end:.4g}{word}" for end in stretch_ends(pixels.values[0], pixels.shown))
        found += [(f"{low} or less", look.ends[0]), (f"{high} or more", look.ends[1])]
    if look.legend is not None:
        found += look.legend(np.unique(pixels.values[0][pixels.shown].astype(np.int64)).tolist())
    if len(found) > _MOST_WORDS:
        found = [*found[:_MOST_WORDS], (f"and {len(found) - _MOST_WORDS} more", _PAPER)]
    return found if pixels.shown.all() else [*found, ("no data", None)]


def _legend_rows(legend: Sequence[tuple[str, str | None]], width: int) -> list[list[tuple[str, str | None]]]:
    across = max(1, width // 170)
    return [list(legend[at : at + across]) for at in range(0, len(legend), across)]


def _draw_legend(page: Image, row: Sequence[tuple[str, str | None]], top: int) -> None:
    from PIL import Image as Images
    from PIL import ImageDraw as Draws

    draw, x = Draws.Draw(page), float(_EDGE_PX)
    for name, colour in row:
        if colour is None:
            page.paste(Images.fromarray(_stripes((13, 13))), (round(x), top + 3))
        draw.rectangle((x, top + 3, x + 12, top + 15), fill=colour, outline=_INK)
        x = _write(draw, (x + 18, top), name) + 2 * _EDGE_PX


def _metres_per_px(cube: xr.Dataset, pixels: Coarse) -> tuple[float, float]:
    """(x, y) on the WGS 84 ellipsoid, in the middle of the picture."""
    from pyproj import CRS, Geod, Transformer

    attributes: Mapping[str, object] = cube[GRID_MAPPING].attrs
    there = CRS.from_wkt(str(attributes.get("crs_wkt") or attributes["spatial_ref"]))
    to_degrees = Transformer.from_crs(there, "EPSG:4326", always_xy=True)
    x, y = (float(cube[axis].to_numpy()[cube.sizes[axis] // 2]) for axis in ("x", "y"))
    (rx, ry), geod = pixels.resolution, Geod(ellps="WGS84")

    def length(dx: float, dy: float) -> float:
        (west, east), (south, north) = to_degrees.transform([x - dx / 2, x + dx / 2], [y - dy / 2, y + dy / 2])
        return float(geod.inv(west, south, east, north)[2])

    return length(rx, 0.0), length(0.0, ry)
