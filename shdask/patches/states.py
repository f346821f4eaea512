"""Which state of each tile a sample is made of, so that no mask is shown over pixels of another.

Refuses to know pixels, and how often a sample is tried.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from shdask.errors import StoreError

if TYPE_CHECKING:
    from shdask.patches.byte_ranges import Tag


class TileReplaced(StoreError):
    """A build has replaced a tile while a sample was read of it."""


class Objects(Protocol):
    """Where tiles stand, as a `shdask.patches.chunks.ChunkSource` has them."""

    @property
    def name(self) -> str:
        """Of the place."""

    def tag(self, key: str) -> Tag:
        """That of the object as it stands now, None where there is none. Raises StoreError."""


class TileStates:
    """The tag of each object of ``data_mask`` under which the pixels of one sample are read. Threads may share one.

    A build writes a tile's mask after its bands. A tile that grows keeps its valid pixels as they are, and of one that
    is bought again the mask is taken away first. So what is read after a mask is of its state, unless the mask has
    changed since; and what was read under another mask, and is held in memory, is not.
    """

    def __init__(self) -> None:
        self._tags: dict[tuple[Objects, str], Tag] = {}
        self._unsure: dict[tuple[Objects, str], None] = {}

    def find(self, objects: Objects, mark: str) -> tuple[bool, Tag]:
        """Whether the mask's object was seen already, and its tag."""
        key = objects, mark
        return key in self._tags, self._tags.get(key)

    def see(self, objects: Objects, mark: str, tag: Tag) -> None:
        """Take ``tag`` as that of the sample. Raises TileReplaced where it was seen with another."""
        if self._tags.setdefault((objects, mark), tag) != tag:
            raise _replaced(objects, mark)

    def doubt(self, objects: Objects, mark: str) -> None:
        """Pixels were read under this mask just now: `confirm` is to look whether it still stands."""
        self._unsure[objects, mark] = None

    def confirm(self) -> None:
        """Raise TileReplaced where a mask in doubt has changed since it was seen, StoreError where that is not told."""
        for objects, mark in self._unsure:
            if objects.tag(mark) != self._tags[objects, mark]:
                raise _replaced(objects, mark)
        self._unsure.clear()

    def look_again(self) -> None:
        """Take every tile as it stands now. Raises StoreError."""
        self._tags = {(objects, mark): objects.tag(mark) for objects, mark in self._tags}
        self._unsure.clear()


def _replaced(objects: Objects, mark: str) -> TileReplaced:
    return TileReplaced(
        f"{objects.name}/{mark} was replaced again and again while a sample was read; read it when the build has ended"
    )
