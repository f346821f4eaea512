"""The arrays of one group, read window by window; a broken one is told by its place and the cure.

Refuses to know what the pixels are for.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import zarr

from shdask.errors import StoreError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from shdask.assemble.place import Place
    from shdask.model import Window


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredArrays:
    """Open arrays of a group, ([time,] y, x) each. Threads may read side by side."""

    place: Place
    arrays: Mapping[str, zarr.Array[Any]]

    @classmethod
    def open(cls, place: Place, names: Iterable[str]) -> Self:
        """Those of the group at ``place``. Raises StoreError."""
        with place.errors():
            store = place.zarr_store(read_only=True)
            return cls(place=place, arrays={name: zarr.open_array(store, path=name, mode="r") for name in names})

    def read(self, name: str, step: int, window: Window) -> NDArray[Any]:
        """(y, x) of an array at a step of the time axis, which is ignored where there is none. Raises StoreError."""
        array = self.arrays[name]
        where = window.slices if array.ndim == len(window.slices) else (step, *window.slices)
        try:
            with self.place.errors():
                return np.asarray(array[where])
        except StoreError:
            raise
        except Exception as error:  # whatever a codec says of bytes that it cannot decode
            raise StoreError(
                f"{name} of {self.place.name} cannot be read at step {step}, rows {window.y0} to {window.y1}, columns "
                f"{window.x0} to {window.x1} ({type(error).__name__}: {error}); run shdask verify {self.place.name} "
                f"--repair, then build again"
            ) from error
