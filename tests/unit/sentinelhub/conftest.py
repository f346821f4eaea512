"""sentinelhub-py itself, as the authority on what is sent."""

from __future__ import annotations

from collections.abc import Iterator
from types import ModuleType

import pytest


@pytest.fixture(scope="session")
def theirs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModuleType]:
    """The package, kept away from the user's own profile file, which it would write."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CONFIG_HOME", str(tmp_path_factory.mktemp("config")))
        yield pytest.importorskip("sentinelhub")
