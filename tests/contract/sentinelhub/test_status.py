"""Which async requests run: every id or an error."""

from __future__ import annotations

from typing import Any

import pytest

from shdask.sentinelhub.exceptions import DownloadFailedException, MissingDataInRequestException
from shdask.sentinelhub.status import get_async_running_status

from .conftest import config_of

RUNNING = b'{"id": "a", "status": "RUNNING"}'


def test_every_id_has_an_answer(script: Any, reply: Any):
    """200 is running, 404 is not, in the order of the ids."""
    server = script(reply(body=RUNNING), reply(status=404), reply(body=RUNNING))
    found = get_async_running_status(iter(["a", "b", "c"]), config_of(server.url))
    assert list(found.items()) == [("a", True), ("b", False), ("c", True)]


def test_the_status_is_asked_of_the_configs_url(script: Any, reply: Any):
    """GET with the token, whatever the id is made of."""
    server = script(reply(body=RUNNING))
    get_async_running_status(["a/b?"], config_of(server.url, sh_base_url=f"{server.url}/"))
    seen = server.seen[1]
    assert (seen.method, seen.path, seen.body) == ("GET", "/api/v1/async/process/a%2Fb%3F", b"")
    assert (seen.headers["authorization"], seen.headers["accept"]) == ("Bearer token-1", "*/*")


@pytest.mark.parametrize("status", [400, 403, 500])
def test_no_id_is_left_out(script: Any, reply: Any, status: int):
    """What is neither running nor unknown raises, where sentinelhub-py forgets the id."""
    server = script(reply(status=status, body=b"no"))
    with pytest.raises(DownloadFailedException, match="no"):
        get_async_running_status(["a"], config_of(server.url))


def test_a_status_must_be_one(script: Any, reply: Any):
    """A page of another server is not taken for a running request."""
    with pytest.raises(MissingDataInRequestException, match="list"):
        get_async_running_status(["a"], config_of(script(reply(body=b"[]")).url))


def test_no_ids_ask_for_nothing(script: Any, reply: Any):
    """Not even a token."""
    server = script(reply())
    assert get_async_running_status([], config_of(server.url)) == {}
    assert server.seen == []
