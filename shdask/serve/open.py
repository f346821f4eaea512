"""Opening a cube: a lazy xarray.Dataset over what is stored, or over what a job would fetch.

Refuses to know how pixels are read, bought and kept.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from shdask.assemble.place import open_place
from shdask.errors import WrongStore
from shdask.plan.cube import CubePlan
from shdask.plan.spec import CubeSpec
from shdask.planning import make_plan
from shdask.serve.planned import PlannedCube
from shdask.serve.stored import IncompleteCubeWarning, StoredCube

if TYPE_CHECKING:
    import xarray as xr

    from shdask.serve.narrow import Bbox, Days

__all__ = ["IncompleteCubeWarning", "is_job", "open_cube", "open_cube_tree", "pick_group", "zone_of"]

SCOUT = "scout/"
"""Groups below are coarse looks at others: opened by their whole path only."""
_ZONE = re.compile(r"32[67]\d\d")
"""First part of a group's path in a cube of UTM zones: the zone's EPSG code."""


def open_cube(
    cube: str | os.PathLike[str] | CubeSpec | CubePlan,
    *,
    layer: str | None = None,
    zone: str | int | None = None,
    masked: bool = False,
    bbox: Bbox | None = None,
    time: Days | None = None,
    max_pu: float | None = None,
    store: str | os.PathLike[str] | None = None,
) -> xr.Dataset:
    """``cube`` as a lazy Dataset: its bands and ``data_mask`` (uint8, 1 = valid), dims ([time,] y, x).

    ``cube`` is a store (a folder, or ``s3://bucket/prefix`` with keys and endpoint from the environment), or a job
    (its file, a CubeSpec, a CubePlan) of which nothing need be built.

    Coordinates ``y`` (descending) and ``x`` are pixel centres in the cube's CRS, which ``ds.rio.crs`` gives. ``time``
    ascends, in UTC; a date that was bought again follows the one it mends (see ``revision``). Scene ids, orbit, cloud
    cover and processing baseline are coordinates along it. A Dask block is a tile of one band at one time.

    ``layer`` names the layer and ``zone`` the UTM zone (such as 32633) where there are several. ``masked`` gives
    floats with NaN where ``data_mask`` is 0: float32 for types of up to 16 bits, float64 above. ``bbox`` (left,
    bottom, right, top; in the cube's CRS) keeps the pixels whose centre lies in it, ``time`` (first day, last day;
    both included) the dates in it.

    Of a job nothing is fetched now, but that layers with a cadence are looked up in the catalogue. When Dask computes,
    the tiles that are touched are fetched, each with all its bands at once, and under one rate limit and token for all
    that this process opens; a tile that fails raises there. ``max_pu`` (default: the job's) bounds what may be spent
    through this Dataset as long as it lives. With ``store`` what is fetched is kept in that cube, which is made or
    continued, and never fetched again; else 256 MB of the tiles touched last are kept in memory. Where there are very
    many tiles, give ``bbox`` and ``time`` here rather than selecting later.

    Where a distributed Client is there at opening, the workers of its cluster fetch, under the one limiter, token and
    cap that its scheduler keeps; they keep no tiles, and ``store`` is refused. Else only threads of this process do.

    Warns IncompleteCubeWarning when tiles of a store are missing. Raises StoreError where there is no cube of ours, no
    such layer or zone, several that fit, or nothing in ``bbox`` or ``time``; PlanError and AuthError as `make_plan`.
    Computing raises BudgetExceeded, naming the price, before a tile is sent that would pass ``max_pu``.
    """
    import rioxarray  # noqa: F401  # brings ds.rio

    import shdask.serve.card  # noqa: F401  # brings ds.shdask

    found = _find_cube(cube, max_pu=max_pu, store=store)
    path = pick_group(found, layer, zone)
    return found.open(path, masked=masked, bbox=bbox, time=time)


def open_cube_tree(
    cube: str | os.PathLike[str] | CubeSpec | CubePlan,
    *,
    masked: bool = False,
    time: Days | None = None,
    max_pu: float | None = None,
    store: str | os.PathLike[str] | None = None,
) -> xr.DataTree:
    """All groups of ``cube``, each as `open_cube` gives it, at their paths in one DataTree; ``max_pu`` is shared.

    ``time`` applies to the groups that have a time axis. The coarse look of a cube's only layer is left out, for a
    DataTree has one grid from its root down: `open_cube` takes its path as ``layer``. Raises and warns as `open_cube`.
    """
    import rioxarray  # noqa: F401  # brings ds.rio
    import xarray as xr

    found = _find_cube(cube, max_pu=max_pu, store=store)
    paths = ("",) if "" in found.paths() else found.paths()
    times = {path: time if found.has_time(path) else None for path in paths}
    groups = {path: found.open(path, masked=masked, bbox=None, time=times[path]) for path in times}
    return xr.DataTree.from_dict({f"/{path}": group for path, group in groups.items()})


def is_job(cube: object) -> bool:
    """Whether ``cube`` is a job rather than a store: a spec, a plan, or the path of a TOML file."""
    if isinstance(cube, str | os.PathLike):
        return os.fspath(cube).endswith(".toml") and Path(cube).is_file()
    return isinstance(cube, CubeSpec | CubePlan)


def _find_cube(
    cube: str | os.PathLike[str] | CubeSpec | CubePlan, *, max_pu: float | None, store: str | os.PathLike[str] | None
) -> StoredCube | PlannedCube:
    if is_job(cube):
        job = Path(cube) if isinstance(cube, str | os.PathLike) else cube
        return PlannedCube(make_plan(job), max_pu=max_pu, store=store)
    if not isinstance(cube, str | os.PathLike):
        raise WrongStore(
            f"{type(cube).__name__} is no cube; give the folder of one, or a job: its file, a CubeSpec or a CubePlan"
        )
    if max_pu is not None or store is not None:
        raise WrongStore(f"{cube} is no job but a store, from which nothing is bought; leave out max_pu and store")
    return StoredCube(place=open_place(cube))


def pick_group(cube: StoredCube | PlannedCube, layer: str | None, zone: str | int | None) -> str:
    """The path of the one group that fits. Raises WrongStore that names those there are."""
    paths = cube.paths()
    if layer in paths and zone in {None, zone_of(layer)} | _number(layer):
        return layer
    fitting = [path for path in paths if not path.startswith(SCOUT) and zone in {None, zone_of(path)} | _number(path)]
    if not fitting:
        there = ", ".join(sorted({found for path in paths if (found := zone_of(path)) is not None})) or "none"
        raise WrongStore(f"{cube.name} has no zone {zone!r}; its zones are {there}")
    named = fitting if layer is None else [path for path in fitting if cube.layer(path) == layer]
    if not named:
        there = ", ".join(repr(name) for name in dict.fromkeys(cube.layer(path) for path in fitting))
        raise WrongStore(f"{cube.name} has no layer {layer!r}; it holds {there}")
    if len(named) > 1:
        raise WrongStore(
            f"{cube.name} has several groups that fit: {', '.join(named)}; name one by layer= and zone=, or take all "
            f"with open_cube_tree"
        )
    return named[0]


def zone_of(path: str) -> str | None:
    """The EPSG code of the UTM zone of the group at ``path``; None in a cube of one grid. Pure."""
    first = path.partition("/")[0]
    return first if _ZONE.fullmatch(first) else None


def _number(path: str) -> set[int]:
    zone = zone_of(path)
    return set() if zone is None else {int(zone)}
