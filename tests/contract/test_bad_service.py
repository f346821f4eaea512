"""What is wrong with the service, as the command line tells it: one error, its cure, and the promised exit code."""

from __future__ import annotations

import datetime as dt
import http.server
import ipaddress
import json
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from shdask.emulator.launch import EmulatorProcess

TILES = "[store]\nchunk_px = 256\ntile_px = 256\n"


@pytest.fixture
def untrusted(tmp_path: Path) -> Iterator[str]:
    """The URL of a server whose certificate nobody has signed."""
    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([])
    now = dt.datetime.now(dt.UTC)
    unsigned = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
    )
    pem = serialization.Encoding.PEM
    secret = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (tmp_path / "own.pem").write_bytes(secret + unsigned.sign(key, hashes.SHA256()).public_bytes(pem))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "own.pem")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"https://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def assert_told(ended: tuple[object, str, str], code: int, message: str) -> None:
    """The exit code, and one error that says ``message``, without a traceback."""
    found, _, err = ended
    assert found == code, err
    assert message in err
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("variable", "value", "code", "message"),
    [
        ("SH_CLIENT_SECRET", "wr0ng", 3, "the credentials were refused: token server http://127.0.0.1"),
        ("SH_CLIENT_ID", "nobody", 3, "check SH_CLIENT_ID and SH_CLIENT_SECRET, that the OAuth client still exists"),
        ("SH_TOKEN_URL", "http://127.0.0.1:9/t", 5, "nothing listens there; correct the URL's host and port"),
        ("SH_TOKEN_URL", "https://nohost.invalid/t", 5, "there is no such host; correct its name in the URL"),
        ("SH_TOKEN_URL", "{base}/nothing", 3, "answered 404 COMMON_NOT_FOUND HTTP 404 Not Found; check SH_TOKEN_URL"),
        ("SH_TOKEN_URL", "{tls}/token", 5, "no TLS is spoken there; correct the URL's scheme or port"),
        ("SH_TOKEN_URL", "{base}/emulator/stats", 3, "check SH_TOKEN_URL"),
        ("SH_BASE_URL", "{base}/nothing", 2, "no such path or collection: check base_url (SH_BASE_URL) and collection"),
    ],
)
def test_a_wrong_account_or_address_is_told(
    run, write_job, service: EmulatorProcess, monkeypatch, variable: str, value: str, code: int, message: str
) -> None:
    """Which credentials, host, port, path or protocol, and nothing is charged."""
    tls = service.base_url.replace("http:", "https:")
    monkeypatch.setenv(variable, value.format(base=service.base_url, tls=tls))
    ended = run("build", write_job(), "cube")
    assert_told(ended, code, message)
    assert "wr0ng" not in ended[2]
    assert service.stats()["pu_charged"] == 0


def test_an_untrusted_certificate_is_told(run, write_job, service, untrusted: str, monkeypatch) -> None:
    """With the variable that names the authority's file."""
    monkeypatch.setenv("SH_TOKEN_URL", f"{untrusted}/token")
    ended = run("build", write_job(), "cube")
    assert_told(ended, 5, "its certificate is not trusted; name your authority's file in REQUESTS_CA_BUNDLE")


def test_a_collection_that_the_service_does_not_know_is_told(run, write_job, service) -> None:
    """The service's own words, and exit code 2: the job asks for it."""
    ended = run("build", write_job("sentinel-2-l2a", "byoc-00000000-0000-0000-0000-000000000000"), "cube")
    assert_told(ended, 2, "error: 4")
    assert service.stats()["pu_charged"] == 0


def test_a_quota_that_is_used_up_parks_the_build(run, write_job, service) -> None:
    """On its first answer, with exit code 4; the status says until when."""
    service.set_faults("403@1")
    assert_told(run("build", write_job(extra=TILES), "cube"), 4, "requests are used up; what was fetched is kept")
    _, out, _ = run("status", "cube")
    assert "the account's quota is used up until 2" in out


@pytest.mark.parametrize(
    "fault", ["html@2x1", "json@2x1", "cut@2x1", "garbled@2x1", "revoke@2x1", "401@2x1", "503@2x1"]
)
def test_one_bad_answer_in_mid_run_is_survived(run, write_job, service, fault: str) -> None:
    """HTML or JSON with 200, a truncated TIFF, a revoked token: asked again, and the build ends with 0."""
    service.set_faults(fault)
    code, out, err = run("build", write_job(extra=TILES), "cube", "--json")
    report = json.loads(out)
    assert code == 0, err
    assert (report["written"], report["failed"]) == (report["tiles"], 0)


def test_credentials_that_are_revoked_in_mid_run_end_with_exit_code_3(run, write_job, service) -> None:
    """What was written is kept, and the status says what to do."""
    service.set_faults("401@2-99,token/401@2-99")
    assert_told(run("build", write_job(extra=TILES), "cube"), 3, "the credentials were refused")
    _, out, _ = run("status", "cube", "--json")
    found = json.loads(out)
    assert (found["written"], found["ended"]["exit_code"]) == (1, 3)
    assert found["command"].startswith("shdask build /")


def test_a_tile_that_fails_is_told_and_drawn(run, write_job, service, tmp_path: Path) -> None:
    """Exit code 5, the tile and its error on stderr, in the status, and as GeoJSON."""
    service.set_faults("garbled@2-4x3")
    ended = run("build", write_job(extra=TILES), "cube")
    assert_told(ended, 5, "1 of 6 tiles failed: tile 1: DecodeError")
    assert run("status", "cube", "--failed", "failed.geojson")[0] == 0
    (feature,) = json.loads(Path("failed.geojson").read_text())["features"]
    assert feature["properties"]["tile"] == 1
