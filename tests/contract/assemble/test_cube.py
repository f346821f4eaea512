"""A cube in a bucket is the cube on a disk."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from shdask.assemble.ledger import Ledger, read_ledger
from shdask.assemble.place import open_place
from shdask.assemble.status import read_status
from shdask.assemble.store import CubeStore, create_or_open, known_states
from shdask.assemble.verify import forget, verify_cube
from shdask.errors import StoreError, StoreUnavailable, WrongStore
from shdask.model import TileEvent, TileState
from shdask.plan.group import GroupPlan
from shdask.serve.open import open_cube
from tests.unit.assemble.conftest import TILES, Pixels, small_plan
from tests.unit.timed import along_days, everywhere

from .conftest import BUCKET, READER, WRITER, Faults, use_keys


def write_all(cube: CubeStore, pixels: Pixels) -> list[TileEvent]:
    """Write every tile; the events that a build would have heard."""
    stored = [(tile.index, cube.write_tile(tile, pixels.of(tile))) for tile in cube.plan.tiles()]
    return [TileEvent(tile=index, state=tile.state, checksum=tile.checksum) for index, tile in stored]


@pytest.fixture
def cube(plan: GroupPlan, pixels: Pixels, url: str) -> CubeStore:
    """A whole cube with its ledger."""
    made = create_or_open(plan, url)
    with Ledger.open(made.place) as ledger:
        ledger.append(write_all(made, pixels))
    return made


def test_a_cube_in_a_bucket_opens_as_one_on_a_disk(cube: CubeStore, pixels: Pixels, plan: GroupPlan, tmp_path: Path):
    """Same pixels, same coordinates, same attributes."""
    on_disk = create_or_open(plan, tmp_path / "cube.zarr")
    write_all(on_disk, pixels)
    cube.mark_complete(pu_spent=0.0)
    on_disk.mark_complete(pu_spent=0.0)
    xr.testing.assert_identical(open_cube(cube.place.name).compute(), open_cube(on_disk.place.name).compute())


def test_a_bbox_reads_only_the_tiles_it_touches(cube: CubeStore, pixels: Pixels, faults: Faults):
    """Opening stays lazy in a bucket."""
    cube.mark_complete(pu_spent=0.0)
    corner = open_cube(cube.place.name, bbox=(500000, 4999900, 500100, 5000000))["B04"].to_numpy()
    shards = [line for line in faults.seen if "/B04/c/" in line]
    np.testing.assert_array_equal(corner, np.where(pixels.mask, pixels.values[0], 0)[:10, :10])
    assert {line.partition("?")[0].rpartition("/c/")[2] for line in shards} == {"0/0"}


def test_every_tile_is_known_to_be_durable(cube: CubeStore):
    """By listings, and one by one."""
    assert np.flatnonzero(cube.durable_tiles()).tolist() == list(TILES)
    assert all(map(cube.is_durable, cube.plan.tiles()))


def test_a_cube_is_continued_by_another_process(plan: GroupPlan, pixels: Pixels, url: str):
    """Half of it, then the rest through a pickled cube."""
    first = create_or_open(plan, url)
    first.write_tile(plan.tile(0), pixels.of(plan.tile(0)))
    second: CubeStore = pickle.loads(pickle.dumps(create_or_open(plan, url)))  # noqa: S301  # our own bytes
    second.write_tile(plan.tile(1), pixels.of(plan.tile(1)))
    assert np.flatnonzero(first.durable_tiles()).tolist() == [0, 1]


def test_another_cube_is_refused(cube: CubeStore):
    """As on a disk, with the difference named."""
    with pytest.raises(WrongStore, match="mosaicking_order"):
        create_or_open(small_plan(mosaicking_order="leastRecent"), cube.place)


def test_a_prefix_with_other_things_is_left_alone(plan: GroupPlan, url: str):
    """A cube is never created over what is not ours."""
    open_place(url).write("thesis.tex", b"dear")
    with pytest.raises(WrongStore, match=r"other things in it \(thesis\.tex"):
        create_or_open(plan, url)


def test_an_empty_tile_leaves_nothing_of_a_killed_attempt(cube: CubeStore, pixels: Pixels, plan: GroupPlan):
    """Objects of an attempt without a commit are removed."""
    tile = plan.tile(0)
    cube.place.remove("data_mask/c/0/0")
    nothing = pixels.of(tile)
    nothing.data_mask[:] = False
    assert cube.write_tile(tile, nothing).state is TileState.EMPTY
    assert not cube.place.exists("B04/c/0/0")
    pixels.mask[tile.extent.slices] = Pixels.random(plan).mask[tile.extent.slices]


def test_tiles_of_a_cube_with_time_are_known_by_their_step(plan: GroupPlan, pixels: Pixels, url: str):
    """From listings of (time, y, x) objects, as on a disk."""
    dated = along_days(plan, everywhere(plan, 12))
    cube = create_or_open(dated, url)
    chosen = [0, 14, 9 * 9 + 5, 11 * 9 + 8]
    [cube.write_tile(dated.tile(index), pixels.of(dated.tile(index))) for index in chosen]
    assert np.flatnonzero(cube.durable_tiles()).tolist() == chosen
    assert [index for index in dated.tile_set.indices() if cube.is_durable(dated.tile(index))] == chosen
    assert verify_cube(cube.place).unrecorded == tuple(chosen)


def test_no_object_is_made_per_tile(cube: CubeStore):
    """Lease and ledger are a handful of objects."""
    assert sorted(cube.place.names(".shdask")) == ["ledger", "owner.json"]
    assert len(cube.place.names(".shdask/ledger")) == 1


def test_status_and_states_are_those_of_a_disk(cube: CubeStore, plan: GroupPlan):
    """What is known of tiles comes from the bucket."""
    assert read_status(cube.place.name).written == 8
    assert known_states(plan, cube, read_ledger(cube.place)).tolist() == [1, 1, 0, 1, 1, 1, 1, 1, 1]


# Places that are no place


def test_keys_that_may_only_read_are_told_at_once(plan: GroupPlan, url: str, environ: pytest.MonkeyPatch):
    """Before anything is bought."""
    use_keys(environ, READER)
    with pytest.raises(WrongStore, match="these keys may not do that"):
        create_or_open(plan, url)


def test_a_whole_cube_that_may_only_be_read_is_not_built(cube: CubeStore, plan: GroupPlan, environ: pytest.MonkeyPatch):
    """It opens, and its ledger does not."""
    use_keys(environ, READER)
    again = create_or_open(plan, cube.place.name)
    with pytest.raises(StoreError, match="these keys may not do that"):
        Ledger.open(again.place)
    with pytest.warns(match="not complete"):
        open_cube(cube.place.name)


def test_a_missing_bucket_is_told_at_once(plan: GroupPlan, environ: pytest.MonkeyPatch):
    """With its cure."""
    use_keys(environ, WRITER)
    with pytest.raises(WrongStore, match="no such bucket; create it"):
        create_or_open(plan, "s3://not-there-at-all/cube.zarr")


def test_a_missing_bucket_is_told_to_who_only_looks(environ: pytest.MonkeyPatch):
    """It is not taken for one without a cube."""
    use_keys(environ, READER)
    with pytest.raises(StoreError, match="no such bucket; create it"):
        open_cube("s3://not-there-at-all/cube.zarr")


def test_a_wrong_secret_is_told(plan: GroupPlan, url: str, environ: pytest.MonkeyPatch):
    """By the name of the variable."""
    environ.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    with pytest.raises(WrongStore, match="correct AWS_SECRET_ACCESS_KEY"):
        create_or_open(plan, url)


def test_an_unknown_key_is_told(plan: GroupPlan, url: str, environ: pytest.MonkeyPatch):
    """By the name of the variable."""
    environ.setenv("AWS_ACCESS_KEY_ID", "nobody")
    with pytest.raises(WrongStore, match="correct AWS_ACCESS_KEY_ID"):
        create_or_open(plan, url)


def test_an_endpoint_where_nobody_answers_is_told(plan: GroupPlan, url: str, environ: pytest.MonkeyPatch):
    """It may be up again in a minute."""
    environ.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(StoreUnavailable, match="correct AWS_ENDPOINT_URL"):
        create_or_open(plan, url)


def test_the_endpoint_of_s3_alone_comes_first(plan: GroupPlan, url: str, environ: pytest.MonkeyPatch):
    """As boto3 has it."""
    environ.setenv("AWS_ENDPOINT_URL_S3", os.environ["AWS_ENDPOINT_URL"])
    environ.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    assert create_or_open(plan, url).place.exists("zarr.json")


# Trouble


def test_a_store_that_throttles_for_a_moment_is_not_noticed(plan: GroupPlan, pixels: Pixels, url: str, faults: Faults):
    """A tile is written through a few answers 503."""
    cube = create_or_open(plan, url)
    faults.refuse = {"PUT": 2}
    assert cube.write_tile(plan.tile(0), pixels.of(plan.tile(0))).state is TileState.WRITTEN


@pytest.mark.parametrize(("status", "code"), [(503, "SlowDown"), (500, "InternalError"), (429, "TooManyRequests")])
def test_a_store_in_trouble_may_be_asked_again(  # fixtures and a table
    plan: GroupPlan, pixels: Pixels, url: str, faults: Faults, status: int, code: str
):
    """What lasts longer is told as what may pass, and the tile is not durable."""
    cube = create_or_open(plan, url)
    faults.status, faults.code, faults.refuse = status, code, {"PUT": 100}
    with pytest.raises(StoreUnavailable, match=f"HTTP {status} {code}: the store is in trouble or throttles"):
        cube.write_tile(plan.tile(0), pixels.of(plan.tile(0)))
    assert not cube.is_durable(plan.tile(0))


def test_keys_that_expire_in_mid_build_are_told(plan: GroupPlan, pixels: Pixels, url: str, faults: Faults):
    """With the variables to set; asking again does not help."""
    cube = create_or_open(plan, url)
    faults.status, faults.code, faults.refuse = 400, "ExpiredToken", {"PUT": 100}
    with pytest.raises(StoreError, match=r"the keys have expired.*AWS_SESSION_TOKEN") as refusal:
        cube.write_tile(plan.tile(0), pixels.of(plan.tile(0)))
    assert not refusal.value.retryable


# Checksums


def test_a_cube_reads_back_as_it_was_stored(cube: CubeStore):
    """Every tile of it."""
    report = verify_cube(cube.place.name)
    assert (report.sound, report.whole, report.unrecorded) == (8, True, ())


def test_a_damaged_and_a_lost_tile_are_told_apart_and_fetched_again(cube: CubeStore, plan: GroupPlan):
    """Broken, missing, and after `forget` exactly these two are left to do."""
    shard = bytearray(cube.place.read("B04/c/1/1") or b"")
    shard[50] ^= 1
    cube.place.write("B04/c/1/1", bytes(shard))
    cube.place.remove("data_mask/c/0/1")
    report = verify_cube(cube.place.name)
    assert (list(report.broken), report.missing, report.sound) == ([4], (1,), 6)
    forget(cube.place.name, list(report.broken))
    states = known_states(plan, cube, read_ledger(cube.place))
    assert [index for index in TILES if states[index] == TileState.UNTRIED] == [1, 4]


def test_a_store_that_does_not_answer_breaks_no_tile(cube: CubeStore, faults: Faults):
    """A verdict needs an answer."""
    faults.refuse = {"GET": 0}
    opened = create_or_open(cube.plan, cube.place.name)
    assert np.flatnonzero(opened.durable_tiles()).tolist() == list(TILES)
    faults.refuse = {"GET": 10_000}
    with pytest.raises(StoreUnavailable):
        verify_cube(cube.place.name)


# Secrets


def test_no_key_travels(cube: CubeStore):
    """A place, a cube and an open dataset are pickled without the secret, which every process reads for itself."""
    cube.mark_complete(pu_spent=0.0)
    cube.is_durable(cube.plan.tile(0))
    bytes_sent = [pickle.dumps(thing) for thing in (cube.place, cube, cube.arrays["B04"], open_cube(cube.place.name))]
    assert all(b"admin-secret" not in sent for sent in bytes_sent)
    np.testing.assert_array_equal(pickle.loads(bytes_sent[3])["B04"], open_cube(cube.place.name)["B04"])  # noqa: S301


def test_no_key_is_shown(cube: CubeStore, environ: pytest.MonkeyPatch):
    """Neither in a repr nor in an error."""
    place = cube.place
    assert "admin-" not in repr(cube) + repr(place) + repr(place.zarr_store())
    environ.setenv("AWS_SECRET_ACCESS_KEY", "canary-secret")
    with pytest.raises(StoreError) as refusal:
        open_place(f"s3://{BUCKET}/elsewhere").read("zarr.json")
    assert "canary" not in "".join(map(repr, (refusal.value, refusal.value.__cause__)))
