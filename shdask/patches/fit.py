"""Whether patches lie where a cube's arrays say that they do: a table of another cube is not read as one of this.

Pure. Refuses to know pixels, dates and why patches were chosen.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from shdask.errors import WrongStore

if TYPE_CHECKING:
    from shdask.patches.table import Patch, Patches

OFF_PX = 0.01
"""Bounds are numbers that were written down, and may be rounded."""


def refuse_misfits(name: str, attributes: Mapping[str, Any], patches: Patch | Patches) -> None:
    """Raise WrongStore where ``patches`` are not, on the ground, at their rows and columns of the arrays of a group.

    ``attributes`` are the group's own, of the cube ``name``.
    """
    a, _, left, _, e, top = attributes["spatial:transform"]
    epsg, y0, x0, keys = (np.atleast_1d(each) for each in (patches.epsg, patches.y0, patches.x0, patches.key))
    bounds, size_px = np.atleast_2d(patches.bounds), patches.size_px
    here = np.stack((left + a * x0, top + e * (y0 + size_px), left + a * (x0 + size_px), top + e * y0), axis=1)
    is_off = np.abs(bounds - here).max(axis=1) > OFF_PX * abs(a)
    is_off |= epsg != int(str(attributes["proj:code"]).removeprefix("EPSG:"))
    if is_off.any():
        first = int(np.flatnonzero(is_off)[0])
        raise WrongStore(
            f"patch {keys[first]} lies at {tuple(bounds[first].tolist())} in EPSG:{epsg[first]}, and its row "
            f"{y0[first]} and column {x0[first]} elsewhere in {name}; give the cube that it was chosen in, or choose "
            f"patches anew"
        )
