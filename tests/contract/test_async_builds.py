"""Cubes that are bought by jobs of Async Process, delivered to a real S3, beside the same by Process."""

from __future__ import annotations

import json
import logging
import pickle
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

import shdask
from shdask.assemble.ledger import read_ledger
from shdask.assemble.status import read_status
from shdask.emulator.launch import EmulatorProcess, start_emulator
from shdask.errors import BudgetExceeded, WrongStore
from shdask.plan.cube import ROOT, CubePlan
from shdask.report import BuildReport, Progress
from shdask.run_cube import run_cube
from shdask.settings import Credentials
from tests.cluster.processes import wait_until
from tests.contract.async_bench import ADMIN, BUCKET, HASTE, READER, Bench
from tests.seaweed import Server, start_seaweed

JOBS = 8
"""Of the bench's plan: four blocks of tiles, and two parts of the layer."""
SERIAL = shdask.SerialExecutor(patience=HASTE)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A bucket of SeaweedFS."""
    with start_seaweed(tmp_path_factory.mktemp("seaweed"), [ADMIN, READER]) as running:
        running.make_bucket(BUCKET, ADMIN)
        yield running


@pytest.fixture(scope="module")
def one_service(server: Server) -> Iterator[EmulatorProcess]:
    """An emulator without limits that delivers to the bucket."""
    with start_emulator(s3_endpoint=server.endpoint) as running:
        yield running


@pytest.fixture
def bench(one_service: EmulatorProcess, server: Server, monkeypatch: pytest.MonkeyPatch) -> Bench:
    """Both as new, in the environment."""
    one_service.clear_faults()
    one_service.reset()
    environ = {**one_service.environment(), **ADMIN.environ, "AWS_REGION": "us-east-1"}
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    return Bench(service=one_service, server=server)


@pytest.fixture
def prefix(tmp_path: Path) -> str:
    """A folder of the bucket for one test alone."""
    return tmp_path.name


def read_all(store: Path) -> dict[str, np.ndarray]:
    """Every array of a cube, but for the states of its tiles."""
    group = zarr.open_group(store, mode="r")
    return {name: array[...] for name, array in group.arrays() if name != "spatial_ref"}


def differing(one: Path, other: Path) -> list[str]:
    """Names of arrays that are not equal, byte by byte."""
    here, there = read_all(one), read_all(other)
    assert set(here) == set(there)
    return [name for name in here if here[name].tobytes() != there[name].tobytes()]


def test_jobs_bring_the_same_bytes_as_process(bench: Bench, prefix: str, tmp_path: Path) -> None:
    """Two months, an area's slanted border, bilinear bands beside nearest classes: equal to the last bit."""
    layer = {"cadence": "month"}
    time = ["2024-06-01", "2024-07-31"]
    by_jobs = bench.plan(prefix, layer=layer, time=time, job_px=256)
    by_process = bench.plan(prefix, layer=layer, time=time, route="process")
    report = shdask.build_cube(by_jobs, tmp_path / "jobs", executor=SERIAL)
    other = shdask.build_cube(by_process, tmp_path / "process", executor=SERIAL)
    assert (report.failed, other.failed, report.jobs) == (0, 0, bench.submits())
    assert report.complete
    assert differing(tmp_path / "jobs", tmp_path / "process") == []


