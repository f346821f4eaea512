"""For tests of code that talks to Sentinel Hub: an emulator to talk to, pytest fixtures, Hypothesis strategies.

Refuses to load pytest or Hypothesis before they are asked for, and to be loaded in runs that do not ask.

In any test, script or notebook::

    from shdask.testing import emulator

    with emulator() as service:
        service.base_url, service.token_url, service.client_id, service.client_secret

With pytest, name the plugin in the ``conftest.py`` beside your configuration; it brings the fixtures of
``shdask.testing.fixtures``. It is no entry point, because an entry point would load in every pytest run of an
environment that merely has shdask, and its fixtures would come from nowhere::

    pytest_plugins = ["shdask.testing"]

With Hypothesis: ``from shdask.testing.strategies import areas, bboxes, process_bodies``.

PYTEST_DONT_REWRITE: it may well be imported before it is named as a plugin.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from importlib.util import find_spec
from typing import Any

from shdask.emulator.launch import EmulatorProcess, start_emulator

__all__ = ["EmulatorProcess", "emulator"]

# read by pytest when it loads this module as a plugin
pytest_plugins = ("shdask.testing.fixtures",)

NEEDED = ("starlette", "uvicorn", "py_mini_racer")


def emulator(**options: Any) -> AbstractContextManager[EmulatorProcess]:
    """An emulator in a process of its own, for the length of a ``with`` block, on a free port of 127.0.0.1.

    ``options`` are the fields of ``shdask.emulator.config.EmulatorConfig``, such as ``plan="trial"``,
    ``token_lifetime_s=5``, ``faults="503:0.05"`` or ``archives={"byoc-mine": "scenes/"}``. It answers when the block
    begins, and ends with the block or with this process. Raises ImportError where the extra is not installed,
    TypeError for an option that does not exist, RuntimeError when it does not come up.
    """
    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing:
        raise ImportError(f"the emulator needs {', '.join(missing)}: pip install 'shdask[emulator]'")
    return start_emulator(**options)
