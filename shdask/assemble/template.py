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
from shdask.assemble.areas import KeptArea, keep_areas
from shdask.assemble.clear_share import create_clear_share
from shdask.assemble.conventions import (
    GRID_MAPPING,
    NO_ACQUISITION,
    NOT_CHOSEN,
    OUTSIDE_AREA,
    TOO_CLOUDY,
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
from shdask.assemble.shard import COMPRESSOR, LEVEL
from shdask.assemble.time_axis import COORDINATES, TIME, create_time_axis, freeze_timeline
from shdask.model import Band
from shdask.plan.group import GroupPlan

DATA_MASK = "data_mask"
TILE_STATE = "tile_state"
STATE_CHUNK = 256
"""Side of a ``tile_state`` chunk in tiles; one whose tiles all lie outside the area is not stored."""

_CODEC = BloscCodec(cname=COMPRESSOR, clevel=LEVEL, shuffle="shuffle")


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
    create_arrays(root, plan)
    axes = axis_attributes(plan.grid)
    _create_coordinate(root, "y", plan.grid.y_coords(), ("y",), axes["y"])
    _create_coordinate(root, "x", plan.grid.x_coords(), ("x",), axes["x"])
    _create_tile_state(root, plan)
    if plan.clear is not None:
        create_clear_share(root, plan)
    if plan.has_fixed_array:
        keep_areas(place, [KeptArea.of(plan)])
    if plan.timeline is not None:
        freeze_timeline(place, plan.timeline)
    with expected_zarr_warnings():
        zarr.consolidate_metadata(store, zarr_format=3)
    place.settle()
    zarr.open_group(store, mode="r+").update_attributes(root_attributes(plan))
    place.settle(["zarr.json"])


def create_arrays(root: zarr.Group, plan: GroupPlan) -> None:
    """Write bands and mask without a pixel, and all coordinates but ``y`` and ``x``."""
    for band in plan.layer.bands:
        _create_band(root, plan, band)
    _create_mask(root, plan)
    if plan.timeline is not None:
        create_time_axis(root, plan.timeline)
    _create_coordinate(root, GRID_MAPPING, np.asarray(0, np.int64), (), grid_mapping(plan.grid))


@contextmanager
def expected_zarr_warnings() -> Iterator[None]:
    """Silence the two warnings that are no news: consolidated metadata is no standard yet, our folder is no group."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Consolidated metadata is currently not part", UserWarning)
        warnings.filterwarnings("ignore", r"Object at .?\.shdask", UserWarning)
        yield


def root_attributes(plan: GroupPlan) -> dict[str, Any]:
    """What the root of a cube without a pixel says of it, as JSON types. Pure."""
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
    attributes = band_attributes(long_name=band.name, units=band.units or None, others=_coordinates(plan))
    if np.dtype(band.dtype).kind == "f":
        attributes |= nan_fill_attribute()
    _create_raster(root, plan, band, attributes)


def _create_mask(root: zarr.Group, plan: GroupPlan) -> None:
    flags = flag_attributes({0: "no_data", 1: "valid"})
    attributes = band_attributes(long_name="whether the pixel holds data", units=None, others=_coordinates(plan))
    attributes |= flags
    _create_raster(root, plan, Band(name=DATA_MASK, dtype="uint8", fill_value=0), attributes)


def _create_raster(root: zarr.Group, plan: GroupPlan, band: Band, attributes: dict[str, Any]) -> None:
    tile_px, chunk_px, steps = plan.store.tile_px, plan.store.chunk_px, _steps(plan)
    one = (1,) * len(steps)
    root.create_array(
        band.name,
        shape=(*steps, *plan.grid.shape),
        dtype=band.dtype,
        chunks=(*one, chunk_px, chunk_px),
        shards=(*one, tile_px, tile_px) if plan.store.sharded else None,
        fill_value=np.dtype(band.dtype).type(band.fill_value),
        compressors=_CODEC,
        dimension_names=(*(TIME for _ in steps), "y", "x"),
        attributes=attributes,
        overwrite=True,
    )


def _create_tile_state(root: zarr.Group, plan: GroupPlan) -> None:
    (rows, columns), steps = plan.tile_set.grid_shape, _steps(plan)
    root.create_array(
        TILE_STATE,
        shape=(*steps, rows, columns),
        dtype="uint8",
        chunks=(*(1 for _ in steps), min(rows, STATE_CHUNK), min(columns, STATE_CHUNK)),
        fill_value=OUTSIDE_AREA,
        compressors=_CODEC,
        dimension_names=(*(TIME for _ in steps), "tile_y", "tile_x"),
        attributes=tile_state_attributes(),
        overwrite=True,
    )
    write_tile_states(root, plan, np.zeros(plan.tile_set.index_count, np.uint8))


def _coordinates(plan: GroupPlan) -> tuple[str, ...]:
    return COORDINATES if plan.has_time else ()


def _steps(plan: GroupPlan) -> tuple[int, ...]:
    return (plan.tile_set.step_count,) if plan.has_time else ()


def write_tile_states(root: zarr.Group, plan: GroupPlan, states: NDArray[np.uint8]) -> None:
    """Write ``states`` (by tile index) of the plan's tiles into ``tile_state``; chunks without any are not stored."""
    array = root[TILE_STATE]
    if not isinstance(array, zarr.Array):
        raise TypeError(f"{TILE_STATE} is no array")
    array[...] = lay_states(plan, states).reshape(array.shape)
    told = tile_state_attributes()
    if array.attrs.asdict() != told:  # of an older version, which knew fewer states
        array.update_attributes(told)
        with expected_zarr_warnings():
            zarr.consolidate_metadata(root.store, zarr_format=3)


def lay_states(plan: GroupPlan, states: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """``states`` of the plan's tiles, and why all other cells are none, by tile index. Pure."""
    tiles = plan.tile_set
    cells = np.full(tiles.index_count, OUTSIDE_AREA, np.uint8)
    planned = tiles.indices()
    cells[planned] = states[planned]
    cells[tiles.unreached()] = NO_ACQUISITION
    cells[tiles.not_chosen()] = NOT_CHOSEN
    cells[tiles.too_cloudy()] = TOO_CLOUDY
    return cells


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
