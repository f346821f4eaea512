"""Overviews of a cube: made, brought up to date, and opened, each half as fine as the one before.

Refuses to know how they stand on disk.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import zarr

from shdask.assemble.layout import Layout, object_key
from shdask.assemble.lease import Lease
from shdask.assemble.ledger import read_ledger
from shdask.assemble.place import Place, open_place
from shdask.assemble.pyramid import (
    MADE_OF,
    MULTISCALES,
    OVERVIEWS,
    Level,
    create_levels,
    extend_levels,
    find_levels,
    gather_metadata,
    make_levels,
    standing_levels,
    tell_classes,
    tiles_made_of,
    tiles_now,
    touched_objects,
)
from shdask.assemble.store import read_cube_attributes
from shdask.assemble.template import DATA_MASK
from shdask.assemble.tree import child
from shdask.assemble.verify import CubeTiles
from shdask.errors import ShdaskError, WrongStore
from shdask.model import Window
from shdask.plan.composite_spec import ORIGIN_DAY
from shdask.request.collections import find_collection
from shdask.serve.halving import halve_classes, halve_mask, halve_measurements
from shdask.serve.open import SCOUT, pick_group
from shdask.serve.stored import StoredCube

if TYPE_CHECKING:
    from numpy.typing import NDArray

_Index = tuple[int | slice, ...]
SMALLEST_PX = 512
_STEPS_AT_ONCE = 16
"""Dates after which what was made is recorded, so that little is made again after a kill."""
_MOST_THREADS = 4
"""Each holds some 10 bytes for every pixel of four tiles, 170 MB with tiles of 2048 px."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Overviews:
    """What one call has made in one group of a cube."""

    group: str
    """Its path; empty where the root is the only one."""
    factors: tuple[int, ...]
    """Of its overviews: how many of the cube's pixels lie along a side of one of theirs."""
    tiles: int
    """Tiles that were new to its overviews, or had changed."""
    objects: int
    """Shards, or chunks where it is not sharded, that were written of each array."""

    def as_dict(self) -> dict[str, object]:
        """As JSON types, without the group's path."""
        return {"factors": list(self.factors), "tiles": self.tiles, "objects": self.objects}

    def __str__(self) -> str:
        levels = ", ".join(f"1:{factor}" for factor in self.factors) or "none, it is small enough"
        return f"{self.group or '/'}: overviews {levels}; {self.tiles} tiles were new or had changed"


def add_overviews(
    store: str | os.PathLike[str],
    *,
    layer: str | None = None,
    zone: str | int | None = None,
    classes: Collection[str] = (),
    smallest_px: int = SMALLEST_PX,
) -> tuple[Overviews, ...]:
    """Make the overviews of the cube at ``store``, or bring those that it has up to date: only of tiles that changed.

    They lie in the group ``overviews`` below the cube's own, one for each power of two until the longer side is at
    most ``smallest_px``, and the root tells of them by the Zarr convention "multiscales", by which GDAL 3.13 finds the
    first band's.
    An overview has the cube's bands, types, dates and chunks. A pixel is valid where any pixel below it is, and holds
    their mean (integers rounded half up); of codes, such as SCL and the bands that ``classes`` names, the commonest.
    Four pixels of one overview make one of the next, so both are those of four, not of all. ``classes`` are remembered;
    where one is new to overviews that stand, all of them are made again.

    All groups are taken but coarse looks, or those of ``layer`` and ``zone``. Each is owned meanwhile, as by a build;
    memory is bounded by some tiles for each of four threads. After a build that has added dates, or repaired tiles,
    call it again: until then overviews show what was there before.

    Raises StoreError where there is no cube of ours, or it is being built; WrongStore for classes that are no bands.
    """
    root = open_place(store)
    cube = StoredCube(place=root)
    paths = [path for path in cube.paths() if not path.startswith(SCOUT)]
    if layer is not None or zone is not None:
        paths = [pick_group(cube, layer, zone)]
    _check_classes(cube, paths, classes)
    made = tuple(_update(child(root, path), path, classes, smallest_px) for path in paths)
    if tuple(cube.paths()) != ("",):
        gather_metadata(root)
    return made


def find_classes(attributes: dict[str, Any]) -> tuple[str, ...]:
    """The bands of a cube that are codes, by its root ``attributes``: what was said, and what its collection tells."""
    said = attributes.get(MULTISCALES, {}).get("classes", ())
    try:
        collection = find_collection(attributes["source"])
    except ShdaskError:  # one of a newer version
        return tuple(said)
    known = {ORIGIN_DAY, *(name for name, info in (collection.bands or {}).items() if info.classes)}
    return tuple(name for name in attributes["bands"] if name in known or name in said)


def _check_classes(cube: StoredCube, paths: Sequence[str], classes: Collection[str]) -> None:
    bands = {band for path in paths for band in read_cube_attributes(child(cube.place, path))["bands"]}
    unknown = sorted(set(classes) - bands)
    if unknown:
        raise WrongStore(f"classes: {cube.name} has no band {unknown[0]!r}; it has {', '.join(sorted(bands))}")


