"""Patches in a Zarr store of their own: an array for each field, the patches its first axis, found again by key.

Refuses to know where pixels come from, and grids; each patch keeps its own bounds.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import zarr
from zarr.codecs import BloscCodec

from shdask import __version__
from shdask.assemble.template import expected_zarr_warnings
from shdask.errors import PlanError, StoreError
from shdask.patches.exporting.datasheet import Datasheet, write_datasheet
from shdask.patches.exporting.modality import Modalities, check_export
from shdask.patches.reading.sample_dict import stack_samples
from shdask.patches.table import SPLITS, Patch, Patches
from shdask.patches.whole import write_whole

if TYPE_CHECKING:
    from numpy.typing import NDArray

PATCH = "patch"
_CODEC = BloscCodec(cname="zstd", clevel=3, shuffle="shuffle")


def write_patch_store(
    folder: str | os.PathLike[str],
    patches: Patches,
    modalities: Modalities,
    *,
    patches_per_chunk: int = 1,
    datasheet: Datasheet | None = None,
) -> None:
    """Write a Zarr v3 store at ``folder``: a group for each modality, with an array for each field of its dicts.

    Arrays are (patch, ...) in the shape that the reader gives, ``patches_per_chunk`` of them a chunk; texts become
    arrays of strings. Columns of the table stand in the root, ``key`` among them, in the table's order; patches that
    are left out of all sets are not stored. So many patches are in memory as a chunk holds. All or nothing is written.
    Raises PlanError for what cannot be exported, and for samples of different shapes; StoreError where something
    stands at ``folder``.
    """
    check_export(patches, modalities)
    if patches_per_chunk < 1:
        raise PlanError(f"patches_per_chunk = {patches_per_chunk} is not a number of patches; give 1 or more")
    columns = {name for name, _ in _members(patches)}
    if columns & set(modalities):
        raise PlanError(f"{min(columns & set(modalities))!r} is a column of the table; call the modality otherwise")
    some = patches.take(patches.split != SPLITS.index("left out"))
    with write_whole(folder) as partial, expected_zarr_warnings():
        root = zarr.create_group(partial, zarr_format=3, attributes=_root_attributes(some, modalities))
        _write_columns(root, some)
        for name, modality in modalities.items():
            group = root.create_group(name)
            for first in range(0, len(some), patches_per_chunk):
                rows = some.take(np.arange(first, min(first + patches_per_chunk, len(some))))
                batch = stack_samples([modality.read(patch) for patch in rows])
                if not first:
                    _create_arrays(group, batch, len(some), patches_per_chunk)
                _write_batch(group, batch, first)
        zarr.consolidate_metadata(partial, zarr_format=3)
        if datasheet is not None:
            write_datasheet(partial, datasheet)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PatchStore:
    """What `write_patch_store` wrote."""

    name: str
    patches: Patches
    modality: str
    """The one that `read` gives."""
    arrays: Mapping[str, zarr.Array[Any]]
    """Of that modality, (patch, ...)."""
    rows: Mapping[str, int]
    """Key -> position in the arrays."""

    @classmethod
    def open(cls, folder: str | os.PathLike[str], modality: str | None = None) -> Self:
        """The store at ``folder``; ``modality`` is named where there are several.

        Raises StoreError where there is no such store, or no such modality in it.
        """
        try:
            root = zarr.open_group(Path(folder), mode="r")
        except FileNotFoundError as error:
            raise StoreError(f"{folder} is no store of patches; give one that write_patch_store wrote") from error
        if "patches" not in root.attrs:
            raise StoreError(f"{folder} is no store of patches; give one that write_patch_store wrote")
        names = sorted(name for name, _ in root.groups())
        name = names[0] if modality is None and len(names) == 1 else modality
        if name is None or name not in names:
            raise StoreError(f"{folder} has the modalities {', '.join(names)}; name one of them, not {modality!r}")
        patches = _read_columns(root)
        return cls(
            name=os.fspath(folder),
            patches=patches,
            modality=name,
            arrays=dict(zarr.open_group(Path(folder), path=name, mode="r").arrays()),
            rows={key: row for row, key in enumerate(patches.key.tolist())},
        )

    def __len__(self) -> int:
        return len(self.patches)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return (self.read(patch) for patch in self.patches)

    def read(self, patch: Patch | str) -> dict[str, Any]:
        """The dict of a patch, or of the patch with that key, as it was given. Raises StoreError for one not there."""
        key = patch if isinstance(patch, str) else patch.key
        if key not in self.rows:
            raise StoreError(f"{self.name} has no patch {key!r}; its table names those it has")
        row = self.rows[key]
        return {name: _value(array, row) for name, array in self.arrays.items()}


def _value(array: zarr.Array[Any], row: int) -> Any:
    value = np.asarray(array[row])
    return str(value.item()) if value.dtype.kind in "OTU" else value[()]  # a number for no axis, else the array


def _root_attributes(patches: Patches, modalities: Modalities) -> dict[str, Any]:
    known = {
        name: {"bands": list(modality.bands), "means": list(modality.means), "stds": list(modality.stds)}
        for name, modality in modalities.items()
    }
    plain = {name: value for name, value in _members(patches) if not isinstance(value, np.ndarray)}
    return {"shdask_version": __version__, "patches": plain, "modalities": known}


def _members(patches: Patches) -> list[tuple[str, Any]]:
    return [(field.name, getattr(patches, field.name)) for field in fields(patches)]


def _write_columns(root: zarr.Group, patches: Patches) -> None:
    flags = {"flag_values": list(range(len(SPLITS))), "flag_meanings": " ".join(SPLITS[:-1]) + " left_out"}
    times = {"units": "seconds since 1970-01-01", "calendar": "proleptic_gregorian"}
    for name, column in _members(patches):
        if not isinstance(column, np.ndarray):
            continue
        is_time = column.dtype.kind == "M"
        values = column.astype("datetime64[s]").astype(np.int64) if is_time else column  # NaT is the least of all
        attributes = times if is_time else flags if name == "split" else {}
        _create(root, name, values, values.shape, attributes=attributes)[...] = _as_stored(values)


def _read_columns(root: zarr.Group) -> Patches:
    told: Any = root.attrs["patches"]
    columns: dict[str, Any] = {}
    for name, array in root.arrays():
        values = np.asarray(array[...])
        if values.dtype.kind in "OT":
            values = np.array(values.tolist(), np.str_)
        columns[name] = values.astype("datetime64[s]") if name == "date" else values
    plain: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in told.items()}
    return Patches(**plain, **columns)


def _create_arrays(group: zarr.Group, batch: Mapping[str, Any], count: int, per_chunk: int) -> None:
    for name, values in batch.items():
        first = np.asarray(values)
        _create(group, name, first, (count, *first.shape[1:]), chunk=min(per_chunk, count))


def _create(
    group: zarr.Group,
    name: str,
    values: NDArray[Any],
    shape: tuple[int, ...],
    *,
    chunk: int | None = None,
    attributes: Mapping[str, Any] | None = None,
) -> zarr.Array[Any]:
    is_text = values.dtype.kind == "U"
    return group.create_array(
        name,
        shape=shape,
        dtype="string" if is_text else values.dtype,
        chunks=(chunk or max(1, shape[0]), *(max(1, side) for side in shape[1:])),
        compressors=_CODEC if not is_text else "auto",
        dimension_names=(PATCH, *(f"{name}_{axis}" for axis in range(1, len(shape)))),
        attributes=dict(attributes or {}),
        config={"write_empty_chunks": True},
    )


def _write_batch(group: zarr.Group, batch: Mapping[str, Any], first: int) -> None:
    missing = {name for name, _ in group.arrays()} ^ set(batch)
    if missing:
        raise PlanError(
            f"the samples do not all have {', '.join(sorted(missing))}; let the reader give the same fields"
        )
    for name, values in batch.items():
        array = group[name]
        if not isinstance(array, zarr.Array):
            raise TypeError(f"{name} is no array")
        stacked = np.asarray(values)
        if array.shape[1:] != stacked.shape[1:]:
            raise PlanError(
                f"{name} has the shapes {array.shape[1:]} and {stacked.shape[1:]}; give the dates a count, so that "
                f"all have as many"
            )
        array[first : first + len(stacked)] = _as_stored(stacked)


def _as_stored(values: NDArray[Any]) -> NDArray[Any]:
    return values.astype(object) if values.dtype.kind == "U" else values
