"""The scheduler's watch on a real cluster: what it tells of builds, and the page it puts on the dashboard."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import numpy as np
import pytest
from distributed import Client, Scheduler

import shdask
from shdask.cluster.build_view import Opening, pack_states
from shdask.cluster.snapshot import BuildSnapshot, TileMark
from shdask.cluster.watch import BuildWatch
from shdask.model import TileEvent
from tests.cluster.processes import wait_until
from tests.cluster.specs import earth_spec

MANY = {"chunk_px": 64, "tile_px": 64}
"""75 tiles."""
WITHOUT_BOKEH = """
import asyncio, sys
sys.modules["bokeh"] = None
from distributed import Scheduler
from shdask.cluster.watch import BuildWatch
async def watch():
    async with Scheduler(host="127.0.0.1", port=0, dashboard_address="127.0.0.1:0") as scheduler:
        await scheduler.register_scheduler_plugin(BuildWatch(), idempotent=True)
        print(scheduler.plugins[BuildWatch.name].snapshots())
asyncio.run(watch())
"""


def look(dask_scheduler: Scheduler) -> list[BuildSnapshot]:
    """Runs on the scheduler."""
    return dask_scheduler.plugins[BuildWatch.name].snapshots()


def ask(key: str, tile: int, dask_scheduler: Scheduler) -> None:
    """Runs on the scheduler, as a page does."""
    dask_scheduler.plugins[BuildWatch.name].ask(key, tile)


def snapshots_of(client: Client, store: object) -> list[BuildSnapshot]:
    return [each for each in client.run_on_scheduler(look) if each.store == str(store)]


def snapshot_of(client: Client, store: object) -> BuildSnapshot:
    (found,) = snapshots_of(client, store)
    return found


def get(client: Client, page: str) -> tuple[int, str]:
    with urlopen(client.dashboard_link.replace("/status", page), timeout=30) as answer:  # noqa: S310  # loopback
        return answer.status, answer.read().decode()


@dataclass(kw_only=True)
class Visitor:
    """Looks once, at the first tile, and asks for one."""

    client: Client
    store: Path
    tile: int
    seen: list[BuildSnapshot] = field(default_factory=list)

    def hear(self, _event: TileEvent) -> None:
        """Of a tile, in the owner's thread."""
        if not self.seen:
            self.seen.append(snapshot_of(self.client, self.store))
            self.client.run_on_scheduler(ask, self.seen[0].key, self.tile)


@pytest.fixture
def watched(client) -> Client:
    """A client whose scheduler watches, as from the first build on."""
    client.register_plugin(BuildWatch())
    return client


@pytest.mark.parametrize("page", ["/shdask", "/status", "/workers"])
def test_every_page_leads_to_ours(watched, page) -> None:
    """The page itself too."""
    status, text = get(watched, page)
    assert status == 200
    assert text.count('<a href="shdask">') == 1


def test_watching_twice_adds_one_page(watched) -> None:
    """Every build brings the plugin along."""
    watched.register_plugin(BuildWatch())
    assert get(watched, "/shdask")[1].count('<a href="shdask">') == 1


def test_the_last_snapshot_tells_what_the_report_does(earth, client, point_at, tmp_path) -> None:
    """Tiles, requests and money of a build that has ended."""
    point_at(earth)
    report = shdask.build_cube(earth_spec(store=MANY), tmp_path / "cube", client=client, max_pu=50.0)
    found = snapshot_of(client, tmp_path / "cube")
    assert (found.end, found.done, found.planned) == ("done", report.tiles, report.tiles)
    assert (found.tiles[TileMark.WRITTEN], found.tiles[TileMark.EMPTY]) == (report.written, report.empty)
    assert (found.requests, found.rejected, found.max_pu) == (report.requests, report.rejected, 50.0)
    assert found.pu_spent == pytest.approx(report.pu_spent)
    assert found.pu_projected == pytest.approx(report.pu_projected)
    assert found.slowest[0].seconds >= found.slowest[-1].seconds > 0


