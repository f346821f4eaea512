"""A small file written whole or not at all, in place of one that may stand there.

Refuses to know what is in it.
"""

from __future__ import annotations

import os
import uuid
from pathlib import Path

from shdask.errors import StoreUnavailable


def write_whole(path: str | os.PathLike[str], data: bytes) -> None:
    """Write ``data`` beside ``path`` and rename it; a link stays one, and what it points to is replaced.

    What is no file, such as ``/dev/stdout``, is written to as it is. Raises StoreUnavailable where the place refuses.
    """
    target = Path(path)
    try:
        if target.exists() and not target.is_file():
            target.write_bytes(data)
        else:
            _replace(target.resolve(), data)
    except OSError as error:
        raise StoreUnavailable(
            f"{target}: {error.strerror or error}; make room there or choose another file"
        ) from error


def _replace(file: Path, data: bytes) -> None:
    partial = file.with_name(f".{uuid.uuid4().hex}.partial")
    try:
        with partial.open("xb") as written:
            written.write(data)
            written.flush()
            os.fsync(written.fileno())
        partial.replace(file)
    finally:
        partial.unlink(missing_ok=True)
