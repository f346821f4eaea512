"""The fixtures in other people's test runs: pytest in a process of its own, with their code."""

from __future__ import annotations

import subprocess
import sys

import pytest

from shdask.testing import emulator

pytest_plugins = ["pytester"]

CONFTEST = 'from shdask.testing import EmulatorProcess\n\npytest_plugins = ["shdask.testing"]\n'


@pytest.fixture
def run_tests(pytester: pytest.Pytester):
    """Runs somebody's tests, with any warning an error; gives the outcomes by name."""

    def run(tests: str, conftest: str = CONFTEST) -> dict[str, int]:
        pytester.makeconftest(conftest)
        pytester.makepyfile(test_theirs=tests)
        return pytester.runpytest_subprocess("-W", "error", "-p", "no:cacheprovider").parseoutcomes()

    return run


def test_environment_points_at_a_running_emulator(run_tests):
    """A test that reads SH_* from the environment gets a token, and leaves no variable and no fault behind."""
    outcomes = run_tests(
        """
        import os
        import requests

        def test_login(sentinel_hub_environment):
            form = {
                "grant_type": "client_credentials",
                "client_id": os.environ["SH_CLIENT_ID"],
                "client_secret": os.environ["SH_CLIENT_SECRET"],
            }
            answer = requests.post(os.environ["SH_TOKEN_URL"], data=form)
            assert answer.json()["token_type"] == "Bearer"
            assert sentinel_hub_environment.stats()["tokens_issued"] == 1

            sentinel_hub_environment.set_faults("503", add=True)

        def test_the_next_test_starts_anew(sentinel_hub_environment):
            assert sentinel_hub_environment.stats()["tokens_issued"] == 0
            assert [rule["kind"] for rule in sentinel_hub_environment.faults()] == ["hang"]

        def test_without_the_fixture_nothing_is_set(sentinel_hub_emulator):
            assert "SH_BASE_URL" not in os.environ
        """,
        CONFTEST + "import pytest\n"
        "@pytest.fixture(scope='session')\n"
        "def sentinel_hub_emulator_options():\n"
        "    return {'faults': 'hang:0.0'}\n",
    )
    assert outcomes == {"passed": 3}


def test_options_are_a_fixture_to_override(run_tests):
    """A run chooses its emulator's options in its conftest."""
    conftest = CONFTEST + (
        "import pytest\n"
        "@pytest.fixture(scope='session')\n"
        "def sentinel_hub_emulator_options():\n"
        "    return {'client_id': 'mine', 'requests_per_minute': 60, 'request_burst': 1, 'renderers': 1}\n"
    )
    tests = """
        def test_mine(sentinel_hub_emulator):
            assert sentinel_hub_emulator.client_id == "mine"
        """
    assert run_tests(tests, conftest) == {"passed": 1}


def test_a_run_that_does_not_ask_loads_nothing(pytester):
    """An environment with shdask installed runs other tests without it."""
    pytester.makepyfile(
        "import sys\ndef test_it():\n    assert not [name for name in sys.modules if name.split('.')[0] == 'shdask']"
    )
    assert pytester.runpytest_subprocess("-p", "no:cacheprovider").parseoutcomes() == {"passed": 1}


def test_the_context_manager_needs_no_pytest():
    """A script starts an emulator where pytest and Hypothesis are not installed, and ends it."""
    code = (
        "import sys\n"
        "sys.modules['pytest'] = sys.modules['hypothesis'] = None\n"
        "from shdask.testing import emulator\n"
        "with emulator(renderers=1) as service:\n"
        "    print(service.stats()['answered'])\n"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "0\n"


def test_revoked_tokens_and_counts_are_at_hand(launched):
    """A test sees what its code did, and ends every token in the middle of it."""
    client = launched()
    client.emulator.revoke_tokens()
    assert client.process({}).status_code == 401
    assert client.emulator.stats()["calls"]["POST /api/v1/process 401"] == 1


def test_an_option_that_does_not_exist_is_refused():
    """Before anything starts, with its name."""
    with pytest.raises(TypeError, match="colour"), emulator(colour="red"):
        pass
