"""Patches of a cube as samples, read chunk by chunk at full speed.

Refuses to know training frameworks, and in which order patches are read.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from pyproj import Transformer

from shdask.assemble.disk import DiskPlace
from shdask.assemble.place import Place, open_place
from shdask.errors import PlanError
from shdask.patches.fit import refuse_misfits
from shdask.patches.groups import find_group, find_groups
from shdask.patches.reading.alignment import Aligned, Alignment, AllDates, NearestDates
from shdask.patches.reading.chunks import CACHE_NBYTES, ChunkCache
from shdask.patches.reading.group_reader import GroupReader
from shdask.patches.reading.masks import BandMask, MaskSource, map_classes
from shdask.patches.reading.pool import Readers
from shdask.patches.reading.sample_dict import (
    IGNORE_INDEX,
    LAYOUTS,
    Allocate,
    LayerPixels,
    Layout,
    allocate_array,
    lay_into,
    layer_items,
    make_batch,
    merge_layers,
    place_items,
    split_steps,
    stack_samples,
)
from shdask.patches.reading.states import TileReplaced, TileStates
from shdask.patches.reading.views import LayerView, convert_values
from shdask.request.collections import find_collection
from shdask.request.common_names import find_bands

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from shdask.patches.table import Patch

BUCKET_READERS = 16
"""Requests to a bucket under way at once; a disk is read by the thread that asks."""
_TRIES = 4
"""A build replaces a tile once in hours."""


class ShareIndex(Protocol):
    """What `shdask.patches.choosing.index.open_index` gives: how clear patches are, without reading them."""

    def shares(  # noqa: PLR0917  # in the order of a patch's own fields
        self, zone: str, layer: str, y0: ArrayLike, x0: ArrayLike, size_px: int, time: Any = None
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """(n, t): the share of valid pixels, and of clear ones among these."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleForm:
    """How samples are put together."""

    layout: Layout = "TCHW"
    merge: bool = False
    mask: MaskSource | BandMask | None = None
    ignore_index: int = IGNORE_INDEX
    transform: Callable[[dict[str, Any]], dict[str, Any]] | None = None

    def __post_init__(self) -> None:
        if self.layout not in LAYOUTS:
            raise PlanError(f"layout {self.layout!r} is none of {', '.join(LAYOUTS)}")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PatchReader:
    """Reads patches of one cube; see `open_reader`. Threads may share it; pickles without pixels, keys and files."""

    place: Place
    views: tuple[LayerView, ...]
    form: SampleForm
    index: ShareIndex | None
    cache: ChunkCache
    readers: Readers
    _groups: dict[tuple[str, str], GroupReader] = field(default_factory=dict, repr=False)

    def read(self, patch: Patch) -> dict[str, Any]:
        """The sample of ``patch``: a flat dict of numpy arrays and its key; see `open_reader`.

        What is not valid is 0 in images, after scaling. Each tile under it is shown in one state, however a build
        replaces it meanwhile; in a cube that was complete when its layer was first read, unless a repair does so within
        this very sample. Raises StoreError where something stored is broken, the store does not answer, or a tile is
        replaced again and again; PlanError where the layers do not have what was asked for.
        """
        sample = self._read_of_one_state(patch, {})
        return sample if self.form.transform is None else self.form.transform(sample)

    def read_batch(self, patches: Sequence[Patch], *, allocate: Allocate = allocate_array) -> dict[str, Any]:
        """The samples of ``patches`` as one: as `stack_samples` makes it, images being read straight into theirs.

        ``allocate`` makes its arrays. Raises what `read` does, and PlanError for samples that cannot be one; see there.
        """
        if self.form.transform is not None:
            return stack_samples([self.read(patch) for patch in patches], allocate=allocate)
        first = self._read_of_one_state(patches[0], {})
        batch = make_batch(first, len(patches), allocate)
        lay_into(batch, 0, first)
        images = [key for key in batch if key.startswith("image")]
        for row, patch in enumerate(patches[1:], start=1):
            lay_into(batch, row, self._read_of_one_state(patch, {key: batch[key][row] for key in images}))
        return batch

    def _read_of_one_state(self, patch: Patch, images: Mapping[str, NDArray[np.float32]]) -> dict[str, Any]:
        states = TileStates()
        for _ in range(_TRIES):
            try:
                sample = self._read_once(patch, states, images)
                states.confirm(self.readers)
            except TileReplaced as error:
                replaced = error
                states.look_again(self.readers)
            else:
                return sample
        raise replaced

    def _read_once(self, patch: Patch, states: TileStates, images: Mapping[str, NDArray[np.float32]]) -> dict[str, Any]:
        times: dict[str, NDArray[np.datetime64]] = {}
        layers: dict[str, LayerPixels] = {}
        is_one = self.form.merge or len(self.views) == 1
        for view in self.views:
            image = images.get("image" if len(self.views) == 1 else f"image_{view.layer}")
            layers[view.layer] = pixels = self._read_layer(view, patch, times, states, image)
            times[view.layer] = pixels.times
        sample: dict[str, Any] = {}
        if is_one:
            sample |= layer_items(merge_layers(layers), self.form.layout)
        else:
            for name, pixels in layers.items():
                sample |= {f"{key}_{name}": item for key, item in layer_items(pixels, self.form.layout).items()}
        if self.form.mask is not None:
            sample["mask"] = self._read_mask(self.form.mask, patch, times, states)
        return sample | place_items(patch, _latlon(patch))

    __call__ = read

    def bands(self, zone: str, layer: str) -> tuple[str, ...]:
        """The layer's arrays behind the channels of its image, in their order. Raises StoreError and PlanError."""
        (view,) = (view for view in self.views if view.layer == layer)
        group = self._group(zone, layer)
        return _image_bands(view, group)

    def _read_layer(
        self,
        view: LayerView,
        patch: Patch,
        times: Mapping[str, NDArray[np.datetime64]],
        states: TileStates,
        image: NDArray[np.float32] | None,
    ) -> LayerPixels:
        group = self._group(patch.zone, view.layer)
        refuse_misfits(self.place.name, group.group.attributes, patch)
        bands = _image_bands(view, group)
        aligned = self._align(view, group, patch, times)
        into = None if image is None else split_steps(image, self.form.layout, len(bands))
        pixels = group.read(bands, aligned, patch.window, states=states, image=into)
        if view.values == "stored" and view.scaling is None:
            return pixels
        convert_values(pixels.image, [group.arrays[band].units for band in bands], view.values)
        scaling = view.scaling_of(bands)
        if scaling is not None:
            scaling.apply(pixels.image)
        if not pixels.valid.all():
            np.copyto(pixels.image, 0.0, where=~pixels.valid[:, np.newaxis])
        return pixels

    def _align(
        self, view: LayerView, group: GroupReader, patch: Patch, times: Mapping[str, NDArray[np.datetime64]]
    ) -> Aligned:
        rule = view.time or _usual_rule(group, patch)
        if not group.has_time:
            rule = AllDates()
        leader = None if np.isnat(patch.date) else np.array([patch.date], "datetime64[s]")
        if isinstance(rule, NearestDates) and rule.to is not None:
            if rule.to not in times:
                raise PlanError(f"layer {view.layer}: {rule.to!r} must come before it among the layers")
            leader = times[rule.to]
        shares = None
        if rule.needs_shares and self.index is not None:
            at = np.array([patch.y0]), np.array([patch.x0])
            valid, clear = self.index.shares(patch.zone, view.layer, *at, patch.size_px, group.axis.times)
            shares = valid[0] * clear[0]
        return rule.align(group.axis.times, shares=shares, leader=leader)

    def _read_mask(
        self,
        mask: MaskSource | BandMask,
        patch: Patch,
        times: Mapping[str, NDArray[np.datetime64]],
        states: TileStates,
    ) -> NDArray[np.int64]:
        if not isinstance(mask, BandMask):
            return np.asarray(mask(patch), np.int64)
        view = self._view_of_mask(mask)
        group = self._group(patch.zone, view.layer)
        (band,) = find_bands([mask.band], stored=group.group.attributes["bands"], collection=_collection(group))
        before = {name: found for name, found in times.items() if name != view.layer}
        aligned = self._align(view, group, patch, before)
        dates = [date for members in aligned.members for date in members]
        if not dates:
            return np.full(patch.window.shape, self.form.ignore_index, np.int64)
        look = group.look(dates, patch.window, states)
        first = look.valid.argmax(axis=0)[np.newaxis]
        codes = np.take_along_axis(group.read_codes(band, look), first, axis=0)[0]
        return map_classes(codes, np.asarray(look.valid.any(axis=0)), mask.classes, self.form.ignore_index)

    def _view_of_mask(self, mask: BandMask) -> LayerView:
        if not mask.layer:
            return self.views[0]
        return next((view for view in self.views if view.layer == mask.layer), LayerView(layer=mask.layer))

    def _group(self, zone: str, layer: str) -> GroupReader:
        found = self._groups.get((zone, layer))
        if found is None:
            found = GroupReader.open(find_group(self.place, zone, layer), self.cache, self.readers)
            self._groups[zone, layer] = found  # two threads may do it at once, and come to the same
        return found


