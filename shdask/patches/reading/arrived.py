"""Which patches of a cube have come already, so that training can begin while it fills.

Refuses to read pixels, and to wait.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import numpy as np

from shdask.assemble.ledger import read_ledger
from shdask.assemble.place import Place, open_place
from shdask.assemble.store import read_cube_attributes
from shdask.assemble.tree import begun_groups, group_paths
from shdask.assemble.verify import CubeTiles
from shdask.errors import WrongStore
from shdask.model import TileState
from shdask.patches.fit import refuse_misfits
from shdask.plan.chosen import cells_of
from shdask.plan.scout import is_scout

if TYPE_CHECKING:
    from collections.abc import Collection

    from numpy.typing import NDArray

    from shdask.patches.table import Patches


def find_arrived(
    store: str | os.PathLike[str], patches: Patches, *, layers: Collection[str] | None = None
) -> NDArray[np.bool_]:
    """(patch,): True where all that is to be bought of a patch is there, in all ``layers`` (None: every one).

    All tiles that a patch meets are written, or known to be empty, at all dates at which they are bought, those of
    other patches in the same tile among them. Ask again later for those that have not come: a patch that has come
    stays as it is, unless the cube's area or time axis grows. Reads listings and the ledgers, no pixel; any process
    may call it while another builds. Raises StoreError.
    """
    place = open_place(store)
    paths = [path for path in group_paths(place) if not is_scout(path)]
    begun = begun_groups(place)
    there = np.ones(len(patches), np.bool_)
    met = np.zeros(len(patches), np.bool_)
    for path in paths:
        if path not in begun:  # which layer it is nobody can tell yet
            return np.zeros(len(patches), np.bool_)
        attributes = read_cube_attributes(begun[path])
        if layers is not None and attributes["layer"] not in layers:
            continue
        mine = patches.epsg == int(str(attributes["proj:code"]).removeprefix("EPSG:"))
        refuse_misfits(place.name, attributes, patches.take(mine))
        there[mine] &= _find_here(begun[path], attributes, patches.take(mine))
        met |= mine
    if not met.all():
        raise WrongStore(
            f"{place.name} has no layer {'' if layers is None else ' or '.join(sorted(layers))} where "
            f"{int((~met).sum())} of these patches lie; give the cube that they were chosen in"
        )
    return there


def _find_here(place: Place, attributes: dict[str, Any], patches: Patches) -> NDArray[np.bool_]:
    """(patch,): `find_arrived` in one group."""
    tiles, ledger = CubeTiles.of(place, attributes), read_ledger(place)
    is_bought = np.zeros(tiles.cells.size, np.bool_)
    is_bought[tiles.indices] = True
    is_done = tiles.marks(place)
    empty = ledger.states[: is_done.size] == TileState.EMPTY
    is_done[: empty.size] |= empty
    is_done[[tile for tile in ledger.reopened if tile < is_done.size]] = False
    lacks = (is_bought & ~is_done).reshape(-1, *tiles.cells.shape[-2:]).any(axis=0).ravel()
    windows = np.stack(
        (patches.y0, patches.y0 + patches.size_px, patches.x0, patches.x0 + patches.size_px), axis=1
    ).astype(np.int64)
    patch, cells = cells_of(windows, tiles.layout.tile_px, tiles.cells.shape[-1])
    arrived = np.ones(len(patches), np.bool_)
    arrived[patch[lacks[cells]]] = False
    return arrived
