"""The cube on disk: created or continued for a plan, written tile by tile, asked what it holds.

Refuses to know where pixels come from, and a store that was made for another plan.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from shdask.assemble.disk import (
    PARTIAL_SUFFIX,
    cube_path,
    disk_errors,
    list_objects,
    object_path,
    open_zarr_store,
    sweep_partial_files,
)
from shdask.assemble.layout import Layout
from shdask.assemble.lease import FOLDER, Lease
from shdask.assemble.ledger import Ledger, LedgerSummary
from shdask.assemble.template import DATA_MASK, create_template, make_layout, write_tile_states
from shdask.assemble.write import check_tile_data, is_all_fill, make_stored_values
from shdask.errors import WrongStore
from shdask.model import Band, Tile, TileData, TileState
from shdask.plan.cube import CubePlan

PARTIAL_GRACE_S = 60.0
"""A shard is written in well under a second; a half-written file this old has lost its writer."""


def create_or_open(plan: CubePlan, store: str | os.PathLike[str]) -> CubeStore:
    """The cube of ``plan`` at ``store``: created where nothing is, continued where this very cube is.

    A creation that was killed half-way is done again; files of killed writers are removed.

    Raises:
        StoreError: the folder holds something else, or another cube (each difference is named), another
            process is creating it, or the disk refuses.

    """
    path = cube_path(store)
    with disk_errors(path, opening=True):
        if not _holds_whole_cube(path):
            with Lease.acquire(path):
                if not _holds_whole_cube(path):  # another process may just have made it
                    create_template(plan, path)
        _check_identity(plan, path)
        sweep_partial_files(path, older_than=time.time() - PARTIAL_GRACE_S)
    return CubeStore(path=path, plan=plan, arrays=ArrayHandles(path))


def _holds_whole_cube(path: Path) -> bool:
    """False where a cube may be created; StoreError where something stands that is not ours."""
    if not path.exists():
        return False
    if not (path / "zarr.json").exists():
        foreign = [e.name for e in path.iterdir() if e.name != FOLDER and not e.name.endswith(PARTIAL_SUFFIX)]
        if foreign:
            raise WrongStore(
                f"{path} is a folder with other things in it ({', '.join(sorted(foreign)[:3])}, ...); "
                f"choose a new path for the cube"
            )
        return False
    attributes = read_root_attributes(path)
    if "shdask_version" not in attributes:
        raise WrongStore(f"{path} is a Zarr store that shdask did not make; choose a new path for the cube")
    return "identity" in attributes


def read_root_attributes(path: Path) -> dict[str, Any]:
    """The root attributes of the Zarr group at ``path``. Raises StoreError where there is none."""
    try:
        with disk_errors(path):
            root = json.loads((path / "zarr.json").read_bytes())
        if root["node_type"] != "group":
            raise WrongStore(f"{path} is a single Zarr array, not a cube")
        return dict(root.get("attributes", {}))
    except (ValueError, KeyError, TypeError) as error:
        raise WrongStore(f"{path / 'zarr.json'} is not the metadata of a Zarr v3 group: {error}") from error


def _check_identity(plan: CubePlan, path: Path) -> None:
    found = read_root_attributes(path)["identity"]
    asked = json.loads(json.dumps(plan.identity()))
    differences = list(_differences(found, asked, ""))
    if differences:
        raise WrongStore(
            f"{path} holds another cube: {'; '.join(differences)}. Choose a new path, or plan the cube that is there"
        )


def _by_name(value: Any) -> Any:
    """A list of mappings with names as one mapping, so that a difference is told of one of them."""
    if isinstance(value, list) and value and all(isinstance(item, Mapping) and "name" in item for item in value):
        return {item["name"]: item for item in value}
    return value


def _differences(found: Any, asked: Any, place: str) -> Iterator[str]:
    found, asked = _by_name(found), _by_name(asked)
    if isinstance(found, Mapping) and isinstance(asked, Mapping):
        if place.endswith(".bands") and list(found) != list(asked):
            yield f"{place} is {', '.join(found)} there and {', '.join(asked)} in this plan"
            return
        for key in [*found, *(key for key in asked if key not in found)]:
            yield from _differences(found.get(key), asked.get(key), f"{place}.{key}" if place else key)
    elif found != asked:
        yield f"{place} is {json.dumps(found)} there and {json.dumps(asked)} in this plan"


class ArrayHandles:
    """Open arrays of the cube at a path, each opened once per process; pickles as the path alone."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._arrays: dict[str, zarr.Array[Any]] = {}
        self._lock = threading.Lock()

    def __getitem__(self, name: str) -> zarr.Array[Any]:
        with self._lock:
            if name not in self._arrays:
                array = zarr.open_array(open_zarr_store(self._path), path=name, mode="r+")
                # Finding out whether a chunk is all fill costs zarr more than storing it, and a commit mark must be
                # stored whatever it holds. Not kept with the array, and zarr 3.1 ignores it in open_array.
                self._arrays[name] = array.with_config({"write_empty_chunks": True})
            return self._arrays[name]

    def __reduce__(self) -> tuple[type[ArrayHandles], tuple[Path]]:
        return ArrayHandles, (self._path,)