def open_reader(
    store: str | os.PathLike[str] | Place,
    layers: str | LayerView | Sequence[str | LayerView] | None = None,
    *,
    layout: Layout = "TCHW",
    merge: bool = False,
    mask: MaskSource | BandMask | None = None,
    ignore_index: int = IGNORE_INDEX,
    transform: Callable[[dict[str, Any]], dict[str, Any]] | None = None,
    index: ShareIndex | None = None,
    cache_nbytes: int = CACHE_NBYTES,
    threads: int | None = None,
) -> PatchReader:
    """What reads patches of the cube at ``store`` as samples; ``layers`` says of which layers what, None: of all.

    A sample is a flat dict: ``image`` float32, [T,C,H,W] or as ``layout`` says; ``valid`` and ``clear`` bool [T,H,W];
    ``present`` bool [T], False for padding; ``dates`` int64 [T], seconds since 1970-01-01 UTC; ``doy`` int64 [T];
    with ``mask`` (a BandMask, RasterMask, PolygonMask or a function of the patch) ``mask`` int64 [H,W], in which
    ``ignore_index`` stands where no class is known; ``latlon`` float32 [2]; ``bounds`` float64 [4]; ``transform``
    float64 [6]; ``epsg`` and ``label`` int64; ``key`` str. Of several layers the first six end in ``_`` and the
    layer's name, unless ``merge`` makes one image of them, with bands one after the other; see `merge_layers`.

    ``transform``, such as an augmentation, is given the whole sample last. ``index`` is what dates are chosen by where
    a layer wants the clearest. Decoded chunks are held up to ``cache_nbytes``; where patches are whole chunks none is
    read twice anyway. ``threads`` read side by side: by default 16 from a bucket, none beside the caller's from a disk.

    Raises StoreError where there is no cube of ours, PlanError where it does not have these layers.
    """
    place = open_place(store)
    known = list(dict.fromkeys(group.layer for group in find_groups(place)))
    asked = [layers] if isinstance(layers, str | LayerView) else known if layers is None else list(layers)
    views = tuple(_named(view, known, place) for view in asked)
    names = [view.layer for view in views]
    if not views or len(set(names)) < len(names):
        raise PlanError(f"layers: {', '.join(names) or 'none'}; name each layer once")
    on_disk = isinstance(place, DiskPlace)
    readers = Readers((0 if on_disk else BUCKET_READERS) if threads is None else threads, may_fork=on_disk)
    form = SampleForm(layout=layout, merge=merge, mask=mask, ignore_index=ignore_index, transform=transform)
    return PatchReader(
        place=place, views=views, form=form, index=index, cache=ChunkCache(cache_nbytes), readers=readers
    )


