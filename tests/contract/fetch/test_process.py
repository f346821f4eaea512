"""Tiles bought from the emulator: pixels, prices, tokens, limits and connections agree with the other side's books."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from shdask.emulator.launch import start_emulator
from shdask.errors import AuthError, RequestRejected
from shdask.fetch.client import Spent
from shdask.fetch.limiter import Bucket, LimiterState
from shdask.fetch.process import fetch_tile, tile_bodies
from shdask.model import Tile


@pytest.fixture(autouse=True)
def _zeroed(emulator: Any) -> None:
    emulator.reset()


def whole(plan: Any) -> Tile:
    """The whole array as one tile of one window."""
    return Tile(index=0, row=0, column=0, extent=plan.grid.window, windows=(plan.grid.window,))


def fetch_all(plan: Any, room: Any, threads: int) -> tuple[np.ndarray, np.ndarray, Spent]:
    """Every tile of the plan on threads, put together: (values, data mask, what it cost)."""
    spent = {tile.index: Spent() for tile in plan.tiles()}
    values = np.zeros((len(plan.layer.bands), *plan.grid.shape), np.uint16)
    mask = np.zeros(plan.grid.shape, np.bool_)
    with ThreadPoolExecutor(threads) as pool:
        tiles = list(plan.tiles())
        fetched = pool.map(lambda tile: fetch_tile(plan, tile, room.client, spent=spent[tile.index]), tiles)
        for tile, data in zip(tiles, fetched, strict=True):
            values[(slice(None), *tile.extent.slices)] = data.values
            mask[tile.extent.slices] = data.data_mask
    total = Spent(
        requests=sum(s.requests for s in spent.values()),
        rejected=sum(s.rejected for s in spent.values()),
        pu=sum(s.pu for s in spent.values()),
        nbytes=sum(s.nbytes for s in spent.values()),
    )
    return values, mask, total


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"layers": {"s2": {"collection": "sentinel-2-l2a", "bands": ["B08"], "resampling": "bilinear"}}},
        {"layers": {"s2": {"collection": "sentinel-2-l1c", "bands": ["B02"], "mosaicking_order": "leastCC"}}},
        {"aoi": (14.0, 46.0, 14.06, 46.05), "aoi_crs": "EPSG:4326", "crs": "EPSG:4326", "resolution": 0.0002},
        {"crs": "EPSG:3035"},
    ],
    ids=["nearest", "bilinear", "leastCC", "degrees", "another-crs"],
)
def test_tiles_together_are_one_big_request(emulator: Any, open_room: Any, plan_of: Any, fields: dict[str, Any]):
    """Bit for bit, values and mask: how pixels were bought never shows in them."""
    room = open_room(emulator)
    plan = plan_of(room, **fields)
    values, mask, _ = fetch_all(plan, room, threads=4)
    big = fetch_tile(plan, whole(plan), room.client)
    inside = plan.area_mask(plan.grid.window)
    assert (big.data_mask & inside).any()
    np.testing.assert_array_equal(mask & inside, big.data_mask & inside)
    np.testing.assert_array_equal(values * inside, big.values * inside)


def test_the_units_spent_are_the_units_charged_and_projected(emulator: Any, open_room: Any, plan_of: Any):
    """Three books agree: the plan's formula, the answers' headers, and the service's own account."""
    room = open_room(emulator)
    plan = plan_of(room)
    _, _, spent = fetch_all(plan, room, threads=4)
    assert spent.requests == plan.tile_count == 9
    assert spent.pu == pytest.approx(plan.cost.pu, rel=1e-6)
    assert spent.pu == pytest.approx(emulator.stats()["pu_charged"], rel=1e-6)


def test_threads_share_one_token_and_one_set_of_connections(emulator: Any, open_room: Any, plan_of: Any):
    """Eight threads start together: one token request, and no more connections than threads."""
    room = open_room(emulator, threads=8)
    fetch_all(plan_of(room), room, threads=8)
    stats = emulator.stats()
    assert stats["tokens_issued"] == 1
    # one of them asked for these very statistics
    assert stats["connections_seen"] <= 8 + 2


