"""Patches while they are chosen: places, and what is known of them so far.

Refuses to know how any of it is found out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Self

import numpy as np

from shdask.patches.choosing.labels import NO_SPLIT
from shdask.patches.neighbours import Squares
from shdask.patches.table import NO_LABEL, Patches

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from shdask.patches.choosing.labels import Features
    from shdask.patches.choosing.places import Ground, Places

    Rows = NDArray[np.intp]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Draft:
    """Every array is (patch,); as in `Patches` where the name is the same."""

    ground: Rows
    """Number of its `Ground`."""
    y0: NDArray[np.int64]
    x0: NDArray[np.int64]
    label: NDArray[np.int64]
    parcel: NDArray[np.str_]
    date: NDArray[np.datetime64]
    given_split: NDArray[np.uint8]
    """A position in `SPLITS` that the labels say, NO_SPLIT where they do not."""
    given_block: NDArray[np.str_]
    """A block that the labels name; empty where they do not."""
    valid_share: NDArray[np.float32]
    clear_share: NDArray[np.float32]

    def __len__(self) -> int:
        return int(self.y0.size)

    def take(self, rows: Rows | NDArray[np.bool_]) -> Self:
        """Those of ``rows``."""
        return replace(self, **{field.name: getattr(self, field.name)[rows] for field in fields(self)})

    def in_order(self) -> Self:
        """By grid, from the north, from the west, by date; of one place and date no more than the first by label."""
        drafted = self.take(np.lexsort((self.parcel, self.label, self.date, self.x0, self.y0, self.ground)))
        same = np.ones(max(len(drafted) - 1, 0), np.bool_)
        for column in (drafted.ground, drafted.y0, drafted.x0, drafted.date.astype(np.int64)):
            same &= column[1:] == column[:-1]
        return drafted.take(np.flatnonzero(np.concatenate(([True], ~same))[: len(drafted)]))


def draft_places(places: Places) -> Draft:
    """Places of which nothing else is known. Pure."""
    count = places.y0.size
    unknown = np.full(count, np.nan, np.float32)
    return Draft(
        ground=places.ground,
        y0=places.y0,
        x0=places.x0,
        label=np.full(count, NO_LABEL, np.int64),
        parcel=np.zeros(count, "U1"),
        date=np.full(count, "NaT", "datetime64[s]"),
        given_split=np.full(count, NO_SPLIT, np.uint8),
        given_block=np.zeros(count, "U1"),
        valid_share=unknown,
        clear_share=unknown.copy(),
    )


def draft_features(places: Places, features: Features, rows: Rows) -> Draft:
    """Places for ``rows`` of features. Pure."""
    return replace(
        draft_places(places),
        label=features.label[rows],
        parcel=features.parcel[rows],
        date=features.date[rows],
        given_split=features.split[rows],
        given_block=features.block[rows],
    )


def join_drafts(parts: Sequence[Draft]) -> Draft:
    """All of them, one behind the other; at least one. Pure."""
    columns = {field.name: np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(Draft)}
    return replace(parts[0], **columns)


def make_squares(draft: Draft, grounds: Sequence[Ground], size_px: int) -> Squares:
    """Where the patches lie. Pure."""
    bounds = np.empty((len(draft), 4))
    longitude, latitude = np.empty(len(draft)), np.empty(len(draft))
    for number, ground in enumerate(grounds):
        rows = np.flatnonzero(draft.ground == number)
        y0, x0 = draft.y0[rows], draft.x0[rows]
        bounds[rows] = ground.bounds(y0, x0, size_px)
        longitude[rows], latitude[rows] = ground.centres(y0, x0, size_px)
    return Squares(
        size_px=size_px,
        grid=draft.ground,
        epsg=tuple(ground.grid.epsg for ground in grounds),
        y0=draft.y0,
        x0=draft.x0,
        bounds=bounds,
        longitude=longitude,
        latitude=latitude,
    )


def make_table(
    draft: Draft,
    squares: Squares,
    sets: NDArray[np.uint8],
    block: NDArray[np.str_],
    *,
    zones: Sequence[str],
    cube: str,
    seed: int,
    classes: tuple[str, ...],
    notes: tuple[str, ...],
) -> Patches:
    """The table of what was chosen; ``sets`` are positions in `SPLITS`. Pure."""
    epsg = np.array(squares.epsg, np.int64)[draft.ground]
    return Patches(
        cube=cube,
        size_px=squares.size_px,
        seed=seed,
        key=_make_keys(draft, epsg, squares.size_px),
        zone=np.array(zones, np.str_)[draft.ground],
        y0=draft.y0,
        x0=draft.x0,
        split=sets,
        block=block,
        label=draft.label,
        parcel=draft.parcel,
        date=draft.date,
        valid_share=draft.valid_share,
        clear_share=draft.clear_share,
        bounds=squares.bounds,
        epsg=epsg,
        classes=classes,
        notes=notes,
    )


def _make_keys(draft: Draft, epsg: NDArray[np.int64], size_px: int) -> NDArray[np.str_]:
    rows = zip(epsg.tolist(), draft.y0.tolist(), draft.x0.tolist(), strict=True)
    keys = [f"{code}_{y0}_{x0}_{size_px}" for code, y0, x0 in rows]
    dated = ~np.isnat(draft.date)
    if dated.any():
        stamps = np.datetime_as_string(draft.date, "s").tolist()
        times = (
            f"_{stamp.replace('-', '').replace(':', '')}" if is_dated else ""
            for stamp, is_dated in zip(stamps, dated.tolist(), strict=True)
        )
        keys = [key + time for key, time in zip(keys, times, strict=True)]
    return np.array(keys, np.str_)
