"""What jobs of earlier builds hold is used, whatever is asked for now; and nothing of it is left, where asked for."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from shapely import box
from shapely.geometry import mapping

import shdask
from shdask.assemble.ledger import read_ledger
from shdask.emulator.launch import start_emulator
from shdask.plan.cube import ROOT
from shdask.report import BuildReport
from shdask.run_cube import run_cube
from shdask.settings import Credentials
from tests.contract.async_bench import ADMIN, BUCKET, HASTE, Bench
from tests.contract.test_async_builds import count_known, differing, run_until
from tests.seaweed import start_seaweed

SERIAL = shdask.SerialExecutor(patience=HASTE)
SMALL, LARGE = box(453200, 5094200, 456500, 5096500), box(453200, 5094200, 457900, 5097900)
"""Of which both end within a tile."""
EXTENT = (453000.0, 5094000.0, 463240.0, 5101680.0)
"""256 x 192 pixels of 40 m: four by three tiles."""


@pytest.fixture(scope="module")
def one_bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """A bucket of SeaweedFS, and an emulator that delivers to it."""
    with start_seaweed(tmp_path_factory.mktemp("seaweed"), [ADMIN]) as server:
        server.make_bucket(BUCKET, ADMIN)
        with start_emulator(s3_endpoint=server.endpoint) as service:
            yield Bench(service=service, server=server)


@pytest.fixture
def bench(one_bench: Bench, monkeypatch: pytest.MonkeyPatch) -> Bench:
    """Both as new, in the environment."""
    one_bench.service.clear_faults()
    one_bench.service.reset()
    for name, value in {**one_bench.service.environment(), **ADMIN.environ, "AWS_REGION": "us-east-1"}.items():
        monkeypatch.setenv(name, value)
    return one_bench


@pytest.fixture
def prefix(tmp_path: Path) -> str:
    """A folder of the bucket for one test alone."""
    return tmp_path.name


@pytest.fixture(scope="module")
def right(one_bench: Bench, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The cube of the bench's own plan, built by Process."""
    folder = tmp_path_factory.mktemp("right") / "cube"
    with pytest.MonkeyPatch.context() as patch:
        [patch.setenv(*variable) for variable in one_bench.service.environment().items()]
        shdask.build_cube(one_bench.plan("none", route="process"), folder, executor=SERIAL).raise_for_failures()
    return folder


def build(plan: shdask.CubePlan, store: Path, *, only: Sequence[int] | None = None) -> BuildReport:
    """In this process; of some tiles ``only``, where they are told."""
    tiles = None if only is None else {ROOT: only}
    return run_cube(plan, store, SERIAL, Credentials.load(), only=tiles)


def ends(store: Path) -> dict[str, str | None]:
    """What became of each job."""
    return {key: record.end for key, record in read_ledger(store).jobs.items()}


def test_some_tiles_first_and_the_others_later(bench: Bench, prefix: str, right: Path, tmp_path: Path) -> None:
    """A build of one tile dies with its jobs open; the whole build takes them, and orders the rest."""
    plan, store = bench.plan(prefix), tmp_path / "cube"
    one = int(plan.only.tile_set.indices()[0])
    bench.service.set_faults("slow=1")
    run_until(plan, store, lambda: count_known(store) == 2, only=[one])
    bench.service.clear_faults()
    report = build(plan, store)
    assert differing(store, right) == []
    assert (bench.submits(), report.jobs, report.pu_spent, report.notes) == (10, 8, 80.0, ())
    assert set(ends(store).values()) == {"collected"}
    assert "t0-r0-c0-p0-n2" in ends(store)


def test_one_tile_of_jobs_that_are_paid_for(bench: Bench, prefix: str, right: Path, tmp_path: Path) -> None:
    """A build of one tile reads it from the files of its whole block, and leaves them to the build of the others."""
    plan, store = bench.plan(prefix), tmp_path / "cube"
    bench.service.set_faults("slow=1")
    run_until(plan, store, lambda: count_known(store) == 8)
    report = build(plan, store, only=[int(plan.only.tile_set.indices()[0])])
    assert (report.written, report.pu_spent) == (1, 0.0)
    assert sorted(map(str, ends(store).values()))[-2:] == ["done", "done"]
    assert build(plan, store).pu_spent == 0.0
    assert bench.submits() == 8
    assert differing(store, right) == []


