"""One POST against a loopback server that follows a script: whole answers, and every way to lose one."""

from __future__ import annotations

import gzip
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from shdask.errors import TransportError
from shdask.fetch.transport import HttpAnswer, RequestsTransport, Timeouts

SECRET = "s3cr3t"
SHORT = Timeouts(connect_s=0.5, read_s=0.2, total_s=0.4)


@pytest.fixture
def transport() -> Iterator[RequestsTransport]:
    """A pool of four connections, closed after the test."""
    opened = RequestsTransport(4)
    yield opened
    opened.close()


@pytest.fixture
def post(transport: RequestsTransport) -> Callable[..., HttpAnswer]:
    """Posts a small body with a bearer token."""

    def send(url: str, timeouts: Timeouts = SHORT) -> HttpAnswer:
        return transport.post(url, headers={"Authorization": f"Bearer {SECRET}"}, body=b"ask", timeouts=timeouts)

    return send


def test_an_answer_comes_whole(post: Any, serve: Any, reply: Any):
    """Status, headers by lower-case names, and every byte."""
    body = bytes(range(256)) * 4000
    server = serve(reply(status=201, headers={"X-ProcessingUnits-Spent": "2.5"}, body=body))
    answer = post(server.url + "/p")
    assert (answer.status, answer.cut) == (201, None)
    assert answer.headers["x-processingunits-spent"] == "2.5"
    assert answer.body == body
    assert (server.seen[0].path, server.seen[0].body) == ("/p", b"ask")


def test_a_compressed_body_is_decompressed(post: Any, serve: Any, reply: Any):
    """Whoever reads the body need not know how it travelled."""
    packed = gzip.compress(b"pixels" * 1000)
    server = serve(reply(headers={"Content-Encoding": "gzip", "Content-Length": str(len(packed))}, body=packed))
    assert post(server.url).body == b"pixels" * 1000
    assert server.seen[0].headers["accept-encoding"] == "gzip, deflate"


def test_a_chunked_body_is_put_together(post: Any, serve: Any, reply: Any):
    """The service answers without a length."""
    server = serve(reply(headers={"Transfer-Encoding": "chunked"}, body=b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"))
    assert post(server.url).body == b"abcde"


def test_an_error_status_is_an_answer_too(post: Any, serve: Any, reply: Any):
    """What it means is not the transport's business."""
    assert post(serve(reply(status=503, body=b"busy")).url).body == b"busy"


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        ({}, bytes(1000)),
        ({"Transfer-Encoding": "chunked"}, b"3E8\r\n" + bytes(1000)),
        ({"Content-Encoding": "gzip"}, gzip.compress(bytes(range(256)))),
    ],
    ids=["length", "chunked", "gzip"],
)
def test_a_cut_body_is_known_as_cut(post: Any, serve: Any, reply: Any, headers: dict[str, str], body: bytes):
    """The head stays, since it names what was charged; the half body does not."""
    answer = post(serve(reply(headers=headers, body=body, sent_nbytes=20)).url)
    assert answer.status == 200
    assert answer.body == b""
    assert answer.cut.startswith("the answer was cut: ")


def test_a_steady_drip_ends_with_the_total_time(post: Any, serve: Any, reply: Any, stopwatch: Callable[[], float]):
    """Each byte comes within the read time-out; 0.4 s after sending it is over all the same."""
    answer = post(serve(reply(body=bytes(1000), drip_s=0.02)).url)
    assert answer.cut == "the answer had not ended 0.4 s after the request was sent"
    assert stopwatch() < 3.0


def test_a_drip_without_a_length_is_not_taken_for_the_whole(post: Any, serve: Any, reply: Any):
    """Where only the end of the connection ends the body, our own cut must not look like one."""
    headers = {"Content-Length": "unknown", "Connection": "close"}
    answer = post(serve(reply(headers=headers, body=bytes(1000), drip_s=0.02)).url)
    assert answer.cut == "the answer had not ended 0.4 s after the request was sent"


def test_silence_ends_with_the_read_timeout(post: Any, serve: Any, reply: Any, stopwatch: Callable[[], float]):
    """A server that accepts and never answers."""
    with pytest.raises(TransportError, match=r"no answer from 127\.0\.0\.1:.*timed out"):
        post(serve(reply(delay_s=30)).url)
    assert stopwatch() < 3.0


def test_a_reset_connection_is_no_answer(post: Any, serve: Any, reply: Any):
    """The peer hung up before the head."""
    with pytest.raises(TransportError, match=r"no answer from 127\.0\.0\.1"):
        post(serve(reply(reset=True)).url)


def test_a_closed_port_is_no_answer(post: Any):
    """Nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        with pytest.raises(TransportError, match="refused"):
            post(f"http://127.0.0.1:{taken.getsockname()[1]}")


def test_a_failure_holds_nothing_of_what_was_sent(post: Any, serve: Any, reply: Any):
    """Neither message nor context leads to the request and its token."""
    with pytest.raises(TransportError) as caught:
        post(serve(reply(reset=True)).url)
    assert caught.value.__context__ is None
    assert caught.value.__cause__ is None
    assert SECRET not in repr(caught.value)


def test_a_header_that_cannot_be_sent_is_not_quoted(transport: RequestsTransport, serve: Any, reply: Any):
    """The HTTP library's own message would show the token."""
    with pytest.raises(TransportError) as caught:
        transport.post(serve(reply()).url, headers={"Authorization": f"Bearer {SECRET}\n"}, body=b"", timeouts=SHORT)
    assert SECRET not in str(caught.value)


def test_a_redirect_is_not_followed(post: Any, serve: Any, reply: Any):
    """The token stays with the host it was meant for."""
    elsewhere = serve(reply())
    answer = post(serve(reply(status=307, headers={"Location": elsewhere.url})).url)
    assert answer.status == 307
    assert elsewhere.seen == []


def test_netrc_does_not_replace_the_token(
    post: Any, serve: Any, reply: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """A password kept for the host would otherwise take the bearer token's place."""
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login me password mine\n")
    monkeypatch.setenv("NETRC", str(netrc))
    server = serve(reply())
    post(server.url)
    assert server.seen[0].headers["authorization"] == f"Bearer {SECRET}"


def test_cookies_are_not_kept(post: Any, serve: Any, reply: Any):
    """Each request stands for itself, whichever thread sends it."""
    server = serve(reply(headers={"Set-Cookie": "a=b"}))
    post(server.url)
    post(server.url)
    assert "cookie" not in server.seen[1].headers


def test_threads_share_at_most_the_pools_connections(post: Any, serve: Any, reply: Any):
    """Eight threads, forty requests, four connections: each new one would cost a handshake."""
    server = serve(reply(body=bytes(10_000)))
    patient = Timeouts(connect_s=5, read_s=5, total_s=5)
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda _: post(server.url, patient), range(40)))
    assert [len(answer.body) for answer in answers] == [10_000] * 40
    assert server.connections <= 4


def test_a_connection_that_was_cut_is_not_used_again(post: Any, serve: Any, reply: Any):
    """What is left of the old answer must not be read as the next one."""
    server = serve(reply(body=bytes(1000), drip_s=0.02), reply(body=b"fresh"))
    assert post(server.url).cut is not None
    assert post(server.url).body == b"fresh"
    assert server.connections == 2