def _named(view: str | LayerView, known: Sequence[str], place: Place) -> LayerView:
    named = LayerView(layer=view) if isinstance(view, str) else view
    if not named.layer and len(known) == 1:
        named = replace(named, layer=known[0])
    if named.layer not in known:
        raise PlanError(f"{place.name} has no layer {named.layer!r}; it holds {', '.join(known) or 'none yet'}")
    return named


def _usual_rule(group: GroupReader, patch: Patch) -> Alignment:
    """The patch's own date, or all where it has none."""
    return AllDates() if np.isnat(patch.date) or not group.has_time else NearestDates(within_days=0)


def _collection(group: GroupReader) -> str:
    return str(group.group.attributes.get("source", ""))


def _image_bands(view: LayerView, group: GroupReader) -> tuple[str, ...]:
    stored, collection = group.group.attributes["bands"], _collection(group)
    if view.bands:
        return find_bands(view.bands, stored=stored, collection=collection)
    shown = tuple(band for band in stored if not _is_of_classes(collection, band))
    return shown or tuple(stored)


def _is_of_classes(collection: str, band: str) -> bool:
    """Whether values are codes, as far as that is known."""
    try:
        bands = find_collection(collection).bands
    except PlanError:
        return False
    return bands is not None and band in bands and bands[band].classes


def _latlon(patch: Patch) -> tuple[float, float]:
    left, bottom, right, top = patch.bounds
    longitude, latitude = _to_degrees(patch.epsg).transform((left + right) / 2, (bottom + top) / 2)
    return latitude, longitude


@cache
def _to_degrees(epsg: int) -> Transformer:
    return Transformer.from_crs(f"EPSG:{epsg}", "EPSG:4326", always_xy=True)
