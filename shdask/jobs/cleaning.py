"""Deleting what jobs have delivered, once their tiles are proven to be in the cube.

Refuses to know when jobs are closed, and which thread deletes.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet

import numpy as np

from shdask.assemble.checksum import add_to_checksum
from shdask.assemble.job_rows import JobRecord
from shdask.assemble.ledger import read_ledger
from shdask.assemble.store import CubeStore, known_states
from shdask.assemble.verify import find_broken
from shdask.assemble.write import make_stored_values
from shdask.errors import StoreError
from shdask.fetch.bucket import Bucket
from shdask.fetch.delivery import fetch_delivered
from shdask.jobs.attempts import folder_of, is_over, look_into
from shdask.jobs.paid import part_of
from shdask.jobs.questions import look_for
from shdask.model import TileData, TileState
from shdask.plan.group import GroupPlan

_NO_SUMS: Mapping[int, int] = {}


def clean_up(
    cube: CubeStore,
    bucket: Bucket,
    jobs: Sequence[JobRecord],
    *,
    checksums: Mapping[int, int] = _NO_SUMS,
    empty: AbstractSet[int] = frozenset(),
) -> bool:
    """Read the tiles of one lot's jobs back, then delete all that any attempt of these jobs has left.

    Returns whether nothing of them can come any more. ``checksums`` and ``empty`` are what is known of tiles beside
    the ledger; where neither tells a tile's checksum it is compared with what the jobs delivered. Raises StoreError,
    and deletes nothing, where a tile is not as it was stored, or nothing tells what was.
    """
    attempts = [attempt for job in jobs for attempt in job.attempts]
    folders = [folder_of(attempt.intent, bucket.url) for attempt in attempts]
    if any(bucket.list(folder) for folder in folders):
        tiles = frozenset[int]().union(*(attempt.tiles for attempt in attempts)) - empty
        _prove(cube, bucket, jobs, tiles, checksums)
        for folder in folders:
            bucket.delete(folder)
    return all(is_over(attempt, time.time()) for attempt in attempts)


def _prove(
    cube: CubeStore, bucket: Bucket, jobs: Sequence[JobRecord], tiles: AbstractSet[int], checksums: Mapping[int, int]
) -> None:
    """Raise StoreError unless the cube holds of each of ``tiles`` what was stored, or delivered."""
    sums = {tile: checksums[tile] for tile in tiles if tile in checksums}
    told, unsure = read_checksums(cube.plan, cube, tiles - sums.keys())
    sums |= told
    delivered = {tile: found for tile in sorted(unsure) if (found := _delivered_checksum(cube, bucket, jobs, tile))}
    lacking = sorted(unsure - delivered.keys())
    if lacking:
        raise StoreError(
            f"what jobs {', '.join(job.intent.key for job in jobs)} delivered is kept in {bucket.url}: no checksum is "
            f"known of tiles {', '.join(map(str, lacking))}"
        )
    broken = find_broken(cube, sums | delivered)
    if broken:
        raise StoreError(f"what jobs delivered is kept in {bucket.url}: {'; '.join(broken.values())}")


def _delivered_checksum(cube: CubeStore, bucket: Bucket, jobs: Sequence[JobRecord], tile: int) -> int | None:
    """What a tile's checksum is if it holds what the jobs have delivered; None where their files do not tell."""
    plan = cube.plan
    if not plan.tile_set.holds(tile) or tile in plan.reopened.levels:
        return None
    by_part = {part_of(plan, job.intent): job for job in jobs if tile in job.tiles}
    looks = {part: look_into(plan, job, part, bucket.url) for part, job in by_part.items() if part is not None}
    found = {part: look_for(bucket, look) for part, look in looks.items()}
    if len(found) < len(plan.layer.parts) or not all(each.complete for each in found.values()):
        return None
    files = [found[part].keys for part in range(len(found))]
    (data,) = fetch_delivered(plan, [plan.tile(tile)], jobs[0].intent.window, files, bucket)
    return stored_checksum(plan, tile, data)


def stored_checksum(plan: GroupPlan, tile: int, data: TileData) -> int:
    """The checksum of a whole tile, as `CubeStore.write_tile` stores it of pixels as the service sent them. Pure."""
    mask = data.data_mask & plan.bought_mask(plan.tile(tile))
    checksum = 0
    for band, values in zip(plan.layer.bands, data.values, strict=True):
        checksum = add_to_checksum(checksum, make_stored_values(band, values, mask))
    return add_to_checksum(checksum, mask.astype(np.uint8))


def read_checksums(plan: GroupPlan, cube: CubeStore, tiles: AbstractSet[int]) -> tuple[dict[int, int], set[int]]:
    """The ledger's checksums of written ones of ``tiles``, and those that are neither empty nor have one."""
    if not tiles:
        return {}, set()
    ledger = read_ledger(cube.place)
    states = known_states(plan, cube, ledger)
    sums = {tile: int(ledger.checksums[tile]) for tile in tiles if tile < ledger.checksums.size}
    known = {tile: found for tile, found in sums.items() if found >= 0 and states[tile] == TileState.WRITTEN}
    return known, {tile for tile in tiles - known.keys() if states[tile] != TileState.EMPTY}
