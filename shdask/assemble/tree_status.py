"""How far a cube of one or several groups is: each of them, and all together.

Refuses to change anything, and to guess what the places do not say.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from shdask.assemble.place import Place, open_place
from shdask.assemble.status import SHOWN_ERRORS, CubeStatus, Found, make_status
from shdask.assemble.tree import begun_groups, group_paths
from shdask.errors import WrongStore


@dataclass(frozen=True, slots=True, kw_only=True)
class WholeStatus:
    """What the places of all groups say of their build."""

    whole: CubeStatus
    """Sums over groups; owner, run and what to do are those of the group that is being built, or was last."""
    groups: Mapping[str, CubeStatus]
    """By path, of the groups that have been created; none where the root is the only one."""
    missing: tuple[str, ...] = ()
    """Paths of the others."""

    def as_dict(self) -> dict[str, object]:
        """The status as JSON-able values; ``groups`` only where there are several."""
        told = self.whole.as_dict()
        if not self.groups:
            return told
        return {**told, "groups": {path: one.as_dict() for path, one in self.groups.items()}}

    def __str__(self) -> str:
        lines = [str(self.whole)]
        lines += [f"{path or '/'}: {_group_text(one)}" for path, one in self.groups.items()]
        return "\n".join([*lines, *(f"{path or '/'}: not created yet" for path in self.missing)])


def read_whole_status(store: str | os.PathLike[str] | Place) -> WholeStatus:
    """The status of the cube at ``store``, whatever groups it has. Raises StoreError where there is no cube of ours."""
    root = open_place(store)
    found = {path: Found.read(place) for path, place in begun_groups(root).items()}
    missing = tuple(path for path in group_paths(root) if path not in found)
    if not found:
        raise WrongStore(f"{root.name} was cut short while it was created; run its build again")
    pu_left = sum(one.pu_left for one in found.values())
    is_left = bool(missing) or any(bool(one.left.any()) for one in found.values())
    outdated = 0 if is_left else sum(one.count_outdated() for one in found.values())
    statuses = {
        path: make_status(one, store=root.name, pu_left=pu_left, more_left=is_left, outdated=outdated)
        for path, one in found.items()
    }
    if tuple(found) == ("",) and not missing:
        return WholeStatus(whole=statuses[""], groups={})
    acting = _find_acting(found)
    return WholeStatus(whole=_add(root.name, statuses, acting, missing), groups=statuses, missing=missing)


def _find_acting(found: Mapping[str, Found]) -> str:
    """The group that is being built; else, of those that are not complete, the one that a run was last at."""
    living = [path for path, one in found.items() if one.owner_state == "living"]
    left = [path for path, one in found.items() if np.any(one.left)]
    return max(living or left or list(found), key=lambda path: found[path].last_begun)


def _add(store: str, groups: Mapping[str, CubeStatus], acting: str, missing: tuple[str, ...]) -> CubeStatus:
    here = groups[acting]
    errors = {f"{path} {tile}".lstrip(): text for path, one in groups.items() for tile, text in one.errors.items()}
    rows = [one.last_row_s for one in groups.values() if one.last_row_s is not None]
    left = sum(one.untried + one.failed for one in groups.values())
    here_left = here.untried + here.failed
    eta = here.eta_s
    if eta is not None and here_left:
        eta = eta[0] * left / here_left, eta[1] * left / here_left
    return replace(
        here,
        store=store,
        complete=not missing and all(one.complete for one in groups.values()),
        tiles=sum(one.tiles for one in groups.values()),
        written=sum(one.written for one in groups.values()),
        empty=sum(one.empty for one in groups.values()),
        failed=sum(one.failed for one in groups.values()),
        untried=sum(one.untried for one in groups.values()),
        not_bought=dict(sum((Counter(one.not_bought) for one in groups.values()), Counter())),
        requests=sum(one.requests for one in groups.values()),
        pu_spent=sum(one.pu_spent for one in groups.values()),
        pu_left=sum(one.pu_left for one in groups.values()),
        jobs=dict(sum((Counter(one.jobs) for one in groups.values()), Counter())),
        pu_in_jobs=sum(one.pu_in_jobs for one in groups.values()),
        in_flight=sum(one.in_flight for one in groups.values()),
        pu_in_flight=sum(one.pu_in_flight for one in groups.values()),
        eta_s=eta,
        last_row_s=min(rows, default=None),
        errors=dict(list(errors.items())[-SHOWN_ERRORS:]),
        spooled=sum(one.spooled for one in groups.values()),
        spool=next((one.spool for one in groups.values() if one.spool), None),
    )


def _group_text(status: CubeStatus) -> str:
    states = f"{status.written} written, {status.empty} empty, {status.failed} failed, {status.untried} untried"
    return f"{status.tiles} tiles: {states}; {status.pu_spent:.2f} PU spent, {status.pu_left:.2f} left"
