"""What a cube's place says of its build."""

from __future__ import annotations

import json
import os
import shlex
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import shapely
import zarr
from pyproj import Transformer

from shdask.assemble.failed import failed_tiles, write_failed_tiles
from shdask.assemble.ledger import Ledger
from shdask.assemble.spool import Spool, spool_name
from shdask.assemble.status import read_status
from shdask.assemble.store import CubeStore, create_or_open
from shdask.errors import WrongStore
from shdask.model import TileEvent, TileState
from tests.unit.figures import RUN

from .conftest import TILES

JOB = "/jobs/a job.toml"
NOBODY = 2**22 + 1
"""No process has so high a number: Linux ends at 2**22."""


@pytest.fixture(autouse=True)
def spool(tmp_path: Path, monkeypatch) -> Spool:
    """A spool of the test's own."""
    monkeypatch.setenv("SHDASK_SPOOL", str(tmp_path / "spool"))
    return Spool.of_this_user()


@pytest.fixture
def cube(plan, tmp_path: Path) -> CubeStore:
    """An empty cube of eight tiles."""
    return create_or_open(plan, tmp_path / "cube")


def event(tile: int, state: TileState = TileState.EMPTY, **fields: object) -> TileEvent:
    return TileEvent(**{"tile": tile, "state": state, "finished": time.time() - 1, **fields})


def build(cube: CubeStore, *events: TileEvent, **end: object) -> None:
    """A run that records ``events`` and ends as it is told; without ``end`` it is killed."""
    with Ledger.open(cube.place) as ledger:
        ledger.begin_run(pu_projected=1.0, job=JOB, options=("--workers", "2"))
        ledger.append(events)
        if end:
            ledger.end_run(**end)


def claim(cube: CubeStore, *, host: str, pid: int, silent_s: float) -> None:
    """Leave an owner's claim as a process leaves it that cannot take it back."""
    row = {"host": host, "pid": pid, "beat": time.time() - silent_s, "note": {"waiting_for": "answers"}}
    cube.place.write(".shdask/owner.json", json.dumps(row).encode())


def lines(cube: CubeStore) -> list[str]:
    return str(read_status(cube.place)).splitlines()


def test_a_cube_that_was_cut_short_while_it_was_created_is_told(tmp_path) -> None:
    """Before there are tiles there is no status, and the cure is the build."""
    zarr.open_group(tmp_path / "cube", mode="a").update_attributes({"shdask_version": "0"})
    with pytest.raises(WrongStore, match="run its build again"):
        read_status(tmp_path / "cube")


def test_tiles_are_counted_by_state(cube) -> None:
    """As the ledger has them, the rest untried."""
    build(cube, event(0), event(3, TileState.FAILED, error="x"), event(4, TileState.WRITTEN))
    found = read_status(cube.place)
    assert (found.tiles, found.written, found.empty, found.failed, found.untried) == (8, 1, 1, 1, 5)


def test_an_error_that_several_tiles_met_is_told_once(cube) -> None:
    """With the tiles that met it, in order."""
    failed = [event(tile, TileState.FAILED, error=text) for tile, text in ((7, "no"), (3, "cut short"), (4, "no"))]
    build(cube, *failed)
    told = [line for line in lines(cube) if line.startswith("tile")]
    assert told[1:] == ["tiles 4, 7: no", "tile 3: cut short"]


def test_what_is_left_is_priced_by_its_pixels(cube, plan) -> None:
    """The projection's share of the tiles that are neither written nor empty."""
    build(cube, *(event(tile) for tile in TILES[:7]))
    left = plan.window_pu(plan.tile(8).windows[0])
    assert read_status(cube.place).pu_left == pytest.approx(left)


def test_a_cube_with_nothing_left_needs_nothing(cube) -> None:
    """There is no command to run."""
    build(cube, *(event(tile) for tile in TILES))
    assert (read_status(cube.place).pu_left, read_status(cube.place).command) == (0.0, None)


def test_the_next_command_can_be_pasted(cube) -> None:
    """Job, store and options of the last run, quoted for a shell."""
    build(cube, event(0))
    words = shlex.split(read_status(cube.place).command)
    assert words == ["shdask", "build", JOB, cube.place.name, "--workers", "2"]
    assert "'/jobs/a job.toml'" in lines(cube)[-1]


def test_a_cap_that_was_reached_is_raised_in_the_next_command(cube) -> None:
    """Above what is left; the old cap would stop it at once."""
    with Ledger.open(cube.place) as ledger:
        ledger.begin_run(pu_projected=1.0, job=JOB, options=("--max-pu", "0.001", "--workers", "2"))
        ledger.end_run(exit_code=4, error="BudgetExceeded: stopped")
    words = shlex.split(read_status(cube.place).command)
    assert words[4:] == ["--workers", "2", "--max-pu", "1"]


def test_a_quota_that_is_used_up_says_until_when(cube) -> None:
    """The build is parked, and when it may go on is told."""
    build(cube, exit_code=4, error="QuotaExhausted: 403", resume_at="2026-12-01T00:00:00Z")
    found = read_status(cube.place)
    assert found.next == "the account's quota is used up until 2026-12-01T00:00:00Z; then go on"
    assert found.ended["resume_at"] == "2026-12-01T00:00:00Z"


def test_what_the_last_run_was_to_cost_and_did_is_told(cube) -> None:
    """In PU and in minutes, for people and for machines."""
    build(cube, event(0), exit_code=0, figures=RUN)
    told = [line for line in lines(cube) if line.startswith("last run")]
    assert told == ["last run  3.00 PU, 2.00 projected; 0.5 min, 0.3 projected"]
    assert read_status(cube.place).as_dict()["ended"]["figures"]["answers_s"] == 4.0