def test_the_map_lies_as_the_plan_does(earth, client, point_at, tmp_path) -> None:
    """What is outside the area is no tile."""
    point_at(earth)
    plan = shdask.make_plan(earth_spec())
    shdask.build_cube(plan, tmp_path / "cube", client=client)
    found = snapshot_of(client, tmp_path / "cube")
    assert np.flatnonzero(found.states != TileMark.OUTSIDE).tolist() == plan.only.tile_set.indices().tolist()
    assert found.states.shape == (1, *plan.only.tile_set.grid_shape)


def test_a_continued_build_begins_with_what_is_done(earth, client, point_at, tmp_path) -> None:
    """Another run is another build to watch."""
    point_at(earth)
    plan = shdask.make_plan(earth_spec())
    tiles = plan.only.tile_set.indices().tolist()
    shdask.run_cube.run_cube(
        plan, tmp_path / "cube", shdask.DaskExecutor(client), shdask.settings.Credentials.load(), only={"": tiles[:3]}
    )
    shdask.build_cube(plan, tmp_path / "cube", client=client)
    now, before = snapshots_of(client, tmp_path / "cube")
    assert (before.done, before.end) == (3, "ended")
    assert (now.done, now.requests) == (len(tiles), len(tiles) - 3)


def test_a_running_build_is_seen_and_explains_its_tiles(earth, client, point_at, tmp_path) -> None:
    """Its owner answers what a page asks, in the plan's own words."""
    point_at(earth)
    plan = shdask.make_plan(earth_spec(store=MANY))
    tile = plan.only.tile_set.indices().tolist()[-1]
    visitor = Visitor(client=client, store=tmp_path / "cube", tile=tile)
    shdask.build_cube(plan, tmp_path / "cube", client=client, on_event=visitor.hear)
    found = snapshot_of(client, tmp_path / "cube")
    assert (visitor.seen[0].ended, visitor.seen[0].planned) == (None, 75)
    assert visitor.seen[0].done >= 1
    assert found.explained[tile].splitlines() == plan.only.explain(tile).lines()


def test_a_build_that_fails_says_why(earth, client, point_at, tmp_path) -> None:
    """Errors by kind with the last message, and how it ended."""
    service = point_at(earth)
    service.set_faults("403")
    with pytest.raises(shdask.ShdaskError):
        shdask.build_cube(earth_spec(), tmp_path / "cube", client=client)
    service.clear_faults()
    found = snapshot_of(client, tmp_path / "cube")
    assert found.end.startswith("QuotaExhausted: ")
    assert found.errors[0].kind == "QuotaExhausted"
    assert found.errors[0].count == sum(error.count for error in found.errors) == found.tiles[TileMark.FAILED]


def test_a_build_ends_with_its_owner(watched) -> None:
    """Whose connection is gone."""
    opening = Opening(
        key="orphan",
        store="/orphan",
        layer="",
        account="",
        grid_shape=(1, 1),
        steps=(),
        states=pack_states(np.zeros(1, np.uint8)),
        max_pu=None,
    )
    with Client(watched.scheduler.address, set_as_default=False) as owner:
        words: dict[str, Any] = {"opening": asdict(opening), "client": owner.id}
        owner.sync(owner.scheduler.shdask_watch_open, **words)
        assert snapshot_of(watched, "/orphan").ended is None
    wait_until(lambda: snapshot_of(watched, "/orphan").ended is not None)
    assert "owner is gone" in snapshot_of(watched, "/orphan").end


async def watch_without_dashboard() -> tuple[list[BuildSnapshot], bool]:
    async with Scheduler(host="127.0.0.1", port=0, dashboard=False, dashboard_address="127.0.0.1:0") as scheduler:
        await scheduler.register_scheduler_plugin(BuildWatch(), idempotent=True)
        return look(scheduler), bool(scheduler.http_application.applications)


def test_a_scheduler_without_a_dashboard_is_watched_all_the_same() -> None:
    """Metrics ask the watch too; no page is made."""
    assert asyncio.run(watch_without_dashboard()) == ([], False)


def test_a_scheduler_without_bokeh_is_watched_all_the_same() -> None:
    """The package is an extra."""
    found = subprocess.run([sys.executable, "-c", WITHOUT_BOKEH], capture_output=True, text=True, check=True)
    assert found.stdout.splitlines()[-1] == "[]"
