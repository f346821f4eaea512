"""A group of a store as a lazy Dataset.

Refuses to know how the cube came to be there.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from shdask.assemble.place import Place
from shdask.assemble.store import read_cube_attributes
from shdask.assemble.template import DATA_MASK
from shdask.assemble.time_axis import frozen_timeline
from shdask.assemble.tree import child, group_paths
from shdask.serve.masked import mask_bands
from shdask.serve.narrow import narrow

if TYPE_CHECKING:
    import xarray as xr

    from shdask.serve.narrow import Bbox, Days


class IncompleteCubeWarning(UserWarning):
    """The cube has tiles that are not written yet: their pixels are fill, and ``data_mask`` is 0 there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredCube:
    """A cube in its place."""

    place: Place

    @property
    def name(self) -> str:
        """As messages call it."""
        return self.place.name

    def paths(self) -> tuple[str, ...]:
        """Of its groups. Raises StoreError where there is no cube of ours."""
        paths = group_paths(self.place)
        if paths == ("",):
            read_cube_attributes(self.place)
        return paths

    def layer(self, path: str) -> str:
        """The name of the layer at ``path``. Raises StoreError where there is no cube of ours."""
        return str(self._attributes(path)["layer"])

    def has_time(self, path: str) -> bool:
        """Whether the group at ``path`` has a time axis. Raises StoreError."""
        return frozen_timeline(child(self.place, path)) is not None

    def open(self, path: str, *, masked: bool, bbox: Bbox | None, time: Days | None) -> xr.Dataset:
        """The group at ``path``; see `open_cube`."""
        import xarray as xr

        place, attributes = child(self.place, path), self._attributes(path)
        if not attributes["complete"]:
            warnings.warn(
                f"{place.name} is not complete: tiles that are not written yet are fill. "
                f"`shdask status {self.name}` says what is missing",
                IncompleteCubeWarning,
                stacklevel=3,
            )
        with place.errors():
            cube = xr.open_zarr(place.zarr_store(read_only=True), chunks=None, consolidated=True)
        # Narrowed before it is chunked: slicing Dask arrays of a million blocks takes seconds and most of a gigabyte.
        cube, part = narrow(cube[[*attributes["bands"], DATA_MASK]], bbox=bbox, time=time)
        blocks = part.blocks(attributes["layout"]["tile_px"])
        chunks = dict(zip(cube[DATA_MASK].dims, blocks, strict=True))
        cube = cube.assign({name: band.variable.chunk(chunks) for name, band in cube.data_vars.items()})
        return mask_bands(cube) if masked else cube

    def _attributes(self, path: str) -> dict[str, Any]:
        return read_cube_attributes(child(self.place, path))
