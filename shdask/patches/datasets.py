"""Samples one after the other, or by number: as plain Python for numpy, and as a Dask bag.

Refuses to know training frameworks, and how a sample is read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from shdask.errors import PlanError
from shdask.patches.order import ReadingOrder, Share, batches_of_worker

if TYPE_CHECKING:
    from dask.bag import Bag
    from numpy.typing import NDArray

    from shdask.patches.table import Patch, Patches

Read = Callable[["Patch"], Mapping[str, Any]]
"""What makes a sample of a patch, such as a PatchReader."""
Arrived = Callable[["Patches"], "NDArray[np.bool_]"]
"""Tells which patches have come already; see `shdask.patches.arrived.find_arrived`."""


class PatchList:
    """Samples by number: what frameworks call a map-style dataset."""

    def __init__(self, read: Read, patches: Patches) -> None:
        self.read = read
        self.patches = patches

    def __len__(self) -> int:
        return len(self.patches)

    def __getitem__(self, row: int) -> Mapping[str, Any]:
        """The sample of a row of the table. Raises IndexError beyond the last, and what reading raises."""
        return self.read(self.patches[row])


class PatchStream:
    """Samples in the order of an epoch, from where an earlier run stopped; each pass over it is the next epoch.

    Together the shares of all readers give every patch once in an epoch; see `ReadingOrder.rows`. With ``arrived`` the
    patches that have not come yet, at the epoch's beginning, are left out of it: for a cube that still fills, and for
    one rank only, since others may see other patches.
    """

    def __init__(
        self,
        read: Read,
        patches: Patches,
        order: ReadingOrder,
        *,
        share: Share | None = None,
        arrived: Arrived | None = None,
    ) -> None:
        if order.shard.size != len(patches):
            raise PlanError(f"the order is of {order.shard.size} patches, not of these {len(patches)}; make it of them")
        self.read = read
        self.patches = patches
        self.order = order
        self.share = share or Share()
        self.arrived = arrived
        self._epoch = 0
        self._position = 0
        self._batches: tuple[int, int] | None = None

    def __len__(self) -> int:
        """Samples of a whole epoch of this share, those that have not come among them."""
        return int(self.order.rows(self._epoch, self.share).size)

    def __iter__(self) -> Iterator[Mapping[str, Any]]:
        """The samples of the epoch that are left. What reading raises ends it; the next pass goes on there."""
        if self._batches is not None:
            count, size = self._batches
            self._position, self._batches = batches_of_worker(count, self.share) * size, None
        here = None if self.arrived is None else self.arrived(self.patches)
        rows = self.order.rows(self._epoch, self.share)
        for position in range(self._position, rows.size):
            row = int(rows[position])
            self._position = position + 1
            if here is None or here[row]:
                try:
                    sample = self.read(self.patches[row])
                except BaseException:
                    self._position = position
                    raise
                yield sample
        self._epoch, self._position = self._epoch + 1, 0

    def set_epoch(self, epoch: int) -> None:
        """Begin ``epoch`` at the next pass, from its first sample."""
        self._epoch, self._position, self._batches = epoch, 0, None

    def state_dict(self) -> dict[str, int]:
        """Where it stands: what `load_state_dict` takes to go on behind the last sample that was given."""
        return {"epoch": self._epoch, "position": self._position}

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        """Go on from a state of a stream of the same table, order and share.

        Or from what a loop knows that has several workers read ahead of it: ``{"epoch": 3, "batches": 120,
        "batch_size": 32}``, the batches that it has been given in that epoch. Raises PlanError for any other state,
        and for batches where ``arrived`` is set: patches that were left out count in no batch.
        """
        if state.keys() == {"epoch", "position"}:
            self._epoch, self._position, self._batches = state["epoch"], state["position"], None
        elif state.keys() == {"epoch", "batches", "batch_size"}:
            if self.arrived is not None:
                raise PlanError(
                    f"state {dict(state)}: batches do not tell where a stream with arrived stands, which leaves "
                    "patches out; give epoch and position, as state_dict of the stream tells them"
                )
            self._epoch, self._position, self._batches = state["epoch"], 0, (state["batches"], state["batch_size"])
        else:
            raise PlanError(f"state {dict(state)}: give epoch and position, or epoch, batches and batch_size")

    def with_share(self, share: Share) -> PatchStream:
        """The same stream, where it stands, of another share."""
        other = PatchStream(self.read, self.patches, self.order, share=share, arrived=self.arrived)
        other._epoch, other._position, other._batches = self._epoch, self._position, self._batches  # its own
        return other


def make_bag(read: Read, patches: Patches, order: ReadingOrder, *, partitions: int, epoch: int = 0) -> Bag:
    """A Dask bag of all samples: each partition is a task that reads its part of the epoch, few shards, in order.

    Workers read the cube themselves; nothing is read here.
    """
    import dask
    from dask import bag

    if partitions < 1:
        raise PlanError(f"partitions {partitions}: one at least")
    order = replace(order, even="none")
    shares = [Share(worker=number, workers=partitions) for number in range(partitions)]
    parts = [patches.take(order.rows(epoch, share)) for share in shares]
    return bag.from_delayed([dask.delayed(_read_all)(read, part) for part in parts])


def _read_all(read: Read, patches: Patches) -> list[Mapping[str, Any]]:
    return [read(patch) for patch in patches]
