"""What crosses the network between Dask's processes: over TLS everything, over plain TCP beyond loopback no secret."""

from __future__ import annotations

import datetime as dt
import ipaddress
import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from distributed import Client, LocalCluster
from distributed.security import Security

import shdask
from shdask.emulator.launch import EmulatorProcess
from shdask.errors import SettingsError
from tests.cluster.kill_points import write_job
from tests.cluster.killable import free_port, owner_environment, worker_environment
from tests.cluster.specs import earth_spec


def address_beyond_loopback() -> str:
    """One of this machine's, else the address that means any of them."""
    addresses = [entry.address for entries in psutil.net_if_addrs().values() for entry in entries
                 if entry.family == socket.AF_INET and not ipaddress.ip_address(entry.address).is_loopback]  # fmt: skip
    return next(iter(addresses), "0.0.0.0")  # noqa: S104  # nobody else reaches it there


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate that signs itself, as the authority and for everyone, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "a cluster of ours")])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        .serial_number(x509.random_serial_number()).not_valid_before(now).not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )  # fmt: skip  # a sentence
    folder = tmp_path_factory.mktemp("tls")
    (folder / "certificate.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return folder / "certificate.pem", folder / "key.pem"


@pytest.fixture
def dask_tls(certificate: tuple[Path, Path]) -> dict[str, str]:
    """Dask's own settings, as the docs name them."""
    file, key = map(str, certificate)
    places = {"CA_FILE": file} | {
        f"{role}__{name}": path
        for role in ("SCHEDULER", "WORKER", "CLIENT")
        for name, path in (("CERT", file), ("KEY", key))
    }
    return {f"DASK_DISTRIBUTED__COMM__TLS__{name}": path for name, path in places.items()}


@pytest.fixture
def tls_scheduler(dask_tls: dict[str, str], tmp_path: Path) -> Iterator[str]:
    """The address of a scheduler with one worker, processes that know certificates and no credentials."""
    address, environ = f"tls://127.0.0.1:{free_port()}", {**worker_environment(), **dask_tls}
    port = address.rpartition(":")[2]
    words = [
        ["dask_scheduler", "--protocol", "tls", "--host", "127.0.0.1", "--port", port],
        ["dask_worker", address, "--host", "tls://127.0.0.1", "--local-directory", str(tmp_path), "--no-nanny"],
    ]
    with (tmp_path / "log").open("wb") as log:
        processes = [
            subprocess.Popen(
                [sys.executable, "-m", f"distributed.cli.{name}", *more, "--no-dashboard"],
                env=environ, stdout=log, stderr=log,
            )
            for name, *more in words
        ]  # fmt: skip
        yield address
        [process.kill() for process in processes]
        [process.wait(10) for process in processes]


def build(job: Path, store: Path, scheduler: str, environ: dict[str, str]) -> tuple[int, str, str]:
    command = [sys.executable, "-m", "shdask", "build", str(job), str(store), "--scheduler", scheduler, "--json"]
    ended = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=120, check=False)
    return ended.returncode, ended.stdout, ended.stderr


@pytest.mark.long
def test_whole_build_over_tls(earth: EmulatorProcess, point_at, tmp_path) -> None:
    """A cluster with Dask's temporary certificates builds the cube that a plain one builds, beyond loopback too."""
    point_at(earth)
    with (
        LocalCluster(
            n_workers=2, threads_per_worker=2, host=address_beyond_loopback(), protocol="tls://",
            security=Security.temporary(), dashboard_address="127.0.0.1:0",
        ) as cluster,
        Client(cluster) as client,
    ):  # fmt: skip
        report = shdask.build_cube(earth_spec(), tmp_path / "cube", client=client)
        spoken = {address.partition(":")[0] for address in (client.scheduler.address, *client.nthreads())}
    assert (report.written, report.failed) == (report.tiles, 0)
    assert spoken == {"tls"}


def test_command_line_builds_over_tls(earth: EmulatorProcess, tls_scheduler, dask_tls, tmp_path) -> None:
    """``--scheduler tls://...`` takes certificates from Dask's own configuration; the workers have no credentials."""
    job = write_job(tmp_path, resolution=20, tile_px=256)
    code, out, err = build(job, tmp_path / "cube", tls_scheduler, {**owner_environment(earth), **dask_tls})
    assert code == 0, err
    assert json.loads(out)["written"] == json.loads(out)["tiles"]


def test_command_line_without_a_certificate_says_so(earth: EmulatorProcess, tls_scheduler, tmp_path) -> None:
    """A TLS scheduler without the settings for it is a mistake in the arguments, with the names of the settings."""
    job = write_job(tmp_path, resolution=20, tile_px=256)
    code, _, err = build(job, tmp_path / "cube", tls_scheduler, owner_environment(earth))
    assert code == 2, err
    assert "DASK_DISTRIBUTED__COMM__TLS__CA_FILE" in err
    assert "Traceback" not in err


def test_no_secret_crosses_a_plain_network(earth: EmulatorProcess, point_at, tmp_path) -> None:
    """A scheduler that is reached over plain TCP at an address beyond loopback is refused before it hears a word."""
    service = point_at(earth)
    with (
        LocalCluster(
            n_workers=1,
            host=address_beyond_loopback(),
            protocol="tcp://",
            processes=False,
            dashboard_address="127.0.0.1:0",
        ) as cluster,
        Client(cluster.scheduler_address) as client,
    ):
        with pytest.raises(SettingsError, match="unencrypted network"):
            shdask.build_cube(earth_spec(), tmp_path / "cube", client=client)
        plugins = set(cluster.scheduler.plugins)
    assert not {name for name in plugins if name.startswith("shdask")}
    assert set(service.stats()["calls"]) <= {"GET /api/v1/catalog/1.0.0/ 200"}, "the public page alone"
