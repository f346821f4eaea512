"""Which state of each tile a sample is made of, so that no mask is shown over pixels of another.

Refuses to know pixels, and how often a sample is tried.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Protocol

from shdask.errors import StoreError

if TYPE_CHECKING:
    from shdask.patches.reading.byte_ranges import Tag
    from shdask.patches.reading.pool import Readers


class TileReplaced(StoreError):
    """A build has replaced a tile while a sample was read of it."""


class Objects(Protocol):
    """Where tiles stand, as a `shdask.patches.reading.chunks.ChunkSource` has them."""

    @property
    def name(self) -> str:
        """Of the place."""

    def tag(self, key: str) -> Tag:
        """That of the object as it stands now, None where there is none. Raises StoreError."""


class TileStates:
    """The tag of each object of ``data_mask`` under which the pixels of one sample are read. Threads may share one.

    A chunk's state are two of them: of the object that commits its tile, and of the one that holds its mask, which is
    the same where tiles are shards.

    A build writes a tile's mask after its bands. A tile that grows keeps its valid pixels as they are, and of one that
    is bought again the mask is taken away first. So what is read after a mask is of its state, unless the mask has
    changed since; and what was read under another mask, and is held in memory, is not. Of a mask that is itself held
    nobody knows whether it stands.
    """

    def __init__(self) -> None:
        self._tags: dict[tuple[Objects, str], Tag] = {}
        self._held: set[tuple[Objects, str]] = set()
        self._unsure: dict[tuple[Objects, str], None] = {}
        self._keep: list[Callable[[], None]] = []

    def tag(self, objects: Objects, mark: str) -> Tag:
        """That under which the mask's object was seen, None where it was not."""
        return self._tags.get((objects, mark))

    def was_seen(self, objects: Objects, mark: str) -> bool:
        """Whether the mask's object was seen."""
        return (objects, mark) in self._tags

    def is_held(self, objects: Objects, mark: str) -> bool:
        """Whether the mask's object was seen for an earlier sample only."""
        return (objects, mark) in self._held

    def see(self, objects: Objects, mark: str, tag: Tag, *, held: bool = False) -> None:
        """Take ``tag`` as that of the sample, or, where it is ``held``, as what an earlier sample saw.

        Raises TileReplaced where it was seen with another.
        """
        key = objects, mark
        if held and key not in self._tags:
            self._held.add(key)
        if self._tags.setdefault(key, tag) != tag:
            raise _replaced(objects, mark)
        if not held:
            self._held.discard(key)

    def doubt(self, objects: Objects, marks: Iterable[str], keep: Callable[[], None] | None) -> None:
        """Pixels were read under these masks: `confirm` is to look whether they stand, and if so to ``keep`` pixels."""
        self._unsure.update(((objects, mark), None) for mark in marks)
        if keep is not None:
            self._keep.append(keep)

    def confirm(self, readers: Readers) -> None:
        """Raise TileReplaced where a mask in doubt has changed since it was seen, StoreError where that is not told."""
        readers.run(self._confirm_one, self._unsure)
        for keep in self._keep:
            keep()

    def _confirm_one(self, key: tuple[Objects, str]) -> None:
        objects, mark = key
        if objects.tag(mark) != self._tags[key]:
            raise _replaced(objects, mark)

    def look_again(self, readers: Readers) -> None:
        """Take every tile as it stands now. Raises StoreError."""
        now: dict[tuple[Objects, str], Tag] = {}

        def look(key: tuple[Objects, str]) -> None:
            objects, mark = key
            now[key] = objects.tag(mark)

        readers.run(look, self._tags)
        self._tags = now
        self._held.clear()
        self._unsure.clear()
        self._keep.clear()


def _replaced(objects: Objects, mark: str) -> TileReplaced:
    return TileReplaced(
        f"{objects.name}/{mark} was replaced again and again while a sample was read; read it when the build has ended"
    )
