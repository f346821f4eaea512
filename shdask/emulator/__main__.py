"""The emulator as a process of its own: the configuration is JSON on stdin, the announcement one JSON line on stdout.

Refuses to be a command for people; that is ``shdask emulator``.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from shdask.emulator.config import EmulatorConfig
from shdask.emulator.server import run_server


def _announce(place: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(place) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    run_server(EmulatorConfig.from_json(sys.stdin.readline()), announce=_announce)
