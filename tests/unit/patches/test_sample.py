"""Choosing patches of a job: without a store, a service or a pixel."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import fields
from functools import cache
from typing import Any

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from pyproj import Transformer

import shdask
from shdask.errors import PlanError
from shdask.patches.choosing.places import random_places
from shdask.patches.choosing.sample import sample_patches
from shdask.patches.summary import count_leakage
from shdask.patches.table import SPLITS, Patches
from shdask.planning import make_plan

from .grounds import outlines_in, plain_spec, zones_spec
from .test_labels import collection


@cache
def two_zones():
    """The plan of a job over an edge of zones, made once."""
    return make_plan(zones_spec((11.96, 46.0, 12.04, 46.03)))


@cache
def one_grid():
    """The plan of a job of one grid, made once."""
    return make_plan(plain_spec())


UNKNOWN = {"date", "valid_share", "clear_share"}
"""Columns that may hold NaN or NaT."""


def same(one: Patches, other: Patches) -> bool:
    """Whether two tables have the same bytes."""
    return all(
        np.array_equal(getattr(one, field.name), getattr(other, field.name), equal_nan=field.name in UNKNOWN)
        if isinstance(getattr(one, field.name), np.ndarray)
        else getattr(one, field.name) == getattr(other, field.name)
        for field in fields(Patches)
    )


@given(
    size_px=st.sampled_from([24, 40]),
    stride_px=st.sampled_from([None, 30]),
    block_m=st.sampled_from([700.0, 1500.0]),
    guard_m=st.sampled_from([0.0, 350.0]),
    seed=st.integers(0, 9),
)
@settings(max_examples=10)
def test_no_ground_is_in_two_sets(size_px: int, stride_px: int | None, block_m: float, guard_m: float, seed: int):
    """Nor within the guard: of all zones, by shapely, in a projection of neither of them."""
    chosen = sample_patches(
        two_zones(), size_px=size_px, stride_px=stride_px, block_m=block_m, guard_m=guard_m, seed=seed
    )
    assert np.unique(chosen.zone).tolist() == ["32632", "32633"]
    outlines = outlines_in(chosen, 3035)
    train, validation, test = (outlines[chosen.split == each] for each in range(3))
    between = [(train, validation), (train, test), (validation, test)]
    union = [tuple(map(shapely.union_all, pair)) for pair in between]
    assert max(shapely.area(shapely.intersection(*pair)) for pair in union) < 1e-3
    assert min((shapely.distance(*pair) for pair in union if not any(map(shapely.is_empty, pair))), default=1e9) >= (
        guard_m * 0.998
    )


def test_what_a_broken_split_shares_is_counted(monkeypatch: pytest.MonkeyPatch):
    """The pairs of two sets that hold the same ground, on a grid and across zones, are those that shapely finds."""
    monkeypatch.setattr(
        "shdask.patches.choosing.assigning.leave_out", lambda _squares, sets, _guard_m: sets > len(SPLITS)
    )
    chosen = sample_patches(two_zones(), size_px=40, stride_px=30, block_m=1500)
    outlines = outlines_in(chosen, 3035)
    one, other = shapely.STRtree(outlines).query(outlines, predicate="intersects")
    shares = (one < other) & (chosen.split[one] != chosen.split[other])
    shares &= shapely.area(shapely.intersection(outlines[one], outlines[other])) > 1.0
    across = shares & (chosen.zone[one] != chosen.zone[other])
    assert count_leakage(chosen, 0.0).overlapping == shares.sum() > across.sum() > 0


@given(seed=st.integers(0, 50), size_px=st.integers(8, 60))
@settings(max_examples=15)
def test_no_pixel_is_in_two_sets(seed: int, size_px: int):
    """Drawn places overlap as they like, within a set."""
    chosen = sample_patches(one_grid(), size_px=size_px, scheme="random", count=150, block_m=1000, seed=seed)
    owner = np.full((400, 300), 255)
    shared = 0
    for patch in chosen:
        window = owner[patch.window.slices]
        number = SPLITS.index(patch.split)
        shared += 0 if number == 3 else int(((window != number) & (window != 255)).sum())
        window[...] = number if number < 3 else window
    assert shared == 0
    assert count_leakage(chosen, 0.0).pairs == 0


def test_the_same_arguments_give_the_same_bytes():
    """Whatever numpy's state is; another seed gives another choice."""
    words: dict[str, Any] = {"size_px": 16, "scheme": "random", "count": 100}
    first = sample_patches(one_grid(), **words)
    np.random.seed(5)  # noqa: NPY002  # the state that must not matter
    assert np.array_equal(first.key, sample_patches(plain_spec(), **words).key)
    assert same(first, sample_patches(one_grid(), **words))
    assert not same(first, sample_patches(one_grid(), **words, seed=1))


