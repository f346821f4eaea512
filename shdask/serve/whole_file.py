"""A small file written whole or not at all, in place of one that may stand there.

Refuses to know what is in it.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from shdask.errors import StoreUnavailable


def write_whole(path: str | os.PathLike[str], data: bytes) -> None:
    """Write ``data`` beside ``path`` and rename it. Raises StoreUnavailable where the place refuses."""
    target = Path(path)
    partial = target.with_name(f".{target.name}.partial")
    try:
        partial.write_bytes(data)
        partial.replace(target)
    except OSError as error:
        raise StoreUnavailable(
            f"{target}: {error.strerror or error}; make room there or choose another file"
        ) from error
    finally:
        with suppress(OSError):
            partial.unlink()
