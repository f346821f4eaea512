"""The cube in its place: created or continued for a plan, written tile by tile, asked what it holds.

Refuses to know where pixels come from, and a store that was made for another plan.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from shdask.assemble.checksum import add_to_checksum
from shdask.assemble.disk import PARTIAL_SUFFIX
from shdask.assemble.layout import Layout, object_key
from shdask.assemble.lease import FOLDER, Lease
from shdask.assemble.ledger import Ledger
from shdask.assemble.place import Place, open_place
from shdask.assemble.rows import LedgerSummary
from shdask.assemble.shard import encode_shard
from shdask.assemble.template import DATA_MASK, create_template, make_layout, write_tile_states
from shdask.assemble.write import check_tile_data, is_all_fill, make_stored_values
from shdask.errors import StoreError, WrongStore
from shdask.model import Band, Tile, TileData, TileState, Window
from shdask.plan.group import GroupPlan

PARTIAL_GRACE_S = 60.0
"""A shard is written in well under a second; a half-written file this old has lost its writer."""


def create_or_open(plan: GroupPlan, store: str | os.PathLike[str] | Place) -> CubeStore:
    """The cube of ``plan`` at ``store``: created where nothing is, continued where this very cube is.

    A creation that was killed half-way is done again; files of killed writers are removed.

    Raises:
        StoreError: the place holds something else, or another cube (each difference is named), another
            process is creating it, or the place refuses.

    """
    place = open_place(store)
    with place.errors(opening=True):
        if not _holds_whole_cube(place):
            with Lease.acquire(place):
                if not _holds_whole_cube(place):  # another process may just have made it
                    create_template(plan, place)
        _check_identity(plan, place)
        place.sweep(older_than=time.time() - PARTIAL_GRACE_S)
    return CubeStore(place=place, plan=plan, arrays=ArrayHandles(place))


def _holds_whole_cube(place: Place) -> bool:
    """False where a cube may be created; StoreError where something stands that is not ours."""
    if place.read("zarr.json") is None:  # the answer to a question for its head would not say what is wrong
        foreign = [name for name in place.names() if name != FOLDER and not name.endswith(PARTIAL_SUFFIX)]
        if foreign:
            raise WrongStore(
                f"{place.name} is a folder with other things in it ({', '.join(sorted(foreign)[:3])}, ...); "
                f"choose a new path for the cube"
            )
        return False
    attributes = read_root_attributes(place)
    if "shdask_version" not in attributes:
        raise WrongStore(f"{place.name} is a Zarr store that shdask did not make; choose a new path for the cube")
    groups = attributes.get("groups", [""])
    if "" not in groups:
        raise WrongStore(
            f"{place.name} holds another cube: the groups {', '.join(groups)} there, and a single one in this plan. "
            f"Choose a new path, or plan the cube that is there"
        )
    return "identity" in attributes


def read_root_attributes(store: str | os.PathLike[str] | Place) -> dict[str, Any]:
    """The root attributes of the Zarr group at ``store``. Raises StoreError where there is none."""
    place = open_place(store)
    try:
        root = json.loads(place.read("zarr.json") or b"")
        if root["node_type"] != "group":
            raise WrongStore(
                f"{place.name} is a single Zarr array, not a cube; give the folder of a cube, or a new path"
            )
        return dict(root.get("attributes", {}))
    except (ValueError, KeyError, TypeError) as error:
        raise WrongStore(f"{place.name}/zarr.json is not the metadata of a Zarr v3 group: {error}") from error


def read_cube_attributes(store: str | os.PathLike[str] | Place) -> dict[str, Any]:
    """`read_root_attributes` of a cube of ours. Raises WrongStore where there is none, or none yet."""
    place = open_place(store)
    with place.errors(opening=True):
        root = place.read("zarr.json")
        others = place.names() if root is None else []
    if root is None:
        what = "is not a cube" if others else "does not exist"
        raise WrongStore(f"{place.name} {what}; give the folder or bucket that `shdask build JOB STORE` wrote")
    attributes = read_root_attributes(place)
    if "shdask_version" not in attributes:
        raise WrongStore(f"{place.name} is a Zarr store that shdask did not make; open it with xarray.open_zarr")
    if "identity" not in attributes:
        raise WrongStore(f"{place.name} was cut short while it was created; run its build again")
    return attributes


def _check_identity(plan: GroupPlan, place: Place) -> None:
    found = read_root_attributes(place)["identity"]
    asked = json.loads(json.dumps(plan.identity()))
    if plan.has_fixed_array and "area" in found:  # made before areas could grow
        asked["area"] = plan.area_identity()
    differences = list(_differences(found, asked, ""))
    if differences:
        raise WrongStore(
            f"{place.name} holds another cube: {'; '.join(differences)}. Choose a new path, or plan the cube that is "
            f"there"
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
            if key == "parts" and list(_by_name(found["bands"])) != list(_by_name(asked["bands"])):
                continue  # they follow the bands
            yield from _differences(found.get(key), asked.get(key), f"{place}.{key}" if place else key)
    elif found != asked:
        yield f"{place} is {json.dumps(found)} there and {json.dumps(asked)} in this plan"


class ArrayHandles:
    """Open arrays of the cube at a place, each opened once per process; pickles as the place alone."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._arrays: dict[str, zarr.Array[Any]] = {}
        self._lock = threading.Lock()

    def __getitem__(self, name: str) -> zarr.Array[Any]:
        with self._lock:
            if name not in self._arrays:
                array = zarr.open_array(self._place.zarr_store(), path=name, mode="r+")
                # Finding out whether a chunk is all fill costs zarr more than storing it, and a commit mark must be
                # stored whatever it holds. Not kept with the array, and zarr 3.1 ignores it in open_array.
                self._arrays[name] = array.with_config({"write_empty_chunks": True})
            return self._arrays[name]

    def __reduce__(self) -> tuple[type[ArrayHandles], tuple[Place]]:
        return ArrayHandles, (self._place,)