def test_area_that_has_grown_takes_what_its_jobs_hold(bench: Bench, prefix: str, tmp_path: Path) -> None:
    """Tiles that the open jobs hold whole are made of them; only what sticks out is ordered again, and that is told."""
    fields: dict[str, Any] = {"extent": EXTENT, "aoi_crs": "EPSG:32633", "store": {"chunk_px": 32, "tile_px": 64}}
    small, large = (bench.plan(prefix, aoi=mapping(area), **fields) for area in (SMALL, LARGE))
    store, first = tmp_path / "cube", small.cost.jobs
    bench.service.set_faults("slow=1")
    run_until(small, store, lambda: count_known(store) == first)
    report = build(large, store)
    build(bench.plan("none", aoi=mapping(LARGE), route="process", **fields), tmp_path / "right")
    assert differing(store, tmp_path / "right") == []
    assert any("do not hold what is needed now of 2 tiles" in note for note in report.notes)
    assert report.pu_spent == 10.0 * (bench.submits() - first)
    became = list(ends(store).values())
    assert (became.count(None), became.count("collected")) == (2, len(became) - 2)


def test_only_the_part_that_is_not_to_be_had_is_bought(bench: Bench, prefix: str, right: Path, tmp_path: Path) -> None:
    """Jobs of the classes fail again and again: the bands come from their jobs, and Process sells the classes alone."""
    bench.service.set_faults([{"kind": "fail", "contains": "SCL"}])
    plan, store = bench.plan(prefix, job_px=512), tmp_path / "cube"
    report = build(plan, store)
    assert differing(store, right) == []
    bodies = [json.dumps(body) for body in bench.service.requests() if "delivery" not in body["output"]]
    assert len(bodies) == plan.only.tile_count
    assert all("SCL" in body and "B08" not in body for body in bodies)
    assert report.pu_spent == pytest.approx(bench.service.stats()["pu_charged"], rel=1e-6)
    assert sorted(map(str, ends(store).values())) == ["collected", "failed"]


def test_what_was_left_is_cleaned_later(bench: Bench, prefix: str, right: Path, tmp_path: Path) -> None:
    """A build that is asked to, and has nothing else to do, deletes what earlier ones left, failed jobs' as well."""
    bench.service.set_faults("fail@1")
    build(bench.plan(prefix), tmp_path / "cube")
    assert any(key.endswith("error.json") for key in bench.keys(prefix))
    report = build(bench.plan(prefix, delivery={"cleanup": True}), tmp_path / "cube")
    assert (bench.keys(prefix), report.notes, report.pu_spent) == ([], (), 0.0)
    assert set(ends(tmp_path / "cube").values()) == {"cleaned"}
    assert differing(tmp_path / "cube", right) == []


def forget_checksums(store: Path) -> None:
    """As after a kill between a tile and its row."""
    path = store / ".shdask" / "ledger.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    path.write_text("".join(json.dumps({k: v for k, v in row.items() if k != "checksum"}) + "\n" for row in rows))


def test_tile_without_a_checksum_is_compared_with_its_files(bench: Bench, prefix: str, tmp_path: Path) -> None:
    """What no row tells is told by the files themselves, which go once they are what the cube holds."""
    build(bench.plan(prefix), tmp_path / "cube")
    forget_checksums(tmp_path / "cube")
    report = build(bench.plan(prefix, delivery={"cleanup": True}), tmp_path / "cube")
    assert (bench.keys(prefix), report.notes) == ([], ())


def test_files_of_a_tile_that_is_broken_are_kept(bench: Bench, prefix: str, tmp_path: Path) -> None:
    """Of a tile that holds other pixels than its files nothing is deleted, and it is told which."""
    plan = bench.plan(prefix)
    build(plan, tmp_path / "cube")
    forget_checksums(tmp_path / "cube")
    tile = plan.only.tile(int(plan.only.tile_set.indices()[0]))
    array = zarr.open_group(tmp_path / "cube", mode="r+")["B02"]
    assert isinstance(array, zarr.Array)
    array[tile.extent.slices] = np.asarray(array[tile.extent.slices]) + np.uint16(1)
    report = build(bench.plan(prefix, delivery={"cleanup": True}), tmp_path / "cube")
    assert [note.endswith("tile 0 holds other pixels than were stored") for note in report.notes] == [True]
    assert len([key for key in bench.keys(prefix) if key.endswith("default.tif")]) == 2