def _update(place: Place, path: str, classes: Collection[str], smallest_px: int) -> Overviews:
    with Lease.acquire(place):
        attributes = read_cube_attributes(place)
        codes = {*find_classes(attributes), *classes} & {*attributes["bands"]}
        if not standing_levels(place, attributes):
            levels = make_levels(tuple(attributes["spatial:shape"]), smallest_px)
            if not levels:
                return Overviews(group=path, factors=(), tiles=0, objects=0)
            create_levels(place, attributes, levels, codes)
        elif codes != {*attributes[MULTISCALES].get("classes", ())}:
            tell_classes(place, attributes, codes)
        attributes = read_cube_attributes(place)
        extend_levels(place, attributes)
        now = tiles_now(place, attributes, read_ledger(place))
        stale = now != tiles_made_of(place)
        objects = _make(place, attributes, codes, now, stale)
    factors = tuple(level.factor for level in find_levels(attributes))
    return Overviews(group=path, factors=factors, tiles=int(stale.sum()), objects=objects)


def _make(
    place: Place, attributes: dict[str, Any], codes: Collection[str], now: NDArray[np.int64], stale: NDArray[np.bool_]
) -> int:
    """Make what ``stale`` tiles (as ``tile_state``) have outdated; returns how many objects of an array."""
    halvings = _halvings(place, attributes, codes)
    has_time = stale.ndim > 2  # noqa: PLR2004  # (y, x)
    steps = [(step,) for step in np.flatnonzero(stale.any(axis=(1, 2))).tolist()] if has_time else [()]
    count = 0
    with place.errors():
        made_of = zarr.open_array(place.zarr_store(), path=f"{OVERVIEWS}/{MADE_OF}", mode="r+")
    with ThreadPoolExecutor(min(_MOST_THREADS, os.cpu_count() or 1), thread_name_prefix="shdask-overviews") as pool:
        for start in range(0, len(steps), _STEPS_AT_ONCE):
            some = steps[start : start + _STEPS_AT_ONCE]
            keys: list[str] = []
            for halving in halvings:  # each is made of the one before
                todo = [(step, at) for step in some for at in halving.objects(stale[step])]
                with place.errors():
                    list(pool.map(halving, *zip(*todo, strict=True)) if todo else ())
                keys += [key for step, at in todo for key in halving.keys(step, at)]
                count += len(todo)
            place.settle([key for key in keys if place.exists(key)])
            with place.errors():
                for step in some:
                    made_of[(*step, ...)] = now[step]
    return count


def _halvings(place: Place, attributes: dict[str, Any], codes: Collection[str]) -> list[_Halving]:
    """What makes each overview, the finest first."""
    layout, names = CubeTiles.of(place, attributes).layout, (*attributes["bands"], DATA_MASK)
    found: list[_Halving] = []
    with place.errors():
        root = zarr.open_group(place.zarr_store(), mode="r+")
        below = _arrays(root, "", names)
        for level in find_levels(attributes):
            here = _arrays(root, f"{level.path}/", names)
            found.append(_Halving(layout=layout, level=level, codes=frozenset(codes), below=below, here=here))
            below = here
    return found


def _arrays(root: zarr.Group, path: str, names: Sequence[str]) -> dict[str, zarr.Array[Any]]:
    found = {name: root[path + name] for name in names}
    return {name: array for name, array in found.items() if isinstance(array, zarr.Array)}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Halving:
    """Makes objects of one overview of the one before."""

    layout: Layout
    level: Level
    codes: frozenset[str]
    below: Mapping[str, zarr.Array[Any]]
    """Bands and mask of the one before, or of the cube itself."""
    here: Mapping[str, zarr.Array[Any]]

    def __call__(self, step: tuple[int, ...], at: tuple[int, int]) -> None:
        side, (height, width) = self.layout.object_px, self.level.shape
        y, x = at[0] * side, at[1] * side
        window = Window(y0=y, y1=min(y + side, height), x0=x, x1=min(x + side, width))
        below: _Index = (*step, slice(2 * window.y0, 2 * window.y1), slice(2 * window.x0, 2 * window.x1))
        here: _Index = (*step, *window.slices)
        valid = np.asarray(self.below[DATA_MASK][below]) == 1
        for name, array in self.here.items():
            if name == DATA_MASK:
                array[here] = halve_mask(valid).astype(np.uint8)
                continue
            halve = halve_classes if name in self.codes else halve_measurements
            array[here] = halve(np.asarray(self.below[name][below]), valid, array.fill_value)

    def objects(self, stale: NDArray[np.bool_]) -> list[tuple[int, int]]:
        """Those that hold pixels of ``stale`` tiles, (tile_y, tile_x) of one date."""
        rows, columns = np.nonzero(stale)
        return touched_objects(self.layout, self.level, rows, columns)

    def keys(self, step: tuple[int, ...], at: tuple[int, int]) -> list[str]:
        """Of the object of each array."""
        return [object_key(f"{self.level.path}/{name}", (*step, *at)) for name in self.here]
