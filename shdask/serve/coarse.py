"""A cube read coarsely: one date, some bands, as few pixels as a picture has; from overviews where they are there.

Refuses to know colours.
"""

from __future__ import annotations

import math
import os
from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from shdask.assemble.conventions import GRID_MAPPING
from shdask.assemble.place import Place, open_place
from shdask.assemble.pyramid import find_levels, outdated_tiles
from shdask.assemble.store import read_cube_attributes
from shdask.assemble.template import DATA_MASK
from shdask.assemble.time_axis import TIME
from shdask.assemble.tree import child
from shdask.assemble.verify import CubeTiles
from shdask.errors import WrongStore
from shdask.serve.open import pick_group
from shdask.serve.overviews import find_classes
from shdask.serve.stored import StoredCube

if TYPE_CHECKING:
    import xarray as xr
    from numpy.typing import NDArray

    from shdask.serve.narrow import Day

BLOCK_PX = 4096
"""Side of what is read at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """One date of a layer, or one picture without a time axis, not read yet."""

    cube: xr.Dataset
    """Bands and ``data_mask``, (y, x), as `open_cube` gives them without masking."""
    classes: tuple[str, ...]
    """The bands that are codes."""
    place: Place | None = None
    """The group's, where it stands in a store as a whole."""
    step: int | None = None
    """Position on the stored time axis."""

    @classmethod
    def of_store(
        cls,
        store: str | os.PathLike[str],
        *,
        layer: str | None,
        zone: str | int | None,
        time: Day | None,
    ) -> Self:
        """That of ``time``, a day; without one, of the date with the most tiles under the clearest sky.

        Raises StoreError as `open_cube`.
        """
        found = StoredCube(place=open_place(store))
        path = pick_group(found, layer, zone)
        place = child(found.place, path)
        cube = found.open(path, masked=False, bbox=None, time=None if time is None else (time, time))
        classes = find_classes(read_cube_attributes(place))
        if TIME not in cube.dims:
            return cls(cube=cube, classes=classes, place=place)
        stored = _stored_steps(place, cube)
        best = _clearest(cube, _written(place)[stored])
        step = int(stored[best])
        return cls(cube=cube.isel({TIME: best}), classes=classes, place=place, step=step)

    @classmethod
    def of_dataset(cls, cube: xr.Dataset, *, time: Day | None) -> Self:
        """That of what `open_cube` gave, or of a part of it. Raises WrongStore where it has no ``data_mask``."""
        if DATA_MASK not in cube:
            raise WrongStore(f"the Dataset has no {DATA_MASK}; give what shdask.open_cube returns, or a part of it")
        classes = find_classes(cube.attrs) if "bands" in cube.attrs else ()
        if TIME in cube.dims:
            if time is not None:
                day = str(np.asarray(time, "datetime64[D]"))
                cube = cube.sel({TIME: slice(day, day)})
                if not cube.sizes[TIME]:
                    raise WrongStore(f"the Dataset has no date on {time}")
            cube = cube.isel({TIME: _clearest(cube, np.ones(cube.sizes[TIME]))})
        return cls(cube=cube, classes=classes)

    def coarser(self, step_px: int) -> xr.Dataset:
        """The coarsest overview that has at least a pixel for every ``step_px``, else the cube itself.

        An overview that a tile of this date has outdated is passed over. Raises StoreError.
        """
        if self.place is None:
            return self.cube
        attributes = read_cube_attributes(self.place)
        fitting = [level for level in find_levels(attributes) if level.factor <= step_px]
        outdated = outdated_tiles(self.place, attributes) if fitting else None
        if outdated is None or outdated[() if self.step is None else (self.step,)].any():
            return self.cube
        import xarray as xr

        with self.place.errors():
            store = self.place.zarr_store(read_only=True)
            level: xr.Dataset = xr.open_zarr(store, group=fitting[-1].path, consolidated=False, chunks={})
        return level if self.step is None else level.isel({TIME: self.step})


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Coarse:
    """Pixels of a picture."""

    values: NDArray[np.float32]
    """(band, y, x): means over valid pixels, of codes the one in the middle; 0 where none is shown."""
    shown: NDArray[np.bool_]
    """(y, x): whether at least half of the pixels below are valid; of codes alone, whether the one in the middle is."""
    resolution: tuple[float, float]
    """(x, y) size of a pixel in CRS units."""

    def enlarged(self, enough_px: int) -> Self:
        """The same, its pixels repeated by a whole number, so that the longer side is at most ``enough_px``. Pure."""
        times = max(1, enough_px // max(self.shown.shape))
        block = np.ones((times, times), np.bool_)
        return type(self)(
            values=np.stack([np.kron(band, block.astype(np.float32)) for band in self.values]),
            shown=np.kron(self.shown, block),
            resolution=(self.resolution[0] / times, self.resolution[1] / times),
        )


def read_coarse(scene: Scene, bands: Collection[str], size_px: int) -> Coarse:
    """``bands`` of ``scene``, the longer side at most ``size_px``. Reads block by block.

    Raises StoreError, and what computing raises.
    """
    longer = max(scene.cube.sizes["y"], scene.cube.sizes["x"])
    cube = scene.coarser(max(1, math.ceil(longer / size_px)))
    cube = cube[[*dict.fromkeys(bands), DATA_MASK]]
    height, width = cube.sizes["y"], cube.sizes["x"]
    step = max(1, math.ceil(max(height, width) / size_px))
    shape = -(-height // step), -(-width // step)
    values, shown = np.zeros((len(bands), *shape), np.float32), np.zeros(shape, np.bool_)
    side = max(1, BLOCK_PX // step) * step
    for y in range(0, height, side):
        for x in range(0, width, side):
            block = cube.isel(y=slice(y, y + side), x=slice(x, x + side)).compute()
            rows = slice(y // step, -(-min(y + side, height) // step))
            columns = slice(x // step, -(-min(x + side, width) // step))
            valid = block[DATA_MASK].to_numpy() == 1
            seen = _blocks_sum(valid, step)
            whole = _blocks_sum(np.ones(valid.shape, np.bool_), step)
            is_shown = 2 * seen >= whole
            if set(bands) <= set(scene.classes):
                is_shown = _middles(valid, step)
            for number, band in enumerate(bands):
                pixels = block[band].to_numpy()
                part = _middles(pixels, step) if band in scene.classes else _mean(pixels, valid, seen, step)
                values[number, rows, columns] = np.where(is_shown, part, 0)
            shown[rows, columns] = is_shown
    return Coarse(values=values, shown=shown, resolution=_resolution(cube, step))


def _mean(pixels: NDArray[Any], valid: NDArray[np.bool_], seen: NDArray[Any], step: int) -> NDArray[Any]:
    sums = _blocks_sum(np.where(valid, pixels, 0), step)
    means: NDArray[np.float64] = np.divide(sums, seen, out=np.zeros_like(sums), where=seen > 0)
    return means


def _blocks_sum(values: NDArray[Any], step: int) -> NDArray[np.float64]:
    rows, columns = (np.arange(0, side, step) for side in values.shape)
    down = np.add.reduceat(values, rows, axis=0, dtype=np.float64)
    return np.asarray(np.add.reduceat(down, columns, axis=1), np.float64)


def _middles(values: NDArray[Any], step: int) -> NDArray[Any]:
    rows, columns = (np.minimum(np.arange(0, side, step) + step // 2, side - 1) for side in values.shape)
    middles: NDArray[Any] = values[np.ix_(rows, columns)]
    return middles


def _resolution(cube: xr.Dataset, step: int) -> tuple[float, float]:
    transform = cube.attrs.get("spatial:transform") or cube[GRID_MAPPING].attrs.get("GeoTransform", "").split()
    if len(transform) == 6 and isinstance(transform[0], str):  # noqa: PLR2004  # GDAL's order
        return float(transform[1]) * step, -float(transform[5]) * step
    if len(transform) == 6:  # noqa: PLR2004  # an affine
        return float(transform[0]) * step, -float(transform[4]) * step
    x, y = cube["x"].to_numpy(), cube["y"].to_numpy()
    return (
        float(x[-1] - x[0]) / max(x.size - 1, 1) * step or 1.0,
        float(y[0] - y[-1]) / max(y.size - 1, 1) * step or 1.0,
    )


def _stored_steps(place: Place, cube: xr.Dataset) -> NDArray[np.intp]:
    """Positions on the stored time axis of the dates of ``cube``."""
    import xarray as xr

    with place.errors():
        stored = xr.open_zarr(place.zarr_store(read_only=True), chunks=None, consolidated=True)[
            [TIME, "revision"]
        ].load()
    known = {key: number for number, key in enumerate(_dates(stored))}
    return np.array([known[key] for key in _dates(cube)], np.intp)


def _dates(cube: xr.Dataset) -> list[tuple[Any, Any]]:
    return list(zip(cube[TIME].to_numpy().tolist(), cube["revision"].to_numpy().tolist(), strict=True))


def _written(place: Place) -> NDArray[np.float64]:
    """(step,): how many tiles stand."""
    tiles = CubeTiles.of(place, read_cube_attributes(place))
    return np.asarray(tiles.marks(place).reshape(tiles.cells.shape).sum(axis=(1, 2)), np.float64)


def _clearest(cube: xr.Dataset, tiles: NDArray[Any]) -> int:
    """The date with the most tiles by the share of its sky that is clear; the last of several."""
    cloudy = cube["cloud_cover"].to_numpy() if "cloud_cover" in cube.coords else np.zeros(cube.sizes[TIME])
    clear = 1 - np.where(np.isnan(cloudy), 1 - np.finfo(np.float32).eps, cloudy)
    score = tiles * clear
    return int(score.size - 1 - np.argmax(score[::-1]))
