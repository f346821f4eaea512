"""Two canaries through a whole run with faults: what may know them does, and no byte that is left shows them."""

from __future__ import annotations

import base64
import contextlib
import gzip
import html
import json
import logging
import os
import pickle
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote, quote_plus

import cloudpickle
import msgpack
import obstore
import psutil
import pytest
import requests
from distributed import Client

import shdask
from shdask.assemble.place import open_place
from shdask.emulator.launch import EmulatorProcess, start_emulator
from shdask.errors import AuthError, StoreError, TransportError
from shdask.fetch.auth import request_token
from shdask.fetch.transport import HttpAnswer, RequestsTransport
from shdask.settings import Credentials, make_deployment
from tests.cluster.canaries import Search, make_canary
from tests.cluster.kill_points import write_job
from tests.cluster.killable import DaskProcesses, owner_environment, worker_environment
from tests.cluster.specs import earth_spec
from tests.contract.assemble.conftest import (
    Faults,
    faults,  # noqa: F401  # a fixture
)
from tests.seaweed import Keys, Server, start_seaweed

cloudpickle.register_pickle_by_value(sys.modules[__name__])  # the cluster cannot import the tests

LOG_ALL = """
logging:
  version: 1
  disable_existing_loggers: false
  formatters: {plain: {format: "%(name)s %(message)s"}}
  handlers: {all: {class: logging.StreamHandler, formatter: plain, level: DEBUG}}
  root: {level: DEBUG, handlers: [all]}
  loggers:
    distributed: {level: DEBUG}
"""
PAGES = (
    "status", "workers", "tasks", "system", "profile", "graph", "groups", "metrics", "health", "json/counts.json",
    "json/identity.json", "info/main/workers.html", "info/main/logs.html", "info/main/workers.html",
)  # fmt: skip  # a list


@pytest.fixture(scope="module")
def canaries() -> dict[str, str]:
    """What must not be found: the OAuth secret, and the keys of the store."""
    return {name: make_canary(name) for name in ("oauth", "s3")} | {"s3 name": make_canary("AK")[:26]}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, canaries: dict[str, str]) -> Iterator[Server]:
    """A real S3 that only the canaries open."""
    keys = Keys(key_id=canaries["s3 name"], secret=canaries["s3"])
    with start_seaweed(tmp_path_factory.mktemp("seaweed"), [keys]) as server:
        server.make_bucket("cubes", keys)
        yield server


