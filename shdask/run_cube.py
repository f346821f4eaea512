"""A build of a whole cube: its groups one after the other, under one cap, as one story.

Refuses to know what becomes of a tile, and how a group is built.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from shdask.assemble.area_growth import find_reopened, widen_area
from shdask.assemble.clear_share import choose_clear, looked_at
from shdask.assemble.grow import as_it_stands, as_it_will_be
from shdask.assemble.ledger import read_ledger
from shdask.assemble.place import Place, open_place
from shdask.assemble.store import CubeStore, create_or_open, known_states, read_root_attributes
from shdask.assemble.tree import child, close_tree, create_tree
from shdask.build import Executor, run_build
from shdask.errors import BudgetExceeded, StoreError
from shdask.fetch.budget import SLACK, fits
from shdask.jobs.lots import project_pu
from shdask.model import TileEvent, TileState
from shdask.plan.cube import ROOT, CubePlan
from shdask.plan.group import GroupPlan
from shdask.plan.scout import scout_path
from shdask.report import BuildReport, Progress, add_progress, add_reports
from shdask.scouting import follow_layer, judge
from shdask.settings import Credentials


def run_cube(
    plan: CubePlan,
    store: str | Path,
    executor: Executor,
    credentials: Credentials | None,
    *,
    max_pu: float | None = None,
    charged_pu: float = 0.0,
    only: Mapping[str, Sequence[int]] | None = None,
    update: bool = False,
    job: str | None = None,
    options: Sequence[str] = (),
    on_event: Callable[[TileEvent], None] | None = None,
    on_progress: Callable[[Progress], None] | None = None,
) -> BuildReport:
    """`run_build` for every group of ``plan``, one after the other, below ``store``; returns what happened in all.

    Every group is created, or recognised as this plan's, before the first is begun. ``max_pu`` (None: the plan's own)
    bounds what all groups may spend together, of which ``charged_pu`` are gone as in `run_build`. ``only`` limits the
    run to the groups that it names, and there to tiles of these indices. ``on_event`` hears events with their group's
    path, ``on_progress`` of the whole.
    Raises as `run_build` does; groups after the one that raised are not begun.
    """
    max_pu = plan.max_pu if max_pu is None else max_pu
    root = open_place(store)
    words = _Words(
        executor=executor, credentials=credentials, charged_pu=charged_pu, update=update, job=job, options=options
    )
    if tuple(plan.groups) == (ROOT,):
        tiles = None if only is None else only.get(ROOT, ())
        return words.build(plan.only, root, max_pu=max_pu, only=tiles, on_event=on_event, on_progress=on_progress)
    create_tree(root, tuple(plan.groups))
    whole = _Whole.look(plan, root, only=only, update=update, max_pu=max_pu, is_checked=not charged_pu)
    looks = {scout_path(path, group): path for path, group in plan.groups.items() if group.clear is not None}
    judged: dict[str, tuple[str, ...]] = {}
    try:
        for path, group in plan.groups.items():
            if only is not None and path not in only:
                continue
            layer = looks.get(path)
            bought = group
            if layer is not None:
                bought, judged[layer] = follow_layer(
                    group, plan.groups[layer], child(root, layer), update=update, grow=only is None
                )
            elif judged and not whole.is_judged:
                whole = whole.look_again(plan, root, only=only, update=update)
            with whole.telling_rest(path):
                report = words.build(
                    bought,
                    child(root, path),
                    max_pu=whole.left_of_cap(),
                    only=None if only is None else only[path],
                    on_event=_with_group(on_event, path),
                    on_progress=whole.progress_of(path, on_progress),
                )
            whole.reports[path] = replace(report, notes=tuple(dict.fromkeys((*judged.get(path, ()), *report.notes))))
            if layer is not None:
                judged[layer] += judge(plan.groups[layer], child(root, layer), bought, child(root, path))
    finally:
        with contextlib.suppress(StoreError):  # what went wrong is being raised, and its groups tell the same
            _close(root, tuple(plan.groups))
    return add_reports(whole.reports, store=root.name)


def price_left(plan: CubePlan, store: str | Path, *, update: bool = False) -> float:
    """Projected processing units of what `run_cube` would buy: of tiles that must be clear, at most. Creates nothing.

    Raises StoreError where something else than ``plan``'s cube stands at ``store``.
    """
    root = open_place(store)
    return math.fsum(
        _pu_at_most(group, child(root, path), update=update) if _is_begun(child(root, path)) else group.cost.pu
        for path, group in plan.groups.items()
    )


def _is_begun(place: Place) -> bool:
    with place.errors(opening=True):
        return place.read("zarr.json") is not None and "identity" in read_root_attributes(place)


def _pu_at_most(group: GroupPlan, place: Place, *, update: bool) -> float:
    cube, areas = widen_area(create_or_open(group, place), grow=True)
    ledger = read_ledger(place)
    cube, _ = find_reopened(as_it_will_be(cube, update=update), areas, ledger)
    cube = choose_clear(cube)
    states, tiles = known_states(cube.plan, cube, ledger), cube.plan.tile_set.indices()
    return project_pu(cube.plan, tiles[np.isin(states[tiles], (TileState.UNTRIED, TileState.FAILED))], ledger.jobs)


def price_tiles(plan: CubePlan, store: str | Path, tiles: Mapping[str, Sequence[int]]) -> float:
    """Projected processing units of ``tiles``, by group, of the cube that stands at ``store``.

    Raises StoreError where it is another than ``plan``'s; IndexError for what is no tile of it.
    """
    root = open_place(store)
    pu = 0.0
    for path, group in plan.groups.items():
        cube = as_it_stands(create_or_open(group, child(root, path)))
        pu += project_pu(cube.plan, np.asarray(tiles.get(path, ()), np.intp), {})
    return pu


@dataclass(frozen=True, slots=True, kw_only=True)
class _Words:
    """What is the same for all groups."""

    executor: Executor
    credentials: Credentials | None
    charged_pu: float
    update: bool
    job: str | None
    options: Sequence[str]

    def build(
        self,
        group: GroupPlan,
        place: Place,
        *,
        max_pu: float | None,
        only: Sequence[int] | None,
        on_event: Callable[[TileEvent], None] | None,
        on_progress: Callable[[Progress], None] | None,
    ) -> BuildReport:
        return run_build(
            group,
            place,
            self.executor,
            self.credentials,
            max_pu=max_pu,
            charged_pu=self.charged_pu,
            only=only,
            update=self.update,
            job=self.job,
            options=self.options,
            on_event=on_event,
            on_progress=on_progress,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Whole:
    """What all groups have in common: the cap, and what was and is to be done."""

    left: Mapping[str, tuple[int, float]]
    """Path -> tiles of the group, and the projected processing units of those that are to be bought."""
    max_pu: float | None
    reports: dict[str, BuildReport] = field(default_factory=dict)
    """Of the groups that are done."""
    is_checked: bool = True
    """Whether what is left must fit the cap."""
    is_judged: bool = False
    """Whether it is known how clear tiles are; before, what is bought only if it is clear counts as nothing."""

    @classmethod
    def look(
        cls,
        plan: CubePlan,
        root: Place,
        *,
        only: Mapping[str, Sequence[int]] | None,
        update: bool,
        max_pu: float | None,
        spent: float = 0.0,
        is_checked: bool = True,
    ) -> _Whole:
        """Create or open every group.

        Raises BudgetExceeded where what is left of all does not fit what the cap leaves once ``spent`` is taken off,
        if that ``is_checked``.
        """
        left: dict[str, tuple[int, float]] = {}
        for path, group in plan.groups.items():
            cube, areas = widen_area(create_or_open(group, child(root, path)), grow=only is None)
            cube = as_it_will_be(cube, update=update) if only is None else as_it_stands(cube)
            cube, _ = find_reopened(cube, areas, read_ledger(cube.place))
            cube = choose_clear(cube)
            left[path] = cube.plan.tile_count, _pu_left(cube, None if only is None else only.get(path, ()))
        if is_checked:
            _check_budget({path: pu for path, (_, pu) in left.items()}, max_pu, spent)
        return cls(left=left, max_pu=max_pu, is_checked=is_checked)

    def look_again(
        self, plan: CubePlan, root: Place, *, only: Mapping[str, Sequence[int]] | None, update: bool
    ) -> _Whole:
        """The same once it is known how clear tiles are. Raises BudgetExceeded as `look` does."""
        spent, is_checked = self._spent(), self.is_checked
        now = _Whole.look(plan, root, only=only, update=update, max_pu=self.max_pu, spent=spent, is_checked=is_checked)
        return replace(now, reports=self.reports, is_judged=True)

    def left_of_cap(self) -> float | None:
        """What the next group may spend."""
        return None if self.max_pu is None else max(0.0, self.max_pu * (1 + SLACK) - self._spent())

    @contextlib.contextmanager
    def telling_rest(self, path: str) -> Iterator[None]:
        """Let an error that says that the cap is reached tell as well what the groups after ``path`` cost."""
        try:
            yield
        except BudgetExceeded as error:
            later = {other: self.left[other][1] for other in list(self.left)[list(self.left).index(path) + 1 :]}
            if any(later.values()):
                shown = ", ".join(f"{other or '/'} {pu:.2f}" for other, pu in later.items())
                error.add_note(
                    f"that was {path or '/'}; the groups after it cost {math.fsum(later.values()):.2f} PU ({shown})"
                )
            raise

    def _spent(self) -> float:
        """With what may have been charged: the cap holds for that as well."""
        return math.fsum(one.pu_spent + one.pu_unknown for one in self.reports.values())

    def progress_of(
        self, path: str, on_progress: Callable[[Progress], None] | None
    ) -> Callable[[Progress], None] | None:
        """What hears of a group's progress and tells ``on_progress`` that of the whole."""
        if on_progress is None:
            return None
        before = list(self.reports.values())
        later = [self.left[other] for other in list(self.left)[list(self.left).index(path) + 1 :]]
        return lambda now: on_progress(add_progress(now, path, before=before, later=later, max_pu=self.max_pu))


