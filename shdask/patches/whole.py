"""A folder that appears whole or not at all, and never in place of another.

Refuses to know what is in it.
"""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from shdask.errors import StoreError


@contextmanager
def write_whole(target: str | os.PathLike[str]) -> Iterator[Path]:
    """A new folder beside ``target`` to write into, which becomes ``target`` once the block ends without an error.

    A process that is killed leaves ``.NAME-xxxx.partial`` behind, which may be deleted. Raises StoreError where
    something stands at ``target``, and where the disk refuses.
    """
    target = Path(target)
    if target.exists():
        raise StoreError(f"{target} is there already, and is not written over; delete it, or give a new path")
    partial = target.with_name(f".{target.name}-{secrets.token_hex(4)}.partial")
    try:
        partial.mkdir(parents=True)
        yield partial
        if target.exists():
            raise StoreError(f"{target} was made by somebody else meanwhile; delete one of them, or give a new path")
        partial.rename(target)
    except OSError as error:
        raise StoreError(f"{target} cannot be written: {error.strerror or error}; nothing of it is kept") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
