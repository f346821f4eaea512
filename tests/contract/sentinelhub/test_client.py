"""The download client: requests of several lists in one call."""

from __future__ import annotations

import warnings
from typing import Any

import pytest

from shdask.sentinelhub import DownloadFailedException, DownloadRequest, DownloadResponse, SentinelHubDownloadClient
from shdask.sentinelhub.exceptions import SHRuntimeWarning

from .conftest import config_of


def asked(url: str, number: int = 0, **more: Any) -> DownloadRequest:
    """A handwritten request."""
    return DownloadRequest(
        url=f"{url}/api/v1/process",
        request_type="POST",  # type: ignore[arg-type]  # read as documented
        post_values={"n": number},
        data_type="json",  # type: ignore[arg-type]  # read as documented
        use_session=True,
        **more,
    )


def test_results_come_in_order(script: Any, reply: Any):
    """One result a request, whatever iterable they come in."""
    server = script(*(reply(body=str(number).encode()) for number in range(4)))
    client = SentinelHubDownloadClient(config=config_of(server.url))
    assert client.download((asked(server.url, number) for number in range(4)), max_threads=1) == [0, 1, 2, 3]


def test_one_request_gives_its_result(script: Any, reply: Any):
    """Not a list of it, and without a warning."""
    server = script(reply(body=b'{"a": 1}'))
    client = SentinelHubDownloadClient(config=config_of(server.url))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert client.download(asked(server.url)) == {"a": 1}
    assert server.seen[1].body == b'{"n":0}'


def test_bytes_come_undecoded(script: Any, reply: Any):
    """A DownloadResponse with what the service sent."""
    server = script(reply(body=b'{"a": 1}'))
    (found,) = SentinelHubDownloadClient(config=config_of(server.url)).download([asked(server.url)], decode_data=False)
    assert isinstance(found, DownloadResponse)
    assert (found.content, found.decode()) == (b'{"a": 1}', {"a": 1})


def test_failures_are_raised_or_warned_of(script: Any, reply: Any):
    """As the client was told when it was made."""
    server = script(reply(status=400, body=b"no"))
    config = config_of(server.url)
    with pytest.raises(DownloadFailedException, match="no"):
        SentinelHubDownloadClient(config=config).download([asked(server.url)])
    lenient = SentinelHubDownloadClient(config=config, raise_download_errors=False)
    with pytest.warns(SHRuntimeWarning, match="no"):
        assert lenient.download([asked(server.url)]) == [None]


def test_what_is_kept_is_asked_again_with_redownload(script: Any, reply: Any, tmp_path: Any):
    """And is read otherwise."""
    server = script(reply(body=b"1"), reply(body=b"2"))
    config = config_of(server.url)
    kept = asked(server.url, save_response=True, data_folder=str(tmp_path))
    assert [SentinelHubDownloadClient(config=config).download(kept) for _ in range(2)] == [1, 1]
    assert SentinelHubDownloadClient(config=config, redownload=True).download(kept) == 2