@pytest.fixture(scope="module")
def right(one_service: EmulatorProcess, server: Server, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The cube of the bench's own plan, built by Process."""
    folder = tmp_path_factory.mktemp("right") / "cube"
    with pytest.MonkeyPatch.context() as patch:
        for name, value in one_service.environment().items():
            patch.setenv(name, value)
        bench = Bench(service=one_service, server=server)
        shdask.build_cube(bench.plan("none", route="process"), folder, executor=SERIAL).raise_for_failures()
    return folder


def build(bench: Bench, prefix: str, store: Path, **changes: Any) -> BuildReport:
    """The bench's plan, built by jobs in this process."""
    return shdask.build_cube(bench.plan(prefix, **changes), store, executor=SERIAL)


def test_job_that_fails_is_ordered_again(bench: Bench, prefix: str, right: Path, tmp_path: Path) -> None:
    """What error.json says is told, and the second order brings the pixels."""
    bench.service.set_faults("fail@1")
    report = build(bench, prefix, tmp_path / "cube")
    assert differing(tmp_path / "cube", right) == []
    assert report.complete
    assert any("The job failed: the storage did not answer" in note for note in report.notes)
    assert bench.submits() == report.jobs == JOBS + 1


def test_job_that_always_fails_is_replaced_by_process(bench: Bench, prefix: str, right: Path, tmp_path: Path) -> None:
    """After two orders a lot's tiles are bought by Process, and nothing more is ordered of it."""
    bench.service.set_faults("fail")
    report = build(bench, prefix, tmp_path / "cube", job_px=512)
    assert differing(tmp_path / "cube", right) == []
    assert any("bought by Process" in note for note in report.notes)
    assert bench.calls["POST /api/v1/process 200"] > 0


def test_process_in_place_of_jobs_is_under_the_same_cap(bench: Bench, prefix: str, right: Path, tmp_path: Path) -> None:
    """What jobs that failed have cost is off the cap of what replaces them: 20 + 10 PU of jobs leave too little."""
    bench.service.set_faults("fail")
    plan = bench.plan(prefix, job_px=512)
    enough = shdask.build_cube(plan, tmp_path / "enough", executor=SERIAL, max_pu=50.0)
    assert differing(tmp_path / "enough", right) == []
    assert 30.0 < enough.pu_spent < 50.0
    with pytest.raises(BudgetExceeded, match=r"of max_pu 30\.01"):
        shdask.build_cube(plan, tmp_path / "little", executor=SERIAL, max_pu=30.01)
    assert read_ledger(tmp_path / "little").pu_spent <= 30.01


def test_job_that_vanishes_is_ordered_again(bench: Bench, prefix: str, right: Path, tmp_path: Path) -> None:
    """A job of which neither file nor error came within the time of grace is told, and ordered once more."""
    bench.service.set_faults("vanish@2")
    report = build(bench, prefix, tmp_path / "cube")
    assert differing(tmp_path / "cube", right) == []
    assert [note.split(": ")[1] for note in report.notes] == ["JobDeliveredNothing"]
    assert bench.submits() == JOBS + 1


def test_files_that_come_late_are_waited_for(bench: Bench, prefix: str, right: Path, tmp_path: Path) -> None:
    """Files that appear after the service has forgotten a job, or long before, are found all the same."""
    bench.service.set_faults("late=0.8@1,early=0.8@2")
    report = build(bench, prefix, tmp_path / "cube")
    assert differing(tmp_path / "cube", right) == []
    assert (bench.submits(), report.notes) == (JOBS, ())


def test_lost_answer_is_found_in_the_bucket(bench: Bench, prefix: str, right: Path, tmp_path: Path) -> None:
    """A job whose order was accepted and whose answer was lost is adopted by its objects, and not ordered again."""
    bench.service.set_faults(
        [{"kind": "reset", "service": "async", "contains": "delivery", "charged": True, "times": 1}]
    )
    report = build(bench, prefix, tmp_path / "cube")
    assert differing(tmp_path / "cube", right) == []
    assert len(bench.service.jobs()) == report.jobs == JOBS
    assert any("was found in the bucket by its id" in note for note in report.notes)
    assert report.pu_spent == pytest.approx(sum(job["pu"] for job in bench.service.jobs()))


def test_order_that_never_arrived_is_sent_again(bench: Bench, prefix: str, right: Path, tmp_path: Path) -> None:
    """Of an order whose answer was lost and of which nothing comes, it is told that it was sent again."""
    bench.service.set_faults([{"kind": "reset", "service": "async", "contains": "delivery", "times": 1}])
    report = build(bench, prefix, tmp_path / "cube")
    assert differing(tmp_path / "cube", right) == []
    assert len(bench.service.jobs()) == JOBS
    assert any("it is ordered again" in note for note in report.notes)


def test_as_many_jobs_run_as_the_account_may(
    server: Server, bench: Bench, prefix: str, right: Path, tmp_path: Path, monkeypatch
) -> None:
    """Orders above the account's limit wait for a place; none of them is taken for a failure."""
    with start_emulator(s3_endpoint=server.endpoint, async_concurrency=2) as service:
        for name, value in service.environment().items():
            monkeypatch.setenv(name, value)
        limited = Bench(service=service, server=server)
        service.set_faults("slow=0.5")
        report = build(limited, prefix, tmp_path / "cube")
        assert differing(tmp_path / "cube", right) == []
        assert (limited.submits(), report.notes) == (JOBS, ())
        assert limited.submits(429) > 0


class _Interrupted(Exception):
    pass


def interrupt_when(holds: Callable[[], bool]) -> Callable[[Progress], None]:
    """What a display does that is told to end the build at some moment."""

    def look(_progress: Progress) -> None:
        if holds():
            raise _Interrupted

    return look


def count_known(store: Path) -> int:
    """How many jobs have an id in the ledger."""
    return sum(record.id is not None for record in read_ledger(store).jobs.values())


def run_until(plan: CubePlan, store: Path, holds: Callable[[], bool], *, only: Sequence[int] | None = None) -> None:
    """A build that is torn down at some moment, as if its process had died."""
    tiles = None if only is None else {ROOT: only}
    with pytest.raises(_Interrupted):
        run_cube(plan, store, SERIAL, Credentials.load(), only=tiles, on_progress=interrupt_when(holds))


def test_jobs_of_a_dead_build_are_taken_up(bench: Bench, prefix: str, right: Path, tmp_path: Path) -> None:
    """A build that dies while its jobs run leaves their ids; the next one orders nothing and pays nothing."""
    bench.service.set_faults("slow=2")
    plan = bench.plan(prefix)
    run_until(plan, tmp_path / "cube", lambda: count_known(tmp_path / "cube") == JOBS)
    report = shdask.build_cube(plan, tmp_path / "cube", executor=SERIAL, max_pu=1.0)
    assert differing(tmp_path / "cube", right) == []
    assert (bench.submits(), report.jobs, report.pu_spent, report.pu_projected) == (JOBS, 0, 0.0, 0.0)
    assert read_ledger(tmp_path / "cube").pu_spent == pytest.approx(10.0 * JOBS)


def test_status_tells_of_jobs_that_are_paid_for(bench: Bench, prefix: str, tmp_path: Path) -> None:
    """After a build has died it is said what its jobs have cost, what is left to pay, and who takes them up."""
    bench.service.set_faults("slow=5")
    run_until(bench.plan(prefix), tmp_path / "cube", lambda: count_known(tmp_path / "cube") == JOBS)
    status = read_status(tmp_path / "cube")
    assert (sum(status.jobs.values()), status.jobs["running"]) == (JOBS, JOBS)
    assert (status.pu_in_jobs, status.pu_left) == (10.0 * JOBS, 0.0)
    assert f"jobs      {JOBS} running, of {10.0 * JOBS:.2f} PU; the next build takes them up" in str(status)


def test_jobs_that_ended_meanwhile_are_collected(bench: Bench, prefix: str, right: Path, tmp_path: Path) -> None:
    """Jobs that have delivered and are forgotten by the service when the next build begins are found in the bucket."""
    plan = bench.plan(prefix)
    run_until(plan, tmp_path / "cube", lambda: count_known(tmp_path / "cube") == JOBS)
    wait_until(lambda: bench.service.stats()["jobs"]["delivered"] == JOBS)
    report = shdask.build_cube(plan, tmp_path / "cube", executor=SERIAL)
    assert differing(tmp_path / "cube", right) == []
    assert (bench.submits(), report.jobs) == (JOBS, 0)


def test_paid_jobs_are_collected_by_any_route(bench: Bench, prefix: str, right: Path, tmp_path: Path) -> None:
    """A build that goes by Process now takes up the jobs that are paid for, and buys no pixel of theirs."""
    bench.service.set_faults("slow=2")
    run_until(bench.plan(prefix), tmp_path / "cube", lambda: count_known(tmp_path / "cube") == JOBS)
    shdask.build_cube(bench.plan(prefix, route="process"), tmp_path / "cube", executor=SERIAL)
    assert differing(tmp_path / "cube", right) == []
    assert not any("/api/v1/process" in call for call in bench.calls)


def test_jobs_that_lie_elsewhere_are_told(bench: Bench, prefix: str, right: Path, tmp_path: Path) -> None:
    """A build that is not told where paid jobs deliver to buys their tiles, and says so, and where they lie."""
    bench.service.set_faults("slow=2")
    run_until(bench.plan(prefix), tmp_path / "cube", lambda: count_known(tmp_path / "cube") == JOBS)
    report = build(bench, "elsewhere", tmp_path / "cube", route="process")
    assert differing(tmp_path / "cube", right) == []
    (note,) = report.notes
    assert note.startswith(f"{JOBS} jobs of an earlier run are paid for, deliver to s3://{BUCKET}/{prefix}/")


def test_jobs_deliver_as_a_role(
    server: Server, bench: Bench, prefix: str, right: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a role the service needs no key of ours, and this process only such as may read."""
    role = "arn:aws:iam::123456789012:role/deliver"
    with start_emulator(s3_endpoint=server.endpoint, s3_roles={role: (ADMIN.key_id, ADMIN.secret)}) as service:
        for name, value in {**service.environment(), **READER.environ}.items():
            monkeypatch.setenv(name, value)
        report = build(
            Bench(service=service, server=server), prefix, tmp_path / "cube", delivery={"iam_role_arn": role}
        )
    assert report.jobs == JOBS
    assert differing(tmp_path / "cube", right) == []


def test_unwritable_bucket_is_found_before_anything_is_paid(
    bench: Bench, prefix: str, tmp_path: Path, monkeypatch
) -> None:
    """Keys that may only read stop the build before its first order, and it is said what to allow them."""
    for name, value in READER.environ.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(WrongStore, match="allow them to list, read, write and delete"):
        build(bench, prefix, tmp_path / "cube")
    assert not any("/async/process" in call for call in bench.calls)


def test_tiles_are_recorded_before_their_jobs_are_closed(bench: Bench, prefix: str, tmp_path: Path) -> None:
    """A kill between both leaves a job that is open, never an empty tile whose job is gone."""
    build(bench, prefix, tmp_path / "cube", job_px=512)
    lines = (tmp_path / "cube" / ".shdask" / "ledger.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    last_tile = max(number for number, row in enumerate(rows) if "tile" in row)
    assert min(number for number, row in enumerate(rows) if row.get("became") == "collected") > last_tile


def test_bucket_is_cleaned_on_request(bench: Bench, prefix: str, right: Path, tmp_path: Path) -> None:
    """With cleanup nothing of a job is left in the bucket once its tiles are durable and read back; else all is."""
    build(bench, f"{prefix}-clean", tmp_path / "clean", delivery={"cleanup": True})
    build(bench, f"{prefix}-kept", tmp_path / "kept")
    assert bench.keys(f"{prefix}-clean") == []
    assert len([key for key in bench.keys(f"{prefix}-kept") if key.endswith("default.tif")]) == JOBS
    assert differing(tmp_path / "clean", right) == []


def test_no_secret_is_kept(bench: Bench, prefix: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The keys of the bucket stand in no file of the cube, no line of a log, and nothing that travels."""
    caplog.set_level(logging.DEBUG)
    bench.service.set_faults([{"kind": "reset", "service": "async", "contains": "delivery", "times": 1}])
    build(bench, prefix, tmp_path / "cube")
    assert ADMIN.secret not in caplog.text
    assert ADMIN.secret.encode() not in pickle.dumps(bench.plan(prefix))
    files = [path for path in (tmp_path / "cube").rglob("*") if path.is_file()]
    assert (tmp_path / "cube" / ".shdask" / "ledger.jsonl") in files
    assert not any(ADMIN.secret.encode() in path.read_bytes() for path in files)


def test_cap_that_equals_the_price_is_enough(bench: Bench, prefix: str, right: Path, tmp_path: Path) -> None:
    """What is paid for is brought home, though nothing is left of the cap."""
    plan = bench.plan(prefix)
    shdask.build_cube(plan, tmp_path / "cube", executor=SERIAL, max_pu=10.0 * JOBS)
    assert differing(tmp_path / "cube", right) == []


def test_cap_on_the_way_keeps_what_is_paid(bench: Bench, prefix: str, right: Path, tmp_path: Path) -> None:
    """A job that must be ordered again and does not fit the cap stops the build; the rest is in the cube."""
    bench.service.set_faults("fail@1")
    plan = bench.plan(prefix)
    with pytest.raises(
        BudgetExceeded, match=r"stopped at 80.00 PU spent of max_pu 80 with [24] tiles left, which cost 10.00 PU"
    ):
        shdask.build_cube(plan, tmp_path / "cube", executor=SERIAL, max_pu=10.0 * JOBS)
    assert bench.submits() == JOBS
    report = shdask.build_cube(plan, tmp_path / "cube", executor=SERIAL)
    assert report.jobs == 1
    assert differing(tmp_path / "cube", right) == []
