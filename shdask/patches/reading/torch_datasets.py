"""The same samples for torch: by number, in order, and as an iterable that splits over workers and ranks.

The only module that imports torch. Refuses to know how a sample is read.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from multiprocessing.reduction import ForkingPickler
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.utils.data import (
    Dataset,
    IterableDataset,
    Sampler,
    get_worker_info,
)

from shdask.errors import PlanError
from shdask.patches.reading.datasets import PatchList, PatchStream, read_batch
from shdask.patches.reading.order import ReadingOrder, Share

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from shdask.patches.reading.datasets import Arrived, Read
    from shdask.patches.table import Patch, Patches


# The first tensor that is sent imports modules of torch. A thread of a worker would do so, and fails where the worker
# was forked while something was imported: its batch is then lost without a word, as DataLoader goes on as workers end.
ForkingPickler.dumps(torch.empty(0))


def to_tensors(sample: Mapping[str, Any]) -> dict[str, Any]:
    """``sample`` with tensors for arrays, which share their memory, and for numbers; texts stay. Pure."""
    return {key: _tensor(item) for key, item in sample.items()}


def _tensor(item: Any) -> Any:
    return item if isinstance(item, str) else torch.as_tensor(np.asarray(item))


def read_tensors(read: Read, patches: Sequence[Patch]) -> dict[str, Any]:
    """The samples of ``patches`` as one batch, read straight into its tensors; otherwise as torch collates them.

    Raises what reading raises, and PlanError for samples that cannot be one, as `stack_samples` says.
    """
    made: dict[str, Any] = {}
    is_worker = get_worker_info() is not None

    def allocate(key: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
        kind = torch.from_numpy(np.empty(0, dtype)).dtype
        if is_worker and 0 not in shape:
            # in memory that processes share, as torch's own collation does, so that it is not copied to the loop
            shared = torch.UntypedStorage._new_shared(math.prod(shape) * dtype.itemsize)  # noqa: SLF001  # likewise
            made[key] = torch.empty(0, dtype=kind).set_(shared).view(shape)
        else:
            made[key] = torch.empty(shape, dtype=kind)
        return np.asarray(made[key].numpy())

    return {**read_batch(read, patches, allocate=allocate), **made}


class PatchDataset(Dataset[dict[str, Any]]):  # type: ignore[misc]  # Any where torch is not installed
    """Samples by row of the table. Give the DataLoader a `PatchSampler`, so that shards are not read all at once.

    A list of rows is a batch, read straight into its tensors: faster than collating samples, and the same. The
    DataLoader asks so with ``sampler=BatchSampler(PatchSampler(order), 32, drop_last=False), batch_size=None``.
    """

    def __init__(self, read: Read, patches: Patches) -> None:
        self._list = PatchList(read, patches)

    def __len__(self) -> int:
        return len(self._list)

    def __getitem__(self, row: int | list[int]) -> dict[str, Any]:
        """The sample of a row, or the batch of several; IndexError beyond the last. Raises what reading raises."""
        if not isinstance(row, list):
            return to_tensors(self._list[row])
        return read_tensors(self._list.read, [self._list.patches[each] for each in row])


class PatchSampler(Sampler[int]):  # type: ignore[misc]  # likewise
    """The rows of an epoch for this rank, in reading order; for a `PatchDataset`. Each pass is the next epoch."""

    def __init__(self, order: ReadingOrder, *, rank: int | None = None, ranks: int | None = None) -> None:
        self._order = order
        self._share = _rank_of(rank, ranks)
        self._epoch = 0
        self._position = 0

    def __len__(self) -> int:
        """Of a whole epoch."""
        return int(self._order.rows(self._epoch, self._share).size)

    def __iter__(self) -> Iterator[int]:
        rows = self._order.rows(self._epoch, self._share)
        for position in range(self._position, rows.size):
            self._position = position + 1
            yield int(rows[position])
        self.set_epoch(self._epoch + 1)

    def set_epoch(self, epoch: int) -> None:
        """Begin ``epoch`` at the next pass, from its first row."""
        self._epoch, self._position = epoch, 0

    def state_dict(self) -> dict[str, int]:
        """Where it stands. A DataLoader with workers has asked ahead: see `load_state_dict`."""
        return {"epoch": self._epoch, "position": self._position}

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        """Go on from a state; ``position`` may also be the samples that the loop has been given in that epoch."""
        self._epoch, self._position = state["epoch"], state["position"]


class PatchIterable(IterableDataset[dict[str, Any]]):  # type: ignore[misc]  # likewise
    """Samples in reading order, each worker and rank its own part, cheaply: a worker's shards are its own.

    With ``batch_size`` it gives batches, read straight into their tensors: faster than collating samples, and the same.
    The DataLoader then has ``batch_size=None``. ``workers`` are its ``num_workers``: as each of them ends an epoch with
    a batch of its own that may not be full, how many batches come cannot be told without. Where it is not given, or the
    DataLoader makes the batches, what ``len`` tells, of this and of the DataLoader, is the fewest that may come; but
    with ``arrived`` patches that have not come count.

    Call ``set_epoch`` before each epoch, as workers are copies that begin as this object stands; with
    ``persistent_workers`` they go on to the next epoch by themselves. What a loop resumes from is ``{"epoch": ...,
    "batches": ..., "batch_size": ...}``, given to ``load_state_dict`` before the DataLoader is asked; torchdata's
    StatefulDataLoader asks workers for theirs. Both need as many workers as before.
    A cube in a bucket needs DataLoader's ``multiprocessing_context="spawn"``.
    """

    def __init__(
        self,
        read: Read,
        patches: Patches,
        order: ReadingOrder,
        *,
        rank: int | None = None,
        ranks: int | None = None,
        arrived: Arrived | None = None,
        batch_size: int | None = None,
        workers: int | None = None,
    ) -> None:
        self._batch_size = batch_size
        self._workers = workers
        self._stream = PatchStream(read, patches, order, share=_rank_of(rank, ranks), arrived=arrived)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """An epoch. Raises PlanError where the DataLoader has other ``workers`` than were told."""
        worker = get_worker_info()
        found = 0 if worker is None else worker.num_workers
        if self._workers not in {None, found}:
            raise PlanError(f"workers={self._workers}, but the DataLoader has num_workers={found}; give it as many")
        if worker is not None:
            own = replace(self._stream.share, worker=worker.id, workers=worker.num_workers)
            if own != self._stream.share:
                self._stream = self._stream.with_share(own)
        if self._batch_size is None:
            return map(to_tensors, iter(self._stream))
        return self._stream.in_batches(self._batch_size, partial(read_tensors, self._stream.read))

    def __len__(self) -> int:
        """Samples or batches of a whole epoch of this rank, all its workers together; batches need ``workers``."""
        readers = self._workers or 1
        fewest, more = divmod(len(self._stream), readers)
        shares = [fewest + (number < more) for number in range(readers)]  # as `ReadingOrder.rows` cuts them
        return sum(math.ceil(share / (self._batch_size or 1)) for share in shares)

    def set_epoch(self, epoch: int) -> None:
        """Begin ``epoch`` at the next pass, from its first sample."""
        self._stream.set_epoch(epoch)

    def state_dict(self) -> dict[str, int]:
        """Where this copy stands: the whole state where the DataLoader has no workers."""
        return self._stream.state_dict()

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        """Go on from a state; see `PatchStream.load_state_dict`."""
        self._stream.load_state_dict(state)


def _rank_of(rank: int | None, ranks: int | None) -> Share:
    """That of this process, as torch.distributed has it unless it is given; one of one without."""
    if rank is None or ranks is None:
        distributed = torch.distributed
        is_one_of_several = distributed.is_available() and distributed.is_initialized()
        rank, ranks = (distributed.get_rank(), distributed.get_world_size()) if is_one_of_several else (0, 1)
    return Share(rank=rank, ranks=ranks)
