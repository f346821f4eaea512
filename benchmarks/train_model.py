"""A small net, and simpler rules to stand beside it, that tell the class of every pixel of a patch.

Refuses to know where patches come from.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from shdask.patches.reading.sample_dict import IGNORE_INDEX

WIDTH = 32
LEARNING_RATE = 6e-3
CLASSES_AT_MOST = 64

Batch = Mapping[str, Any]


class Net(nn.Module):
    """Three layers that see four pixels around and all dates at once."""

    def __init__(self, planes: int, classes: int) -> None:
        super().__init__()
        self.mix = nn.Sequential(nn.Conv2d(planes, WIDTH, 1), nn.BatchNorm2d(WIDTH), nn.ReLU())
        self.near, self.far = _convolve(1), _convolve(3)
        self.classify = nn.Conv2d(WIDTH, classes, 1)

    def forward(self, batch: Batch) -> Tensor:
        """(patch, class, y, x) scores."""
        mixed = self.mix(make_planes(batch))
        mixed = mixed + self.near(mixed)
        return self.classify(mixed + self.far(mixed))


def _convolve(reach: int) -> nn.Module:
    conv = nn.Conv2d(WIDTH, WIDTH, 3, padding=reach, dilation=reach)
    return nn.Sequential(conv, nn.BatchNorm2d(WIDTH), nn.ReLU())


class Linear(nn.Module):
    """Logistic regression of each pixel by itself."""

    def __init__(self, planes: int, classes: int) -> None:
        super().__init__()
        self.classify = nn.Conv2d(planes, classes, 1)

    def forward(self, batch: Batch) -> Tensor:
        """(patch, class, y, x) scores."""
        return self.classify(make_planes(batch))


def make_planes(batch: Batch) -> Tensor:
    """(patch, plane, y, x): every band at every date, 0 where it is not clear, and whether each date is clear."""
    clear = batch["clear"].unsqueeze(2)
    return torch.cat(((batch["image"] * clear).flatten(1, 2), clear.flatten(1, 2).float()), dim=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Clock:
    """Where the time of training went, seconds by epoch; validation does not count."""

    wall_s: list[float] = field(default_factory=list)
    waited_s: list[float] = field(default_factory=list)
    """Of these, for the next batch."""


def train(model: nn.Module, epochs: int, loader: Any, validation: Iterable[Batch]) -> tuple[Clock, list[float]]:
    """Train ``model``, and leave it as it stood after the epoch that knew most of ``validation``.

    Each pass over ``loader`` is an epoch. Returns where time went, and the accuracy after each epoch.
    """
    optimiser = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, LEARNING_RATE, total_steps=epochs * len(loader))
    loss_of = nn.CrossEntropyLoss(ignore_index=IGNORE_INDEX)
    clock, found, best = Clock(), [], model.state_dict()
    for _ in range(epochs):
        model.train()
        waited, started = 0.0, time.perf_counter()
        asked = started
        for batch in loader:
            waited += time.perf_counter() - asked
            optimiser.zero_grad()
            loss_of(model(batch), batch["mask"]).backward()
            optimiser.step()
            schedule.step()
            asked = time.perf_counter()
        clock.wall_s.append(time.perf_counter() - started)
        clock.waited_s.append(waited)
        found.append(accuracy(count_pairs(model, validation)))
        print(f"  {clock.wall_s[-1]:.1f} s, {found[-1]:.3f} of validation known", flush=True)
        if found[-1] == max(found):
            best = copy.deepcopy(model.state_dict())
    model.load_state_dict(best)
    model.eval()
    return clock, found


@dataclass(frozen=True, slots=True, kw_only=True)
class NearestMean:
    """The class whose mean over training pixels is nearest, by the bands and dates that are clear."""

    means: Tensor
    """(class, plane)."""

    @classmethod
    def fit(cls, batches: Iterable[Batch], classes: int) -> NearestMean:
        """Means of what is clear."""
        sums, counts = torch.zeros(()), torch.zeros(())
        for batch in batches:
            values, known = _flatten(batch)
            mask = batch["mask"].flatten()
            one_hot = nn.functional.one_hot(mask.clamp(min=0), classes).float() * (mask >= 0)[:, None]
            sums, counts = sums + one_hot.T @ values, counts + one_hot.T @ known
        return cls(means=sums / counts.clamp(min=1))

    def __call__(self, batch: Batch) -> Tensor:
        """(patch, y, x) classes."""
        values, known = _flatten(batch)
        # squares of differences, but for a share that is the same for all classes
        far = known @ (self.means**2).T - 2 * values @ self.means.T
        return far.argmin(1).reshape(batch["mask"].shape)


def _flatten(batch: Batch) -> tuple[Tensor, Tensor]:
    """(pixel, plane): values, 0 where they are not clear, and whether they are."""
    known = batch["clear"].unsqueeze(2).expand_as(batch["image"])
    values, clear = (
        item.flatten(1, 2).movedim(1, -1).flatten(0, 2).float() for item in (batch["image"] * known, known)
    )
    return values, clear


def count_pairs(model: Any, batches: Iterable[Batch]) -> NDArray[np.int64]:
    """(truth, said): pixels by their class and by that which ``model`` gives, scores or classes of a batch."""
    if isinstance(model, nn.Module):
        model.eval()
    counts = np.zeros((CLASSES_AT_MOST, CLASSES_AT_MOST), np.int64)
    with torch.no_grad():
        for batch in batches:
            said, truth = model(batch), batch["mask"].numpy()
            chosen = (said.argmax(1) if said.ndim > truth.ndim else said).numpy()
            known = truth != IGNORE_INDEX
            np.add.at(counts, (truth[known], chosen[known]), 1)
    return counts


def accuracy(pairs: NDArray[np.int64]) -> float:
    """Share of pixels whose class is told."""
    return float(np.trace(pairs) / pairs.sum())


def class_ious(pairs: NDArray[np.int64], classes: int) -> list[float]:
    """Intersection over union of each class; NaN for one that nothing is of."""
    hits = np.diag(pairs)[:classes]
    union = (pairs.sum(0) + pairs.sum(1))[:classes] - hits
    has = pairs.sum(1)[:classes] > 0
    return np.where(has, hits / np.maximum(union, 1), np.nan).tolist()
