"""Patches as a GeoParquet file, and back: a row each, their outlines in degrees, the rest of the table as it is.

Refuses to know how patches were chosen.
"""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely

from shdask.assemble.disk import disk_errors
from shdask.errors import StoreError
from shdask.patches.geometry import find_outlines
from shdask.patches.table import SPLITS, Patches

if TYPE_CHECKING:
    import pyarrow as pa

GEO = b"geo"
OURS = b"shdask"
VERSION = "1.1.0"
"""Of GeoParquet; without a ``crs`` coordinates are longitude and latitude, WGS 84 (OGC:CRS84)."""
GEOMETRY = "geometry"
ROW_GROUP = 100_000
CURE = 'install it with pip install "shdask[parquet]"'


def write_patches(patches: Patches, path: str | os.PathLike[str]) -> None:
    """Write ``patches`` as GeoParquet 1.1 at ``path``, whole or not at all; a file that stands there is replaced.

    Geometries are WKB polygons, longitude and latitude in WGS 84, cut at 180 degrees. ``split`` is the set's name, a
    dictionary column; ``label``, ``date`` and shares are null where there are none. Cube, size, seed, classes and
    notes stand in the file's metadata under ``shdask``. The same patches give the same bytes.
    Raises StoreError where the file cannot be written, or pyarrow is missing.
    """
    pq = _parquet()
    table, target = _to_arrow(patches), Path(path)
    with disk_errors(target, opening=True):
        handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
        os.close(handle)
        try:
            pq.write_table(table, name, compression="zstd", row_group_size=ROW_GROUP)
            Path(name).chmod(0o644)
            Path(name).replace(target)
        finally:
            with contextlib.suppress(FileNotFoundError):
                Path(name).unlink()


def read_patches(path: str | os.PathLike[str]) -> Patches:
    """The patches that `write_patches` wrote at ``path``; rows may have been left out, or put in another order, since.

    Raises StoreError where there is no such file, or another one.
    """
    import pyarrow as pa

    pq = _parquet()
    try:
        with disk_errors(Path(path), opening=True):
            table = pq.read_table(Path(path))
    except pa.ArrowException as error:
        raise StoreError(f"{path} is no Parquet file: {error}") from error
    told = (table.schema.metadata or {}).get(OURS)
    if told is None:
        raise StoreError(f"{path} holds no patches of shdask; give a file that write_patches, or shdask patches, wrote")
    try:
        return _from_arrow(table, json.loads(told))
    except (KeyError, ValueError, TypeError) as error:
        raise StoreError(f"{path} lacks what patches need: {error}") from error


def _parquet() -> Any:
    try:
        import pyarrow.parquet as pq
    except ImportError as error:
        raise StoreError(f"patches are kept as Parquet, and pyarrow is missing; {CURE}") from error
    return pq


def _to_arrow(patches: Patches) -> pa.Table:
    import pyarrow as pa

    outlines = find_outlines(patches)
    columns = {
        "key": pa.array(patches.key.tolist(), pa.string()),
        "split": pa.array(np.array(SPLITS)[patches.split].tolist(), pa.string()),
        "block": pa.array(patches.block.tolist(), pa.string()),
        "label": pa.array(patches.label, mask=patches.label < 0),
        "parcel": pa.array(patches.parcel.tolist(), pa.string()),
        "date": pa.array(patches.date.astype("datetime64[ms]"), pa.timestamp("ms", tz="UTC")),
        "valid_share": _shares(patches.valid_share),
        "clear_share": _shares(patches.clear_share),
        "zone": pa.array(patches.zone.tolist(), pa.string()),
        "epsg": pa.array(patches.epsg.astype(np.int32)),
        "y0": pa.array(patches.y0),
        "x0": pa.array(patches.x0),
        **{name: pa.array(side) for name, side in zip(_BOUNDS, patches.bounds.T.copy(), strict=True)},
        GEOMETRY: pa.array(shapely.to_wkb(outlines, byte_order=1).tolist(), pa.binary()),
    }
    ours = {
        "cube": patches.cube,
        "size_px": patches.size_px,
        "seed": patches.seed,
        "classes": list(patches.classes),
        "notes": list(patches.notes),
    }
    metadata = {GEO: json.dumps(_geo(outlines)).encode(), OURS: json.dumps(ours).encode()}
    return pa.table(columns).replace_schema_metadata(metadata)


_BOUNDS = ("left", "bottom", "right", "top")


def _shares(values: np.ndarray[Any, np.dtype[np.float32]]) -> pa.Array:
    import pyarrow as pa

    return pa.array(values, mask=np.isnan(values))


def _geo(outlines: np.ndarray[Any, np.dtype[np.object_]]) -> dict[str, Any]:
    kinds = sorted({shape.geom_type for shape in outlines[shapely.get_type_id(outlines) != _POLYGON]} | {"Polygon"})
    column: dict[str, Any] = {"encoding": "WKB", "geometry_types": kinds, "orientation": "counterclockwise"}
    if outlines.size:
        column["bbox"] = [float(edge) for edge in shapely.total_bounds(outlines)]
    return {"version": VERSION, "primary_column": GEOMETRY, "columns": {GEOMETRY: column}}


_POLYGON = 3
"""`shapely.get_type_id`."""


def _from_arrow(table: pa.Table, ours: dict[str, Any]) -> Patches:
    def column(name: str) -> Any:
        return table.column(name)

    def texts(name: str) -> np.ndarray[Any, np.dtype[np.str_]]:
        return np.array(column(name).to_pylist(), np.str_)

    sets = {name: position for position, name in enumerate(SPLITS)}
    return Patches(
        cube=str(ours["cube"]),
        size_px=int(ours["size_px"]),
        seed=int(ours["seed"]),
        key=texts("key"),
        zone=texts("zone"),
        y0=column("y0").to_numpy(),
        x0=column("x0").to_numpy(),
        split=np.array([sets[name] for name in column("split").to_pylist()], np.uint8),
        block=texts("block"),
        label=column("label").fill_null(-1).to_numpy(),
        parcel=texts("parcel"),
        date=column("date").to_numpy().astype("datetime64[s]"),
        valid_share=column("valid_share").to_numpy().astype(np.float32),
        clear_share=column("clear_share").to_numpy().astype(np.float32),
        bounds=np.stack([column(name).to_numpy() for name in _BOUNDS], axis=1),
        epsg=column("epsg").to_numpy().astype(np.int64),
        classes=tuple(ours["classes"]),
        notes=tuple(ours["notes"]),
    )
