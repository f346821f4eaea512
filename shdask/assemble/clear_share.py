"""How clear each tile is, as a coarse look found it: an array of the cube that decides for good what is bought.

Refuses to know how a look is made.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import zarr
from numpy.typing import NDArray

from shdask.assemble.place import Place
from shdask.assemble.time_axis import TIME
from shdask.errors import WrongStore

if TYPE_CHECKING:
    from shdask.assemble.store import CubeStore
    from shdask.plan.group import GroupPlan

CLEAR_SHARE = "clear_share"


def create_clear_share(root: zarr.Group, plan: GroupPlan) -> None:
    """Write the array, (time, tile_y, tile_x), without an entry, in place of any that stands."""
    tiles = plan.tile_set
    root.create_array(
        CLEAR_SHARE,
        shape=(tiles.step_count, *tiles.grid_shape),
        dtype="float32",
        chunks=(1, *tiles.grid_shape),
        fill_value=np.nan,
        dimension_names=(TIME, "tile_y", "tile_x"),
        attributes={
            "long_name": "share of clear pixels among the valid ones of a tile's area, by a coarse look",
            "units": "1",
        },
        overwrite=True,
    )


def read_clear_share(place: Place) -> NDArray[np.float32]:
    """(time, tile_y, tile_x): the shares; NaN where nobody has looked. Raises StoreError."""
    with place.errors():
        return np.asarray(_open(place, "r")[...], np.float32)


def write_clear_share(place: Place, shares: NDArray[np.float32]) -> None:
    """Keep shares, as `read_clear_share` gives them. Only the owner may."""
    with place.errors():
        _open(place, "r+")[...] = shares
        place.settle()


def _open(place: Place, mode: Literal["r", "r+"]) -> zarr.Array[Any]:
    try:
        return zarr.open_array(place.zarr_store(read_only=mode == "r"), path=CLEAR_SHARE, mode=mode)
    except FileNotFoundError as error:
        raise WrongStore(f"{place.name} has lost {CLEAR_SHARE}; build the cube anew in another place") from error


def choose_clear(cube: CubeStore) -> CubeStore:
    """The cube without the tiles that were found too cloudy; those not looked at are left. Raises StoreError."""
    plan = cube.plan
    if plan.clear is None:
        return cube
    cloudy = _shares(cube) < np.float32(plan.clear.min_share)
    return replace(cube, plan=replace(plan, tile_set=replace(plan.tile_set, cloudy=cloudy)))


def looked_at(cube: CubeStore) -> NDArray[np.intp]:
    """Indices of the cube's tiles that may be bought: none is before it was looked at. Raises StoreError."""
    tiles = cube.plan.tile_set.indices()
    if cube.plan.clear is None:
        return tiles
    return tiles[~np.isnan(_shares(cube).ravel()[tiles])]


def _shares(cube: CubeStore) -> NDArray[np.float32]:
    """Those of every tile of the cube's plan, which may be longer than the array yet."""
    shares = np.full((cube.plan.tile_set.step_count, *cube.plan.tile_set.grid_shape), np.nan, np.float32)
    found = read_clear_share(cube.place)[: len(shares)]
    shares[: len(found)] = found
    return shares
