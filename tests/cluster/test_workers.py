"""What workers may know, and what happens when one is lost."""

from __future__ import annotations

import os
import pickle
import signal
import sys

import cloudpickle
import pytest
import xarray as xr

import shdask
from shdask.cluster.executor import DaskExecutor
from shdask.cluster.local import open_local_client
from shdask.cluster.worker_plugin import run_batch
from shdask.emulator.launch import start_emulator
from shdask.errors import SettingsError, StoreError
from tests.cluster.specs import earth_spec

cloudpickle.register_pickle_by_value(sys.modules[__name__])  # workers cannot import the tests


def test_task_on_a_worker_without_the_plugin_raises(client) -> None:
    """A worker that has no part in the build refuses; it never falls back to a limiter of its own."""
    with pytest.raises(StoreError, match="no part in build"):
        client.submit(run_batch, "unknown", [0], pure=False).result(timeout=30)


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


def test_cluster_holds_nothing_after_a_build(earth, client, point_at, tmp_path) -> None:
    """A finished build leaves neither tasks nor its plugin behind."""
    point_at(earth)
    shdask.build_cube(earth_spec(), tmp_path / "cube", client=client)
    plugins = client.run(lambda dask_worker: [name for name in dask_worker.plugins if name.startswith("shdask-")])
    assert {name for names in plugins.values() for name in names} <= {"shdask-leave-interrupts-to-owner"}
    assert [key for key in client.cluster.scheduler.tasks if "fetch-tiles" in str(key)] == []


def test_killed_worker_loses_no_tile(point_at, tmp_path) -> None:
    """A worker that is killed in mid-build is replaced; the cube is complete and equals an undisturbed one."""
    with start_emulator(latency_s=0.5) as slow, open_local_client(2) as client:
        point_at(slow)
        pids = client.run(os.getpid)
        killed: list[int] = []

        def kill_once(event: shdask.TileEvent) -> None:
            pid = pids.pop(event.worker, None)
            if pid is not None and not killed:
                killed.append(pid)
                os.kill(pid, signal.SIGKILL)

        spec = earth_spec(store={"chunk_px": 64, "tile_px": 64})
        report = shdask.build_cube(spec, tmp_path / "cube", client=client, on_event=kill_once)
        shdask.build_cube(earth_spec(), tmp_path / "other", client=client)
    assert len(killed) == 1
    assert report.complete
    xr.testing.assert_equal(shdask.open_cube(tmp_path / "cube").load(), shdask.open_cube(tmp_path / "other").load())


class _Elsewhere:
    """A client whose scheduler is on another machine, reached in the clear."""

    class scheduler:  # noqa: N801  # the attribute's name
        address = "tcp://10.1.2.3:8786"


def test_secret_is_not_sent_over_a_plain_network() -> None:
    """A scheduler beyond loopback without TLS is refused before anything is sent."""
    with pytest.raises(SettingsError, match="unencrypted"):
        DaskExecutor(_Elsewhere()).start(None, None)
