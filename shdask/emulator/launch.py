"""Starts an emulator in a process of its own, and ends it.

Refuses to know what the emulator does.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from shdask.emulator.config import EmulatorConfig

END_S = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class EmulatorProcess:
    """A running emulator."""

    base_url: str
    token_url: str
    client_id: str
    client_secret: str = field(repr=False)
    pid: int

    def environment(self) -> dict[str, str]:
        """The variables that point a client at this emulator. Pure."""
        return {
            "SH_BASE_URL": self.base_url,
            "SH_TOKEN_URL": self.token_url,
            "SH_CLIENT_ID": self.client_id,
            "SH_CLIENT_SECRET": self.client_secret,
        }

    def stats(self) -> dict[str, Any]:
        """Counts since the start or the last reset: calls by "METHOD path status", pu_charged, jobs by state, more."""
        counts: dict[str, Any] = self._call("GET", "/emulator/stats")
        return counts

    def jobs(self) -> list[dict[str, Any]]:
        """The latest asynchronous jobs, oldest first: id, state, price, size, where to, faults; no keys."""
        jobs: list[dict[str, Any]] = self._call("GET", "/emulator/jobs")
        return jobs

    def requests(self) -> list[Any]:
        """The latest Process bodies, oldest first."""
        bodies: list[Any] = self._call("GET", "/emulator/requests")
        return bodies

    def reset(self) -> None:
        """Zero the counts and fill the buckets; tokens stay valid."""
        self._call("POST", "/emulator/reset")

    def revoke_tokens(self) -> None:
        """Let every token that was issued be refused from now on."""
        self._call("POST", "/emulator/revoke-tokens")

    def set_faults(self, faults: str | Mapping[str, Any] | Sequence[Mapping[str, Any]], *, add: bool = False) -> None:
        """Let calls go wrong from now on by these rules (as EmulatorConfig's, but no file), or by these too.

        Raises ValueError for what is no rule; nothing is changed then.
        """
        try:
            self._call("POST", "/emulator/faults?add=true" if add else "/emulator/faults", faults)
        except urllib.error.HTTPError as error:
            with error:
                raise ValueError(json.load(error)["error"]["message"]) from None

    def faults(self) -> list[dict[str, Any]]:
        """The rules in force, each with the ``calls`` it counted and how often it ``struck``."""
        rules: list[dict[str, Any]] = self._call("GET", "/emulator/faults")
        return rules

    def clear_faults(self) -> None:
        """Let nothing go wrong any more."""
        self._call("DELETE", "/emulator/faults")

    def _call(self, method: str, path: str, body: Any = None) -> Any:
        content = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.base_url + path, content, method=method)  # noqa: S310  # http to loopback
        # a proxy knows no loopback of ours
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request, timeout=END_S) as response:
            return json.load(response)


@contextmanager
def start_emulator(**options: Any) -> Iterator[EmulatorProcess]:
    """An emulator that answers, for the length of a ``with`` block; it also ends when this process is killed.

    ``options`` are fields of EmulatorConfig; raises TypeError for others, RuntimeError when the emulator does not
    come up; its own words are on stderr.
    """
    config = replace(EmulatorConfig(**options), parent_pid=os.getpid())
    command = [sys.executable, "-m", "shdask.emulator"]
    # a session of its own: Ctrl-C in a terminal is for the program that uses the emulator
    process = subprocess.Popen(  # noqa: S603  # our own module
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    if process.stdin is None or process.stdout is None:
        raise RuntimeError("the emulator has no pipes")
    try:
        process.stdin.write(config.to_json() + "\n")
        process.stdin.flush()
        line = process.stdout.readline()
        if not line:
            raise RuntimeError(f"the emulator ended with exit code {process.wait()} before it answered")
        yield EmulatorProcess(**json.loads(line))
    finally:
        process.terminate()
        try:
            process.wait(END_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdin.close()
        process.stdout.close()