def _with_group(on_event: Callable[[TileEvent], None] | None, path: str) -> Callable[[TileEvent], None] | None:
    return None if on_event is None else lambda event: on_event(replace(event, group=path))


def _pu_left(cube: CubeStore, only: Sequence[int] | None) -> float:
    """Projected processing units of the tiles that a build would buy."""
    plan = cube.plan
    ledger = read_ledger(cube.place)
    states = known_states(plan, cube, ledger)
    tiles = plan.tile_set.indices()
    left = tiles[np.isin(states[tiles], (TileState.UNTRIED, TileState.FAILED))]
    if plan.clear is not None:
        left = np.intersect1d(left, looked_at(cube))
    if only is not None:
        left = np.intersect1d(left, np.asarray(only, np.intp))
    return project_pu(plan, left, ledger.jobs)


def _check_budget(left: Mapping[str, float], max_pu: float | None, spent: float) -> None:
    """Before anything is sent for the first group, and again once looks are judged, what is left of all must fit."""
    pu = math.fsum(left.values())
    if fits(pu + spent, max_pu):
        return
    shown = ", ".join(f"{path or '/'} {price:.2f}" for path, price in left.items())
    sent = f", of which the look took {spent:.2f}; nothing more was sent" if spent else "; nothing was sent"
    raise BudgetExceeded(
        f"{pu:.2f} PU are left to buy ({shown}), and max_pu is {max_pu:g}{sent}. "
        f"Raise max_pu, or make the area smaller or the resolution coarser"
    )


def _close(root: Place, paths: Sequence[str]) -> None:
    places = [child(root, path) for path in paths]
    complete = all(bool(read_root_attributes(place).get("complete")) for place in places)
    # not from attributes: those of a group that is the root are the whole's after this
    close_tree(root, complete=complete, pu_spent=math.fsum(read_ledger(place).pu_spent for place in places))