@pytest.mark.long
def test_another_process_chooses_the_same():
    """With another seed of Python's hashes."""
    code = (
        "from tests.unit.patches.grounds import plain_spec; from shdask.patches.choosing.sample import sample_patches;"
        "print('|'.join(sample_patches(plain_spec(), size_px=16, scheme='random', count=50).key.tolist()))"
    )
    told = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env={"PYTHONHASHSEED": "77"}
    ).stdout.strip()
    here = sample_patches(plain_spec(), size_px=16, scheme="random", count=50)
    assert told == "|".join(here.key.tolist())


def test_keys_name_pixels():
    """Each once: CRS, corner and size."""
    chosen = sample_patches(one_grid(), size_px=16)
    assert np.unique(chosen.key).size == len(chosen)
    assert chosen[0].key == f"32633_{chosen[0].y0}_{chosen[0].x0}_16"


def test_random_patches_are_as_many_as_asked():
    """No place twice."""
    chosen = sample_patches(one_grid(), size_px=16, scheme="random", count=700)
    assert len(chosen) == np.unique(chosen.key).size == 700


def test_a_cube_with_too_little_room_says_so():
    """With as many as there are."""
    area = shapely.box(500_000, 5_000_000, 500_640, 5_000_640)
    chosen = sample_patches(plain_spec(aoi=area), size_px=30, scheme="random", count=50)
    assert len(chosen) == 9
    assert "41 of 50 places were not found" in chosen.notes


def test_no_draws_are_made_when_all_places_are_known(monkeypatch: pytest.MonkeyPatch):
    """However many more are asked for."""
    drawn: list[int] = []
    monkeypatch.setattr(
        "shdask.patches.choosing.sample.random_places",
        lambda *args, **words: drawn.append(1) or random_places(*args, **words),
    )
    area = shapely.box(500_000, 5_000_000, 500_640, 5_000_640)
    chosen = sample_patches(plain_spec(aoi=area), size_px=30, scheme="random", count=5000)
    assert len(chosen) == 9
    assert len(drawn) < 12


def test_labels_that_no_aligned_patch_holds_are_told():
    """Of 400 rows the last sixteen lie beyond six patches of 64 px; one more label lies elsewhere."""
    shift = Transformer.from_crs("EPSG:32633", "EPSG:4326", always_xy=True)
    eastings, northings = [501_000, 501_000, 501_000], [5_107_000, 5_100_100, 5_090_000]
    points = [shapely.Point(*place) for place in zip(*shift.transform(eastings, northings), strict=True)]
    chosen = sample_patches(one_grid(), size_px=64, align_px=64, scheme="labels", labels=collection(points))
    assert len(chosen) == 1
    assert "2 of 3 labels lie outside the area, or where no patch aligned to 64 px holds them" in chosen.notes


def test_shares_of_a_job_are_not_known():
    """There is no pixel yet: they are NaN, and dates are all of them."""
    chosen = sample_patches(one_grid(), size_px=32)
    assert np.isnan(chosen.valid_share).all()
    assert np.isnan(chosen.clear_share).all()
    assert np.isnat(chosen.date).all()


def test_blocks_are_the_same_in_both_zones():
    """A block over the edge has patches of either, and one set."""
    chosen = sample_patches(two_zones(), size_px=16, block_m=20_000)
    pairs = {(block, zone) for block, zone in zip(chosen.block.tolist(), chosen.zone.tolist(), strict=True)}
    shared = [block for block, zone in pairs if zone == "32632" and (block, "32633") in pairs]
    kept = chosen.take(np.isin(chosen.block, shared) & (chosen.split < 3))
    assert shared
    assert len({(patch.block, patch.split) for patch in kept}) == len({patch.block for patch in kept})


def labelled(points: int = 60) -> dict[str, Any]:
    """Points over the area of `plain_spec` in two classes, one of five of them maize."""
    longitude, latitude = 15.005 + 0.06 * np.linspace(0, 1, points), 46.06 + 0.05 * np.linspace(0, 1, points) ** 2
    rows = [
        {"crop": "maize" if number % 5 == 0 else "wheat", "id": f"f{number}", "set": ("train", "test")[number % 2],
         "farm": f"farm {number // 6}"}
        for number in range(points)
    ]  # fmt: skip  # rows
    shapes = [shapely.Point(*place) for place in zip(longitude.tolist(), latitude.tolist(), strict=True)]
    return collection(shapes, rows)


