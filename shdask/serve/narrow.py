"""Which part of a cube is opened: steps in the order of time, and the pixels of a bbox.

Refuses to know where pixels come from.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING

import numpy as np

from shdask.assemble.conventions import GRID_MAPPING
from shdask.assemble.time_axis import TIME
from shdask.errors import WrongStore
from shdask.model import Window

if TYPE_CHECKING:
    import xarray as xr
    from numpy.typing import NDArray

    Bbox = tuple[float, float, float, float]
    Day = str | date | np.datetime64
    Days = tuple[Day, Day]

BBOX = ("left", "bottom", "right", "top")
_WHOLE_EXTENT = frozenset({"spatial:shape", "spatial:transform", "spatial:bbox"})
_DAY = np.timedelta64(1, "D")


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """What is opened of the arrays on disk."""

    window: Window
    steps: tuple[int, ...] | None
    """Positions on the time axis as it is stored, in the order of what is opened; None without one."""

    def blocks(self, tile_px: int) -> tuple[tuple[int, ...], ...]:
        """Sizes of blocks that end where tiles do, for each of ([time,] y, x). Pure."""
        window = self.window
        time = () if self.steps is None else ((1,) * len(self.steps),)
        return (*time, _blocks(window.y0, window.y1, tile_px), _blocks(window.x0, window.x1, tile_px))


def narrow(cube: xr.Dataset, *, bbox: Bbox | None, time: Days | None) -> tuple[xr.Dataset, Part]:
    """``cube`` (not in blocks yet) by time and revision, its pixels with centre in ``bbox``, its days in ``time``.

    Raises WrongStore where nothing is left.
    """
    rows, columns = slice(0, cube.sizes["y"]), slice(0, cube.sizes["x"])
    steps = _find_steps(cube, time)
    if steps is not None and not np.array_equal(steps, np.arange(cube.sizes[TIME])):
        cube = cube.isel({TIME: steps})
    if bbox is not None:
        rows, columns = _find_pixels(cube, bbox)
        cube = _without_extent(cube.isel(y=rows, x=columns))
    for name in cube.coords:
        cube.variables[name].load()
    window = Window(y0=rows.start, y1=rows.stop, x0=columns.start, x1=columns.stop)
    return cube, Part(window=window, steps=None if steps is None else tuple(steps.tolist()))


def _find_steps(cube: xr.Dataset, time: Days | None) -> NDArray[np.intp] | None:
    if TIME not in cube.dims:
        if time is not None:
            raise WrongStore(f"time {time}: the cube is one picture and has no time axis; leave time out")
        return None
    times = cube[TIME].to_numpy()
    order = np.lexsort((cube["revision"].to_numpy(), times))
    if time is None:
        return np.asarray(order, np.intp)
    first, last = _days(time)
    kept = order[(times[order] >= first) & (times[order] < last + _DAY)]
    if not kept.size:
        raise WrongStore(
            f"no date of the cube lies in time {time}, which is (first day, last day); the cube has {times.size} "
            f"from {times.min().astype('M8[D]')} to {times.max().astype('M8[D]')}"
        )
    return np.asarray(kept, np.intp)


def _days(time: Days) -> tuple[np.datetime64, np.datetime64]:
    try:
        first, last = np.asarray(time, "datetime64[D]")
    except (ValueError, TypeError) as error:
        raise WrongStore(f"time {time} is not (first day, last day), such as ('2024-06-01', '2024-06-30')") from error
    return first, last


def _find_pixels(cube: xr.Dataset, bbox: Bbox) -> tuple[slice, slice]:
    if len(bbox) != len(BBOX):
        raise WrongStore(f"bbox {bbox} has {len(bbox)} numbers; it is ({', '.join(BBOX)}) in the cube's CRS")
    left, bottom, right, top = bbox
    y, x = cube["y"].to_numpy(), cube["x"].to_numpy()
    rows = slice(int(np.searchsorted(-y, -top)), int(np.searchsorted(-y, -bottom, side="right")))
    columns = slice(int(np.searchsorted(x, left)), int(np.searchsorted(x, right, side="right")))
    if rows.start >= rows.stop or columns.start >= columns.stop:
        raise WrongStore(
            f"no pixel centre of the cube lies in bbox {bbox}; it is (left, bottom, right, top) in the cube's CRS, "
            f"and the cube spans {x[0]:g}..{x[-1]:g} by {y[-1]:g}..{y[0]:g}"
        )
    return rows, columns


def _without_extent(part: xr.Dataset) -> xr.Dataset:
    """A part of a cube without the attributes that place the whole; readers then go by its coordinates."""
    part.attrs = {key: value for key, value in part.attrs.items() if key not in _WHOLE_EXTENT}
    part[GRID_MAPPING].attrs.pop("GeoTransform")
    return part


def _blocks(first: int, last: int, side: int) -> tuple[int, ...]:
    edges = np.arange(first // side * side + side, last, side)
    return tuple(np.diff([first, *edges, last]).tolist())