@dataclass(frozen=True, slots=True, kw_only=True)
class CubeStore:
    """A cube on disk, ready for tiles. Picklable; threads and processes may write different tiles at once."""

    path: Path
    plan: CubePlan = field(repr=False)
    arrays: ArrayHandles = field(repr=False, compare=False)

    @property
    def layout(self) -> Layout:
        """How the arrays are cut into objects on disk."""
        return make_layout(self.plan)

    def is_durable(self, tile: Tile) -> bool:
        """Whether the tile's commit mark stands: every pixel of it is on disk."""
        return object_path(self.path, DATA_MASK, *self.layout.mark(tile)).exists()

    def write_tile(self, tile: Tile, data: TileData) -> TileState:
        """Store the pixels of a whole tile, ``data_mask`` last; a tile without a valid pixel stores nothing.

        ``data.values`` is (band, y, x) in the order of the plan's bands, as the service sent it. A durable
        tile is left as it is. Returns WRITTEN or EMPTY. Raises StoreError when the disk refuses, shapes
        differ, or a valid value does not fit the stored type; the tile is then not durable.
        """
        check_tile_data(tile, data, self.plan.layer.bands)
        with disk_errors(self.path):
            if self.is_durable(tile):
                return TileState.WRITTEN
            if not data.data_mask.any():
                self._remove_leftovers(tile, *(band.name for band in self.plan.layer.bands), DATA_MASK)
                return TileState.EMPTY
            for band, values in zip(self.plan.layer.bands, data.values, strict=True):
                self._write_band(tile, band, make_stored_values(band, values, data.data_mask))
            mask = data.data_mask.astype(np.uint8)
            for step in self.layout.steps(tile):
                self.arrays[DATA_MASK][step.slices] = mask[step.within(tile.extent).slices]
        return TileState.WRITTEN

    def _write_band(self, tile: Tile, band: Band, stored: NDArray[np.generic]) -> None:
        if is_all_fill(band, stored):
            self._remove_leftovers(tile, band.name)
        else:
            self.arrays[band.name][tile.extent.slices] = stored

    def _remove_leftovers(self, tile: Tile, *arrays: str) -> None:
        """Objects of an attempt that was killed before its commit, where this one stores none."""
        for array in arrays:
            for row, column in self.layout.objects(tile):
                object_path(self.path, array, row, column).unlink(missing_ok=True)

    def durable_tiles(self) -> NDArray[np.bool_]:
        """`is_durable` for every tile of the plan, by tile index, from directory listings."""
        rows, columns = (np.asarray(part, np.int64) for part in self.plan.tile_cells(0, self.plan.tile_count))
        with disk_errors(self.path):
            found_rows, found_columns = list_objects(self.path, DATA_MASK)
        mark_rows, mark_columns = self.layout.marks(rows, columns)
        width = -(-self.plan.grid.shape[1] // self.layout.object_px)
        return np.isin(mark_rows * width + mark_columns, found_rows * width + found_columns)

    def write_states(self, states: NDArray[np.uint8]) -> None:
        """Write `TileState` by tile index into ``tile_state``. Only the owner may."""
        with disk_errors(self.path):
            write_tile_states(zarr.open_group(open_zarr_store(self.path), mode="r+"), self.plan, states)

    def mark_complete(self, *, pu_spent: float, complete: bool = True) -> None:
        """Say in the root attributes whether every tile is done, and the PU of all runs. Only the owner may."""
        with disk_errors(self.path):
            root = zarr.open_group(open_zarr_store(self.path), mode="r+")
            root.update_attributes({"complete": complete, "pu_spent": pu_spent})


def known_states(plan: CubePlan, cube: CubeStore, ledger: Ledger | LedgerSummary) -> NDArray[np.uint8]:
    """`TileState` of every tile of the plan, by tile index, from what is on disk and what the ledger says.

    A tile is WRITTEN where its commit mark stands, EMPTY or FAILED where its last row says so; a row that
    says written of a tile that is not there counts for nothing.
    """
    states = np.zeros(plan.tile_count, np.uint8)
    rows = ledger.states[: plan.tile_count]
    states[: rows.size] = np.where(rows == TileState.WRITTEN, TileState.UNTRIED, rows)
    states[cube.durable_tiles()] = TileState.WRITTEN
    return states
