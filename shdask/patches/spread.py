"""How patches are spread over sets, classes, places and months.

Pure. Refuses to know pixels.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from shdask.patches.table import SPLITS, Patches, Split

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, kw_only=True)
class SetBalance:
    """Of the patches of one set."""

    split: Split
    patches: int
    share: float
    """Of all patches."""
    labels: Mapping[int, int]
    """Class -> how many patches; `NO_LABEL` where labels chose nothing."""
    months: Mapping[str, int]
    """``2024-06`` -> how many patches are for a date in it; those for all dates are in none."""
    blocks: int
    """Spatial blocks that have any of them."""
    parcels: int
    """Features of the labels that they were cut for."""
    valid_share: float
    """On average; NaN where no patch tells one."""
    clear_share: float

    @classmethod
    def of(cls, patches: Patches, split: Split) -> Self:
        """That of one of the sets of ``patches``. Pure."""
        some = patches.of_split(split)
        months = some.date[~np.isnat(some.date)].astype("datetime64[M]").astype(str)
        return cls(
            split=split,
            patches=len(some),
            share=len(some) / len(patches) if len(patches) else 0.0,
            labels=_count(some.label),
            months=_count(months),
            blocks=np.unique(some.block).size,
            parcels=np.unique(some.parcel[some.parcel != ""]).size,
            valid_share=_mean(some.valid_share),
            clear_share=_mean(some.clear_share),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Balance:
    """Of all sets; its text is a table for people."""

    sets: tuple[SetBalance, ...]
    """In the order of `SPLITS`."""

    def as_dict(self) -> dict[str, object]:
        """The figures as JSON-able values."""
        return asdict(self)

    def __str__(self) -> str:
        classes = sorted({label for each in self.sets for label in each.labels})
        head = ["set", "patches", "share", "blocks", "parcels", "valid", "clear", *(f"class {it}" for it in classes)]
        rows = [
            [
                each.split,
                f"{each.patches}",
                f"{each.share:.3f}",
                f"{each.blocks}",
                f"{each.parcels}",
                f"{each.valid_share:.3f}",
                f"{each.clear_share:.3f}",
                *(f"{each.labels.get(label, 0)}" for label in classes),
            ]
            for each in self.sets
        ]
        widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
        return "\n".join(
            "  ".join(text.rjust(width) for text, width in zip(row, widths, strict=True)) for row in (head, *rows)
        )


def count_balance(patches: Patches) -> Balance:
    """How ``patches`` are spread. Pure."""
    return Balance(sets=tuple(SetBalance.of(patches, split) for split in SPLITS))


def _count(values: NDArray[Any]) -> dict[Any, int]:
    found, counts = np.unique(values, return_counts=True)
    return dict(zip(found.tolist(), counts.tolist(), strict=True))


def _mean(shares: NDArray[np.float32]) -> float:
    known = shares[~np.isnan(shares)]
    return float(known.mean(dtype=np.float64)) if known.size else float("nan")