class BrokenTile(StoreError):
    """What stands of a tile cannot be read, so that it cannot be made wider; others can."""

    stops_build = False


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredTile:
    """What stands in the cube of a tile that was handed to it."""

    state: TileState
    """WRITTEN or EMPTY."""
    checksum: int | None = None
    """`add_to_checksum` over what this call stored; None where it stored nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CubeStore:
    """A cube in its place, ready for tiles. Picklable; threads and processes may write different tiles at once."""

    place: Place
    plan: GroupPlan = field(repr=False)
    arrays: ArrayHandles = field(repr=False, compare=False)

    @property
    def layout(self) -> Layout:
        """How the arrays are cut into objects."""
        return make_layout(self.plan)

    def is_durable(self, tile: Tile) -> bool:
        """Whether every pixel of the tile is stored: its commit mark stands, and it lacks none. Raises StoreError."""
        if tile.index in self.plan.reopened.levels:
            return False
        return self.place.exists(object_key(DATA_MASK, self.layout.mark(tile)))

    def write_tile(self, tile: Tile, data: TileData) -> StoredTile:
        """Store the pixels of a whole tile, ``data_mask`` last; a tile without a valid pixel stores nothing.

        ``data.values`` is (band, y, x) in the order of the plan's bands, as the service sent it. What is returned
        is durable; the commit mark is made only when all else is. A durable tile is left as it is.
        Raises StoreError when the place refuses (StoreUnavailable where the same call may succeed later), shapes
        differ, or a valid value does not fit the stored type; the tile is then not durable. Of a tile that is reopened
        the pixels that stand stay, and ``data`` brings the others; until its row says that it is written it may be
        written again.
        """
        check_tile_data(tile, data, self.plan.layer.bands)
        with self.place.errors():
            if self.is_durable(tile):
                return StoredTile(state=TileState.WRITTEN)
            standing = self._standing(tile)
            valid = data.data_mask if standing is None else data.data_mask | standing
            if not valid.any():
                self._remove_leftovers(tile, *(band.name for band in self.plan.layer.bands), DATA_MASK)
                return StoredTile(state=TileState.EMPTY)
            checksum = 0
            keys: list[str] = []
            for band, values in zip(self.plan.layer.bands, data.values, strict=True):
                stored = make_stored_values(band, values, data.data_mask)
                if standing is not None:
                    stored = np.where(standing, self._read_standing(tile, band.name), stored)
                keys += self._write_band(tile, band, stored)
                checksum = add_to_checksum(checksum, stored)
            mask = valid.astype(np.uint8)
            self._write_mask(tile, mask, keys)
        return StoredTile(state=TileState.WRITTEN, checksum=add_to_checksum(checksum, mask))

    def _standing(self, tile: Tile) -> NDArray[np.bool_] | None:
        """(y, x): the valid pixels that stay of a tile that is reopened; None of any other."""
        kept = self.plan.reopened.standing(tile.index, tile.extent)
        if kept is None or not kept.any():
            return None
        stored: NDArray[np.bool_] = self._read_standing(tile, DATA_MASK) != 0
        return stored & kept

    def _read_standing(self, tile: Tile, array: str) -> NDArray[Any]:
        """(y, x) of an array. Raises StoreError; BrokenTile where what stands cannot be decoded."""
        try:
            with self.place.errors():
                return np.asarray(self.arrays[array][tile_index(tile)])
        except StoreError:
            raise
        except Exception as error:  # whatever a codec says of bytes that it cannot decode
            raise BrokenTile(
                f"tile {tile.index} cannot grow: what stands of {array} there is broken "
                f"({type(error).__name__}: {error}); run shdask verify {self.place.name} --repair"
            ) from error

    def _write_band(self, tile: Tile, band: Band, stored: NDArray[np.generic]) -> list[str]:
        """Store a band; returns the keys of the objects it has now."""
        if is_all_fill(band, stored):
            self._remove_leftovers(tile, band.name)
            return []
        self._put(tile, band.name, tile.extent, stored)
        return self._keys(tile, band.name)

    def _write_mask(self, tile: Tile, mask: NDArray[np.uint8], keys: list[str]) -> None:
        """Store the mask, its commit mark only when all other objects, ``keys`` among them, are durable."""
        mark = object_key(DATA_MASK, self.layout.mark(tile))
        *steps, last = self.layout.steps(tile)
        for step in steps:
            self._put(tile, DATA_MASK, step, mask[step.within(tile.extent).slices])
        self.place.settle([*keys, *(key for key in self._keys(tile, DATA_MASK) if key != mark)])
        self._put(tile, DATA_MASK, last, mask[last.within(tile.extent).slices])
        self.place.settle([mark])

    def _put(self, tile: Tile, array: str, window: Window, values: NDArray[np.generic]) -> None:
        """Store (y, x) of ``window``, whatever stands there: zarr decodes a shard before it writes all of it."""
        if self.layout.is_whole_shard(window):
            (position,) = self.layout.objects(tile, window)
            self.place.put(object_key(array, position), encode_shard(values, self.layout.chunk_px))
            return
        where = tile_index(tile, window)
        try:
            with self.place.errors():
                self.arrays[array][where] = values
        except StoreError:
            raise
        except Exception:
            if self.plan.reopened.levels.get(tile.index):  # some of it is kept
                raise
            for position in self.layout.objects(tile, window):  # others may hold what an earlier step has written
                self.place.remove(object_key(array, position))
            self.arrays[array][where] = values

    def _keys(self, tile: Tile, array: str) -> list[str]:
        return [object_key(array, position) for position in self.layout.objects(tile)]

    def _remove_leftovers(self, tile: Tile, *arrays: str) -> None:
        """Objects of an attempt that was killed before its commit, where this one stores none."""
        for array in arrays:
            for key in self._keys(tile, array):
                self.place.remove(key)

    def durable_tiles(self) -> NDArray[np.bool_]:
        """`is_durable` by tile index, from listings."""
        tiles = self.plan.tile_set
        marks = find_marks(self.place, self.layout, tiles.step_count, has_time=self.plan.has_time)
        stands = marks.ravel()
        stands[list(self.plan.reopened.levels)] = False
        return stands

    def write_states(self, states: NDArray[np.uint8]) -> None:
        """Write `TileState` by tile index into ``tile_state``, of the plan's tiles. Only the owner may."""
        with self.place.errors():
            write_tile_states(zarr.open_group(self.place.zarr_store(), mode="r+"), self.plan, states)

    def mark_complete(self, *, pu_spent: float, complete: bool = True) -> None:
        """Say in the root attributes whether every tile is done, and the PU of all runs. Only the owner may."""
        with self.place.errors():
            root = zarr.open_group(self.place.zarr_store(), mode="r+")
            root.update_attributes({"complete": complete, "pu_spent": pu_spent})
            self.place.settle(["zarr.json"])