def test_how_the_last_run_ended_is_told(cube) -> None:
    """With its error and exit code."""
    build(cube, event(0), exit_code=3, error="AuthError: refused")
    assert "stopped   AuthError: refused (exit code 3)" in lines(cube)
    assert "SH_CLIENT_ID" in read_status(cube.place).next


def test_a_living_owner_is_told_with_what_it_waits_for(cube) -> None:
    """Host, process and heartbeat, and that one should wait."""
    with Ledger.open(cube.place) as ledger:
        sums = {"max_pu": 5.0, "pu_spent": 1.0, "pu_projected": 2.0, "requests_per_minute": 60.0, "rejected": 3}
        ledger.say({"waiting_for": "request permits (600 a minute)", **sums})
        ledger.lease.beat()
        found, text = read_status(cube.place), lines(cube)
    assert (found.owner, found.owner_state) == (f"{socket.gethostname()}:{os.getpid()}", "living")
    assert "waits for request permits (600 a minute)" in text
    assert "this run  1.00 of 2.00 PU, cap 5; 60 requests/min, 3 answered 429" in text
    assert found.command == f"shdask status {cube.place.name}"


def test_an_owner_whose_process_is_gone_is_gone(cube) -> None:
    """Killed on this machine: nothing it said holds any more, and the build can go on."""
    claim(cube, host=socket.gethostname(), pid=NOBODY, silent_s=5)
    found = read_status(cube.place)
    assert (found.owner_state, found.waiting_for) == ("gone", None)
    assert f"owner     {socket.gethostname()}:{NOBODY}, gone without a goodbye, heard of 5 s ago" in lines(cube)
    assert found.next == "go on; only what is missing is fetched"


@pytest.mark.parametrize("host", ["elsewhere", socket.gethostname()])
def test_an_owner_that_is_silent_is_unknown(cube, host) -> None:
    """It may be stopped, asleep or cut off: a person must look."""
    claim(cube, host=host, pid=os.getpid(), silent_s=600)
    found = read_status(cube.place)
    assert found.owner_state == "unknown"
    assert "unknown, heard of 10 min ago: stopped, asleep or cut off" in "\n".join(lines(cube))
    assert found.next.startswith(f"see whether {host}:{os.getpid()} still works")


def test_an_owner_elsewhere_lives_by_its_heartbeat(cube) -> None:
    """Its process cannot be looked at from here."""
    claim(cube, host="elsewhere", pid=1, silent_s=20)
    assert read_status(cube.place).owner_state == "living"


def test_the_end_is_estimated_from_the_last_tiles(cube) -> None:
    """Four tiles in the last four seconds, and four are left: about four seconds, and no less."""
    now = time.time()
    with Ledger.open(cube.place) as ledger:
        ledger.begin_run(pu_projected=1.0)
        ledger.append([event(tile, finished=now - 4 + place) for place, tile in enumerate(TILES[:4])])
        low, high = read_status(cube.place).eta_s
    assert 4.0 <= low <= high < 60.0


def test_tiles_that_wait_for_the_store_are_told(cube, spool, pixels) -> None:
    """They are paid for; those of other cubes are not counted."""
    tile = cube.plan.tile(3)
    spool.keep(spool_name(cube, tile, "a" * 64), pixels.of(tile))
    spool.keep("0123456789abcdef-2-b.npz", pixels.of(tile))
    build(cube, exit_code=5, error="StoreUnavailable: full")
    found = read_status(cube.place)
    assert (found.spooled, found.spool) == (1, str(spool.folder))
    assert found.next.startswith("mend the store, then go on; tiles that are paid for wait on this machine's disk: 1")


def test_the_status_is_json(cube) -> None:
    """Whatever happened."""
    build(cube, event(0), event(1, TileState.FAILED, error="x"), exit_code=5, error="1 tiles failed")
    assert json.loads(json.dumps(read_status(cube.place).as_dict()))["errors"] == {"1": "x"}


def test_failed_tiles_are_a_map(cube, plan) -> None:
    """Each in longitude and latitude where its pixels are, with its error."""
    build(cube, event(5, TileState.FAILED, error="DecodeError: torn"), event(1))
    (feature,) = failed_tiles(cube.place)["features"]
    extent = plan.tile(5).extent
    x, y = 500000 + (extent.x0 + extent.x1) * 5, 5000000 - (extent.y0 + extent.y1) * 5
    centre = Transformer.from_crs("EPSG:32633", "EPSG:4326", always_xy=True).transform(x, y)
    outline = shapely.geometry.shape(feature["geometry"])
    assert feature["properties"]["error"] == "DecodeError: torn"
    assert (outline.centroid.x, outline.centroid.y) == pytest.approx(centre, abs=1e-6)


def test_a_map_that_cannot_be_written_is_refused(cube, tmp_path) -> None:
    """With the path and the cure."""
    with pytest.raises(WrongStore, match=r"nothing/here\.geojson: No such file or directory: choose another folder"):
        write_failed_tiles(cube.place, tmp_path / "nothing" / "here.geojson")


def test_another_process_reads_the_status_of_a_running_build(cube) -> None:
    """Without a cluster, and without the lease."""
    with Ledger.open(cube.place):
        words = [sys.executable, "-m", "shdask", "status", cube.place.name, "--json"]
        found = subprocess.run(words, capture_output=True, text=True, check=True)
    assert json.loads(found.stdout)["owner_state"] == "living"
