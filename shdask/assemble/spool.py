"""Pixels that were paid for and that the store refuses, kept on the worker's own disk until it takes them.

Refuses to know why the store refuses, and how pixels are bought.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import uuid
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from shdask.about import get_logger
from shdask.assemble.disk import PARTIAL_SUFFIX
from shdask.assemble.store import CubeStore
from shdask.model import Tile, TileData
from shdask.plan.grown_area import GrownArea

logger = get_logger(__name__)

CAP_NBYTES = 8 << 30
PART_SUFFIX = ".part"
"""Of a tile of which only some requests were answered."""
_KEY_CHARS = 16


def spool_name(cube: CubeStore, tile: Tile, request: str) -> str:
    """A file's name that only the same tile of the same cube and area, bought by the same ``request``, has. Pure."""
    area = cube.plan.area
    grown = len(area.parts) if isinstance(area, GrownArea) else 1
    of_area = f"-{grown}" if grown > 1 else ""
    return f"{spool_prefix(cube.place.name, cube.plan.identity())}{tile.index}-{request}{of_area}.npz"


def spool_prefix(store: str, identity: Mapping[str, Any]) -> str:
    """What the names of all files of one cube begin with. Pure."""
    text = json.dumps([store, identity], sort_keys=True)
    return f"{hashlib.sha256(text.encode()).hexdigest()[:_KEY_CHARS]}-"


@dataclass(frozen=True, slots=True, kw_only=True)
class Spool:
    """A private folder with a file per tile. What goes wrong here is logged and told, never raised."""

    folder: Path
    cap_nbytes: int = CAP_NBYTES
    """No file is added beyond this."""

    @classmethod
    def of_this_user(cls) -> Spool:
        """``SHDASK_SPOOL``, else ``shdask/spool`` in the user's cache folder; made when it is needed."""
        cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")  # noqa: PTH111  # Path.expanduser() fails without a home
        return cls(folder=Path(os.environ.get("SHDASK_SPOOL") or Path(cache, "shdask", "spool")))

    def keep(self, name: str, data: TileData) -> str:
        """Put a tile here, whole or not at all; says where, or why not, and what that means."""
        return self._keep(name, values=data.values, data_mask=data.data_mask)

    def keep_part(self, name: str, data: TileData, bought: NDArray[np.bool_]) -> str:
        """Put here what has come of a tile, as `keep` does; ``bought`` is (part, y, x), True where it has."""
        return self._keep(name + PART_SUFFIX, values=data.values, data_mask=data.data_mask, bought=bought)

    def _keep(self, name: str, **arrays: NDArray[Any]) -> str:
        try:
            self._make_folder()
            nbytes = sum(array.nbytes for array in arrays.values())
            if self.used_nbytes() + nbytes > self.cap_nbytes:
                return self._lost(f"{self.folder} holds its {self.cap_nbytes} bytes already")
            with self._whole_file(name) as target:
                np.savez(target, **arrays)  # type: ignore[arg-type]  # numpy's stub takes allow_pickle for one of them
        except OSError as error:
            return self._lost(f"{error.filename or self.folder}: {error.strerror or error}")
        return self._kept("pixels", name)

    def keep_rows(self, name: str, lines: bytes) -> str:
        """Put rows here that the ledger could not take, after those kept before; says where, or why not."""
        try:
            self._make_folder()
            before = self.take_rows(name)
            with self._whole_file(name) as target:
                target.write(before + lines)
        except OSError as error:
            return self._lost(f"{error.filename or self.folder}: {error.strerror or error}")
        return self._kept("rows", name)

    def take_rows(self, name: str) -> bytes:
        """The rows that were kept under ``name``; they stay here."""
        try:
            return (self.folder / name).read_bytes()
        except OSError:
            return b""

    def _make_folder(self) -> None:
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.folder.chmod(0o700)

    @contextlib.contextmanager
    def _whole_file(self, name: str) -> Iterator[BinaryIO]:
        """A private file that gets its name when the block has ended well, and is durable then."""
        partial = self.folder / f"{name}.{uuid.uuid4().hex}{PARTIAL_SUFFIX}"
        try:
            fd = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            with os.fdopen(fd, "wb") as target:
                yield target
                target.flush()
                os.fsync(target.fileno())
            partial.replace(self.folder / name)
        except BaseException:
            with contextlib.suppress(OSError):
                partial.unlink(missing_ok=True)
            raise

    def _kept(self, what: str, name: str) -> str:
        return (
            f"{what} are kept in {self.folder / name}; a build of the same cube on this machine takes them from there"
        )

    def _lost(self, why: str) -> str:
        logger.warning("what was paid for is given up: %s", why)
        return f"what was paid for could not be kept ({why}); the next build buys it again"

    def take(self, name: str, *, shape: tuple[int, int, int]) -> TileData | None:
        """The tile that was kept under ``name``; None where there is none, or a damaged one. It stays here."""
        found = self._load(name, "values", "data_mask")
        if found is None or found[0].shape != shape or not _is_mask(found[1], shape[1:]):
            return None
        return TileData(values=found[0], data_mask=found[1])

    def take_part(
        self, name: str, *, shape: tuple[int, int, int], parts: int
    ) -> tuple[TileData, NDArray[np.bool_]] | None:
        """What `keep_part` was given under ``name``, for a layer of so many ``parts``; else as `take`."""
        found = self._load(name + PART_SUFFIX, "values", "data_mask", "bought")
        if found is None or found[0].shape != shape or not _is_mask(found[1], shape[1:]):
            return None
        if not _is_mask(found[2], (parts, *shape[1:])):
            return None
        return TileData(values=found[0], data_mask=found[1]), found[2]

    def _load(self, name: str, *keys: str) -> list[NDArray[Any]] | None:
        file = self.folder / name
        try:
            with file.open("rb") as source, np.load(source, allow_pickle=False) as found:
                return [found[key] for key in keys]
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            logger.warning("%s is damaged and is not used: %s", file, error)
            return None

    def drop(self, name: str) -> None:
        """Forget the tile, or part of it, or the rows: they are durable elsewhere."""
        with contextlib.suppress(OSError):
            (self.folder / name).unlink(missing_ok=True)
            (self.folder / (name + PART_SUFFIX)).unlink(missing_ok=True)

    def files(self, prefix: str) -> list[Path]:
        """The files whose names begin with ``prefix``; none where the folder cannot be read."""
        try:
            return sorted(
                file for file in self.folder.iterdir() if file.name.startswith(prefix) and file.suffix == ".npz"
            )
        except OSError:
            return []

    def used_nbytes(self) -> int:
        """What the folder holds, of all cubes; 0 where it is not there, or changes just now."""
        try:
            return sum(entry.stat().st_size for entry in os.scandir(self.folder) if entry.is_file())
        except OSError:
            return 0


def _is_mask(array: NDArray[Any], shape: tuple[int, ...]) -> bool:
    return array.shape == shape and array.dtype == np.bool_
