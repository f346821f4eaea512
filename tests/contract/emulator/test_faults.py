"""Every fault as clients see it: on the bare wire, and through urllib3 and requests."""

from __future__ import annotations

import io
import json
import socket
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
import rasterio
import requests
import urllib3

from shdask.emulator.launch import start_emulator

from .conftest import Client, make_body


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    """A client of an emulator that this file may spoil."""
    with start_emulator(renderers=1) as running:
        yield Client(running)


@pytest.fixture(autouse=True)
def _sound(client: Client) -> Iterator[None]:
    """Each test begins with zeroed counts, and ends without faults and with a token that lives."""
    client.emulator.reset()
    yield
    client.emulator.clear_faults()
    client.token = client.login().json()["access_token"]


def post_raw(client: Client, timeout_s: float = 10.0) -> tuple[bytes, str]:
    """All that comes back on a bare connection, and how it ended: ``closed`` or the error's name."""
    place = urlsplit(client.emulator.base_url)
    body = json.dumps(make_body()).encode()
    head = (
        f"POST /api/v1/process HTTP/1.1\r\nHost: {place.netloc}\r\nAuthorization: Bearer {client.token}\r\n"
        f"Connection: close\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    received = b""
    with socket.create_connection((place.hostname, place.port), timeout=timeout_s) as connection:
        connection.sendall(head.encode() + body)
        try:
            while piece := connection.recv(65536):
                received += piece
        except OSError as error:
            return received, type(error).__name__
    return received, "closed"


def await_calls(client: Client, call: str, within_s: float = 5.0) -> int:
    """How many of these calls are over, as soon as there is one."""
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        if count := client.emulator.stats()["calls"].get(call, 0):
            return count
    return 0


def charged_pu(client: Client) -> float:
    """Units charged so far, as the emulator counts them."""
    return client.emulator.stats()["pu_charged"]


def read_tiff(answer: requests.Response) -> tuple[tuple[int, int, int], str]:
    """(bands, rows, columns) and sample type of an answered TIFF."""
    with rasterio.open(io.BytesIO(answer.content)) as image:
        return (image.count, *image.shape), image.dtypes[0]


def test_a_reset_before_the_answer_is_a_rst(client):
    """Nothing comes, and the kernel reports a reset connection."""
    client.emulator.set_faults("reset")
    assert post_raw(client) == (b"", "ConnectionResetError")


def test_a_close_without_an_answer_is_an_orderly_end(client):
    """Nothing comes, and the connection ends as connections do."""
    client.emulator.set_faults("close")
    assert post_raw(client) == (b"", "closed")


def test_a_reset_within_the_body_follows_half_of_it(client):
    """Head and half of the body arrive before the reset."""
    client.emulator.set_faults("reset-body")
    received, end = post_raw(client)
    head, _, body = received.partition(b"\r\n\r\n")
    length = int(head.lower().partition(b"content-length: ")[2].split()[0])
    assert (head[:15], end) == (b"HTTP/1.1 200 OK", "ConnectionResetError")
    assert len(body) == length // 2


def test_a_cut_body_is_shorter_than_it_says(client):
    """A tenth of the announced body comes, and then an orderly end."""
    client.emulator.set_faults("cut=0.1")
    received, end = post_raw(client)
    head, _, body = received.partition(b"\r\n\r\n")
    length = int(head.lower().partition(b"content-length: ")[2].split()[0])
    assert (len(body), end) == (length // 10, "closed")


def test_a_cut_stream_lacks_its_last_chunk(client):
    """The answer is chunked, and ends without the chunk of length 0."""
    client.emulator.set_faults("cut-chunked")
    received, end = post_raw(client)
    head, _, body = received.partition(b"\r\n\r\n")
    assert b"transfer-encoding: chunked" in head.lower()
    assert b"content-length" not in head.lower()
    assert (body.endswith(b"0\r\n\r\n"), end) == (False, "closed")


def test_no_answer_ever_holds_the_connection(client):
    """A client that waits 0.3 s has heard nothing, and is still connected."""
    client.emulator.set_faults("hang")
    assert post_raw(client, timeout_s=0.3) == (b"", "TimeoutError")


@pytest.mark.parametrize(
    ("fault", "error", "message"),
    [
        ("reset", urllib3.exceptions.ProtocolError, "Connection reset by peer"),
        ("close", urllib3.exceptions.ProtocolError, "Remote end closed connection without response"),
        ("reset-body", urllib3.exceptions.ProtocolError, "Connection reset by peer"),
        ("cut", urllib3.exceptions.ProtocolError, "IncompleteRead"),
        ("cut-chunked", urllib3.exceptions.ProtocolError, "IncompleteRead"),
        ("hang", urllib3.exceptions.ReadTimeoutError, "Read timed out"),
    ],
)
def test_urllib3_sees_what_the_wire_did(client, fault, error, message):
    """Each broken connection is an error of its own kind in the most used client."""
    client.emulator.set_faults(fault)
    headers = {"Authorization": f"Bearer {client.token}", "Content-Type": "application/json"}
    with urllib3.PoolManager(retries=False) as pool, pytest.raises(error, match=message):
        pool.request(
            "POST",
            client.emulator.base_url + "/api/v1/process",
            body=json.dumps(make_body()),
            headers=headers,
            timeout=1,
        )


@pytest.mark.parametrize("status", [400, 401, 403, 429, 500, 502, 503, 504])
def test_a_status_comes_as_the_service_sends_it(client, status):
    """Status and wrapper agree, and the call cost nothing."""
    client.emulator.set_faults(f"{status}")
    answer = client.process(make_body())
    assert (answer.status_code, answer.json()["error"]["status"]) == (status, status)
    assert charged_pu(client) == 0.0


def test_a_gateway_answers_with_a_page(client):
    """A 504 may be HTML."""
    client.emulator.set_faults("504=html")
    answer = client.process(make_body())
    assert (answer.status_code, answer.headers["Content-Type"]) == (504, "text/html; charset=utf-8")


@pytest.mark.parametrize(("form", "header"), [("s", "1"), ("huge", "1000000000000"), ("absent", None)])
def test_a_429_advises_as_it_is_told_to(client, form, header):
    """Retry-After takes the form of the rule."""
    client.emulator.set_faults(f"429={form}")
    assert client.process(make_body()).headers.get("Retry-After") == header


@pytest.mark.parametrize(("fault", "kind"), [("html", "text/html; charset=utf-8"), ("json", "application/json")])
def test_a_200_may_be_no_picture(client, fault, kind):
    """Status 200 and another type than what was asked for."""
    client.emulator.set_faults(fault)
    answer = client.process(make_body())
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, kind)


@pytest.mark.parametrize(
    ("fault", "shape", "dtype"),
    [("shape", (2, 9, 19), "uint16"), ("dtype", (2, 10, 20), "uint32"), ("bands", (1, 10, 20), "uint16")],
)
def test_a_tiff_may_be_another_than_was_asked_for(client, fault, shape, dtype):
    """20 x 10 pixels of two bands come in another size, type or number."""
    client.emulator.set_faults(fault)
    assert read_tiff(client.process(make_body())) == (shape, dtype)


def test_a_garbled_body_has_the_right_length(client):
    """The length agrees with the header, the bytes do not agree with the picture."""
    whole = client.process(make_body()).content
    client.emulator.set_faults("garbled")
    garbled = client.process(make_body()).content
    assert len(garbled) == len(whole)
    assert sum(a != b for a, b in zip(garbled, whole, strict=True)) == -(-len(whole) // 64)


def test_a_revocation_ends_every_token_in_mid_run(client):
    """From the third call on the token is refused, until a new one is fetched."""
    client.emulator.set_faults("revoke@3")
    statuses = [client.process(make_body()).status_code for _ in range(4)]
    client.token = client.login().json()["access_token"]
    assert [*statuses, client.process(make_body()).status_code] == [200, 200, 401, 401, 200]


def test_a_drip_keeps_its_rate(client):
    """A body trickles at 4000 bytes a second, and is whole in the end."""
    whole = client.process(make_body())
    client.emulator.set_faults("drip=4000")
    started = time.monotonic()
    dripped = client.process(make_body())
    assert dripped.content == whole.content
    assert 0.8 < (time.monotonic() - started) / (len(whole.content) / 4000) < 8


def test_a_client_that_leaves_ends_the_drip(client):
    """Who hangs up on a drip of hours leaves nothing running: the call is over, unanswered."""
    client.emulator.set_faults("drip=0.1")
    assert post_raw(client, timeout_s=0.3)[1] == "TimeoutError"
    assert await_calls(client, "POST /api/v1/process 0") == 1


def test_a_delay_comes_before_the_answer(client):
    """The picture is whole, and 0.3 s late."""
    client.emulator.set_faults("delay=0.3")
    answer = client.process(make_body())
    assert (answer.status_code, answer.elapsed.total_seconds() > 0.3) == (200, True)


def test_held_connections_do_not_hold_the_emulator():
    """An emulator ends within its time of grace although a client still waits for an answer."""
    with start_emulator(renderers=1, faults="hang") as running:
        place = urlsplit(running.base_url)
        held = socket.create_connection((place.hostname, place.port))
        held.sendall(b"POST /api/v1/process HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
        running.stats()
        started = time.monotonic()
    held.close()
    assert time.monotonic() - started < 5.0


@pytest.mark.parametrize(("charged", "units"), [(False, 0.0), (True, 0.005)])
@pytest.mark.parametrize("kind", ["503", "reset", "close", "html"])
def test_lost_work_is_charged_by_choice(client, kind, charged, units):
    """A call may fail before the work, for nothing, or after it, at its price."""
    client.emulator.set_faults({"kind": kind, "times": 1, "charged": charged})
    post_raw(client, timeout_s=2.0)
    assert charged_pu(client) == pytest.approx(units)


@pytest.mark.parametrize("kind", ["cut", "reset-body", "garbled", "shape"])
def test_spoilt_answers_were_worked_on_and_charged(client, kind):
    """Whatever arrives of a rendered picture, its units are gone."""
    client.emulator.set_faults({"kind": kind, "times": 1})
    post_raw(client, timeout_s=0.5)
    assert charged_pu(client) == pytest.approx(0.005)


def test_the_token_endpoint_can_fail_by_itself(client):
    """Tokens are refused with a page, pictures are not."""
    client.emulator.set_faults("token/503=html")
    assert [client.login().status_code, client.process(make_body()).status_code] == [503, 200]


@pytest.mark.parametrize("path", ["/api/v1/catalog/1.0.0/search", "/catalog/v1/search"])
def test_both_paths_of_a_service_are_hit(client, path):
    """A rule is for a service, on whichever path it is called."""
    client.emulator.set_faults("catalog/503")
    assert client.session.post(client.emulator.base_url + path, json={}, timeout=10).status_code == 503


def test_one_tile_can_fail_and_no_other(client):
    """Only the call is hit whose body holds the text."""
    client.emulator.set_faults({"kind": "503", "contains": "500123"})
    unlucky = make_body(**{"input.bounds.bbox": [500123, 5099900, 500323, 5100000]})
    assert [client.process(body).status_code for body in (make_body(), unlucky, make_body())] == [200, 503, 200]


def test_rules_end_by_themselves(client):
    """A rule strikes neither after its time nor before it."""
    client.emulator.set_faults([{"kind": "503", "for_s": 1e-9}, {"kind": "504", "after_s": 3600}])
    assert client.process(make_body()).status_code == 200


def test_an_emulator_starts_with_its_faults(launched):
    """What is configured strikes from the first call on, and not the emulator's own routes."""
    client = launched(faults=[{"kind": "503", "times": 1}])
    assert [client.process({}).status_code for _ in range(2)] == [503, 400]
    assert client.emulator.faults() == [{"kind": "503", "times": 1, "calls": 2, "struck": 1}]


def test_the_same_seed_spoils_the_same_calls(launched):
    """Two emulators of one seed answer a run of calls alike."""
    clients = [launched(faults="503:0.5,any/429=absurd:0.1", fault_seed=3) for _ in range(2)]
    first, second = ([client.process({}).status_code for _ in range(12)] for client in clients)
    assert first == second
    assert {400, 503} <= set(first)


def test_stats_count_the_faults_by_kind(client):
    """What struck stays counted when its rule is gone, until the counts are zeroed."""
    client.emulator.set_faults("503@1,429@2-3")
    [client.process(make_body()) for _ in range(4)]
    client.emulator.clear_faults()
    assert client.emulator.stats()["faults"] == {"503": 1, "429": 2}
    client.emulator.reset()
    assert client.emulator.stats()["faults"] == {}


def test_a_reset_of_the_counts_repeats_the_script(client):
    """Faults count from the first call again."""
    client.emulator.set_faults("503@2")
    before = [client.process(make_body()).status_code for _ in range(2)]
    client.emulator.reset()
    assert [before, [client.process(make_body()).status_code for _ in range(2)]] == [[200, 503], [200, 503]]


def test_rules_can_be_added(client):
    """Adding keeps the rules there are, setting does not."""
    client.emulator.set_faults("503@1")
    client.emulator.set_faults("504@1", add=True)
    assert [rule["kind"] for rule in client.emulator.faults()] == ["503", "504"]


def test_what_is_no_rule_changes_nothing(client):
    """An unknown kind is refused with the kinds there are, and the rules stay."""
    client.emulator.set_faults("503")
    with pytest.raises(ValueError, match="there is no kind 'bogus'; there are 500, 502"):
        client.emulator.set_faults("bogus")
    assert [rule["kind"] for rule in client.emulator.faults()] == ["503"]


@pytest.mark.parametrize("content", [b"", b"nonsense", b"7", b"\xff", b"[" * 100_000])
def test_a_call_without_rules_is_a_400(client, content):
    """Whatever is sent as rules is answered in the service's form."""
    answer: Any = requests.post(client.emulator.base_url + "/emulator/faults", data=content, timeout=10)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "COMMON_BAD_PAYLOAD")
