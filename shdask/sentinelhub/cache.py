"""Answers kept on disk: read only if they are whole and belong to the request, written whole or not at all.

Refuses to know how an answer is had. The layout is sentinelhub-py's, and either reads what the other wrote.
"""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

from shdask.sentinelhub.exceptions import HashedNameCollisionException
from shdask.sentinelhub.files import write_whole
from shdask.sentinelhub.models import DownloadRequest, DownloadResponse
from shdask.sentinelhub.naming import redacted, written_name

logger = logging.getLogger(__name__)


def read_response(request: DownloadRequest) -> DownloadResponse | None:
    """The answer that is kept for the request; None if there is none, or one of another length than was written.

    An answer with a record of its request is found under the request's own name, and under the one sentinelhub-py gave
    it for another order of keys. Whether its bytes can be decoded is for the caller to see.
    Raises HashedNameCollisionException for an answer to another request.
    """
    record_path, answer_path = request.get_storage_paths()
    if answer_path is None:
        return None
    found = _read(request, record_path, Path(answer_path))
    if found is None and record_path is not None:
        folder = Path(record_path).parent.with_name(written_name(request.url, request.post_values))
        found = _read(request, str(folder / Path(record_path).name), folder / Path(answer_path).name)
    return found


def write_response(response: DownloadResponse) -> None:
    """Keeps the answer, and beside it a record of its request without secrets. Raises OSError.

    The record comes first, so that an answer is never without one.
    """
    record_path, answer_path = response.request.get_storage_paths()
    if answer_path is None:
        raise ValueError("the answer cannot be kept: its request names no data_folder")
    if record_path is not None:
        record = {
            "request": redacted(response.request.get_request_params(include_metadata=True)),
            "response": {
                "headers": dict(response.headers),
                "status_code": response.status_code,
                "elapsed": response.elapsed,
                "nbytes": len(response.content),
            },
        }
        write_whole(Path(record_path), json.dumps(record, indent=4, sort_keys=True).encode())
    write_whole(Path(answer_path), response.content)
    logger.debug("kept %s", answer_path)


def _read(request: DownloadRequest, record_path: str | None, answer_path: Path) -> DownloadResponse | None:
    try:
        content = answer_path.read_bytes()
    except FileNotFoundError:
        return None
    if record_path is None:
        return DownloadResponse(request=request, content=content)
    record = _read_record(Path(record_path))
    if record is None:
        logger.info("%s has no readable record beside it and is fetched again", answer_path)
        return None
    _check_match(request, record, record_path)
    told = record.get("response") or {}
    if told.get("nbytes", len(content)) != len(content):
        logger.info("%s is not whole and is fetched again", answer_path)
        return None
    return DownloadResponse(
        request=request,
        content=content,
        headers=told.get("headers") or {},
        status_code=told.get("status_code"),
        elapsed=told.get("elapsed"),
    )


def _read_record(path: Path) -> dict[str, Any] | None:
    try:
        record = json.loads(path.read_bytes())
    except (FileNotFoundError, ValueError):
        return None
    if not isinstance(record, dict):
        return None
    parts = (record.get("request", {}), record.get("response") or {})
    return record if all(isinstance(part, dict) for part in parts) else None


def _check_match(request: DownloadRequest, record: dict[str, Any], path: str) -> None:
    """Compares URL and payload, secrets apart: records of sentinelhub-py have them, ours do not."""
    kept = record.get("request", record)
    # numbers and tuples as they come back from JSON
    asked = json.loads(json.dumps(redacted(request.get_request_params())))
    if {name: redacted(kept.get(name)) for name in asked} != asked:
        raise HashedNameCollisionException(
            f"{path} is the record of another request of the same name; remove its folder, or pass redownload=True"
        )
