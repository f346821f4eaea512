"""Patches: pictures of one size cut from cubes, chosen, kept apart, read and exported for training.

Refuses to know how pixels were bought.
"""

from typing import TYPE_CHECKING

from shdask.lazy_names import names_from

if TYPE_CHECKING:
    from shdask.patches.blended import write_blended
    from shdask.patches.blending import blend_patches
    from shdask.patches.buying import plan_patches
    from shdask.patches.choosing.index import open_index
    from shdask.patches.choosing.sample import sample_patches
    from shdask.patches.exporting.chips import write_chips
    from shdask.patches.exporting.datasheet import make_datasheet
    from shdask.patches.exporting.modality import Modality
    from shdask.patches.exporting.patch_store import PatchStore, write_patch_store
    from shdask.patches.exporting.webdataset import write_webdataset
    from shdask.patches.measuring.statistics import measure_statistics
    from shdask.patches.parquet import read_patches, write_patches
    from shdask.patches.reading.alignment import AllDates, CalendarBins, ClearestDates, ExactDates, NearestDates
    from shdask.patches.reading.arrived import find_arrived
    from shdask.patches.reading.datasets import PatchList, PatchStream, make_bag
    from shdask.patches.reading.masks import BandMask, PolygonMask, RasterMask
    from shdask.patches.reading.order import ReadingOrder
    from shdask.patches.reading.presets import Preset, find_preset
    from shdask.patches.reading.reader import PatchReader, open_reader
    from shdask.patches.reading.torch_datasets import PatchDataset as PatchDataset
    from shdask.patches.reading.torch_datasets import PatchIterable as PatchIterable
    from shdask.patches.reading.torch_datasets import PatchSampler as PatchSampler
    from shdask.patches.reading.views import LayerView, Scaling
    from shdask.patches.summary import count_leakage
    from shdask.patches.table import Patch, Patches

__all__ = [  # without what needs torch
    "AllDates",
    "BandMask",
    "CalendarBins",
    "ClearestDates",
    "ExactDates",
    "LayerView",
    "Modality",
    "NearestDates",
    "Patch",
    "PatchList",
    "PatchReader",
    "PatchStore",
    "PatchStream",
    "Patches",
    "PolygonMask",
    "Preset",
    "RasterMask",
    "ReadingOrder",
    "Scaling",
    "blend_patches",
    "count_leakage",
    "find_arrived",
    "find_preset",
    "make_bag",
    "make_datasheet",
    "measure_statistics",
    "open_index",
    "open_reader",
    "plan_patches",
    "read_patches",
    "sample_patches",
    "write_blended",
    "write_chips",
    "write_patch_store",
    "write_patches",
    "write_webdataset",
]

_HOME = {
    "AllDates": "reading.alignment",
    "BandMask": "reading.masks",
    "CalendarBins": "reading.alignment",
    "ClearestDates": "reading.alignment",
    "ExactDates": "reading.alignment",
    "LayerView": "reading.views",
    "Modality": "exporting.modality",
    "NearestDates": "reading.alignment",
    "Patch": "table",
    "PatchDataset": "reading.torch_datasets",
    "PatchIterable": "reading.torch_datasets",
    "PatchList": "reading.datasets",
    "PatchReader": "reading.reader",
    "PatchSampler": "reading.torch_datasets",
    "PatchStore": "exporting.patch_store",
    "PatchStream": "reading.datasets",
    "Patches": "table",
    "PolygonMask": "reading.masks",
    "Preset": "reading.presets",
    "RasterMask": "reading.masks",
    "ReadingOrder": "reading.order",
    "Scaling": "reading.views",
    "blend_patches": "blending",
    "count_leakage": "summary",
    "find_arrived": "reading.arrived",
    "find_preset": "reading.presets",
    "make_bag": "reading.datasets",
    "make_datasheet": "exporting.datasheet",
    "measure_statistics": "measuring.statistics",
    "open_index": "choosing.index",
    "open_reader": "reading.reader",
    "plan_patches": "buying",
    "read_patches": "parquet",
    "sample_patches": "choosing.sample",
    "write_blended": "blended",
    "write_chips": "exporting.chips",
    "write_patch_store": "exporting.patch_store",
    "write_patches": "parquet",
    "write_webdataset": "exporting.webdataset",
}

__getattr__, __dir__ = names_from(__name__, _HOME)
