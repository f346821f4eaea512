"""Reading every tile of all groups of a cube back.

Refuses to know how one group is read.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from shdask.assemble.place import Place, open_place
from shdask.assemble.tree import begun_groups, child
from shdask.assemble.verify import VerifyReport, forget, verify_cube


@dataclass(frozen=True, slots=True, kw_only=True)
class WholeVerifyReport:
    """What the tiles of all groups are worth. Its text is for people."""

    store: str
    groups: Mapping[str, VerifyReport]
    """By path; ``""`` is the root where it is the only one."""

    @property
    def whole(self) -> bool:
        """Whether nothing that was stored is broken or missing."""
        return all(one.whole for one in self.groups.values())

    @property
    def to_fetch(self) -> dict[str, list[int]]:
        """Path -> tiles that are broken or missing; without the groups that are whole."""
        return {path: sorted({*one.broken, *one.missing}) for path, one in self.groups.items() if not one.whole}

    def as_dict(self) -> dict[str, object]:
        """The report as JSON-able values: sums, tiles by path and index, and ``groups`` where there are several."""
        if tuple(self.groups) == ("",):
            return self.groups[""].as_dict()
        groups = self.groups.items()
        return {
            "store": self.store,
            "tiles": sum(one.tiles for one in self.groups.values()),
            "sound": sum(one.sound for one in self.groups.values()),
            "broken": {f"{path} {tile}".lstrip(): why for path, one in groups for tile, why in one.broken.items()},
            "missing": [f"{path} {tile}".lstrip() for path, one in groups for tile in one.missing],
            "unrecorded": [f"{path} {tile}".lstrip() for path, one in groups for tile in one.unrecorded],
            "groups": {path: one.as_dict() for path, one in groups},
        }

    def __str__(self) -> str:
        lines = [str(one) for one in self.groups.values()]
        if tuple(self.groups) != ("",):
            sound, tiles = (sum(getattr(one, name) for one in self.groups.values()) for name in ("sound", "tiles"))
            lines.append(f"{self.store}: {sound} of {tiles} tiles in {len(lines)} groups read back as they were stored")
        return "\n".join(lines)


def verify_whole(
    store: str | os.PathLike[str] | Place, *, on_progress: Callable[[int, int], None] | None = None
) -> WholeVerifyReport:
    """`verify_cube` of every group of the cube at ``store``, one after the other. Changes nothing.

    ``on_progress`` hears, in this thread, how many tiles are read, of how many in the groups up to this one.
    Raises StoreError where there is no cube of ours, or where the store does not answer.
    """
    root = open_place(store)
    reports: dict[str, VerifyReport] = {}
    read = 0
    for path, place in begun_groups(root).items():
        before = read

        def show(done: int, tiles: int, before: int = before) -> None:
            nonlocal read
            read = before + done
            if on_progress is not None:
                on_progress(read, before + tiles)

        reports[path] = verify_cube(place, on_progress=show)
    return WholeVerifyReport(store=root.name, groups=reports)


def forget_broken(store: str | os.PathLike[str] | Place, report: WholeVerifyReport) -> None:
    """`forget` what is broken in each group. Raises as that does."""
    root = open_place(store)
    for path, one in report.groups.items():
        if one.broken:
            forget(child(root, path), sorted(one.broken))