def test_a_revoked_token_is_renewed_once_for_all_threads(emulator: Any, open_room: Any, plan_of: Any):
    """Eight threads meet a 401 at once; one asks for a token, all go on, nothing is lost."""
    room = open_room(emulator)
    plan = plan_of(room)
    first = fetch_all(plan, room, threads=8)
    emulator.revoke_tokens()
    second = fetch_all(plan, room, threads=8)
    stats = emulator.stats()
    assert stats["tokens_issued"] == 2
    assert stats["calls"]["POST /api/v1/process 401"] >= 1
    np.testing.assert_array_equal(second[0], first[0])


def test_a_token_is_renewed_before_it_expires(emulator: Any, open_room: Any, plan_of: Any):
    """An hour later by our clock the next request brings a new token, and no 401 was needed to learn it."""
    now = [1000.0]
    room = open_room(emulator, clock=lambda: now[0])
    plan = plan_of(room)
    fetch_tile(plan, plan.tile(0), room.client)
    now[0] += 3550.0
    fetch_tile(plan, plan.tile(0), room.client)
    stats = emulator.stats()
    assert stats["tokens_issued"] == 2
    assert stats["calls"] == {
        "POST /auth/realms/main/protocol/openid-connect/token 200": 2,
        "POST /api/v1/process 200": 2,
    }


def test_within_the_limits_nothing_is_rejected(open_room: Any, plan_of: Any):
    """Ninety requests at 40 a second, with half of the service's bucket for our burst: the whole rate, no 429."""
    limiter = LimiterState(requests=Bucket(rate_per_s=40.0, burst=5.0), pu=Bucket(rate_per_s=1e6, burst=1e6))
    with start_emulator(requests_per_minute=2400, request_burst=10, renderers=1) as limited:
        room = open_room(limited, limiter=limiter)
        _, _, spent = fetch_all(plan_of(room, store={"chunk_px": 32, "tile_px": 32}), room, threads=8)
        assert limited.stats()["rate_limited"] == 0
    assert (spent.requests, spent.rejected) == (90, 0)


def test_a_limit_that_nobody_knew_is_lived_with(open_room: Any, plan_of: Any):
    """The service allows 3 at once and 10 a second: every tile comes, and both sides count the same 429s."""
    with start_emulator(requests_per_minute=600, request_burst=3, renderers=1) as limited:
        room = open_room(limited)
        _, mask, spent = fetch_all(plan_of(room), room, threads=8)
        stats = limited.stats()
    assert mask.any()
    assert spent.rejected == stats["rate_limited"] > 0
    assert spent.requests == 9 + spent.rejected


def test_wrong_credentials_end_it_with_the_cure(emulator: Any, open_room: Any, plan_of: Any):
    """One token request, no data request, and the secret is not in the message."""
    room = open_room(emulator, secret="wr0ng-s3cret")
    plan = plan_of(room)
    with pytest.raises(AuthError, match="SH_CLIENT_SECRET") as caught:
        fetch_tile(plan, plan.tile(0), room.client)
    assert "wr0ng" not in repr(caught.value)
    assert emulator.stats()["calls"] == {"POST /auth/realms/main/protocol/openid-connect/token 401": 1}


def test_a_request_the_service_refuses_is_sent_once(emulator: Any, open_room: Any, plan_of: Any):
    """Its own words come out; nothing is charged."""
    room, spent = open_room(emulator), Spent()
    plan = plan_of(room)
    (body,) = tile_bodies(plan, plan.tile(0))
    body["output"]["width"] = 2501
    with pytest.raises(RequestRejected, match="2501") as caught:
        room.client.process(body, 1.0, len, spent=spent)
    assert caught.value.status == 400
    assert spent.requests == 1
    assert spent.pu == 0.0


def test_a_script_that_throws_is_the_scripts_fault(emulator: Any, open_room: Any, plan_of: Any):
    """The service's words name the error."""
    room = open_room(emulator)
    plan = plan_of(room)
    (body,) = tile_bodies(plan, plan.tile(0))
    body["evalscript"] = body["evalscript"].replace("const v0", "throw new Error('odd'); const v0")
    with pytest.raises(RequestRejected, match="odd"):
        room.client.process(body, 1.0, len)
