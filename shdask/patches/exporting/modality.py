"""What an export takes from each patch: named pictures of it, by a reader each, and what is known of their bands.

Refuses to know where pixels come from, and in which format they are written.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from shdask.errors import PlanError
from shdask.patches.table import SPLITS, Patch, Split

if TYPE_CHECKING:
    from shdask.patches.table import Patches

ReadPatch = Callable[[Patch], Mapping[str, Any]]
"""Gives the flat dict of a patch: arrays, numbers and texts, as `PatchReader.read` does."""
SETS: tuple[Split, ...] = SPLITS[:-1]
"""What is exported; patches that are left out of all sets are not."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")
_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9_=+-]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Modality:
    """One kind of pictures, of one or several layers."""

    read: ReadPatch
    bands: tuple[str, ...]
    """Names of the bands of ``image``, in its order."""
    means: tuple[float, ...] = ()
    """Of each band, over the valid pixels of the training set; empty where nobody has counted."""
    stds: tuple[float, ...] = ()


Modalities = Mapping[str, Modality]
"""By the name of the folder or group that each becomes."""


def check_export(patches: Patches, modalities: Modalities) -> None:
    """Raise PlanError for what no folder or key can be called, for keys that are not unique, and for nothing. Pure."""
    if not modalities or not len(patches):
        raise PlanError("there is nothing to export; give patches, and a modality at least")
    for name, modality in modalities.items():
        if not _NAME.fullmatch(name) or name == "mask":
            raise PlanError(f"{name!r} cannot be a modality's name; use letters, digits, - and _ (mask is the labels')")
        for what, values in (("means", modality.means), ("stds", modality.stds)):
            if values and len(values) != len(modality.bands):
                raise PlanError(f"{name}: {len(values)} {what} for {len(modality.bands)} bands; give one for each")
    keys = patches.key.tolist()
    if len(set(keys)) < len(keys):
        raise PlanError("patches: keys are not unique; choose patches anew, or leave out those that come twice")
    wrong = [key for key in keys if not _KEY.fullmatch(key)]
    if wrong:
        raise PlanError(f"patches: the key {wrong[0]!r} cannot be a file's name; use letters, digits, -, _, + and =")
    if all(len(patches.of_split(split)) == 0 for split in SETS):
        raise PlanError("patches: all are left out of every set; choose patches anew with a smaller guard")


def check_sample(patch: Patch, name: str, sample: Mapping[str, Any], bands: tuple[str, ...]) -> None:
    """Raise PlanError where ``image``, (date, band, y, x) or (band, y, x), has other bands than it is said to. Pure."""
    shape: tuple[int, ...] = getattr(sample.get("image"), "shape", ())
    if len(shape) not in {3, 4} or shape[-3] != len(bands):
        raise PlanError(
            f"patch {patch.key}: image of {name} has the shape {shape} and {len(bands)} bands are named; read "
            f'it in the layout "TCHW"'
        )
