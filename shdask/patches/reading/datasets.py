"""Samples one after the other, or by number: as plain Python for numpy, and as a Dask bag.

Refuses to know training frameworks, and how a sample is read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from shdask.errors import PlanError
from shdask.patches.reading.order import ReadingOrder, Share, batches_of_worker
from shdask.patches.reading.sample_dict import Allocate, allocate_array, stack_samples

if TYPE_CHECKING:
    from dask.bag import Bag
    from numpy.typing import NDArray

    from shdask.patches.table import Patch, Patches

Item = TypeVar("Item")
Read = Callable[["Patch"], Mapping[str, Any]]
"""What makes a sample of a patch, such as a PatchReader."""
Arrived = Callable[["Patches"], "NDArray[np.bool_]"]
"""Tells which patches have come already; see `shdask.patches.reading.arrived.find_arrived`."""


def read_batch(read: Read, patches: Sequence[Patch], *, allocate: Allocate = allocate_array) -> dict[str, Any]:
    """The samples of ``patches`` as `stack_samples` stacks them, straight into the batch's arrays where that can be.

    Raises what reading raises, and PlanError for samples that cannot be one, as `stack_samples` says.
    """
    at_once: Callable[..., dict[str, Any]] | None = getattr(read, "read_batch", None)  # as PatchReader's
    if at_once is not None:
        return at_once(patches, allocate=allocate)
    return stack_samples([read(patch) for patch in patches], allocate=allocate)


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
        return self.in_batches(1, lambda patches: self.read(patches[0]))

    def in_batches(self, size: int, read: Callable[[list[Patch]], Item]) -> Iterator[Item]:
        """What ``read`` makes of ``size`` patches at a time, as `PatchReader.read_batch`; the last may be fewer.

        For the rest it is as a pass over the samples.
        """
        if size < 1:
            raise PlanError(f"batches of {size} samples: one at least")
        if self._batches is not None:
            count, dealt = self._batches
            self._position, self._batches = batches_of_worker(count, self.share) * dealt, None
        rows = self.order.rows(self._epoch, self.share)
        left = np.arange(self._position, rows.size)
        if self.arrived is not None:
            left = left[self.arrived(self.patches)[rows[left]]]
        for first in range(0, left.size, size):
            part = left[first : first + size]
            item = read([self.patches[row] for row in rows[part].tolist()])
            self._position = int(part[-1]) + 1
            yield item
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