def test_labels_tell_class_and_parcel():
    """In words, each where its feature lies; the table does not follow the order of features."""
    words: dict[str, Any] = {"size_px": 8, "scheme": "labels", "class_column": "crop", "id_column": "id"}
    labels = labelled()
    chosen = sample_patches(one_grid(), labels=labels, **words)
    crops = {row["properties"]["id"]: row["properties"]["crop"] for row in labels["features"]}
    assert chosen.classes == ("maize", "wheat")
    assert len(chosen) == 60
    assert {chosen.classes[patch.label] == crops[patch.parcel] for patch in chosen} == {True}
    labels["features"].reverse()
    assert same(chosen, sample_patches(one_grid(), labels=labels, **words))


def test_sets_can_be_told():
    """By the labels; those too near another set's are left out all the same."""
    chosen = sample_patches(
        one_grid(), size_px=4, scheme="labels", labels=labelled(), split_column="set", id_column="id"
    )
    told = {patch.parcel: patch.split for patch in chosen if patch.split != "left out"}
    assert {split == ("train", "test")[int(parcel[1:]) % 2] for parcel, split in told.items()} == {True}
    assert len(told) > 20
    assert count_leakage(chosen, 0.0).pairs == 0


def test_blocks_can_be_told():
    """All of a farm's patches are in one set."""
    chosen = sample_patches(one_grid(), size_px=2, scheme="labels", labels=labelled(), block_column="farm")
    kept = [(patch.block, patch.split) for patch in chosen if patch.split != "left out"]
    assert len({block for block, _ in kept}) == len(set(kept)) == 10
    assert len({split for _, split in kept}) > 1


def test_classes_are_balanced_in_each_set():
    """And what is dropped is told."""
    chosen = sample_patches(
        one_grid(), size_px=4, scheme="labels", labels=labelled(), class_column="crop", balance="class", block_m=1500
    )
    pairs = np.stack((chosen.split, chosen.label), axis=1)[chosen.split < 3]
    _, counts = np.unique(pairs, axis=0, return_counts=True)
    assert chosen.notes[-1].endswith("patches of class 1 are dropped for balance")
    assert [counts[row] for row in range(0, counts.size, 2)] == [counts[row] for row in range(1, counts.size, 2)]


def test_no_more_of_a_class_are_kept_than_asked():
    """Of all sets together."""
    chosen = sample_patches(one_grid(), size_px=4, scheme="labels", labels=labelled(), class_column="crop", per_class=7)
    assert np.bincount(chosen.label[chosen.split < 3]).tolist() == [7, 7]


def test_the_table_is_promised():
    """`shdask.sample_patches`."""
    assert shdask.sample_patches is sample_patches


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"size_px": 0}, "size_px = 0: give a whole number from 1"),
        ({"size_px": 8, "stride_px": -1}, "stride_px = -1"),
        ({"size_px": 8, "scheme": "hexagons"}, "scheme = 'hexagons' is none of 'grid'"),
        ({"size_px": 8, "scheme": "random"}, 'count: scheme = "random" needs it'),
        ({"size_px": 8, "count": 5}, "no other takes it"),
        ({"size_px": 8, "scheme": "labels"}, "labels missing"),
        (
            {"size_px": 8, "scheme": "labels", "align_px": 9, "labels": "no.gpkg"},
            "align_px = 9: .* at most size_px = 8",
        ),
        ({"size_px": 8, "labels": {"type": "FeatureCollection", "features": []}}, 'take scheme = "labels"'),
        ({"size_px": 8, "labels": "SCL", "class_column": "a"}, "a raster has no columns"),
        ({"size_px": 8, "labels": "SCL"}, "has no pixels yet; give its store"),
        ({"size_px": 8, "min_valid": 0.5}, "ask for pixels, and a plan has none yet; build it and give its store"),
        ({"size_px": 8, "dates": "each"}, "ask for pixels"),
        ({"size_px": 8, "balance": "class"}, "balance and per_class need classes"),
        ({"size_px": 8, "block_m": 0}, "block_m = 0 and guard_m = 0 are metres"),
        ({"size_px": 8, "shares": (1, 1, 1)}, "add up to 1"),
        ({"size_px": 16.5}, "size_px = 16.5: give a whole number"),
        ({"size_px": 8, "per_class": -1}, "per_class = -1"),
        ({"size_px": 8, "seed": 0.5}, "seed = 0.5: give a whole number"),
        ({"size_px": 8, "class_share": 2}, "class_share = 2: it is a share"),
        ({"size_px": 8, "guard_m": float("inf")}, "guard_m = inf are metres"),
        ({"size_px": 8, "layers": ()}, "layers: none is named; leave them out, or take some of s2"),
        ({"size_px": 8, "layers": "s1"}, "the cube has no layer 's1'; it has s2"),
        ({"size_px": 5000}, "no patch is left"),
    ],
)
def test_what_cannot_be_chosen_is_refused(words: dict[str, Any], message: str):
    """With the cure."""
    with pytest.raises(PlanError, match=message):
        sample_patches(one_grid(), **words)
