"""Builds by jobs on a real cluster: what waits takes no worker, and a killed owner's jobs are taken up."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from distributed import Client

import shdask
from shdask.cluster.local import open_local_client
from shdask.cluster.patience import Patience
from shdask.emulator.launch import start_emulator
from shdask.report import Progress
from shdask.run_cube import run_cube
from shdask.settings import Credentials
from tests.cluster.job_chaos import strike
from tests.contract.async_bench import ADMIN, BUCKET, HASTE, Bench
from tests.contract.test_async_builds import differing
from tests.seaweed import start_seaweed

RESOLUTION = 40.0
JOBS = 8


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
    environ = {**one_bench.service.environment(), **ADMIN.environ, "AWS_REGION": "us-east-1"}
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    return one_bench


@pytest.fixture(scope="module")
def workers(one_bench: Bench) -> Iterator[Client]:
    """A cluster whose workers have the bucket's keys in their environment."""
    with pytest.MonkeyPatch.context() as patch:
        [patch.setenv(*variable) for variable in {**ADMIN.environ, "AWS_REGION": "us-east-1"}.items()]
        with open_local_client(2) as client:
            yield client


@pytest.fixture(scope="module")
def right(one_bench: Bench, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The cube by Process."""
    folder = tmp_path_factory.mktemp("right") / "cube"
    with pytest.MonkeyPatch.context() as patch:
        for name, value in one_bench.service.environment().items():
            patch.setenv(name, value)
        plan = one_bench.plan("none", route="process", resolution=RESOLUTION)
        shdask.build_cube(plan, folder, executor=shdask.SerialExecutor()).raise_for_failures()
    return folder


def test_workers_bring_home_what_jobs_deliver(bench: Bench, workers: Client, right: Path, tmp_path: Path) -> None:
    """Tiles are read on the cluster, and while jobs run no task is on it."""
    bench.service.set_faults("slow=1")
    tasks: list[tuple[float, int]] = []

    def count(progress: Progress) -> None:
        found = workers.run_on_scheduler(lambda dask_scheduler: len(dask_scheduler.tasks))
        tasks.append((progress.done, found))

    executor = shdask.DaskExecutor(workers, Patience(jobs=HASTE))
    plan = bench.plan(tmp_path.name, resolution=RESOLUTION)
    report = run_cube(plan, tmp_path / "cube", executor, Credentials.load(), on_progress=count)
    assert report.complete
    assert differing(tmp_path / "cube", right) == []
    assert tasks[0] == (0, 0)
    assert (bench.submits(), report.jobs) == (JOBS, JOBS)
    assert bench.calls["POST /auth/realms/main/protocol/openid-connect/token 200"] == 1


def test_a_build_by_jobs_is_watched_as_one(bench: Bench, workers: Client, tmp_path: Path) -> None:
    """However many runs of tiles its jobs take on the cluster, with the jobs by stage."""
    executor = shdask.DaskExecutor(workers, Patience(jobs=HASTE))
    plan = bench.plan(tmp_path.name, resolution=RESOLUTION)
    report = run_cube(plan, tmp_path / "cube", executor, Credentials.load())
    seen, *_ = workers.run_on_scheduler(lambda dask_scheduler: dask_scheduler.plugins["shdask-watch"].snapshots())
    assert (seen.store, seen.end, seen.done) == (str(tmp_path / "cube"), "done", report.tiles)
    assert (dict(seen.jobs), seen.pu_spent) == ({"done": JOBS}, pytest.approx(report.pu_spent))


@pytest.mark.long
def test_jobs_of_a_killed_owner_are_taken_up(bench: Bench, right: Path, tmp_path: Path) -> None:
    """SIGKILL in the middle, with jobs that fail: the cube is right, and no job is ordered twice without need."""
    outcome = strike(bench, tmp_path / "cube", resolution=RESOLUTION, faults="slow=2,fail@2,vanish@5", kill_after=0.6)
    assert outcome.exit_codes == (-9, 0), outcome.told
    assert differing(tmp_path / "cube", right) == []
    assert outcome.orders == outcome.jobs + 2 == JOBS + 2
    assert outcome.pu_of_process == pytest.approx(0.0)
    assert outcome.pu_in_ledger == pytest.approx(outcome.pu_of_jobs)
