"""Choosing patches: where they may lie, which are good enough, what they show, and which set each is for.

Reads pixels of class bands and class rasters only. Refuses to know what patches are used for.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from shdask.errors import PlanError
from shdask.patches.choosing import class_raster
from shdask.patches.choosing.asked import check_metres, check_numbers, check_scheme, check_words
from shdask.patches.choosing.assigning import find_sets, notes_on_sets, thin_out
from shdask.patches.choosing.draft import Draft, draft_features, draft_places, join_drafts, make_squares, make_table
from shdask.patches.choosing.labels import LabelColumns, place_features, read_features
from shdask.patches.choosing.places import find_grounds, grid_places, join, number_places, random_places
from shdask.patches.choosing.rating import Wanted, check_wanted, find_dated_layer, match_dates, rate
from shdask.patches.geometry import describe_extent
from shdask.patches.splits import check_shares
from shdask.patches.table import NO_LABEL, Patches

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from shdask.patches.choosing.class_raster import ClassRule, Counts
    from shdask.patches.choosing.labels import Features
    from shdask.patches.choosing.places import Grounds
    from shdask.patches.choosing.rating import Dates, ShareIndex
    from shdask.plan.cube import CubePlan
    from shdask.plan.spec import CubeSpec

Scheme = Literal["grid", "random", "labels"]
MOST_DRAWS = 200
"""For each patch that is to be drawn; then there is no room, or nothing good enough."""
FEWEST_DRAWS = 4096
"""At once."""
IDLE_ROUNDS = 8
"""Of draws without a new place: then all are known, but for one that so many draws miss by chance."""
DEFAULT_SHARES = (0.7, 0.15, 0.15)


def sample_patches(
    cube: str | os.PathLike[str] | CubeSpec | CubePlan,
    *,
    size_px: int,
    scheme: Scheme = "grid",
    stride_px: int | None = None,
    count: int | None = None,
    align_px: int = 1,
    labels: object = None,
    class_column: str | None = None,
    id_column: str | None = None,
    date_column: str | None = None,
    split_column: str | None = None,
    block_column: str | None = None,
    within_days: int = 0,
    class_rule: ClassRule = "majority",
    class_share: float | None = None,
    layers: str | Sequence[str] | None = None,
    dates: Dates = "all",
    min_valid: float | None = None,
    min_clear: float | None = None,
    per_class: int | None = None,
    balance: Literal["class"] | None = None,
    shares: Sequence[float] = DEFAULT_SHARES,
    block_m: float = 10_000.0,
    guard_m: float = 0.0,
    seed: int = 0,
) -> Patches:
    """Patches of ``size_px`` x ``size_px`` pixels on the grid of ``cube``; the same arguments give the same bytes.

    ``cube`` is a store (a folder, ``s3://bucket/prefix``), also one that is being built, or a job (its file, a
    CubeSpec, a CubePlan) of which nothing need be built or asked: its shares are not known then, and NaN. In a cube
    of UTM zones a patch is that zone's which owns its middle.

    Where they lie: ``scheme`` "grid" takes every ``stride_px``, by default side by side from the corners of the
    store's chunks as they fit, so that few chunks are read; "random" draws ``count`` places anywhere (corners at
    multiples of ``align_px``); "labels" takes those of features, see below. Of a job a patch's middle pixel is in the
    area, of a store it meets one of its tiles.

    What they show: ``labels`` are points and polygons with "labels", anything that `read_features` reads, whose
    columns tell class, name (``parcel``), date, set and block: each point, and each polygon no larger than a patch,
    has one patch with it in the middle, as near as a corner at multiples of ``align_px`` lets it; larger ones have
    the patches of the grid whose middle they hold; dates are matched to the cube's nearest good one ``within_days``.
    With the other schemes ``labels`` is a raster of at most 256 classes (a GeoTIFF, or the name of a class band of
    the cube such as "SCL"), and ``class_rule`` says which class a patch is of: by "majority", or by "presence" of at
    least ``class_share`` of its pixels, the rarest that is.

    Which are kept: those with at least ``min_valid`` of their pixels valid, and ``min_clear`` of these clear, by the
    cube's index, without reading pixels; without ``min_valid`` those with any valid pixel. ``layers`` (all) says of
    which; a patch has the least of their shares, the first with dates at the patch's date, others over all of theirs.
    ``dates`` "all" makes patches of all dates, good on average; "each" one for every date at which it is good,
    "clearest" one for its best. Then at most ``per_class`` of a class, and with ``balance="class"`` as many of each
    class as each set has of its rarest, by chance.

    Which set: blocks of ground of ``block_m``, one lattice for all zones, are drawn into train, validation and test
    by ``shares``; a patch is its middle's block's. So that sets share no ground and keep ``guard_m`` apart, patches
    are "left out": of two too near the one that is near more, else the one of train; none without need.

    ``notes`` of what is returned say how many were dropped, and why. Raises PlanError for what cannot be asked of this
    cube, and where nothing is left; StoreError where there is no cube of ours.
    """
    columns = LabelColumns(
        label=class_column, parcel=id_column, date=date_column, split=split_column, block=block_column
    )
    sizes = {"size_px": size_px, "stride_px": stride_px, "align_px": align_px}
    check_numbers({**sizes, "count": count, "per_class": per_class}, seed=seed, class_share=class_share)
    check_words({"scheme": scheme, "class_rule": class_rule, "dates": dates, "balance": balance})
    check_metres(block_m, guard_m)
    check_scheme(scheme, labels, columns.names(), count=count, align_px=align_px, size_px=size_px)
    asked, grounds = check_shares(shares), find_grounds(cube)
    wanted = Wanted(
        layers=_layers(grounds, layers),
        dates=dates,
        min_valid=min_valid,
        min_clear=min_clear,
        within_days=within_days,
    )
    for ground in grounds.grounds:
        check_wanted(wanted, ground)
    choice = _Choice(
        grounds=grounds,
        wanted=wanted,
        index=_open_index(grounds, wanted),
        size_px=size_px,
        seed=seed,
        stride_px=stride_px,
        align_px=align_px,
    )
    classes: tuple[str, ...] = ()
    if scheme == "labels":
        draft, classes, notes = _of_features(choice, labels, columns)
    else:
        draft, notes = _of_grid(choice) if scheme == "grid" else _of_chance(choice, count or 0)
        if labels is not None:
            draft, more = _with_classes(choice, draft, str(labels), class_rule, class_share)
            notes += more
    if not len(draft):
        raise PlanError("; ".join(("no patch is left", *notes, "make size_px or the shares asked for smaller")))
    squares = make_squares(draft, grounds.grounds, size_px)
    sets, block = find_sets(draft, squares, asked, block_m=block_m, guard_m=guard_m, seed=seed)
    kept, dropped = thin_out(draft, sets, per_class=per_class, balance=balance, seed=seed)
    table = make_table(
        draft,
        squares,
        sets,
        block,
        zones=[ground.zone for ground in grounds.grounds],
        cube=grounds.name,
        seed=seed,
        classes=classes,
        notes=(*notes, *notes_on_sets(sets, asked, guard_m), *dropped),
    )
    return table.take(kept)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Choice:
    """What all steps of a choice share."""

    grounds: Grounds
    wanted: Wanted
    index: ShareIndex | None
    """None of a job."""
    size_px: int
    seed: int
    stride_px: int | None
    align_px: int

    def rate(self, draft: Draft) -> tuple[Draft, int, int]:
        """The good ones, how many are not, and how many labels have no date."""
        if self.index is None:
            matched, lost = match_dates(draft, self.grounds.grounds, self.wanted.layers, self.wanted.within_days)
            return matched, 0, lost
        rated, rejected = rate(draft, self.grounds.grounds, self.index, self.wanted, self.size_px)
        return rated, rejected.shares, rejected.dates


def _layers(grounds: Grounds, layers: str | Sequence[str] | None) -> tuple[str, ...]:
    known = grounds.grounds[0].layers
    found = known if layers is None else (layers,) if isinstance(layers, str) else tuple(layers)
    if not found:
        raise PlanError(f"layers: none is named; leave them out, or take some of {', '.join(known)}")
    return found


def _open_index(grounds: Grounds, wanted: Wanted) -> ShareIndex | None:
    from shdask.patches.choosing.index import open_index

    if grounds.store is not None:
        return open_index(grounds.store)
    if wanted.min_valid is not None or wanted.min_clear is not None or wanted.dates != "all":
        raise PlanError(
            f"min_valid, min_clear and dates ask for pixels, and {grounds.name} has none yet; build it and give its "
            f"store, or leave them out"
        )
    return None


def _of_grid(choice: _Choice) -> tuple[Draft, tuple[str, ...]]:
    places = join(
        grid_places(ground, number, size_px=choice.size_px, stride_px=choice.stride_px)
        for number, ground in enumerate(choice.grounds.grounds)
    )
    draft, bad, _ = choice.rate(draft_places(places))
    return draft, _notes_on_shares(choice, bad)


def _of_chance(choice: _Choice, count: int) -> tuple[Draft, tuple[str, ...]]:
    """``count`` good places in the order in which they are drawn, or as many as there are, each with all its dates."""
    parts = [draft_places(join([]))]
    seen: NDArray[np.int64] = np.empty(0, np.int64)
    first, bad, have, idle = 0, 0, 0, 0
    while have < count and idle < IDLE_ROUNDS and first < MOST_DRAWS * count + FEWEST_DRAWS:
        turns = max(FEWEST_DRAWS, 2 * (count - have))
        places = random_places(
            choice.grounds.grounds,
            size_px=choice.size_px,
            first=first,
            count=turns,
            align_px=choice.align_px,
            seed=choice.seed,
        )
        first += turns
        numbers = number_places(places.ground, places.y0, places.x0)
        _, fresh = np.unique(np.concatenate((seen, numbers)), return_index=True)
        fresh = np.sort(fresh[fresh >= seen.size]) - seen.size
        seen = np.concatenate((seen, numbers[fresh]))
        idle = 0 if fresh.size else idle + 1
        draft, lost, _ = choice.rate(draft_places(places.take(fresh)))
        bad += lost
        parts.append(draft)
        have += _count_places(draft)[-1] if len(draft) else 0
    found = join_drafts(parts)
    short = () if have >= count else (f"{count - have} of {count} places were not found",)
    return found.take(_count_places(found) <= count), (*_notes_on_shares(choice, bad), *short)


def _count_places(draft: Draft) -> NDArray[np.int64]:
    """(patch,): how many places there are up to and with each patch; those of one place follow each other."""
    numbers = number_places(draft.ground, draft.y0, draft.x0)
    return np.cumsum(np.append(True, numbers[1:] != numbers[:-1])[: numbers.size], dtype=np.int64)


def _of_features(
    choice: _Choice, labels: object, columns: LabelColumns
) -> tuple[Draft, tuple[str, ...], tuple[str, ...]]:
    features = read_features(labels, columns)
    places, rows = place_features(
        features, choice.grounds.grounds, size_px=choice.size_px, stride_px=choice.stride_px, align_px=choice.align_px
    )
    outside = features.geometry.size - np.unique(rows).size
    if not rows.size:
        raise PlanError(_describe_miss(choice.grounds, features, choice.size_px))
    unaligned = "" if choice.align_px == 1 else f", or where no patch aligned to {choice.align_px} px holds them"
    draft, bad, undated = choice.rate(draft_features(places, features, rows))
    ordered = draft.in_order()
    same = len(draft) - len(ordered)
    notes = (
        *([f"{outside} of {features.geometry.size} labels lie outside the area{unaligned}"] if outside else []),
        *([f"{undated} labels have no good date within {choice.wanted.within_days} days"] if undated else []),
        *_notes_on_shares(choice, bad),
        *([f"{same} labels have the same patch as another one"] if same else []),
    )
    return ordered, features.classes, notes


def _describe_miss(grounds: Grounds, features: Features, size_px: int) -> str:
    there = describe_extent(*features.degrees())
    here = [describe_extent(*ground.corners()) for ground in grounds.grounds]
    return (
        f"labels: none of {features.geometry.size} has a place for a patch of {size_px} px in the area of "
        f"{grounds.name}: they lie in {there}, and it in {' and '.join(here)}; check their CRS, that x comes before y, "
        f"and that they are of this place"
    )


def _with_classes(
    choice: _Choice, draft: Draft, labels: str, rule: ClassRule, share: float | None
) -> tuple[Draft, tuple[str, ...]]:
    counts = _count(choice, draft, labels)
    label = class_raster.choose_classes(counts, len(draft), choice.size_px, rule, share)
    has = label != NO_LABEL
    if len(draft) and not has.any():
        raise PlanError(
            f"labels: none of {len(draft)} patches is of a class of {labels}: no pixel of it that is valid lies under "
            f"them, or no class has the share asked for; check its place and nodata, or take a smaller class_share"
        )
    notes = () if has.all() else (f"{int((~has).sum())} patches are of no class",)
    return replace(draft, label=label).take(has), notes


def _count(choice: _Choice, draft: Draft, labels: str) -> Counts:
    grounds, size_px = choice.grounds, choice.size_px
    if labels.lower().endswith(class_raster.SUFFIXES):
        return class_raster.count_in_raster(Path(labels).expanduser(), draft, grounds.grounds, size_px)
    if Path(labels).expanduser().is_file():
        raise PlanError(f'labels: {labels} is no GeoTIFF; points and polygons need scheme = "labels" (--scheme labels)')
    if grounds.store is None or choice.index is None:
        raise PlanError(f"labels: {labels} is no GeoTIFF, and {grounds.name} has no pixels yet; give its store")
    dated = find_dated_layer(grounds.grounds[0], choice.index, choice.wanted.layers)
    others = [layer for layer in choice.wanted.layers if layer != dated]
    return class_raster.count_in_band(
        grounds.store, labels, draft, grounds.grounds, size_px=size_px, layers=(dated, *others)
    )


def _notes_on_shares(choice: _Choice, bad: int) -> tuple[str, ...]:
    if not bad:
        return ()
    wanted = choice.wanted
    floors = [
        "without a valid pixel" if wanted.min_valid is None else f"less than {wanted.min_valid:.0%} valid",
        *([] if wanted.min_clear is None else [f"less than {wanted.min_clear:.0%} clear"]),
    ]
    return (f"{bad} places are {' or '.join(floors)}",)
