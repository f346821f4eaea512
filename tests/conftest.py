"""What every test run obeys: a skip that is not on the list fails the run."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from shdask.emulator.launch import EmulatorProcess, start_emulator

# a shared machine may stall any example; the timeout of the whole test still holds
settings.register_profile("shared-machine", deadline=None)
settings.load_profile("shared-machine")

ALLOWED_SKIPS = Path(__file__).with_name("allowed_skips.txt")
SHARED_DATA = Path(__file__).parents[1].parent / "shared" / "data"


def _allowed() -> set[str]:
    lines = ALLOWED_SKIPS.read_text().splitlines()
    return {line.split("#")[0].strip() for line in lines} - {""}


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if reporter is None:  # one of several processes; the one that gathers their reports judges
        return
    skipped = {report.nodeid.split("[")[0] for report in reporter.stats.get("skipped", [])}
    # The shared scenes may only be missed where their folder is absent.
    allowed = set() if SHARED_DATA.exists() else _allowed()
    if skipped - allowed and exitstatus == 0:
        reporter.write_line(f"skipped without leave: {', '.join(sorted(skipped - allowed))}", red=True)
        session.exitstatus = 1


@pytest.fixture(scope="session", autouse=True)
def _learn_nothing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No test's run changes what a plan of another one says, nor anything in the user's home."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SHDASK_LEARN", "0")
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        yield


@pytest.fixture
def learning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file from which plans of one test learn of its own runs; it is not there yet."""
    monkeypatch.delenv("SHDASK_LEARN")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path / "state" / "shdask" / "learned.json"


@pytest.fixture(scope="session")
def one_emulator() -> Iterator[EmulatorProcess]:
    """An emulator of the synthetic Earth with no limits, for all tests of this process."""
    with start_emulator() as service:
        yield service


@pytest.fixture(scope="module")
def earth(one_emulator: EmulatorProcess) -> Iterator[EmulatorProcess]:
    """The same as new, for the tests of one file; they may set faults."""
    one_emulator.clear_faults()
    one_emulator.reset()
    if "sentinelhub" in sys.modules:  # it would go on with a token that other tests have revoked
        sys.modules["sentinelhub"].SentinelHubDownloadClient.clear_cache()
    yield one_emulator
    one_emulator.clear_faults()


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real scenes and borders beside the checkout."""
    if not SHARED_DATA.exists():
        pytest.skip("the folder of real scenes is not beside this checkout")
    return SHARED_DATA
