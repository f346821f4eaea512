"""What this user's runs have found of accounts' bursts, and when those are whole again; the next run begins there.

Refuses to know how a burst is found. What goes wrong here is logged, never raised: the next run finds out anew.
"""

from __future__ import annotations

import json
import logging
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shdask.learned import Learned, write_whole

logger = logging.getLogger(__name__)

VERSION = 1
MOST_ACCOUNTS = 100
_MINUTE_S = 60.0
SEARCH_AGAIN_S = 86_400.0
"""What was found so long ago is looked at again: another program may have emptied the bucket for that moment."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LearnedBursts:
    """A file beside `Learned`'s. Two runs that end at the same moment may leave what one has found."""

    file: Path | None
    """None keeps and knows nothing."""
    clock: Callable[[], float] = time.time

    @classmethod
    def of_this_user(cls, environ: Mapping[str, str] | None = None) -> LearnedBursts:
        """``shdask/bursts.json`` in the user's state folder; nothing where ``SHDASK_LEARN`` is 0."""
        learned = Learned.of_this_user(environ).file
        return cls(file=learned and learned.with_name("bursts.json"))

    def find(self, account: str) -> dict[str, float]:
        """``known_s`` and ``searching`` of the account's burst, and ``used_s`` of it now; empty where none is known.

        A burst that was found a day ago is searched again, from what is known of it on.
        """
        try:
            told = self._read().get(account)
            if told is None:
                return {}
            known_s, full_at = _sane(told["known_s"]), float(told["full_at"])
            is_old = self.clock() - float(told.get("found_at", full_at)) >= SEARCH_AGAIN_S
            return {
                "known_s": known_s,
                "searching": float(bool(told["searching"]) or is_old),
                "used_s": min(_MINUTE_S, max(0.0, full_at - self.clock())),
            }
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            logger.warning("%s is not used, and the burst is found anew: %s", self.file, error)
            return {}

    def add(self, account: str, limits: Mapping[str, float]) -> None:
        """Keep what a limiter's snapshot says for the next run."""
        if self.file is None:
            return
        now = self.clock()
        accounts = self._read()
        found = {
            "known_s": limits["burst_s"],
            "searching": bool(limits["burst_searching"]),
            "full_at": now + limits["burst_used_s"],
            "found_at": _found_at(accounts.pop(account, None), limits["burst_s"], now),
        }
        latest = dict([*accounts.items(), (account, found)][-MOST_ACCOUNTS:])
        try:
            write_whole(self.file, json.dumps({"version": VERSION, "accounts": latest}))
        except OSError as error:
            logger.warning("%s cannot be written, and the next run finds the burst anew: %s", self.file, error)

    def _read(self) -> dict[str, Any]:
        if self.file is None:
            return {}
        try:
            told = json.loads(self.file.read_text(encoding="utf-8"))
            accounts = told["accounts"] if told["version"] == VERSION else {}
            return dict(accounts)
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, TypeError, KeyError) as error:
            logger.warning("%s is not used, and bursts are found anew: %s", self.file, error)
            return {}


def _found_at(earlier: Any, known_s: float, now: float) -> float:
    """Since when this burst is known: a run that begins with it does not make it younger, one that searched does."""
    try:
        found_at = float(earlier["found_at"])
        is_same = earlier["known_s"] == known_s and not earlier["searching"] and 0 <= now - found_at < SEARCH_AGAIN_S
    except (KeyError, TypeError, ValueError):
        return now
    return found_at if is_same else now


def _sane(known_s: Any) -> float:
    value = float(known_s)
    if not (math.isfinite(value) and 0 <= value <= _MINUTE_S):
        raise ValueError(f"{value} s is no burst")
    return value
