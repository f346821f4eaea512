"""Any process of a build is killed at any point, and the same command goes on: same bytes, nothing bought in vain."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from types import SimpleNamespace

import pytest
from distributed.comm import CommClosedError

import shdask
from shdask.assemble.place import open_place
from shdask.build import BuildJob
from shdask.cluster.executor import DaskExecutor
from shdask.emulator.launch import start_emulator
from shdask.errors import BuildError
from shdask.settings import Credentials
from tests.cluster.kill_points import TARGETS, Bench, Outcome, differences, open_bench, read_objects
from tests.cluster.specs import earth_spec
from tests.contract.assemble.conftest import environ, server, url  # noqa: F401  # fixtures

KILLS = [
    pytest.param("owner", 0.8, 0, marks=pytest.mark.long),
    ("one worker", 0.75, 1),
    pytest.param("all workers", 0.85, 0, marks=pytest.mark.long),
    pytest.param("scheduler", 0.8, 0, marks=pytest.mark.long),
    ("everything", 0.9, 0),
]
"""What is killed, when by the share of the build that is done, and which worker."""


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """A job of 36 tiles on a cluster of processes, and what its cube holds when nobody is killed."""
    folder = tmp_path_factory.mktemp("bench")
    record = folder / "record"
    record.mkdir()
    with (
        start_emulator(latency_s=0.3, record=str(record)) as service,
        open_bench(folder, service, record, tile_px=96) as bench,
    ):
        bench.measure(str(folder / "undisturbed"), times=1)
        yield bench


def assert_right(bench: Bench, outcome: Outcome) -> None:
    """What must hold wherever the build was killed."""
    assert outcome.exit_codes[-1] == 0, outcome.told
    assert set(outcome.exit_codes) <= {0, BuildError.exit_code, -signal.SIGKILL}, outcome.told
    assert outcome.differing == ()
    assert outcome.again_without_need == ()
    assert outcome.skipped is None or outcome.skips_are_right(bench.plan.tile_count), outcome


@pytest.mark.parametrize(("target", "share", "luck"), KILLS)
def test_killed_build_goes_on(bench, tmp_path, target, share, luck) -> None:
    """Only what was in flight is bought again, the rest is skipped, and the bytes are those of an undisturbed build."""
    assert target in TARGETS
    assert_right(bench, bench.strike(str(tmp_path / "cube"), target, share, luck))


@pytest.mark.long
def test_killed_build_in_a_bucket_goes_on(url, tmp_path) -> None:  # noqa: F811  # a fixture
    """The same with everything killed at once and the cube in S3."""
    record = tmp_path / "record"
    record.mkdir()
    with (
        start_emulator(latency_s=0.3, record=str(record)) as service,
        open_bench(tmp_path, service, record, tile_px=128) as bench,
    ):
        bench.measure(f"{url}-undisturbed", times=1)
        assert_right(bench, bench.strike(url, "everything", 0.8, 0))


def test_scheduler_that_is_lost_while_a_build_begins_is_told(tmp_path) -> None:
    """A connection that breaks before the first tile is no fault of ours, and says what to do."""

    def lose(_plugin: object) -> None:
        raise CommClosedError("gone")

    client = SimpleNamespace(scheduler=SimpleNamespace(address="tcp://127.0.0.1:1"), register_plugin=lose)
    job = BuildJob(
        plan=shdask.make_plan(earth_spec()).only, cube=None, credentials=Credentials(client_id="a", client_secret="b")
    )
    with pytest.raises(BuildError, match="connection to the scheduler is lost"):
        DaskExecutor(client).start(job, None)


def test_objects_that_differ_are_found(earth, client, point_at, tmp_path) -> None:
    """The comparison above sees one byte in one shard, and an object too many."""
    point_at(earth)
    shdask.build_cube(earth_spec(), tmp_path / "cube", client=client)
    before = read_objects(open_place(tmp_path / "cube"))
    shard = tmp_path / "cube" / "B02" / "c" / "0" / "0"
    shard.write_bytes(shard.read_bytes()[:-1] + b"\x00")
    shard.with_name("0.left.partial").write_bytes(b"")
    after = read_objects(open_place(tmp_path / "cube"))
    assert differences(before, after) == ("B02/c/0/0", "B02/c/0/0.left.partial")
