"""A file is written whole or not at all.

Refuses to know what is in it.
"""

from __future__ import annotations

import os
import uuid
from pathlib import Path


def write_whole(path: Path, content: bytes, *, mode: int = 0o666) -> None:
    """Writes ``content`` beside ``path`` and then puts it in its place, so that no reader ever sees a part.

    Folders are made as needed; ``mode`` is the new file's, less the process's umask. Threads and processes may write
    one path at a time: the last one stays. Raises OSError and then leaves nothing new.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.parent / f".{uuid.uuid4().hex}.part"
    try:
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
            file.write(content)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
