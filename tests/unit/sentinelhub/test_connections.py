"""The registry: one pool, limiter and token for each account in a process."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from types import ModuleType
from typing import Any

import pytest

from shdask.errors import SettingsError
from shdask.sentinelhub import connections
from shdask.sentinelhub.config import SHConfig
from shdask.sentinelhub.connections import close_connections, connect, deployment_of


@pytest.fixture(autouse=True)
def closed() -> Iterator[None]:
    """An empty registry before and after."""
    close_connections()
    yield
    close_connections()


def config(**fields: Any) -> SHConfig:
    """A config with credentials."""
    return SHConfig(use_defaults=True, **{"sh_client_id": "cid", "sh_client_secret": "csec", **fields})


def test_equal_credentials_share_a_connection():
    """Whatever else the configs say, and wherever they send."""
    assert connect(config()) is connect(config(sh_base_url="https://sh.example", max_retries=3))


@pytest.mark.parametrize(
    "fields",
    [
        {"sh_client_id": "other"},
        {"sh_client_secret": "other"},
        {"sh_token_url": "https://login.example/token"},
        {"number_of_download_processes": 2},
    ],
)
def test_other_accounts_have_their_own(fields: dict[str, Any]):
    """A corrected secret is not held back by the wrong one's connection."""
    assert connect(config()) is not connect(config(**fields))


def test_threads_get_the_same_one():
    """Nobody makes a second, however many ask at once."""
    with ThreadPoolExecutor(16) as pool:
        found = list(pool.map(connect, [config() for _ in range(64)]))
    assert {id(connection) for connection in found} == {id(found[0])}


def test_who_asks_while_one_is_made_waits_for_it(monkeypatch: pytest.MonkeyPatch):
    """The second thread makes none of its own."""
    make = connections._open
    second = threading.Thread(target=connect, args=(config(),), daemon=True)

    def make_slowly(asked: Any) -> connections.Connection:
        second.start()
        # it cannot end: the registry is locked
        second.join(0.1)
        return make(asked)

    makers = iter([make_slowly, make])

    def make_in_turn(asked: Any) -> connections.Connection:
        return next(makers)(asked)

    monkeypatch.setattr(connections, "_open", make_in_turn)
    connect(config())
    second.join(5)
    assert next(makers) is make


def test_sentinelhub_pys_config_is_as_good(theirs: ModuleType):
    """It names the same account."""
    other = theirs.SHConfig(use_defaults=True, sh_client_id="cid", sh_client_secret="csec")
    assert connect(other) is connect(config())


def test_closing_forgets():
    """The next one is new."""
    first = connect(config())
    close_connections()
    assert connect(config()) is not first


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_child_begins_anew():
    """Its parent's sockets and lock are not its own."""
    parents = connect(config())
    child = os.fork()
    if child == 0:
        os._exit(0 if connect(config()) is not parents else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert connect(config()) is parents


@pytest.mark.parametrize("name", ["sh_client_id", "sh_client_secret"])
def test_missing_credentials_are_a_value_error(name: str):
    """As in sentinelhub-py, with the cure."""
    with pytest.raises(ValueError, match="SH_CLIENT_ID"):
        connect(config(**{name: ""}))


def test_credentials_do_not_cross_the_network_unencrypted():
    """Neither to the token server nor to the service."""
    with pytest.raises(SettingsError, match="plain http"):
        connect(config(sh_token_url="http://login.example/token"))
    with pytest.raises(SettingsError, match="plain http"):
        deployment_of(config(), "http://service.example/api/v1/process")


@pytest.mark.parametrize(("processes", "per_minute"), [(1, 1200.0), (4, 300.0), (0, 1200.0)])
def test_processes_share_the_rate(processes: int, per_minute: float):
    """Each starts from its part of sentinelhub-py's 20 a second."""
    shared = config(number_of_download_processes=processes)
    assert deployment_of(shared, "https://service.example/x").requests_per_minute == per_minute
