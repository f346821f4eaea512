"""What others read patches with, where their library needs torch."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from torch.utils.data import DataLoader
from webdataset import WebDataset

from shdask.patches.exporting.webdataset import write_webdataset
from tests.unit.patches.rows import make_patches
from tests.unit.patches.test_exports import CORNERS, GRID, MODALITIES, SPLITS, read

PATCHES = make_patches(GRID, CORNERS, size_px=16, splits=SPLITS, labels=(0, 1))
pytestmark = pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")


@pytest.fixture(autouse=True)
def collect_files() -> Iterator[None]:
    """Files that webdataset leaves to the garbage collector."""
    yield
    gc.collect()


@pytest.fixture(scope="module")
def tars(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two patches a tar."""
    folder = tmp_path_factory.mktemp("exports") / "tars"
    write_webdataset(folder, PATCHES, MODALITIES, patches_per_shard=2)
    return folder


def open_tars(folder: Path) -> WebDataset:
    urls = sorted(str(path) for path in (folder / "train" / "s2").glob("*.tar"))
    return WebDataset(urls, shardshuffle=False, empty_check=False).decode()


def test_webdataset_decodes_a_sample(tars: Path) -> None:
    """Arrays by their names, the row as a dict."""
    found = list(open_tars(tars))
    assert [sample["__key__"] for sample in found] == ["p32633-0-0-0", "p32633-0-16-1", "p32633-16-16-4"]
    np.testing.assert_array_equal(found[1]["image.npy"], read(PATCHES[1])["image"])
    np.testing.assert_array_equal(found[1]["mask.npy"], read(PATCHES[1])["mask"])
    assert found[1]["json"]["label"] == 1


def test_webdataset_s_tuples_collate(tars: Path) -> None:
    """Image and mask, as training takes them."""
    pairs = open_tars(tars).to_tuple("image.npy", "mask.npy")
    images, masks = next(iter(DataLoader(pairs, batch_size=3)))
    assert (tuple(images.shape), tuple(masks.shape)) == ((3, 2, 3, 16, 16), (3, 16, 16))
