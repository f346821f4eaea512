"""The ledger as a table, one row per tile and run, for those who want to ask it more than we do.

Refuses to fold anything.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import fields
from itertools import islice
from typing import TYPE_CHECKING, Any

from shdask.assemble.place import Place, open_place
from shdask.assemble.rows import read_rows
from shdask.assemble.tree import child, group_paths
from shdask.errors import StoreError
from shdask.model import TileEvent

if TYPE_CHECKING:
    import pyarrow as pa

_BATCH = 100_000
_DEFAULTS = {item.name: item.default for item in fields(TileEvent) if item.name != "skipped"}


def ledger_table(store: str | os.PathLike[str] | Place) -> pa.Table:
    """Every tile's rows of the cube at ``store``: the fields of `TileEvent`, and the number of the run.

    Group by group, whose path is in ``group`` (null for the root), and oldest first. ``finished`` is UTC, ``state`` a
    word. Needs pyarrow. Raises StoreError.
    """
    import pyarrow as pa

    return pa.Table.from_batches(_batches(open_place(store)), schema=_schema())


def write_ledger_parquet(store: str | os.PathLike[str] | Place, file: str | os.PathLike[str]) -> int:
    """Write `ledger_table` to a Parquet file, some rows at a time; returns how many. Raises StoreError."""
    try:
        import pyarrow.parquet as pq
    except ImportError as error:
        raise StoreError("Parquet needs one more package: pip install 'shdask[parquet]'") from error

    count = 0
    with pq.ParquetWriter(file, _schema(), compression="zstd") as target:
        for batch in _batches(open_place(store)):
            target.write_batch(batch)
            count += batch.num_rows
    return count


def _schema() -> pa.Schema:
    import pyarrow as pa

    types = {
        "int": pa.int64(),
        "float": pa.float64(),
        "bool": pa.bool_(),
        "str | None": pa.string(),
        "int | None": pa.int64(),
        "TileState": pa.string(),
    }
    columns = {item.name: types[str(item.type)] for item in fields(TileEvent) if item.name in _DEFAULTS}
    columns["finished"] = pa.timestamp("us", tz="UTC")
    return pa.schema([*columns.items(), ("run", pa.int32())])


def _batches(place: Place) -> Iterator[pa.RecordBatch]:
    import pyarrow as pa

    rows = ({**row, "group": path or None} for path in group_paths(place) for row in _tile_rows(child(place, path)))
    while batch := list(islice(rows, _BATCH)):
        yield pa.RecordBatch.from_pylist(batch, schema=_schema())


def _tile_rows(place: Place) -> Iterator[dict[str, Any]]:
    run = 0
    for row in read_rows(place.read_journal()):
        if row is None:
            continue
        if "run" in row:
            run += 1
        elif "tile" in row:
            found = {name: row.get(name, default) for name, default in _DEFAULTS.items()}
            yield {**found, "finished": int(found["finished"] * 1e6), "run": run}
