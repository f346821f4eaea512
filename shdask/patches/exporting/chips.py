"""Patches as GeoTIFFs, a file a patch and modality, with files that list the sets and a YAML that describes them.

Refuses to know where pixels come from; the form is that of TerraTorch's generic datasets.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from shdask.errors import PlanError
from shdask.patches.exporting.datasheet import Datasheet, write_datasheet
from shdask.patches.exporting.modality import SETS, Modalities, Modality, check_export, check_sample
from shdask.patches.reading.sample_dict import IGNORE_INDEX
from shdask.patches.whole import write_whole

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from shdask.patches.table import Patch, Patches

MASK = "mask"
BandOrder = Literal["date", "band"]
"""What of a file's bands comes first: all bands of the first date, or all dates of the first band."""
BLOCK_PX = 16
"""Sides of a GeoTIFF's blocks are multiples of it."""
MAX_BLOCK_PX = 512


def write_chips(
    folder: str | os.PathLike[str],
    patches: Patches,
    modalities: Modalities,
    *,
    classes: Sequence[str] = (),
    ignore_index: int = IGNORE_INDEX,
    order: BandOrder = "date",
    datasheet: Datasheet | None = None,
) -> None:
    """Write ``MODALITY/KEY.tif`` below a new ``folder``, ``mask/KEY.tif`` where dicts have a mask, and what lists them.

    A file has a band for each band and date: all bands of the first date, then of the second, as TerraTorch expands
    them from 1.2.2 on, or by ``order`` all dates of the first band, then of the second, as it did before. Pixels that
    are not valid are NaN, the file's nodata, where values are floats. Masks are int16, with ``ignore_index``, which
    must be the reader's, as their nodata. ``train.txt``, ``validation.txt`` and ``test.txt`` hold the files' names;
    ``dataset.yaml`` tells bands, dates, means, stds and ``classes``. Images are (date, band, y, x) or (band, y, x); a
    mask is the first modality's that has one. All or nothing is written.
    Raises PlanError for what cannot be exported, StoreError where something stands at ``folder``.
    """
    import yaml

    if order not in get_args(BandOrder):
        raise PlanError(f"order: {order!r} is not known; write {' or '.join(get_args(BandOrder))}")
    check_export(patches, modalities)
    with write_whole(folder) as partial:
        dates: dict[str, int] = {}
        for split in SETS:
            some = patches.of_split(split)
            for patch in some:
                _write_patch(partial, patch, modalities, dates, ignore_index=ignore_index, order=order)
            (partial / f"{split}.txt").write_text("".join(f"{key}.tif\n" for key in some.key), "utf-8")
        told = _describe(patches, modalities, dates, order)
        if (partial / MASK).exists():
            told["mask"] = {"folder": MASK, "ignore_index": ignore_index, "classes": list(classes)}
        (partial / "dataset.yaml").write_text(yaml.safe_dump(told, sort_keys=False, allow_unicode=True), "utf-8")
        if datasheet is not None:
            write_datasheet(partial, datasheet)


def _write_patch(
    folder: Path, patch: Patch, modalities: Modalities, dates: dict[str, int], *, ignore_index: int, order: BandOrder
) -> None:
    mask: NDArray[Any] | None = None
    for name, modality in modalities.items():
        sample = modality.read(patch)
        check_sample(patch, name, sample, modality.bands)
        image = _by_date(sample)
        if dates.setdefault(name, len(image)) != len(image):
            raise PlanError(
                f"patch {patch.key}: {len(image)} dates of {name}, and {dates[name]} of others; give the dates a count"
            )
        names = np.array([[f"{band}{date}" for band in modality.bands] for date in _date_names(sample, len(image))])
        if order == "band":
            image, names = image.swapaxes(0, 1), names.T
        pixels = image.reshape(-1, *image.shape[2:])
        _write_tiff(folder / name / f"{patch.key}.tif", patch, pixels, names=names.ravel().tolist())
        mask = sample.get("mask") if mask is None else mask
    if mask is not None:
        _write_tiff(folder / MASK / f"{patch.key}.tif", patch, _small(patch, mask)[None], nodata=ignore_index)


def _by_date(sample: Mapping[str, Any]) -> NDArray[Any]:
    """(date, band, y, x) of an image; floats that are not valid are NaN."""
    image = np.asarray(sample["image"])
    image = image[None] if image.ndim == 3 else image  # noqa: PLR2004  # band, y, x
    if "valid" in sample and image.dtype.kind == "f":
        valid = np.asarray(sample["valid"], np.bool_).reshape(-1, 1, *image.shape[2:])
        image = np.where(valid, image, np.array(np.nan, image.dtype))
    return image


def _date_names(sample: Mapping[str, Any], count: int) -> list[str]:
    """What the name of a band ends with, for each date; nothing where there is one."""
    if count == 1 or "dates" not in sample:
        return [""] if count == 1 else [f" {step}" for step in range(count)]
    seconds = np.asarray(sample["dates"], np.int64)
    days = seconds.astype("datetime64[s]").astype("datetime64[D]").astype(str).tolist()
    return [f" {day}" if second else " padding" for day, second in zip(days, seconds.tolist(), strict=True)]


def _small(patch: Patch, mask: Any) -> NDArray[np.int16]:
    values = np.asarray(mask)
    limits = np.iinfo(np.int16)
    if values.min(initial=0) < limits.min or values.max(initial=0) > limits.max:
        raise PlanError(f"patch {patch.key}: a class of its mask is beyond {limits.max}; number classes from 0")
    return values.astype(np.int16)


def _write_tiff(
    path: Path, patch: Patch, pixels: NDArray[Any], *, names: Sequence[str] = (), nodata: float | None = None
) -> None:
    """``pixels`` are (band, y, x)."""
    import rasterio
    from rasterio.transform import from_bounds

    path.parent.mkdir(parents=True, exist_ok=True)
    count, height, width = pixels.shape
    is_float = pixels.dtype.kind == "f"
    blocks: dict[str, Any] = {}
    if height % BLOCK_PX == 0 and width % BLOCK_PX == 0 and max(height, width) <= MAX_BLOCK_PX:
        blocks = {"tiled": True, "blockxsize": width, "blockysize": height}
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        width=width,
        height=height,
        count=count,
        dtype=pixels.dtype,
        crs=f"EPSG:{patch.epsg}",
        transform=from_bounds(*patch.bounds, width, height),
        nodata=np.nan if is_float else nodata,
        compress="deflate",
        predictor=3 if is_float else 2,
        **blocks,
    ) as tiff:
        tiff.write(pixels)
        for band, name in enumerate(names, 1):
            tiff.set_band_description(band, name)


def _describe(patches: Patches, modalities: Modalities, dates: Mapping[str, int], order: BandOrder) -> dict[str, Any]:
    return {
        "cube": patches.cube,
        "size_px": patches.size_px,
        "splits": {split: {"file": f"{split}.txt", "patches": len(patches.of_split(split))} for split in SETS},
        "modalities": {name: _describe_modality(name, each, dates[name], order) for name, each in modalities.items()},
    }


def _describe_modality(name: str, modality: Modality, dates: int, order: BandOrder) -> dict[str, Any]:
    return {
        "folder": name,
        "bands": list(modality.bands),
        "dates": dates,
        "first": order,
        "expand_temporal_dimension": dates > 1,
        "means": [float(mean) for mean in modality.means],
        "stds": [float(std) for std in modality.stds],
    }
