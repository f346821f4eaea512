"""Looks, before a build pays for its first request, whether the deployment serves what it asks for: one free request.

Refuses to check what the build finds out with its first answer, and to stand in the way of what it cannot know.
"""

from __future__ import annotations

import logging
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass, field
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from shdask.build import Account, BuildJob, Executor, Run
from shdask.doctor.desk import ONCE, Desk, read_date, read_object
from shdask.doctor.examine import check_clock, now_utc
from shdask.doctor.offer import collections_of, explain_missing, find_missing, read_children
from shdask.errors import PlanError, ShdaskError
from shdask.fetch.transport import RequestsTransport, Timeouts
from shdask.plan.cube import CubePlan
from shdask.request.collections import USER_PREFIXES
from shdask.settings import Deployment

logger = logging.getLogger(__name__)

HASTE = Timeouts(connect_s=2, read_s=3, total_s=3)


@dataclass(slots=True)
class CarefulExecutor:
    """An Executor that, before its first tile, looks for all of a ``plan``, and then leaves it to ``inner``."""

    inner: Executor
    plan: CubePlan
    """The whole cube's: what its last group asks for is looked for before the first is paid."""
    _looked: bool = field(default=False, init=False)

    def start(self, job: BuildJob, tiles: NDArray[np.intp]) -> Run:
        """As the inner executor's. Raises PlanError as well, where the deployment does not offer a collection."""
        self._look(job)
        return self.inner.start(job, tiles)

    def open_account(self, job: BuildJob) -> AbstractContextManager[Account]:
        """As the inner executor's, after the same look."""
        self._look(job)
        return self.inner.open_account(job)

    def _look(self, job: BuildJob) -> None:
        if not self._looked:
            look_before(self.plan, job.plan.deployment)
            self._looked = True


def look_before(plan: CubePlan, deployment: Deployment) -> None:
    """Ask the Catalog's entry page, once and for a few seconds at most, whether it has what ``plan`` reads.

    Logs a warning where this machine's clock is off. Raises PlanError where the page lists collections, and not all
    of them; users' own it does not list. A page that does not come, or says nothing, stops nobody.
    """
    try:
        with closing(RequestsTransport(pool_size=1)) as transport:
            answer = Desk(deployment=deployment, transport=transport, policy=ONCE, timeouts=HASTE).entry()
        offered = read_children(read_object(answer)) if answer.is_success else frozenset()
    except ShdaskError as error:
        logger.info("%s was not looked at before the build: %s", deployment.base_url, error)
        return
    _warn_of_clock(read_date(answer), now_utc())
    for layer in {group.layer.name: group.layer for group in plan.groups.values()}.values():
        wanted = [name for name in collections_of([layer]) if not name.startswith(USER_PREFIXES)]
        for name in find_missing(wanted, offered) if offered else ():
            found, cure = explain_missing(name, deployment)
            raise PlanError(f"layers.{layer.name}: {found}; {cure}")


def _warn_of_clock(sent: datetime | None, now: datetime) -> None:
    clock = check_clock(sent, now)
    if clock.outcome == "warning":
        logger.warning("this machine's clock is %s; %s", clock.found, clock.cure)
