"""A plan as a lazy Dataset: nothing is fetched until Dask computes, and then the tiles that are touched.

Refuses to know how a tile is bought and kept.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from shdask.assemble.conventions import axis_attributes
from shdask.assemble.template import DATA_MASK, create_arrays, root_attributes
from shdask.demand.tiles import OPEN, Pixels
from shdask.model import Window
from shdask.plan.group import GroupPlan
from shdask.serve.masked import mask_bands
from shdask.serve.narrow import Part, narrow

if TYPE_CHECKING:
    import dask.array as da
    import xarray as xr
    from numpy.typing import NDArray

    from shdask.serve.narrow import Bbox, Days

AXES = ("time", "y", "x")
_OF_A_BUILD = ("complete", "pu_spent", "identity")
"""Attributes of what was built."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockReader:
    """Makes a block of what is opened of a plan. Pickles as numbers and a token: no plan, no client, no secret."""

    token: str
    part: Part
    tile_px: int
    tile_grid: tuple[int, int]
    alive: object = field(default=None, compare=False, repr=False)
    """What must live as long as the graph does, in the process that opened it."""

    def __call__(self, block: tuple[int, ...]) -> Pixels:
        """([time,] y, x) of each band, and last of the mask; not to be written to. Raises as `TilesOnDemand.read`."""
        *at_step, y, x = block
        window, side = self.part.window, self.tile_px
        row, column = window.y0 // side + y, window.x0 // side + x
        step = self.part.steps[at_step[0]] if self.part.steps is not None else 0
        rows, columns = self.tile_grid
        pixels = OPEN.find(self.token).read((step * rows + row) * columns + column)
        corner = Window(y0=row * side, y1=row * side + side, x0=column * side, x1=column * side + side)
        inside = Window(
            y0=max(window.y0, corner.y0),
            y1=min(window.y1, corner.y1),
            x0=max(window.x0, corner.x0),
            x1=min(window.x1, corner.x1),
        )
        lead = (np.newaxis,) * len(at_step)
        return tuple(array[(*lead, *inside.within(corner).slices)] for array in pixels)

    def __reduce__(self) -> tuple[Any, ...]:
        return _make_reader, (self.token, self.part, self.tile_px, self.tile_grid)


def _make_reader(token: str, part: Part, tile_px: int, tile_grid: tuple[int, int]) -> BlockReader:
    return BlockReader(token=token, part=part, tile_px=tile_px, tile_grid=tile_grid)


def open_lazy(
    plan: GroupPlan, token: str, alive: object, *, masked: bool, bbox: Bbox | None, time: Days | None
) -> xr.Dataset:
    """What `open_cube` gives of a cube built from ``plan``, its blocks made by the `TilesOnDemand` of ``token``."""
    cube, part = narrow(_without_pixels(plan), bbox=bbox, time=time)
    reader = BlockReader(
        token=token, part=part, tile_px=plan.store.tile_px, tile_grid=plan.tile_set.grid_shape, alive=alive
    )
    arrays = _make_arrays(plan, reader, part.blocks(plan.store.tile_px))
    cube = cube.assign({name: cube.variables[name].copy(data=array) for name, array in arrays.items()})
    return mask_bands(cube) if masked else cube


def _without_pixels(plan: GroupPlan) -> xr.Dataset:
    """Coordinates and attributes as a cube on disk has them, made the same way: in memory, with no pixel."""
    import xarray as xr
    import zarr

    store = zarr.storage.MemoryStore()
    root = zarr.open_group(store, mode="w", zarr_format=3)
    create_arrays(root, plan)
    attributes = root_attributes(plan)
    root.update_attributes({key: attributes[key] for key in attributes if key not in _OF_A_BUILD})
    cube: xr.Dataset = xr.open_zarr(store, chunks=None, consolidated=False)
    # in the order in which a store's are found; not by way of Zarr, which would hold millions of them several times
    attributes = axis_attributes(plan.grid)
    y = xr.Variable("y", plan.grid.y_coords(), attributes["y"])
    cube = cube.assign_coords(y=y, x=xr.Variable("x", plan.grid.x_coords(), attributes["x"]))
    return cube[[*(band.name for band in plan.layer.bands), DATA_MASK]]


def _make_arrays(plan: GroupPlan, reader: BlockReader, blocks: tuple[tuple[int, ...], ...]) -> dict[str, da.Array]:
    """One array per band and the mask, all picked from one source whose block is a tile with all its bands."""
    import dask.array as da
    from dask.blockwise import blockwise
    from dask.highlevelgraph import HighLevelGraph
    from dask.layers import ArrayBlockIdDep

    name, axes = f"shdask-{plan.layer.name}-{secrets.token_hex(8)}", AXES[-len(blocks) :]
    layer = blockwise(reader, name, axes, ArrayBlockIdDep(blocks), axes, numblocks={})
    nothing = (0,) * len(blocks)
    graph = HighLevelGraph({name: layer}, {name: set()})
    source = da.Array(graph, name, blocks, meta=np.empty(nothing, object))
    dtypes = {band.name: np.dtype(band.dtype) for band in plan.layer.bands} | {DATA_MASK: np.dtype(np.uint8)}
    return {
        band: da.blockwise(
            pick, axes, source, axes, position, None, name=f"{name}-{band}", dtype=dtype, meta=np.empty(nothing, dtype)
        )
        for position, (band, dtype) in enumerate(dtypes.items())
    }


def pick(pixels: Pixels, position: int) -> NDArray[np.generic]:
    """One array of a block, to be written to as one likes. Pure."""
    return pixels[position].copy()