@pytest.fixture
def environ(server: Server, canaries: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The environment of the owner's machine: keys of the store, and places of its own for what is cached."""
    [monkeypatch.delenv(name, raising=False) for name in list(os.environ) if name.startswith("AWS_")]
    monkeypatch.setenv("AWS_ENDPOINT_URL", server.endpoint)
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", canaries["s3 name"])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", canaries["s3"])
    monkeypatch.setenv("SHDASK_SPOOL", str(tmp_path / "spool"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return monkeypatch


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Path]:
    """All that is logged in this process, at any level."""
    path = tmp_path / "owner.log"
    handler = logging.FileHandler(path)
    names = ["", "distributed", "distributed.core", "distributed.client", "urllib3", "botocore", "shdask", "zarr"]
    loggers = {name: logging.getLogger(name) for name in names}
    levels = {name: logger.level for name, logger in loggers.items()}
    [logger.setLevel(logging.DEBUG) for logger in loggers.values()]
    [loggers[name].addHandler(handler) for name in ("", "distributed")]
    yield path
    [loggers[name].removeHandler(handler) for name in ("", "distributed")]
    [logger.setLevel(levels[name]) for name, logger in loggers.items()]
    handler.close()


@pytest.fixture
def cluster(environ: pytest.MonkeyPatch, faults: Faults, tmp_path: Path) -> Iterator[DaskProcesses]:  # noqa: F811  # a fixture
    """A scheduler and two workers that log everything; the workers have the keys of the store, and no other."""
    (tmp_path / "dask").mkdir()
    (tmp_path / "dask" / "all.yaml").write_text(LOG_ALL)
    words = {"DASK_CONFIG": str(tmp_path / "dask"), "RUST_LOG": "trace"}
    processes = DaskProcesses(folder=tmp_path / "dask", environ={**worker_environment(), **words}, dashboard=True)
    processes.start_missing()
    try:
        processes.wait()
        yield processes
    finally:
        processes.end()


def read_scheduler(dask_scheduler: Any) -> dict[str, bytes]:
    """What the scheduler holds of tasks, plugins and events."""
    tasks = dask_scheduler.tasks
    return {
        "graph": cloudpickle.dumps({key: (task.run_spec, task.exception_text) for key, task in tasks.items()}),
        "plugins": repr((dask_scheduler.worker_plugins, dask_scheduler.nanny_plugins, dask_scheduler.plugins)).encode(),
        "events": cloudpickle.dumps(dask_scheduler.get_events()),
        "identity": repr(dask_scheduler.identity()).encode(),
    }


@dataclass(slots=True, kw_only=True)
class Watcher:
    """Hears of tiles; lets things go wrong as the build goes on, and looks everywhere meanwhile."""

    client: Client
    search: Search
    service: EmulatorProcess
    doors: Faults
    place: str
    dashboard: str
    heard: list[shdask.TileEvent] = field(default_factory=list)
    pages: int = 0

    def hear(self, event: shdask.TileEvent) -> None:
        """``on_event``."""
        self.heard.append(event)
        actions = {2: self.look, 4: self.service.revoke_tokens, 6: self.kill_a_worker, 9: self.refuse, 14: self.look}
        actions.get(len(self.heard), lambda: None)()

    def kill_a_worker(self) -> None:
        """The one that did the last tile."""
        pids = self.client.run(os.getpid)
        os.kill(pids.get(str(self.heard[-1].worker), next(iter(pids.values()))), signal.SIGKILL)

    def refuse(self) -> None:
        """Let the store refuse a few writes."""
        self.doors.refuse["PUT"] = 12

    def look(self) -> None:
        """Look at the running cluster, its pages and the owner's word in the store."""
        for name, data in self.client.run_on_scheduler(read_scheduler).items():
            self.search.look(f"scheduler: {name}", data)
        self.search.look("logs told by the scheduler", repr(self.client.get_scheduler_logs()))
        with contextlib.suppress(OSError):  # one of them may just have been killed
            self.search.look("logs told by the workers", repr(self.client.get_worker_logs()))
        keys = [str(key) for key in self.client.run_on_scheduler(lambda dask_scheduler: list(dask_scheduler.tasks))]
        for page in [*PAGES, *(f"info/task/{quote(key, safe='')}.html" for key in keys)]:
            self.look_at_page(page)
        for key in (".shdask/owner.json", "zarr.json"):
            self.search.look(key, open_place(self.place).read(key) or b"")

    def look_at_page(self, page: str) -> None:
        """One of the dashboard's."""
        with contextlib.suppress(requests.HTTPError):
            got = requests.get(f"{self.dashboard}/{page}", timeout=10)
            got.raise_for_status()
            self.search.look(f"page {page}", got.content)
            self.pages += 1


def family(process: subprocess.Popen[bytes] | None) -> list[psutil.Process]:
    if process is None or process.poll() is not None:  # the worker that was killed
        return []
    return [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]


def environment_of(process: psutil.Process) -> bytes:
    return Path(f"/proc/{process.pid}/environ").read_bytes()


def look_at_processes(search: Search, cluster: DaskProcesses) -> None:
    """Command lines of all, and the environments of those that run elsewhere."""
    workers = [process for worker in cluster.workers for process in family(worker)]
    for process in (*family(cluster.scheduler), *workers, psutil.Process()):
        search.look(f"ps {process.pid}", " ".join(process.cmdline()))
    for process in family(cluster.scheduler):
        search.look("environment of the scheduler", environment_of(process))
    for process in workers:
        search.look("environment of a worker", environment_of(process), allowed=("s3", "s3 name"))


def environments_of_children(owner: subprocess.Popen[str]) -> dict[int, bytes]:
    """Of every process that a command starts, until it ends."""
    found: dict[int, bytes] = {}
    while owner.poll() is None:
        with contextlib.suppress(psutil.Error, OSError):
            found.update({child.pid: environment_of(child) for child in psutil.Process(owner.pid).children(True)})
        time.sleep(0.1)
    return found


def failure(call: Any) -> Exception:
    with pytest.raises((AuthError, StoreError)) as caught:
        call()
    return caught.value


def test_no_secret_is_left_anywhere(cluster, environ, faults, log, canaries, tmp_path, capfd) -> None:  # noqa: F811  # a fixture
    """After revoked tokens, 429, 5xx, cut bodies, a dead worker and a failing store, nothing that is left shows one."""
    search, store = Search(secrets=canaries), "s3://cubes/canary/cube.zarr"
    rules = "429:0.1,503:0.1,cut:0.1,token/503@2"
    spec = earth_spec(store={"chunk_px": 128, "tile_px": 128})
    with start_emulator(client_secret=canaries["oauth"], latency_s=0.2) as service, Client(cluster.address) as client:
        for name, value in service.environment().items():
            environ.setenv(name, value)
        service.set_faults(rules)
        watcher = Watcher(client=client, search=search, service=service, doors=faults, place=store,
                          dashboard=str(client.dashboard_link).removesuffix("/status"))  # fmt: skip
        plan = shdask.make_plan(spec)
        report = shdask.build_cube(plan, store, client=client, on_event=watcher.hear)
        look_at_processes(search, cluster)
        client.dump_cluster_state(str(tmp_path / "dask" / "dump"))
        service.clear_faults()
        environ.setenv("SH_CLIENT_SECRET", canaries["oauth"] + "x")
        other = f"{store}2"
        errors = [
            failure(lambda: shdask.build_cube(plan, other, client=client)),
            failure(lambda: shdask.build_cube(plan, other, executor=shdask.SerialExecutor())),
        ]
        environ.setenv("SH_CLIENT_SECRET", canaries["oauth"])
        environ.setenv("AWS_SECRET_ACCESS_KEY", canaries["s3"] + "x")
        errors.append(failure(lambda: shdask.build_cube(plan, f"{store}3", client=client)))
        environ.setenv("AWS_SECRET_ACCESS_KEY", canaries["s3"])
    for thing in (plan, spec, report, *watcher.heard, *errors, open_place(store), open_place(store).zarr_store()):
        search.look(f"pickle of {type(thing).__name__}", cloudpickle.dumps(thing) + pickle.dumps(thing))
        search.look(f"repr of {type(thing).__name__}", repr(thing) + str(thing))
    for error in errors:
        search.look(f"traceback of {error!r}", "".join(traceback.format_exception(error)))
    place = open_place(store)
    keys = [str(entry["path"]) for batch in obstore.list(place._store) for entry in batch]
    for key in keys:
        search.look(key, place.read(key) or b"")
    files = search.look_at_files(tmp_path)
    search.look("what was printed", "".join(capfd.readouterr()))
    assert search.found == set()
    assert report.complete
    assert report.rejected
    assert {path.stat().st_size > 5_000 for path in (log, *(tmp_path / "dask").glob("*.log"))} == {True}
    assert (watcher.pages > 20, len(keys) > 60, files > 5, search.nbytes > 1_000_000) == (True,) * 4


def test_workers_of_a_command_inherit_no_secret(earth, canaries, tmp_path) -> None:
    """``shdask build --workers`` starts workers that do not have its OAuth secret, and builds."""
    job, search = write_job(tmp_path, resolution=20, tile_px=256), Search(secrets=canaries)
    with start_emulator(client_secret=canaries["oauth"]) as service:
        command = [sys.executable, "-m", "shdask", "build", str(job), str(tmp_path / "cube"), "--workers", "2"]
        with (tmp_path / "log").open("w") as log:
            owner = subprocess.Popen(command, env=owner_environment(service), stdout=log, stderr=log, text=True)
            found = environments_of_children(owner)
    search.look("environments", b"".join(found.values()))
    assert owner.returncode == 0, (tmp_path / "log").read_text()
    assert len(found) >= 2
    assert search.found == set()


@pytest.mark.parametrize(
    "hide",
    [
        str.encode,
        lambda text: quote(text).encode(),
        lambda text: base64.b64encode(b"user:" + text.encode()),
        lambda text: base64.urlsafe_b64encode(text.encode()),
        lambda text: json.dumps({"secret": text}).encode(),
        lambda text: pickle.dumps({"client_secret": text}),
        lambda text: cloudpickle.dumps(lambda: text),
        lambda text: b"head" + gzip.compress(text.encode()),
        lambda text: msgpack.packb({"secret": text}),
        lambda text: text[: len(text) // 2 + 4].encode(),
    ],
    ids=["raw", "url", "basic", "base64url", "json", "pickle", "closure", "gzip", "msgpack", "cut"],
)
def test_search_finds_a_secret_in_any_form(hide) -> None:
    """However a secret is written, the search that finds nothing above would find it."""
    secret = make_canary("oauth")
    search = Search(secrets={"oauth": secret})
    search.look("here", b"before " + hide(secret) + b" after")
    assert search.found == {("oauth", "here")}


def test_search_finds_an_access_token(earth, point_at) -> None:
    """What the service gives out for the secret is recognised."""
    service = point_at(earth)
    form = {"grant_type": "client_credentials", "client_id": "emulator", "client_secret": service.client_secret}
    token = requests.post(service.token_url, form, timeout=10).json()["access_token"]
    search = Search(secrets={})
    search.look("here", f"Bearer {token}")
    assert search.found == {("token", "here")}


def shown_locals(error: BaseException) -> str:
    """The variables of our frames, as a tool would show them that reports crashes."""
    frames = traceback.TracebackException.from_exception(error, capture_locals=True).stack
    return "".join(str(frame.locals) for frame in frames if "/shdask/" in frame.filename)


@pytest.mark.parametrize("token_url", ["http://127.0.0.1:1/token", None], ids=["no answer", "refused"])
def test_locals_of_a_failed_login_show_no_secret(earth, token_url) -> None:
    """Crash reports that hold the variables of each frame do not hold the secret."""
    secret = make_canary("oauth")
    deployment = make_deployment(environ={"SH_BASE_URL": earth.base_url, "SH_TOKEN_URL": token_url or earth.token_url})
    transport, search = RequestsTransport(pool_size=1), Search(secrets={"oauth": secret})
    with pytest.raises((AuthError, TransportError)) as caught:
        request_token(transport, deployment, Credentials(client_id="emulator", client_secret=secret))
    transport.close()
    search.look("locals", shown_locals(caught.value))
    assert search.nbytes
    assert search.found == set()


@pytest.mark.parametrize("echo", [str, quote, quote_plus, html.escape, json.dumps])
def test_echo_of_the_token_server_is_masked(echo) -> None:
    """A token server that repeats what was sent, in whatever form, brings no secret into a message."""
    secret = make_canary("oauth")
    answer = HttpAnswer(status=401, headers={}, body=f"bad form: {echo(secret)}".encode())
    transport = SimpleNamespace(post=lambda *_, **__: answer)
    search = Search(secrets={"oauth": secret})
    with pytest.raises(AuthError, match=r"bad form: .*\*\*\*") as caught:
        request_token(transport, make_deployment(environ={}), Credentials(client_id="a", client_secret=secret))
    search.look("message", repr(caught.value) + str(caught.value))
    assert search.found == set()
