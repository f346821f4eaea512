"""engine="shdask": xarray opens jobs and cubes by their names.

Refuses to know more than `open_cube` does.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import xarray as xr
from xarray.backends import BackendEntrypoint
from xarray.core.indexing import CopyOnWriteArray, MemoryCachedArray

from shdask.assemble.store import read_root_attributes
from shdask.errors import ShdaskError
from shdask.serve.open import is_job, open_cube, open_cube_tree

if TYPE_CHECKING:
    from shdask.serve.narrow import Bbox, Days


class ShdaskBackend(BackendEntrypoint):
    """What xarray finds as ``engine="shdask"``."""

    description = "Open cubes of shdask, and jobs that are fetched when they are touched"
    open_dataset_parameters = (
        "filename_or_obj", "drop_variables", "layer", "zone", "masked", "bbox", "time", "max_pu", "store",
    )  # fmt: skip  # a list
    supports_groups = False

    def open_dataset(
        self,
        filename_or_obj: Any,
        *,
        drop_variables: str | Iterable[str] | None = None,
        layer: str | None = None,
        zone: str | int | None = None,
        masked: bool = False,
        bbox: Bbox | None = None,
        time: Days | None = None,
        max_pu: float | None = None,
        store: str | os.PathLike[str] | None = None,
    ) -> xr.Dataset:
        """`open_cube`, without ``drop_variables``: Dask arrays, whatever ``chunks`` xarray was given but numbers."""
        cube = open_cube(
            filename_or_obj, layer=layer, zone=zone, masked=masked, bbox=bbox, time=time, max_pu=max_pu, store=store
        )
        if drop_variables is not None:
            cube = cube.drop_vars(drop_variables, errors="ignore")
        return _keep_dask(cube)

    def open_datatree(
        self,
        filename_or_obj: Any,
        *,
        drop_variables: str | Iterable[str] | None = None,
        masked: bool = False,
        time: Days | None = None,
        max_pu: float | None = None,
        store: str | os.PathLike[str] | None = None,
    ) -> xr.DataTree:
        """`open_cube_tree`, without ``drop_variables``."""
        tree = open_cube_tree(filename_or_obj, masked=masked, time=time, max_pu=max_pu, store=store)
        names = [] if drop_variables is None else drop_variables
        groups = {node.path: node.to_dataset(inherit=False) for node in tree.subtree}
        return xr.DataTree.from_dict(
            {path: _keep_dask(group.drop_vars(names, errors="ignore")) for path, group in groups.items()}
        )

    def guess_can_open(self, filename_or_obj: Any) -> bool:
        """Whether it is a TOML file with a ``[cube]``, or a store of ours on this machine."""
        if not isinstance(filename_or_obj, str | os.PathLike):
            return False
        if is_job(filename_or_obj):
            return _has_cube_table(os.fspath(filename_or_obj))
        try:
            return os.path.isdir(filename_or_obj) and "shdask_version" in read_root_attributes(filename_or_obj)  # noqa: PTH112  # s3:// is no Path
        except ShdaskError:
            return False


def _has_cube_table(path: str) -> bool:
    import tomllib

    try:
        with open(path, "rb") as file:  # noqa: PTH123  # a name that xarray was given
            return "cube" in tomllib.load(file)
    except (OSError, ValueError):
        return False


class _DaskVariable(xr.Variable):
    """A variable that keeps its Dask array.

    xarray wraps what engines return, so that files are not written to and are read once; wrapped, Dask is not seen any
    more: without chunks, and computed as a whole by any use.
    """

    __slots__ = ()

    @property
    def data(self) -> Any:
        """As in Variable."""
        return self._data if _is_dask(self._data) else super().data

    @data.setter
    def data(self, data: Any) -> None:
        if _is_dask(self._data) and isinstance(data, CopyOnWriteArray | MemoryCachedArray):
            return
        xr.Variable.data.fset(self, data)  # type: ignore[attr-defined]  # a property


def _is_dask(data: object) -> bool:
    import dask.array as da

    return isinstance(data, da.Array)


def _keep_dask(cube: xr.Dataset) -> xr.Dataset:
    kept = {}
    for name, variable in cube.data_vars.items():
        blocks = dict(zip(variable.dims, variable.chunks or (), strict=True))
        # what chunks={} leaves as it is
        encoding = {**variable.encoding, "preferred_chunks": blocks}
        kept[name] = _DaskVariable(variable.dims, variable.data, variable.attrs, encoding)
    return cube.assign(kept)
