"""Jobs ordered from the emulator, delivered to a real S3, found there and read into tiles."""

from __future__ import annotations

import dataclasses
import os
import pickle
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import obstore
import pytest

from shdask.emulator.launch import EmulatorProcess, start_emulator
from shdask.errors import JobQueueFull, JobSubmitLost, SpoiltDelivery, StoreUnavailable, WrongStore
from shdask.fetch.async_process import job_body, poll_job, submit_job
from shdask.fetch.bucket import PIECE_NBYTES, Bucket
from shdask.fetch.client import Spent
from shdask.fetch.delivery import Found, fetch_delivered, find_delivery
from shdask.fetch.process import Purchase, fetch_tile
from shdask.model import TileData
from shdask.plan.delivery_spec import DeliveryOptions
from shdask.plan.jobs import Job, make_jobs
from shdask.s3_access import S3Keys
from tests.contract.fetch.cutter import Cutter, start_cutter
from tests.contract.fetch.test_layers import NDVI
from tests.seaweed import Keys, Server, start_seaweed

ADMIN = Keys(key_id="admin-key", secret="admin-secret")
WRITER = Keys(key_id="writer-key", secret="writer-secret", actions=("Read", "Write", "List"))
READER = Keys(key_id="reader-key", secret="reader-secret", actions=("Read", "List"))
ROLE = "arn:aws:iam::123456789012:role/deliver"
WITHIN_S = 60.0
S2 = {"collection": "sentinel-2-l2a"}
PARTS = {**S2, "bands": ["B02", "SCL", "CLD"], "resampling": "bilinear", "units": "REFLECTANCE"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """SeaweedFS."""
    with start_seaweed(tmp_path_factory.mktemp("seaweed"), [ADMIN, WRITER, READER]) as server:
        server.make_bucket("deliveries", ADMIN)
        yield server


@pytest.fixture(scope="module")
def emulator(server: Server) -> Iterator[EmulatorProcess]:
    """An emulator that delivers there, one job at a time."""
    roles = {ROLE: (WRITER.key_id, WRITER.secret)}
    with start_emulator(s3_endpoint=server.endpoint, s3_roles=roles, renderers=1, async_concurrency=1) as process:
        yield process


@pytest.fixture(autouse=True)
def _fresh(emulator: EmulatorProcess, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    emulator.clear_faults()
    emulator.reset()
    [monkeypatch.delenv(name, raising=False) for name in list(os.environ) if name.startswith("AWS_")]
    monkeypatch.setenv("AWS_ENDPOINT_URL", server.endpoint)
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    [monkeypatch.setenv(name, value) for name, value in WRITER.environ.items()]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Desk:
    """Who orders jobs for a plan."""

    room: Any
    plan: Any
    bucket: Bucket
    emulator: EmulatorProcess
    spent: Spent

    def jobs(self) -> list[Job]:
        """All of the plan."""
        return make_jobs(self.plan, [tile.index for tile in self.plan.tiles()])

    def order(self, job: Job, keys: S3Keys | None = None) -> str:
        """The id of a job that was accepted."""
        body = job_body(self.plan, job, job.key, keys or S3Keys.load())
        return submit_job(self.room.client, body, job.pu, self.spent)

    def wait(self, what: Callable[[dict[str, Any]], bool] = lambda job: job["ended"] is not None) -> None:
        """Until this holds of the last job: by default, that it has come to an end."""
        deadline = time.monotonic() + WITHIN_S
        while not what(self.emulator.jobs()[-1]):
            assert time.monotonic() < deadline
            time.sleep(0.02)

    def look(self, job: Job) -> Found:
        """What lies where it delivers."""
        outputs = [picture.identifier for picture in self.plan.layer.parts[job.part].pictures]
        return find_delivery(self.bucket, job.key, outputs)

    def run(self, job: Job) -> Found:
        """What a job has delivered in the end."""
        self.order(job)
        self.wait()
        return self.look(job)

    def rows(self) -> list[list[Any]]:
        """The plan's tiles, row by row."""
        tiles = list(self.plan.tiles())
        return [[tile for tile in tiles if tile.row == row] for row in sorted({tile.row for tile in tiles})]

    def collect(self, found: list[Found], bucket: Bucket | None = None) -> list[TileData]:
        """All tiles, from the files of a job for each part."""
        window, keys = self.jobs()[0].window, [each.keys for each in found]
        by_row = [fetch_delivered(self.plan, row, window, keys, bucket or self.bucket) for row in self.rows()]
        return [data for row in by_row for data in row]

    def bought(self) -> list[TileData]:
        """The same tiles by Process."""
        return [fetch_tile(self.plan, tile, self.room.client) for row in self.rows() for tile in row]


@pytest.fixture
def open_desk(emulator: EmulatorProcess, open_room: Any, plan_of: Any, tmp_path: Path) -> Callable[..., Desk]:
    """Makes a desk for a layer, in a folder of the bucket for one test alone."""

    def make(*, where: EmulatorProcess = emulator, role: str | None = None, **fields: Any) -> Desk:
        room = open_room(where)
        place = DeliveryOptions(s3_url=f"s3://deliveries/{tmp_path.name}", iam_role_arn=role)
        plan = dataclasses.replace(plan_of(room, **fields).with_windows(), delivery=place)
        return Desk(room=room, plan=plan, bucket=Bucket.from_url(place.s3_url), emulator=where, spent=Spent())

    return make


def assert_equal(found: list[TileData], expected: list[TileData]) -> None:
    """Bit for bit, in values, masks and types."""
    assert len(found) == len(expected) > 0
    assert any(data.data_mask.any() for data in expected)
    np.testing.assert_array_equal([data.data_mask.sum() for data in found], [data.data_mask.sum() for data in expected])
    for mine, theirs in zip(found, expected, strict=True):
        assert mine.values.dtype == theirs.values.dtype
        np.testing.assert_array_equal(mine.data_mask, theirs.data_mask)
        np.testing.assert_array_equal(mine.values, theirs.values)


@pytest.mark.parametrize(
    "layer",
    [
        {**S2, "bands": ["B02", "B04", "SCL"]},
        PARTS,
        {**S2, "evalscript": NDVI, "input_bands": ["B04", "B08"],
         "outputs": {"index": {"bands": ["ndvi"], "dtype": "float32"}, "kind": {"bands": ["kind"], "dtype": "uint8"}}},
    ],
    ids=["one-file", "several-jobs", "several-files"],
)  # fmt: skip  # a line each
def test_tiles_of_jobs_are_those_of_process(open_desk: Any, layer: dict[str, Any]):
    """Bit for bit, outside of their windows too; the window is larger than any tile, and each file is read by rows."""
    desk = open_desk(layers={"layer": layer})
    assert {len(job.tiles) for job in desk.jobs()} == {9}
    found = [desk.run(job) for job in desk.jobs()]
    assert [each.complete for each in found] == [True] * len(desk.plan.layer.parts)
    assert_equal(desk.collect(found), desk.bought())


@pytest.mark.parametrize("compression", ["none", "zstd", pytest.param("lzw", marks=pytest.mark.long)])
def test_files_are_read_however_they_are_compressed(open_desk: Any, server: Server, compression: str):
    """The service does not say what it uses."""
    with start_emulator(s3_endpoint=server.endpoint, renderers=1, compression=compression) as other:
        desk = open_desk(where=other)
        assert_equal(desk.collect([desk.run(desk.jobs()[0])]), desk.bought())


def test_a_job_costs_what_was_projected(open_desk: Any, emulator: EmulatorProcess):
    """Three books agree, at the least price of a job."""
    desk = open_desk()
    desk.run(desk.jobs()[0])
    assert desk.jobs()[0].pu == desk.spent.pu == emulator.stats()["pu_charged"] == 10.0


def test_a_role_delivers_in_place_of_keys(open_desk: Any):
    """No key is in the request."""
    desk = open_desk(role=ROLE)
    body = job_body(desk.plan, desk.jobs()[0], "a", S3Keys.load())
    assert body["output"]["delivery"] == {"s3": {"url": f"{desk.bucket.url}/a", "iamRoleARN": ROLE}}
    assert desk.run(desk.jobs()[0]).complete


def test_a_job_is_asked_for_until_it_ends(open_desk: Any, emulator: EmulatorProcess):
    """Then nothing is known of it; its request's copy told its id before."""
    desk = open_desk()
    emulator.set_faults("slow=2")
    job_id = desk.order(desk.jobs()[0])
    assert poll_job(desk.room.client, job_id) is True
    desk.wait(lambda job: job["state"] == "running")
    assert desk.look(desk.jobs()[0]) == Found(id=job_id)
    desk.wait()
    assert poll_job(desk.room.client, job_id) is False
    assert desk.look(desk.jobs()[0]).complete


def test_a_full_account_is_told_at_once(open_desk: Any, emulator: EmulatorProcess):
    """The second job is not accepted; nothing is charged for it, and no rate is lowered."""
    desk = open_desk()
    emulator.set_faults("slow=2@1")
    desk.order(desk.jobs()[0])
    with pytest.raises(JobQueueFull):
        desk.order(desk.jobs()[0])
    assert (desk.spent.pu, desk.spent.rejected) == (10.0, 0)
    desk.wait()


def test_a_lost_order_is_found_in_the_bucket(open_desk: Any, emulator: EmulatorProcess):
    """It was accepted and paid for: ordered once, and known by what it leaves."""
    desk = open_desk()
    emulator.set_faults([{"kind": "reset", "service": "async", "contains": "delivery", "charged": True, "times": 1}])
    with pytest.raises(JobSubmitLost):
        desk.order(desk.jobs()[0])
    desk.wait()
    found = desk.look(desk.jobs()[0])
    assert (found.id, found.complete) == (emulator.jobs()[-1]["id"], True)
    assert len(emulator.jobs()) == 1
    assert (desk.spent.pu, desk.spent.pu_unknown, emulator.stats()["pu_charged"]) == (0.0, 10.0, 10.0)


def test_a_failed_job_tells_why(open_desk: Any, emulator: EmulatorProcess):
    """Its file never comes."""
    desk = open_desk()
    emulator.set_faults("fail")
    found = desk.run(desk.jobs()[0])
    assert (found.complete, found.error) == (False, "The job failed: the storage did not answer.")


def test_a_vanished_job_leaves_a_trace_at_most(open_desk: Any, emulator: EmulatorProcess):
    """Neither complete nor failed."""
    desk = open_desk()
    emulator.set_faults("vanish")
    found = desk.run(desk.jobs()[0])
    assert (found.keys, found.complete, found.error) == ({}, False, None)


def test_a_part_that_another_way_brought_is_kept(open_desk: Any):
    """Where the job of one part failed, the other parts are read all the same, and what is there is not read again."""
    desk = open_desk(layers={"layer": PARTS})
    found = [desk.run(job) for job in desk.jobs()]
    row, window = desk.rows()[0], desk.jobs()[0].window
    held, spent = [Purchase.begin(desk.plan, [tile]) for tile in row], Spent()
    fetch_delivered(desk.plan, row, window, [found[0].keys, {}], desk.bucket, spent=spent, purchases=held)
    first = spent.nbytes
    assert [purchase.bought.all(axis=(1, 2)).tolist() for purchase in held] == [[True, False]] * 3
    data = fetch_delivered(
        desk.plan, row, window, [each.keys for each in found], desk.bucket, spent=spent, purchases=held
    )
    assert_equal(data, desk.bought()[:3])
    alone = Spent()
    fetch_delivered(desk.plan, row, window, [{}, found[1].keys], desk.bucket, spent=alone)
    assert spent.nbytes == first + alone.nbytes


def test_a_file_of_another_job_is_refused(open_desk: Any):
    """Size and place are looked at before its pixels, and the tiles are named."""
    desk = open_desk()
    found = desk.run(desk.jobs()[0])
    window = dataclasses.replace(desk.jobs()[0].window, y1=desk.jobs()[0].window.y1 - 1)
    with pytest.raises(SpoiltDelivery, match="asked for were") as caught:
        fetch_delivered(desk.plan, desk.rows()[0], window, [found.keys], desk.bucket)
    assert any("tiles 0 to 2" in note for note in caught.value.__notes__)


def test_a_worker_reads_with_its_own_keys(open_desk: Any, monkeypatch: pytest.MonkeyPatch):
    """What travels to it holds none."""
    desk = open_desk()
    found, expected = desk.run(desk.jobs()[0]), desk.bought()
    sent = pickle.dumps((desk.bucket, desk.plan, found))
    assert b"-secret" not in sent
    [monkeypatch.setenv(name, value) for name, value in READER.environ.items()]
    assert_equal(desk.collect([found], bucket=pickle.loads(sent)[0]), expected)  # noqa: S301  # our own bytes


def test_deliveries_are_cleaned_up(open_desk: Any):
    """Of one job alone: its file and its request's copy."""
    desk = open_desk()
    job = desk.jobs()[0]
    desk.run(job)
    assert desk.bucket.delete(job.key) == 2
    assert desk.look(job) == Found()


@pytest.fixture
def cutter(server: Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cutter]:
    """A network between us and the bucket that breaks where it is told to."""
    with start_cutter(server.port) as cutter:
        monkeypatch.setenv("AWS_ENDPOINT_URL", cutter.endpoint)
        yield cutter


@pytest.fixture
def blob(server: Server, tmp_path: Path) -> bytes:
    """An object of 4 MiB named as the test."""
    from obstore.store import S3Store

    content = np.random.default_rng(7).bytes(4 << 20)
    keys = {"access_key_id": ADMIN.key_id, "secret_access_key": ADMIN.secret, "region": "us-east-1"}
    store = S3Store("deliveries", endpoint=server.endpoint, client_options={"allow_http": True}, **keys)
    obstore.put(store, f"{tmp_path.name}/blob", content)
    return content


def test_ranged_reads_survive_connections_that_break(cutter: Cutter, blob: bytes, tmp_path: Path):
    """Each brings a part, and the next goes on there; no byte is wrong."""
    waits: list[float] = []
    bucket = Bucket("deliveries", tmp_path.name, sleep=waits.append)
    cutter.nbytes = 3 * PIECE_NBYTES
    assert bucket.read_range("blob", 1000, 4 << 20) == blob[1000:]
    assert cutter.cuts >= 5
    assert waits == []


def test_a_network_that_brings_nothing_is_given_up(cutter: Cutter, blob: bytes, tmp_path: Path):
    """After a bounded number of attempts."""
    bucket = Bucket("deliveries", tmp_path.name, sleep=lambda _: None)
    assert bucket.read_range("blob", 0, 10) == blob[:10]
    cutter.nbytes = 10
    with pytest.raises(StoreUnavailable):
        bucket.read_range("blob", 0, 10)
    assert cutter.cuts >= 6


def test_rows_are_right_over_a_network_that_breaks(open_desk: Any, cutter: Cutter):
    """Tile by tile, from the directory to the last strip."""
    desk = open_desk()
    found, expected = desk.run(desk.jobs()[0]), desk.bought()
    cutter.nbytes = 100_000
    assert_equal(desk.collect([found]), expected)
    assert cutter.cuts > 0


def test_a_preflight_finds_a_bucket_that_can_be_written(tmp_path: Path):
    """And leaves nothing in it."""
    bucket = Bucket.from_url(f"s3://deliveries/{tmp_path.name}")
    bucket.preflight(deletes=True)
    assert bucket.list("") == []


@pytest.mark.parametrize(
    ("environ", "bucket", "cure"),
    [
        (READER.environ, "deliveries", "allow them to list, read, write and delete"),
        ({"AWS_SECRET_ACCESS_KEY": "wrong"}, "deliveries", "correct AWS_SECRET_ACCESS_KEY"),
        ({"AWS_ACCESS_KEY_ID": "nobody"}, "deliveries", "correct AWS_ACCESS_KEY_ID"),
        ({}, "nowhere", "list, read, write and delete|no such bucket"),
    ],
    ids=["may-not-write", "wrong-secret", "wrong-key", "no-bucket"],
)
def test_a_preflight_finds_a_bucket_that_cannot_be_written(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, environ: dict[str, str], bucket: str, cure: str
):
    """For nothing, with the cure, before a job is paid for."""
    [monkeypatch.setenv(name, value) for name, value in environ.items()]
    with pytest.raises(WrongStore, match=f"^s3://{bucket}/{tmp_path.name}: .*({cure})"):
        Bucket.from_url(f"s3://{bucket}/{tmp_path.name}").preflight()


def test_a_preflight_names_the_job_files_own_endpoint(tmp_path: Path):
    """Where that is the wrong one, and not the environment's."""
    bucket = Bucket("deliveries", tmp_path.name, endpoint_url="http://127.0.0.1:9", sleep=lambda _: None)
    with pytest.raises(StoreUnavailable, match=r"correct delivery\.endpoint_url"):
        bucket.preflight()
