"""A sample as a flat dict that every framework collates: pixels of layers put together, times, and where it lies.

Pure. Refuses to know where pixels come from.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from shdask.errors import PlanError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from shdask.patches.table import Patch

Layout = Literal["TCHW", "CTHW", "CHW"]
"""Axis order of images; ``CHW`` puts the bands of one date after those of the one before."""
LAYOUTS: tuple[Layout, ...] = ("TCHW", "CTHW", "CHW")
IGNORE_INDEX = -100
"""What torch's cross entropy leaves out unless told otherwise."""


Allocate = Callable[[str, tuple[int, ...], "np.dtype[Any]"], "NDArray[Any]"]
"""Makes an array of a batch, by its key, shape and type; what is in it does not matter."""


def allocate_array(key: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:  # noqa: ARG001  # by all
    """An array of numpy's own. Pure."""
    return np.empty(shape, dtype)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LayerPixels:
    """What was read of one layer."""

    image: NDArray[np.float32]
    """(step, band, y, x); 0 where ``valid`` is False."""
    valid: NDArray[np.bool_]
    """(step, y, x)."""
    clear: NDArray[np.bool_]
    """(step, y, x): valid and clear."""
    present: NDArray[np.bool_]
    """(step,): False where the step is padding."""
    times: NDArray[np.datetime64]
    """(step,), UTC to the second; NaT for padding, and for a layer without a time axis."""


def layer_items(pixels: LayerPixels, layout: Layout) -> dict[str, Any]:
    """The keys that tell of one layer, or of several in one image. Pure.

    ``image`` float32, in the order of ``layout``; ``valid`` and ``clear`` bool [T,H,W], whatever the layout;
    ``present`` bool [T]; ``dates`` int64 [T], seconds since 1970-01-01 UTC; ``doy`` int64 [T], 1 to 366. Where there
    is no date ``dates`` and ``doy`` are 0.
    """
    times = pixels.times.astype("datetime64[s]")
    dated = ~np.isnat(times)
    known = np.where(dated, times, np.datetime64(0, "s"))
    days = (known.astype("datetime64[D]") - known.astype("datetime64[Y]")).astype(np.int64) + 1
    return {
        "image": arrange(pixels.image, layout),
        "valid": pixels.valid,
        "clear": pixels.clear,
        "present": pixels.present,
        "dates": known.astype(np.int64),
        "doy": np.where(dated, days, 0),
    }


def arrange(image: NDArray[np.float32], layout: Layout) -> NDArray[np.float32]:
    """``image`` (step, band, y, x) in the order of ``layout``, contiguous. Pure."""
    if layout == "CTHW":
        return np.ascontiguousarray(image.swapaxes(0, 1))
    return image.reshape(-1, *image.shape[-2:]) if layout == "CHW" else image


def split_steps(image: NDArray[np.float32], layout: Layout, bands: int) -> NDArray[np.float32]:
    """(step, band, y, x) of an ``image`` that `arrange` made, in the same memory where it is contiguous. Pure.

    Raises PlanError where it has planes that are no whole number of dates.
    """
    if layout == "CTHW":
        return image.swapaxes(0, 1)
    if layout == "CHW" and len(image) % bands:
        raise PlanError(
            f"image has {len(image)} planes, and those of another patch are dates of {bands} bands; name the bands, so "
            "that all have as many"
        )
    return image.reshape(-1, bands, *image.shape[-2:]) if layout == "CHW" else image


def merge_layers(layers: Mapping[str, LayerPixels]) -> LayerPixels:
    """One picture of all: their bands one after the other, valid and clear where all are. Pure.

    The first layer's dates are the sample's; a layer of one step without a date is repeated. Raises PlanError where
    layers have different numbers of steps.
    """
    first, *others = layers.values()
    if not others:
        return first
    steps = first.present.size
    for name, layer in layers.items():
        if layer.present.size not in {steps, 1}:
            raise PlanError(
                f"merge: layer {name} has {layer.present.size} steps and {next(iter(layers))} {steps}; align them, as "
                f"with NearestDates(to={next(iter(layers))!r}, within_days=3)"
            )
    shown = [layer.image if layer.present.size == steps else np.repeat(layer.image, steps, 0) for layer in others]
    valid, clear, present = first.valid, first.clear, first.present
    for layer in others:  # a single step broadcasts
        valid, clear, present = valid & layer.valid, clear & layer.clear, present & layer.present
    image = np.concatenate([first.image, *shown], axis=1)
    return LayerPixels(image=image, valid=valid, clear=clear, present=present, times=first.times)


def place_items(patch: Patch, latlon: tuple[float, float]) -> dict[str, Any]:
    """The keys that tell where a patch lies. Pure.

    ``latlon`` float32 [2], degrees of its centre; ``bounds`` float64 [4], (left, bottom, right, top) and ``transform``
    float64 [6], affine (a, b, c, d, e, f) of pixel corners, both in the CRS of ``epsg``, int64; ``key`` str; ``label``
    int64.
    """
    left, bottom, right, top = patch.bounds
    across, down = (right - left) / patch.size_px, (bottom - top) / patch.size_px
    return {
        "latlon": np.asarray(latlon, np.float32),
        "bounds": np.asarray(patch.bounds, np.float64),
        "transform": np.array([across, 0.0, left, 0.0, down, top], np.float64),
        "epsg": np.int64(patch.epsg),
        "key": patch.key,
        "label": np.int64(patch.label),
    }


def stack_samples(samples: Sequence[Mapping[str, Any]], *, allocate: Allocate = allocate_array) -> dict[str, Any]:
    """A batch: every array and number with a first axis for the samples, texts as a list. Pure.

    As torch's default collation does. Raises PlanError for samples of different keys, shapes or types: which type a
    batch has would depend on the samples that meet in it.
    """
    batch = make_batch(samples[0], len(samples), allocate)
    for row, sample in enumerate(samples):
        lay_into(batch, row, sample)
    return batch


def make_batch(sample: Mapping[str, Any], count: int, allocate: Allocate) -> dict[str, Any]:
    """Room for ``count`` samples like this one, as `stack_samples` has them. Pure."""
    return {
        key: [""] * count if isinstance(item, str) else allocate(key, (count, *np.shape(item)), np.asarray(item).dtype)
        for key, item in sample.items()
    }


def lay_into(batch: dict[str, Any], row: int, sample: Mapping[str, Any]) -> None:
    """Lay ``sample`` into its row, but for arrays that lie there already.

    Raises PlanError for other keys, shapes or types.
    """
    if sample.keys() != batch.keys():
        raise PlanError(f"samples have different keys: {sorted(sample.keys() ^ batch.keys())} are not in all of them")
    for key, room in batch.items():
        item = sample[key]
        is_text = isinstance(item, str)
        if is_text != isinstance(room, list) or not (is_text or np.asarray(item).dtype == room.dtype):
            kinds = [
                "text" if isinstance(each, str | list) else str(each.dtype) for each in (np.asarray(item)[()], room)
            ]
            raise PlanError(f"{key} has the types {sorted(kinds)} in samples of one batch; let transform give it one")
        if is_text:
            room[row] = item
        elif np.shape(item) != room.shape[1:]:
            shapes = sorted({np.shape(item), room.shape[1:]})
            raise PlanError(
                f"{key} has the shapes {shapes}; give the dates a count and name the bands, so that all have as many"
            )
        elif not np.may_share_memory(item, room[row : row + 1]):
            room[row] = item
