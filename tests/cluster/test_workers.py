"""What workers may know, and what happens when one is lost."""

from __future__ import annotations

import io
import logging
import os
import pickle
import signal
import sys
from types import SimpleNamespace

import cloudpickle
import dask
import pytest
import xarray as xr
from distributed import Client
from distributed.comm import CommClosedError

import shdask
from shdask.cluster.executor import DaskExecutor
from shdask.cluster.local import open_client, open_local_client
from shdask.cluster.seams import SchedulerGate
from shdask.cluster.worker_plugin import run_batch
from shdask.emulator.launch import start_emulator
from shdask.errors import SettingsError, StoreError, TransportError
from shdask.settings import Credentials
from tests.cluster.specs import earth_spec

cloudpickle.register_pickle_by_value(sys.modules[__name__])  # workers cannot import the tests


def builds_on(client: Client) -> list[str]:
    """The names of the builds that workers have a part in; what touches lazy cubes stays with the cluster."""
    plugins = client.run(lambda dask_worker: [name for name in dask_worker.plugins if name.startswith("shdask-")])
    names = {name for names in plugins.values() for name in names} - {"shdask-leave-interrupts-to-owner"}
    return sorted(name for name in names if not name.startswith("shdask-touch-"))


def test_task_on_a_worker_without_the_plugin_raises(client) -> None:
    """A worker that has no part in the build refuses; it never falls back to a limiter of its own."""
    with pytest.raises(StoreError, match="no part in build"):
        client.submit(run_batch, "unknown", [0], pure=False).result(timeout=30)


def test_our_own_cluster_looks_at_no_waiting_threads(client) -> None:
    """Task threads wait for their batches; to watch them doing so costs a build CPU on every worker."""
    watched = client.run(lambda dask_worker: "profile" in dask_worker.periodic_callbacks)
    assert set(watched.values()) == {False}


def test_secret_is_in_no_task_and_no_plugin(client, point_at, tmp_path) -> None:
    """While a build runs, neither the tasks nor the workers' plugins on the scheduler hold the OAuth secret."""
    secret = "canary-0451"
    with start_emulator(client_secret=secret) as service:
        point_at(service)
        scheduler = client.cluster.scheduler
        seen: list[bytes] = []

        def look(event: shdask.TileEvent) -> None:
            seen.extend(pickle.dumps(task.run_spec) for task in scheduler.tasks.values())
            seen.extend(scheduler.worker_plugins.values())
            seen.append(repr(event).encode())

        shdask.build_cube(earth_spec(), tmp_path / "cube", client=client, on_event=look)
        files = [path.read_bytes() for path in (tmp_path / "cube").rglob("*") if path.is_file()]
    assert len(seen) > 10
    assert files
    assert [found for found in seen + files if secret.encode() in found] == []


@pytest.mark.long
def test_secrets_are_in_no_debug_log(client, point_at, tmp_path) -> None:
    """With Dask logging every message, neither the OAuth secret nor a token that was refused is in the log."""
    log = io.StringIO()
    handler = logging.StreamHandler(log)
    dask_logger = logging.getLogger("distributed")
    level = dask_logger.level
    dask_logger.addHandler(handler)
    logging.getLogger("distributed.core").setLevel(logging.DEBUG)
    with start_emulator(client_secret="canary-0451", latency_s=0.3) as service:
        point_at(service)
        spec = earth_spec(store={"chunk_px": 64, "tile_px": 64})
        shdask.build_cube(spec, tmp_path / "cube", client=client, on_event=lambda _: revoke_once(service))
    logging.getLogger("distributed.core").setLevel(level)
    dask_logger.removeHandler(handler)
    text = log.getvalue()
    assert "shdask_login" in text
    assert "shdask_token" in text
    assert "canary-0451" not in text
    assert "eyJ" not in text, "a JSON web token"


revoked: list[str] = []


