"""Opening a cube: a lazy xarray.Dataset over what is stored.

Refuses to know how the cube came to be there.
"""

from __future__ import annotations

import os
import warnings
from typing import TYPE_CHECKING

import numpy as np

from shdask.assemble.conventions import GRID_MAPPING
from shdask.assemble.place import open_place
from shdask.assemble.store import read_cube_attributes
from shdask.assemble.template import DATA_MASK
from shdask.errors import WrongStore

if TYPE_CHECKING:
    import xarray as xr

_AXES = ("y", "x")
BBOX = ("left", "bottom", "right", "top")
_WHOLE_EXTENT = frozenset({"spatial:shape", "spatial:transform", "spatial:bbox"})
_LARGEST_EXACT_FLOAT32 = 16
"""Integers of so many bits are exact in float32; longer ones need float64."""


class IncompleteCubeWarning(UserWarning):
    """The cube has tiles that are not written yet: their pixels are fill, and ``data_mask`` is 0 there."""


def open_cube(
    store: str | os.PathLike[str],
    *,
    layer: str | None = None,
    masked: bool = False,
    bbox: tuple[float, float, float, float] | None = None,
) -> xr.Dataset:
    """The cube at ``store`` as a lazy Dataset: its bands and ``data_mask`` (uint8, 1 = valid), dims (y, x).

    ``store`` is a folder, or ``s3://bucket/prefix`` with keys and endpoint from the environment.

    Coordinates ``y`` (descending) and ``x`` are pixel centres in the cube's CRS, which ``ds.rio.crs`` gives.
    A Dask block is a tile of one band: one read takes one object from the store, and no two blocks share one.
    ``layer`` may name the layer that the cube holds. ``masked`` gives floats with NaN where ``data_mask``
    is 0: float32 for types of up to 16 bits, float64 above. ``bbox`` (left, bottom, right, top; in the
    cube's CRS) keeps the pixels whose centre lies in it.

    Warns IncompleteCubeWarning when tiles are missing. Raises StoreError where there is no cube of ours,
    no such layer, or no pixel centre in ``bbox``.
    """
    import rioxarray  # noqa: F401  # brings ds.rio
    import xarray as xr

    if not isinstance(store, str | os.PathLike):
        raise WrongStore(
            f"{type(store).__name__} is no cube; build it first, then open the folder: "
            f"shdask.build_cube(..., 'cube.zarr')"
        )
    place = open_place(store)
    attributes = read_cube_attributes(place)
    if layer is not None and layer != attributes["layer"]:
        raise WrongStore(f"{store} has no layer {layer!r}; it holds {attributes['layer']!r}")
    if not attributes["complete"]:
        warnings.warn(
            f"{store} is not complete: tiles that are not written yet are fill. "
            f"`shdask status {store}` says what is missing",
            IncompleteCubeWarning,
            stacklevel=2,
        )
    with place.errors():
        cube = xr.open_zarr(place.zarr_store(read_only=True), chunks=None, consolidated=True)
    cube = cube[[*attributes["bands"], DATA_MASK]]
    first = dict.fromkeys(_AXES, 0)
    if bbox is not None:
        selection = _select(cube, bbox)
        first = {axis: part.start for axis, part in selection.items()}
        cube = _without_extent(cube.isel(selection))
    # Narrowed before it is chunked: slicing Dask arrays of a million blocks takes seconds and most of a gigabyte.
    side = attributes["layout"]["tile_px"]
    cube = cube.chunk({axis: _tile_blocks(first[axis], cube.sizes[axis], side) for axis in _AXES})
    return _mask(cube) if masked else cube


def _select(cube: xr.Dataset, bbox: tuple[float, float, float, float]) -> dict[str, slice]:
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
    return {"y": rows, "x": columns}


def _without_extent(part: xr.Dataset) -> xr.Dataset:
    """A part of a cube without the attributes that place the whole; readers then go by its coordinates."""
    part.attrs = {key: value for key, value in part.attrs.items() if key not in _WHOLE_EXTENT}
    part[GRID_MAPPING].attrs.pop("GeoTransform")
    return part


def _tile_blocks(first: int, length: int, side: int) -> tuple[int, ...]:
    """Sizes of blocks that end where tiles do, for ``length`` pixels from pixel ``first`` on."""
    edges = np.arange(first // side * side + side, first + length, side)
    return tuple(np.diff([first, *edges, first + length]).tolist())


def _mask(cube: xr.Dataset) -> xr.Dataset:
    valid = cube[DATA_MASK] == 1
    bands = {name: _as_float(band).where(valid) for name, band in cube.data_vars.items() if name != DATA_MASK}
    for band in bands.values():
        band.encoding["_FillValue"] = np.nan  # so that files made of it say what their NaN means
    return cube.assign(bands)


def _as_float(band: xr.DataArray) -> xr.DataArray:
    if band.dtype.kind == "f":
        return band
    return band.astype(np.float32 if band.dtype.itemsize * 8 <= _LARGEST_EXACT_FLOAT32 else np.float64)