def find_marks(place: Place, layout: Layout, steps: int, *, has_time: bool) -> NDArray[np.bool_]:
    """(step, row, column): whether the tile there has a commit mark. Raises StoreError."""
    found = place.list_objects(DATA_MASK, 3 if has_time else 2)
    stands = np.zeros((steps, *layout.objects_across), np.bool_)
    inside = found[(found < stands.shape[-found.shape[1] :]).all(axis=1)]
    stands[(inside[:, 0] if has_time else 0, *inside[:, -2:].T)] = True
    rows, columns = layout.marks(*(part.ravel() for part in np.indices(layout.tiles_across)))
    return stands[:, rows, columns].reshape(steps, *layout.tiles_across)


def known_states(plan: GroupPlan, cube: CubeStore, ledger: Ledger | LedgerSummary) -> NDArray[np.uint8]:
    """`TileState` by tile index, from what is stored and what the ledger says.

    A tile is WRITTEN where its commit mark stands, EMPTY or FAILED where its last row says so; a row that
    says written of a tile that is not there counts for nothing.
    """
    states = np.zeros(plan.tile_set.index_count, np.uint8)
    rows = ledger.states[: states.size]
    states[: rows.size] = np.where(rows == TileState.WRITTEN, TileState.UNTRIED, rows)
    states[cube.durable_tiles()] = TileState.WRITTEN
    return states


def tile_index(tile: Tile, window: Window | None = None) -> tuple[int | slice, ...]:
    """``window`` (the tile's extent) of an array of the cube, at the tile's step. Pure."""
    slices = (window or tile.extent).slices
    return slices if tile.step is None else (tile.step, *slices)