def revoke_once(service) -> None:
    """End every token's life after the first tile."""
    if service.base_url not in revoked:
        revoked.append(service.base_url)
        service.revoke_tokens()


def test_cluster_holds_nothing_after_a_build(earth, client, point_at, tmp_path) -> None:
    """A finished build leaves neither tasks nor its plugin behind."""
    point_at(earth)
    shdask.build_cube(earth_spec(), tmp_path / "cube", client=client)
    assert builds_on(client) == []
    assert [key for key in client.cluster.scheduler.tasks if "fetch-tiles" in str(key)] == []


@pytest.mark.long
def test_killed_worker_loses_no_tile(point_at, tmp_path) -> None:
    """A worker that is killed in mid-build is replaced; the cube is complete and equals an undisturbed one."""
    with start_emulator(latency_s=0.5) as slow, open_local_client(2) as client:
        service = point_at(slow)
        pids = client.run(os.getpid)
        killed: list[int] = []

        def kill_once(event: shdask.TileEvent) -> None:
            pid = pids.pop(event.worker, None)
            if pid is not None and not killed:
                killed.append(pid)
                os.kill(pid, signal.SIGKILL)

        spec = earth_spec(store={"chunk_px": 64, "tile_px": 64})
        report = shdask.build_cube(spec, tmp_path / "cube", client=client, on_event=kill_once)
        assert service.stats()["pu_charged"] <= report.pu_spent + report.pu_unknown + 1e-6
        shdask.build_cube(earth_spec(), tmp_path / "other", client=client)
    assert len(killed) == 1
    assert report.complete
    xr.testing.assert_equal(shdask.open_cube(tmp_path / "cube").load(), shdask.open_cube(tmp_path / "other").load())


@pytest.mark.parametrize("address", ["tcp://10.1.2.3:8786", "ucx://10.1.2.3:8786"])
def test_secret_is_not_sent_over_a_plain_network(address) -> None:
    """A scheduler beyond loopback without TLS is refused before anything is sent."""
    elsewhere = SimpleNamespace(scheduler=SimpleNamespace(address=address))
    job = SimpleNamespace(
        plan=SimpleNamespace(deployment=None), credentials=Credentials(client_id="me", client_secret="x")
    )
    with pytest.raises(SettingsError, match="unencrypted"):
        DaskExecutor(elsewhere).start(job, None)


@pytest.mark.parametrize("address", ["nonsense://x", "tcp://127.0.0.1:1"])
def test_scheduler_that_does_not_answer_is_named(address) -> None:
    """A wrong address is an error of the arguments, not a crash, and Dask goes on computing as it did."""
    with (
        dask.config.set({"distributed.comm.timeouts.connect": "0.2s"}),
        pytest.raises(SettingsError, match=address),
        open_client(address),
    ):
        pass
    assert dask.delayed(sum)([1, 2]).compute() == 3


def test_worker_that_cannot_reach_the_scheduler_tries_again(client) -> None:
    """A broken connection to the scheduler is an error that is retried, not a fault that ends the build."""

    async def lease(**words: object) -> None:
        raise CommClosedError("gone")

    worker = SimpleNamespace(loop=client.loop, address="tcp://here", scheduler=SimpleNamespace(shdask_lease=lease))
    with pytest.raises(TransportError, match="gone"):
        SchedulerGate(worker, "account").acquire(0.01)
    assert TransportError.retryable


def test_build_that_cannot_begin_leaves_nothing_behind(earth, client, point_at, tmp_path, monkeypatch) -> None:
    """A build that is interrupted while its window is filled takes its part off the workers."""

    def interrupt(_task: object) -> None:
        raise KeyboardInterrupt

    point_at(earth)
    monkeypatch.setattr(client, "compute", interrupt)
    with pytest.raises(KeyboardInterrupt):
        shdask.build_cube(earth_spec(), tmp_path / "cube", client=client)
    assert builds_on(client) == []
