"""The patches that were chosen: one row each, in columns; where they lie, and to which set they belong.

Pure. Refuses to know pixels, files and why a patch was chosen.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Literal, Self

import numpy as np

from shdask.model import Window

if TYPE_CHECKING:
    from numpy.typing import NDArray

Split = Literal["train", "validation", "test", "left out"]
"""The set a patch belongs to; one that is "left out" lies within the guard distance of another set's."""
SPLITS: tuple[Split, ...] = ("train", "validation", "test", "left out")
NO_LABEL = -1
"""`Patch.label` where labels chose nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Patch:
    """One patch: ``size_px`` x ``size_px`` pixels on the grid of its cube."""

    key: str
    """Unique in its table, and the same for the same pixels in every run."""
    zone: str
    """The UTM zone's EPSG code, ``32633``, in a cube of zones; empty in a cube of one grid."""
    y0: int
    """Row of its uppermost pixels in the cube's arrays."""
    x0: int
    """Column of its leftmost pixels."""
    size_px: int
    split: Split
    block: str
    """The spatial block that decided its split."""
    label: int
    """Its class, `NO_LABEL` without."""
    parcel: str
    """The feature of the labels that it was cut for; empty without."""
    date: np.datetime64
    """UTC, to the second, of the one date it is for; NaT where it has all the cube's dates."""
    valid_share: float
    """Of its pixels, those that are valid at `date`, or on average over its dates; NaN where that was not asked."""
    clear_share: float
    """The same of valid pixels that are clear."""
    bounds: tuple[float, float, float, float]
    """(left, bottom, right, top) in the CRS of ``epsg``."""
    epsg: int

    @property
    def window(self) -> Window:
        """Its pixels in the cube's arrays."""
        return Window(y0=self.y0, y1=self.y0 + self.size_px, x0=self.x0, x1=self.x0 + self.size_px)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Patches:
    """Patches of one cube and one size; every array is (patch,), in the order they were chosen in."""

    cube: str
    """The store, or the job, that they were chosen in."""
    size_px: int
    seed: int
    key: NDArray[np.str_]
    zone: NDArray[np.str_]
    y0: NDArray[np.int64]
    x0: NDArray[np.int64]
    split: NDArray[np.uint8]
    """Positions in `SPLITS`."""
    block: NDArray[np.str_]
    label: NDArray[np.int64]
    parcel: NDArray[np.str_]
    date: NDArray[np.datetime64]
    valid_share: NDArray[np.float32]
    clear_share: NDArray[np.float32]
    bounds: NDArray[np.float64]
    """(patch, 4)."""
    epsg: NDArray[np.int64]
    classes: tuple[str, ...] = ()
    """What ``label`` counts in, where classes are words."""
    notes: tuple[str, ...] = ()
    """What was dropped when they were chosen, and why, for the user to read."""

    def __len__(self) -> int:
        return int(self.key.size)

    def __getitem__(self, position: int) -> Patch:
        """One row. Raises IndexError beyond the last."""
        left, bottom, right, top = self.bounds[position].tolist()
        return Patch(
            key=str(self.key[position]),
            zone=str(self.zone[position]),
            y0=int(self.y0[position]),
            x0=int(self.x0[position]),
            size_px=self.size_px,
            split=SPLITS[self.split[position]],
            block=str(self.block[position]),
            label=int(self.label[position]),
            parcel=str(self.parcel[position]),
            date=self.date[position],
            valid_share=float(self.valid_share[position]),
            clear_share=float(self.clear_share[position]),
            bounds=(left, bottom, right, top),
            epsg=int(self.epsg[position]),
        )

    def __iter__(self) -> Iterator[Patch]:
        return (self[position] for position in range(len(self)))

    def __repr__(self) -> str:
        from shdask.patches.summary import describe

        return "\n  ".join((f"{len(self)} Patches", *(f"{label}: {words}" for label, words in describe(self))))

    def _repr_html_(self) -> str:
        from shdask.patches.summary import draw_patches

        return draw_patches(self)

    def take(self, rows: NDArray[np.intp] | NDArray[np.bool_]) -> Self:
        """The table of these rows: positions, or (patch,) bool."""
        arrays = [field.name for field in fields(self) if isinstance(getattr(self, field.name), np.ndarray)]
        return replace(self, **{name: getattr(self, name)[rows] for name in arrays})

    def of_split(self, split: Split) -> Self:
        """The table of one set."""
        return self.take(self.split == SPLITS.index(split))
