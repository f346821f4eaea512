"""A scripted server and an emulator, and requests of ours to either."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from shdask.emulator.launch import EmulatorProcess
from shdask.sentinelhub.base import ProcessingRequest
from shdask.sentinelhub.config import SHConfig
from shdask.sentinelhub.connections import close_connections
from shdask.sentinelhub.constants import MimeType
from shdask.sentinelhub.models import DownloadRequest
from tests.unit.fetch.conftest import Reply, ScriptedServer, reply, serve  # noqa: F401  # fixtures
from tests.unit.sentinelhub.conftest import theirs  # noqa: F401  # a fixture

TOKEN = Reply(body=json.dumps({"access_token": "token-1", "expires_in": 3600}).encode())


@pytest.fixture(autouse=True)
def closed() -> Iterator[None]:
    """Each test begins without connections and leaves none."""
    close_connections()
    yield
    close_connections()


@pytest.fixture
def emulator(earth: EmulatorProcess) -> EmulatorProcess:
    """An emulator without limits."""
    return earth


@pytest.fixture
def script(serve: Callable[..., ScriptedServer]) -> Callable[..., ScriptedServer]:  # noqa: F811  # the fixture above
    """A server that gives a token to the first request and the replies to the others."""
    return lambda *replies: serve(TOKEN, *replies)


def config_of(url: str, **fields: Any) -> SHConfig:
    """A config for a server at ``url``; no retry waits."""
    given = {
        "sh_client_id": "cid",
        "sh_client_secret": "csec",
        "sh_base_url": url,
        "sh_token_url": f"{url}/token",
        "download_sleep_time": 0.0,
        "download_timeout_seconds": 5.0,
    }
    return SHConfig(use_defaults=True, **{**given, **fields})


class Asking(ProcessingRequest):
    """A request for several JSON objects at once."""

    def __init__(
        self,
        server: ScriptedServer,
        *payloads: dict[str, Any],
        data_folder: Any = None,
        mime_type: MimeType = MimeType.JSON,
        **config: Any,
    ) -> None:
        super().__init__(
            url=f"{server.url}/api/v1/process",
            payload=payloads[0] if payloads else {"n": 0},
            mime_type=mime_type,
            data_folder=data_folder,
            config=config_of(server.url, **config),
        )
        first = self.download_list[0]
        self.download_list += [
            DownloadRequest(
                url=first.url,
                request_type=first.request_type,
                post_values=payload,
                data_type=mime_type,
                headers=first.headers,
                use_session=True,
            )
            for payload in payloads[1:]
        ]
