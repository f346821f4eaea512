"""An empty cube: groups, arrays, coordinates and attributes, and no pixel.

Refuses to know what already stands there; `store` decides whether to create.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.codecs import BloscCodec

from shdask import __version__
from shdask.assemble.conventions import (
    GRID_MAPPING,
    OUTSIDE_AREA,
    axis_attributes,
    band_attributes,
    flag_attributes,
    grid_mapping,
    nan_fill_attribute,
    tile_state_attributes,
    zarr_conventions,
)
from shdask.assemble.layout import Layout
from shdask.assemble.place import Place
from shdask.model import Band
from shdask.plan.group import GroupPlan

DATA_MASK = "data_mask"
TILE_STATE = "tile_state"
STATE_CHUNK = 256
"""Side of a ``tile_state`` chunk in tiles; one whose tiles all lie outside the area is not stored."""

# Beside zarr's default on noisy uint16: 1.8 times as fast and 20 % smaller.
_CODEC = BloscCodec(cname="zstd", clevel=1, shuffle="shuffle")


def make_layout(plan: GroupPlan) -> Layout:
    """How the plan's arrays are cut into objects. Pure."""
    return Layout(
        shape=plan.grid.shape,
        tile_px=plan.store.tile_px,
        chunk_px=plan.store.chunk_px,
        sharded=plan.store.sharded,
    )


def create_template(plan: GroupPlan, place: Place) -> None:
    """Write the whole hierarchy at ``place``; the root's ``identity``, written last, says that it is whole.

    What an earlier call left behind when it was killed is written over.
    """
    store = place.zarr_store()
    root = zarr.open_group(store, mode="a", zarr_format=3)
    root.update_attributes({"shdask_version": __version__})
    for band in plan.layer.bands:
        _create_band(root, plan, band)
    _create_mask(root, plan)
    _create_tile_state(root, plan)
    axes = axis_attributes(plan.grid)
    _create_coordinate(root, "y", plan.grid.y_coords(), ("y",), axes["y"])
    _create_coordinate(root, "x", plan.grid.x_coords(), ("x",), axes["x"])
    _create_coordinate(root, GRID_MAPPING, np.asarray(0, np.int64), (), grid_mapping(plan.grid))
    with expected_zarr_warnings():
        zarr.consolidate_metadata(store, zarr_format=3)
    place.settle()
    zarr.open_group(store, mode="r+").update_attributes(_root_attributes(plan))
    place.settle(["zarr.json"])


@contextmanager
def expected_zarr_warnings() -> Iterator[None]:
    """Silence the two warnings that are no news: consolidated metadata is no standard yet, our folder is no group."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Consolidated metadata is currently not part", UserWarning)
        warnings.filterwarnings("ignore", r"Object at \.shdask is not recognized", UserWarning)
        yield


def _root_attributes(plan: GroupPlan) -> dict[str, Any]:
    layer = plan.layer
    interval = layer.interval
    times: dict[str, str] = {}
    if interval is not None:  # ACDD's names; the end is exclusive
        times = {"time_coverage_start": interval.start.isoformat(), "time_coverage_end": interval.end.isoformat()}
    return {
        "Conventions": "CF-1.11, ACDD-1.3",
        "title": f"{layer.name}: {', '.join(band.name for band in layer.bands)} of {layer.collection}",
        "source": layer.collection,
        **times,
        **zarr_conventions(plan.grid),
        "layer": layer.name,
        "bands": [band.name for band in layer.bands],
        "layout": {
            "tile_px": plan.store.tile_px,
            "chunk_px": plan.store.chunk_px,
            "sharded": plan.store.sharded,
            "tiles": plan.tile_count,
        },
        "complete": False,
        "pu_spent": 0.0,
        "spec": plan.describe(),
        "identity": plan.identity(),
    }


def _create_band(root: zarr.Group, plan: GroupPlan, band: Band) -> None:
    attributes = band_attributes(long_name=band.name, units=None if band.scale is None else "1")
    if np.dtype(band.dtype).kind == "f":
        attributes |= nan_fill_attribute()
    _create_raster(root, plan, band, attributes)


def _create_mask(root: zarr.Group, plan: GroupPlan) -> None:
    flags = flag_attributes({0: "no_data", 1: "valid"})
    attributes = band_attributes(long_name="whether the pixel holds data", units=None) | flags
    _create_raster(root, plan, Band(name=DATA_MASK, dtype="uint8", fill_value=0), attributes)


def _create_raster(root: zarr.Group, plan: GroupPlan, band: Band, attributes: dict[str, Any]) -> None:
    tile_px, chunk_px = plan.store.tile_px, plan.store.chunk_px
    root.create_array(
        band.name,
        shape=plan.grid.shape,
        dtype=band.dtype,
        chunks=(chunk_px, chunk_px),
        shards=(tile_px, tile_px) if plan.store.sharded else None,
        fill_value=np.dtype(band.dtype).type(band.fill_value),
        compressors=_CODEC,
        dimension_names=("y", "x"),
        attributes=attributes,
        overwrite=True,
    )


def _create_tile_state(root: zarr.Group, plan: GroupPlan) -> None:
    rows, columns = plan.tile_grid_shape
    root.create_array(
        TILE_STATE,
        shape=(rows, columns),
        dtype="uint8",
        chunks=(min(rows, STATE_CHUNK), min(columns, STATE_CHUNK)),
        fill_value=OUTSIDE_AREA,
        compressors=_CODEC,
        dimension_names=("tile_y", "tile_x"),
        attributes=tile_state_attributes(),
        overwrite=True,
    )
    write_tile_states(root, plan, np.zeros(plan.tile_count, np.uint8))


def write_tile_states(root: zarr.Group, plan: GroupPlan, states: NDArray[np.uint8]) -> None:
    """Write ``states`` (by tile index) into ``tile_state``, one whole chunk at a time, only those that hold tiles."""
    array = root[TILE_STATE]
    if not isinstance(array, zarr.Array):
        raise TypeError(f"{TILE_STATE} is no array")
    rows, columns = (np.asarray(part) for part in plan.tile_cells(0, plan.tile_count))
    side_y, side_x = array.chunks
    chunk = (rows // side_y) * -(-array.shape[1] // side_x) + columns // side_x
    order = np.argsort(chunk, kind="stable")
    for part in np.split(order, np.flatnonzero(np.diff(chunk[order])) + 1):
        y, x = int(rows[part[0]]) // side_y * side_y, int(columns[part[0]]) // side_x * side_x
        block = np.full((min(side_y, array.shape[0] - y), min(side_x, array.shape[1] - x)), OUTSIDE_AREA, np.uint8)
        block[rows[part] - y, columns[part] - x] = states[part]
        array[y : y + block.shape[0], x : x + block.shape[1]] = block


def _create_coordinate(
    root: zarr.Group, name: str, values: NDArray[Any], dimensions: tuple[str, ...], attributes: dict[str, Any]
) -> None:
    array = root.create_array(
        name,
        shape=values.shape,
        dtype=values.dtype,
        chunks=values.shape or "auto",
        compressors=_CODEC if values.shape else None,
        fill_value=None,
        dimension_names=dimensions,
        attributes=attributes,
        overwrite=True,
        config={"write_empty_chunks": True},
    )
    array[...] = values
