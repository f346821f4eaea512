"""Blended predictions as a cube of their own, on the grid of the cube that was predicted from.

Refuses to know models, and how patches are blended.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import zarr
from zarr.codecs import BloscCodec

from shdask import __version__
from shdask.assemble.conventions import (
    GRID_MAPPING,
    axis_attributes,
    band_attributes,
    flag_attributes,
    grid_mapping,
    nan_fill_attribute,
    zarr_conventions,
)
from shdask.assemble.place import Place, open_place
from shdask.assemble.template import DATA_MASK, expected_zarr_warnings
from shdask.errors import PlanError, StoreError
from shdask.patches.blending import Predict, Strip, blend_patches
from shdask.patches.fit import refuse_misfits
from shdask.patches.groups import find_groups
from shdask.patches.whole import write_whole
from shdask.plan.grid import Grid

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from shdask.patches.table import Patches

LABEL = "label"
"""The array of the most probable class."""
COUNT = "patch_count"
PLAIN = "prediction"
"""The array of predictions that have no classes."""
CHUNK_PX = 512
MOST_CLASSES = 255
_ARRAY_NAME = re.compile(r"[^\W_](?:[\w .,()+-]*[\w)+])?")
_TAKEN = frozenset({LABEL, COUNT, DATA_MASK, GRID_MAPPING, "tile_state", "time", "x", "y", "zarr.json"})
"""What means something else in a cube, and in the folder of one."""
_CODEC = BloscCodec(cname="zstd", clevel=3, shuffle="shuffle")


def write_blended(
    target: str | os.PathLike[str],
    cube: str | os.PathLike[str] | Place,
    patches: Patches,
    predict: Predict,
    *,
    classes: Sequence[str] = (),
) -> None:
    """Write what ``predict`` says of ``patches``, blended, as a new Zarr cube at ``target`` on the grid of ``cube``.

    `shdask.open_cube` opens it, and previews and COGs are made of it as of any other. Of scores (class, y, x) there is
    an array (y, x), float32, for each of ``classes``, or ``class_0`` and so on, and ``label``, uint8, the number of the
    highest; of plain values (y, x) the array ``prediction``. ``data_mask`` is 1 where a patch tells, ``patch_count``
    says how many do. ``predict`` is called once for each patch, from the north to the south; a band of rows is in
    memory. Written whole or not at all.
    Raises PlanError as `blend_patches`, and where ``classes`` are not as many as there are scores, or no names of
    arrays; StoreError where something stands at ``target``, or ``cube`` has no grid of these patches.
    """
    grid = _find_grid(open_place(cube), patches)
    with write_whole(target) as partial, expected_zarr_warnings():
        root = zarr.create_group(partial, zarr_format=3)
        names: list[str] = []
        for strip in blend_patches(patches, predict, shape=grid.shape, strip_px=CHUNK_PX):
            if not names:
                names = _name_bands(strip, classes)
                _create_arrays(root, names, grid)
            _write_strip(root, names, strip)
        root.update_attributes(_root_attributes(grid, names, patches, open_place(cube).name))
        zarr.consolidate_metadata(partial, zarr_format=3)


def _find_grid(place: Place, patches: Patches) -> Grid:
    wanted = set(np.unique(patches.epsg).tolist())
    for group in find_groups(place):
        told: Mapping[str, Any] = group.attributes["identity"]["grid"]
        epsg = int(told["crs"].removeprefix("EPSG:"))
        if epsg in wanted:
            refuse_misfits(place.name, group.attributes, patches.take(patches.epsg == epsg))
            (ox, oy), (rx, ry), (column, row), (rows, columns) = (
                told[name] for name in ("origin", "resolution", "offset", "shape")
            )
            return Grid(epsg=epsg, origin=(ox, oy), resolution=(rx, ry), offset=(column, row), shape=(rows, columns))
    raise StoreError(f"{place.name} has no grid of these patches; give the cube that they were chosen in")


def _name_bands(strip: Strip, classes: Sequence[str]) -> list[str]:
    count = len(strip.values)
    if not strip.has_classes:
        if classes:
            raise PlanError(f"classes: {len(classes)} are named, and predictions are (y, x); leave classes out")
        return [PLAIN]
    if count > MOST_CLASSES or (classes and len(classes) != count):
        raise PlanError(f"classes: {len(classes)} are named, and predictions have {count} (255 at most); name each")
    names = [str(name) for name in classes] or [f"class_{number}" for number in range(count)]
    wrong = [name for name in names if not _ARRAY_NAME.fullmatch(name) or name in _TAKEN]
    if wrong or len(set(names)) < count:
        raise PlanError(
            f"classes: {', '.join(map(repr, names))}; each becomes an array and needs a name of its own, of letters, "
            f"digits, blanks and - _ + . , ( ), and none of the cube's own ({', '.join(sorted(_TAKEN))})"
        )
    return names


def _create_arrays(root: zarr.Group, names: Sequence[str], grid: Grid) -> None:
    for name in names:
        attributes = band_attributes(long_name=name, units="1" if name != PLAIN else None) | nan_fill_attribute()
        _create_raster(root, name, grid, attributes, dtype="float32", fill=np.nan)
    if list(names) != [PLAIN]:
        flags = flag_attributes({number: name.replace(" ", "_") for number, name in enumerate(names)})
        attributes = band_attributes(long_name="the class with the highest score", units=None) | flags
        _create_raster(root, LABEL, grid, attributes, dtype="uint8")
    attributes = band_attributes(long_name="number of patches that tell of the pixel", units="1")
    _create_raster(root, COUNT, grid, attributes, dtype="uint16")
    flags = flag_attributes({0: "no_data", 1: "valid"})
    attributes = band_attributes(long_name="whether a patch tells of the pixel", units=None) | flags
    _create_raster(root, DATA_MASK, grid, attributes, dtype="uint8")
    axes = axis_attributes(grid)
    _create_coordinate(root, "y", grid.y_coords(), axes["y"])
    _create_coordinate(root, "x", grid.x_coords(), axes["x"])
    _create_coordinate(root, GRID_MAPPING, np.asarray(0, np.int64), grid_mapping(grid))


def _create_raster(
    root: zarr.Group, name: str, grid: Grid, attributes: Mapping[str, Any], *, dtype: str, fill: float = 0
) -> None:
    root.create_array(
        name,
        shape=grid.shape,
        dtype=dtype,
        chunks=(CHUNK_PX, CHUNK_PX),
        fill_value=np.dtype(dtype).type(fill),
        compressors=_CODEC,
        dimension_names=("y", "x"),
        attributes=dict(attributes),
    )


def _create_coordinate(root: zarr.Group, name: str, values: NDArray[Any], attributes: Mapping[str, Any]) -> None:
    array = root.create_array(
        name,
        shape=values.shape,
        dtype=values.dtype,
        chunks=values.shape or "auto",
        fill_value=None,
        dimension_names=(name,) if values.shape else (),
        attributes=dict(attributes),
        config={"write_empty_chunks": True},
    )
    array[...] = values


def _write_strip(root: zarr.Group, names: Sequence[str], strip: Strip) -> None:
    rows = slice(strip.y0, strip.y0 + strip.counts.shape[0])
    known = strip.counts > 0
    found: dict[str, NDArray[Any]] = dict(zip(names, strip.values, strict=True))
    if strip.has_classes:
        found[LABEL] = np.where(known, strip.values, 0).argmax(axis=0).astype(np.uint8)
    for name, values in {**found, COUNT: strip.counts, DATA_MASK: known.astype(np.uint8)}.items():
        array = root[name]
        if not isinstance(array, zarr.Array):
            raise TypeError(f"{name} is no array")
        array[rows] = values


def _root_attributes(grid: Grid, names: Sequence[str], patches: Patches, cube: str) -> dict[str, Any]:
    """What makes it a cube that `shdask.open_cube` opens, and that no build takes for one of its own. Pure."""
    labels = [] if list(names) == [PLAIN] else [LABEL]
    return {
        "shdask_version": __version__,
        "Conventions": "CF-1.11, ACDD-1.3",
        "title": f"predictions of {len(patches)} patches, blended",
        "source": f"predictions from {cube}",
        **zarr_conventions(grid),
        "layer": "prediction",
        "bands": [*names, *labels, COUNT],
        # so that overviews show the commonest class, and no mean of numbers
        "multiscales": {"layout": [], "classes": labels},
        "layout": {"tile_px": CHUNK_PX, "chunk_px": CHUNK_PX, "sharded": False},
        "complete": True,
        "pu_spent": 0.0,
        "identity": {"predictions": {"cube": cube, "patches": len(patches), "seed": patches.seed}},
    }
