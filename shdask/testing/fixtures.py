"""The pytest fixtures: one emulator for a whole run, and an environment that points a test at it.

Refuses to know what is tested.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest

from shdask.testing import EmulatorProcess, emulator

LOOPBACK = "127.0.0.1"
TALLY = {"calls", "struck"}
"""What an emulator tells of a fault besides its rule."""


@pytest.fixture(scope="session")
def sentinel_hub_emulator_options() -> dict[str, Any]:
    """Options of the run's emulator; override this fixture to choose others."""
    return {}


@pytest.fixture(scope="session")
def sentinel_hub_emulator(sentinel_hub_emulator_options: dict[str, Any]) -> Iterator[EmulatorProcess]:
    """One emulator for the whole run; what a test did to it is there for the next one."""
    with emulator(**sentinel_hub_emulator_options) as running:
        yield running


@pytest.fixture
def sentinel_hub_environment(
    sentinel_hub_emulator: EmulatorProcess, monkeypatch: pytest.MonkeyPatch
) -> Iterator[EmulatorProcess]:
    """The run's emulator as new (zero counts, full buckets), with SH_* set to it for one test; its faults end with it.

    Also names it in NO_PROXY, takes SH_PROFILE away, and sets OAUTHLIB_INSECURE_TRANSPORT, without which oauthlib,
    and so sentinelhub-py, refuses the http of loopback.
    """
    sentinel_hub_emulator.reset()
    monkeypatch.delenv("SH_PROFILE", raising=False)
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, ",".join(filter(None, (os.environ.get(name), LOOPBACK))))
    monkeypatch.setenv("OAUTHLIB_INSECURE_TRANSPORT", "1")
    for name, value in sentinel_hub_emulator.environment().items():
        monkeypatch.setenv(name, value)
    configured = [{name: rule[name] for name in rule.keys() - TALLY} for rule in sentinel_hub_emulator.faults()]
    yield sentinel_hub_emulator
    sentinel_hub_emulator.set_faults(configured)
