"""Writes each exchange as one readable file, without secrets, so that it can be shown to others.

Refuses to influence any answer: what cannot be written is only logged.
"""

from __future__ import annotations

import asyncio
import json
import logging
from pathlib import Path
from typing import Any

from shdask.emulator.config import EmulatorConfig
from shdask.emulator.inspection.journal import Exchange
from shdask.emulator.inspection.mask import mask_text, read_masked
from shdask.emulator.process.payload import read_payload
from shdask.emulator.process.reply import EXTENSIONS, TAR_TYPES
from shdask.emulator.refusal import Refusal

ENDINGS = {**EXTENSIONS, **dict.fromkeys(TAR_TYPES, "tar")}
"""Content-Type -> how the file's name ends."""
TEXTS = ("json", "text/")

logger = logging.getLogger(__name__)


class Recorder:
    """A folder that receives one JSON file per exchange and, where asked for, the answered file beside it."""

    def __init__(self, folder: Path, *, answers: bool) -> None:
        """The folder must exist; ``answers`` also writes what was answered, if it is no text."""
        self._folder = folder
        self._answers = answers

    async def write(self, exchange: Exchange) -> None:
        """Write the exchange, whole or not at all; returns when its files are there under their names."""
        try:
            await asyncio.to_thread(self._write, exchange)
        except (OSError, RecursionError):  # a body may be nested deeper than it can be written
            logger.exception("the exchange %d could not be recorded", exchange.number)

    def _write(self, exchange: Exchange) -> None:
        # milliseconds keep the runs of one folder apart, the number the calls of one millisecond
        stem = f"{exchange.time:%Y%m%dT%H%M%S}{exchange.time.microsecond // 1000:03d}Z"
        stem += f"-{exchange.number:06d}-{exchange.service}-{exchange.status}"
        described = describe(exchange)
        if self._answers and exchange.answer and "body" not in described["answer"]:
            kind = exchange.answer_headers.get("content-type", "").partition(";")[0]
            described["answer"]["file"] = f"{stem}.{ENDINGS.get(kind, 'bin')}"
            _write_whole(self._folder / described["answer"]["file"], exchange.answer)
        _write_whole(
            self._folder / f"{stem}.json",
            json.dumps(described, indent=2, ensure_ascii=False).encode(errors="backslashreplace"),
        )


def make_recorder(config: EmulatorConfig) -> Recorder | None:
    """The recorder that is asked for; raises OSError when its folder cannot be made."""
    if config.record is None:
        return None
    folder = Path(config.record)
    folder.mkdir(parents=True, exist_ok=True)
    return Recorder(folder, answers=config.record_answers)


def describe(exchange: Exchange) -> dict[str, Any]:
    """All of an exchange as JSON, without secrets; an evalscript is the list of its lines. Pure."""
    answer: dict[str, Any] = {
        "status": exchange.status,
        "headers": dict(exchange.answer_headers),
        "nbytes": exchange.answer_nbytes,
        "pu": exchange.pu,
        "ms": round(exchange.duration_s * 1000, 1),
        "fault": exchange.fault,
    }
    if exchange.answer and any(kind in exchange.answer_headers.get("content-type", "") for kind in TEXTS):
        answer["body"] = read_masked(exchange.answer)
    request = {
        "method": exchange.method,
        "path": mask_text(exchange.path),
        "query": mask_text(exchange.query),
        "headers": {name: mask_text(value) for name, value in exchange.request_headers.items()},
        "body": _split_script(read_request(exchange)),
    }
    return {
        "number": exchange.number,
        "time": exchange.time.isoformat(timespec="milliseconds"),
        "service": exchange.service,
        "request": request,
        "answer": answer,
    }


def read_request(exchange: Exchange) -> Any:
    """The request's JSON without secrets, unpacked as the service unpacks it, or its text. Pure."""
    headers = exchange.request_headers
    try:
        raw = read_payload(exchange.request_body, headers.get("content-type", ""), headers.get("content-encoding", ""))
    except Refusal:
        raw = exchange.request_body
    return read_masked(raw)


def _split_script(body: Any) -> Any:
    if isinstance(body, dict) and isinstance(body.get("evalscript"), str):
        return {**body, "evalscript": body["evalscript"].split("\n")}
    return body


def _write_whole(path: Path, content: bytes) -> None:
    unfinished = path.with_name(f".{path.name}.part")
    unfinished.write_bytes(content)
    unfinished.replace(path)
