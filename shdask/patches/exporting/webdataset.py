"""Patches as a WebDataset: tar files by set and modality, the same patches in the same order in each.

Refuses to know where pixels come from; the same patches give the same bytes.
"""

from __future__ import annotations

import io
import json
import math
import os
import tarfile
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from shdask.errors import PlanError
from shdask.patches.exporting.datasheet import Datasheet, write_datasheet
from shdask.patches.exporting.modality import SETS, Modalities, check_export
from shdask.patches.whole import write_whole

if TYPE_CHECKING:
    from pathlib import Path

    from shdask.patches.table import Patch, Patches

PATCHES_PER_SHARD = 1000


def write_webdataset(
    folder: str | os.PathLike[str],
    patches: Patches,
    modalities: Modalities,
    *,
    patches_per_shard: int = PATCHES_PER_SHARD,
    datasheet: Datasheet | None = None,
) -> None:
    """Write ``SET/MODALITY/shard-000000.tar`` below a new ``folder`` for train, validation and test.

    A tar holds for each patch ``KEY.FIELD.npy`` of every array and number of its dict, and ``KEY.json`` with its row
    of the table and all texts. ``shard-N`` of all modalities of a set has the same keys in the same order, so that
    they can be read side by side. Patches are read one at a time, each once for every modality. All or nothing is
    written, the same bytes from the same patches and pixels.
    Raises PlanError for what cannot be exported, StoreError where something stands at ``folder``.
    """
    check_export(patches, modalities)
    if patches_per_shard < 1:
        raise PlanError(f"patches_per_shard = {patches_per_shard} is not a number of patches; give 1 or more")
    with write_whole(folder) as partial:
        for split in SETS:
            some = patches.of_split(split)
            for name, modality in modalities.items():
                for shard, first in enumerate(range(0, len(some), patches_per_shard)):
                    path = partial / split / name / f"shard-{shard:06d}.tar"
                    path.parent.mkdir(parents=True, exist_ok=True)
                    rows = some.take(np.arange(first, min(first + patches_per_shard, len(some))))
                    _write_shard(path, ((patch, modality.read(patch)) for patch in rows))
        if datasheet is not None:
            write_datasheet(partial, datasheet)


def _write_shard(path: Path, samples: Iterable[tuple[Patch, Mapping[str, Any]]]) -> None:
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as tar:
        for patch, sample in samples:
            texts = {name: value for name, value in sample.items() if isinstance(value, str)}
            for name, value in sample.items():
                if name not in texts:
                    _add(tar, f"{patch.key}.{name}.npy", _npy_bytes(value))
            _add(tar, f"{patch.key}.json", json.dumps({**texts, **patch_json(patch)}, sort_keys=True).encode())


def patch_json(patch: Patch) -> Mapping[str, Any]:
    """The row of a patch as JSON types; null where nothing is known. Pure."""
    return {
        "key": patch.key,
        "zone": patch.zone,
        "y0": patch.y0,
        "x0": patch.x0,
        "size_px": patch.size_px,
        "split": patch.split,
        "block": patch.block,
        "label": patch.label,
        "parcel": patch.parcel,
        "date": None if np.isnat(patch.date) else f"{patch.date}Z",
        "valid_share": None if math.isnan(patch.valid_share) else patch.valid_share,
        "clear_share": None if math.isnan(patch.clear_share) else patch.clear_share,
        "bounds": list(patch.bounds),
        "epsg": patch.epsg,
    }


def _npy_bytes(value: Any) -> bytes:
    file = io.BytesIO()
    np.save(file, np.asarray(value), allow_pickle=False)
    return file.getvalue()


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)  # whose owner is nobody and whose time is 0 unless told
    member.size = len(data)
    tar.addfile(member, io.BytesIO(data))
