"""Patches written for others: WebDataset, Zarr store, GeoTIFFs."""

from __future__ import annotations

import io
import json
import tarfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import rioxarray
import xarray as xr
import yaml
from webdataset import autodecode, tariterators

from shdask.errors import PlanError, StoreError
from shdask.patches.exporting.chips import write_chips
from shdask.patches.exporting.modality import Modality
from shdask.patches.exporting.patch_store import PatchStore, write_patch_store
from shdask.patches.exporting.webdataset import write_webdataset
from shdask.patches.table import Patch, Patches
from shdask.plan.grid import Grid

from .rows import make_patches

GRID = Grid(epsg=32633, origin=(0.0, 0.0), resolution=(10.0, 10.0), offset=(50000, 510000), shape=(64, 64))
CORNERS = [(0, 0), (0, 16), (0, 32), (16, 0), (16, 16), (32, 32)]
SPLITS = ("train", "train", "validation", "test", "train", "left out")


@pytest.fixture
def patches() -> Patches:
    """Three for training, one to validate, one to test, one of no set."""
    return make_patches(GRID, CORNERS, size_px=16, splits=SPLITS, labels=(0, 1), dates=("2024-06-05", "NaT"))


def read(patch: Patch) -> dict[str, Any]:
    """Two dates of three bands, each pixel another; the first pixel is not valid, and its class is not known."""
    image = patch.x0 + 100 * patch.y0 + np.arange(2 * 3 * 16 * 16, dtype=np.float32).reshape(2, 3, 16, 16)
    valid, mask = np.ones((2, 16, 16), np.bool_), np.full((16, 16), patch.label)
    valid[:, 0, 0], mask[0, 0] = False, -100
    dates = np.array([1717581600, 0])
    return {"image": image, "valid": valid, "dates": dates, "mask": mask, "epsg": np.int64(32633), "key": patch.key}


def read_radar(patch: Patch) -> dict[str, Any]:
    """One date of one band."""
    return {"image": np.full((1, 16, 16), patch.y0, np.float32)}


MODALITIES = {
    "s2": Modality(read=read, bands=("B02", "B03", "B04"), means=(1.0, 2.0, 3.0), stds=(0.1, 0.2, 0.3)),
    "s1": Modality(read=read_radar, bands=("VV",)),
}


def members(path: Path) -> dict[str, bytes]:
    """Name -> content of a tar, in order."""
    with tarfile.open(path) as tar:
        return {member.name: tar.extractfile(member).read() for member in tar}


def tree(folder: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_a_webdataset_has_a_folder_for_each_set_and_modality(tmp_path, patches) -> None:
    """In tars of so many patches; those left out are nowhere."""
    write_webdataset(tmp_path / "wds", patches, MODALITIES, patches_per_shard=2)
    shards = ["shard-000000.tar", "shard-000001.tar"]
    expected = {f"train/{name}/{shard}" for name in ("s1", "s2") for shard in shards}
    expected |= {f"{split}/{name}/{shards[0]}" for split in ("validation", "test") for name in ("s1", "s2")}
    assert set(tree(tmp_path / "wds")) == expected


def test_a_tar_holds_what_was_read(tmp_path, patches) -> None:
    """A file a field, named by the patch's key, which has no dot; the row and texts as JSON."""
    write_webdataset(tmp_path / "wds", patches, MODALITIES)
    found = members(tmp_path / "wds" / "train" / "s2" / "shard-000000.tar")
    key = "p32633-0-16-1"
    fields = [name.removeprefix(f"{key}.") for name in found if name.startswith(f"{key}.")]
    assert fields == ["image.npy", "valid.npy", "dates.npy", "mask.npy", "epsg.npy", "json"]
    np.testing.assert_array_equal(np.load(io.BytesIO(found[f"{key}.image.npy"])), read(patches[1])["image"])
    row = json.loads(found[f"{key}.json"])
    assert (row["key"], row["split"], row["label"], row["date"], row["valid_share"]) == (key, "train", 1, None, None)
    first = json.loads(found["p32633-0-0-0.json"])
    assert (first["date"], first["bounds"]) == ("2024-06-05T00:00:00Z", [500000.0, 5099840.0, 500160.0, 5100000.0])


def test_tars_of_all_modalities_have_the_same_keys_in_the_same_order(tmp_path, patches) -> None:
    """So that they can be read side by side."""
    write_webdataset(tmp_path / "wds", patches, MODALITIES)
    orders = [
        list(dict.fromkeys(name.partition(".")[0] for name in members(path)))
        for path in sorted((tmp_path / "wds" / "train").rglob("*.tar"))
    ]
    assert orders == [["p32633-0-0-0", "p32633-0-16-1", "p32633-16-16-4"]] * 2


def test_the_same_patches_give_the_same_bytes(tmp_path, patches) -> None:
    """Whenever, wherever and by whomever they are written."""
    write_webdataset(tmp_path / "one", patches, MODALITIES)
    write_webdataset(tmp_path / "two", patches, MODALITIES)
    assert tree(tmp_path / "one") == tree(tmp_path / "two")


def test_the_library_reads_a_webdataset(tmp_path, patches) -> None:
    """The files of a patch are one sample, and each is decoded by its name."""
    write_webdataset(tmp_path / "wds", patches, MODALITIES)
    with (tmp_path / "wds/train/s2/shard-000000.tar").open("rb") as stream:
        files = tariterators.tar_file_expander([{"url": "shard-000000.tar", "stream": stream}])
        found = list(tariterators.group_by_keys(files))
    assert [sample["__key__"] for sample in found] == ["p32633-0-0-0", "p32633-0-16-1", "p32633-16-16-4"]
    image = autodecode.basichandlers("image.npy", found[2]["image.npy"])
    np.testing.assert_array_equal(image, read(patches[4])["image"])
    assert autodecode.basichandlers("json", found[2]["json"])["split"] == "train"


@pytest.mark.parametrize("per_chunk", [1, 2, 100])
def test_a_patch_store_gives_back_what_was_read(tmp_path, patches, per_chunk: int) -> None:
    """By patch and by key, in its types; the table as well."""
    write_patch_store(tmp_path / "p.zarr", patches, MODALITIES, patches_per_chunk=per_chunk)
    store = PatchStore.open(tmp_path / "p.zarr", "s2")
    found, expected = store.read(patches[4]), read(patches[4])
    assert set(found) == set(expected)
    assert {name: np.asarray(value).dtype for name, value in found.items()} == {
        name: np.asarray(value).dtype for name, value in expected.items()
    }
    np.testing.assert_equal(found, expected)
    np.testing.assert_equal(store.read("p32633-16-0-3"), read(patches[3]))
    assert [sample["key"] for sample in store] == store.patches.key.tolist() == patches.key[:5].tolist()


def test_a_patch_store_keeps_its_table(tmp_path, patches) -> None:
    """Sets, dates and labels, without those left out."""
    write_patch_store(tmp_path / "p.zarr", patches, MODALITIES)
    found, kept = PatchStore.open(tmp_path / "p.zarr", "s1").patches, patches.take(np.arange(5))
    assert len(found) == 5
    assert [found[row].split for row in range(5)] == [kept[row].split for row in range(5)]
    np.testing.assert_array_equal(found.date, kept.date)
    np.testing.assert_array_equal(found.bounds, kept.bounds)


def test_xarray_opens_a_patch_store(tmp_path, patches) -> None:
    """A chunk is so many patches."""
    write_patch_store(tmp_path / "p.zarr", patches, MODALITIES, patches_per_chunk=2)
    found = xr.open_zarr(tmp_path / "p.zarr", group="s2")
    assert found["image"].dims[0] == "patch"
    assert found["image"].chunks[0] == (2, 2, 1)
    assert xr.open_zarr(tmp_path / "p.zarr")["key"].to_numpy().tolist() == patches.key[:5].tolist()


def test_a_patch_store_names_what_it_has(tmp_path, patches) -> None:
    """Where another patch or modality is asked for, or there is no store."""
    write_patch_store(tmp_path / "p.zarr", patches, MODALITIES)
    with pytest.raises(StoreError, match="s1, s2"):
        PatchStore.open(tmp_path / "p.zarr")
    with pytest.raises(StoreError, match="no patch 'p32633-32-32-5'"):
        PatchStore.open(tmp_path / "p.zarr", "s1").read(patches[5])
    with pytest.raises(StoreError, match="is no store of patches"):
        PatchStore.open(tmp_path / "other.zarr")


@pytest.mark.parametrize("per_chunk", [1, 10])
def test_samples_of_different_shapes_are_refused(tmp_path, patches, per_chunk: int) -> None:
    """An array has one shape; the cure is a count of dates."""

    def grow(patch: Patch) -> dict[str, Any]:
        return {"image": np.zeros((1 + patch.x0, 1, 16, 16))}

    with pytest.raises(PlanError, match="give the dates a count"):
        write_patch_store(
            tmp_path / "p.zarr", patches, {"s1": Modality(read=grow, bands=("VV",))}, patches_per_chunk=per_chunk
        )
    assert list(tmp_path.iterdir()) == []


def test_a_chip_lies_where_its_patch_does(tmp_path, patches) -> None:
    """All dates of a band, then those of the next, each named; NaN where it is not valid."""
    write_chips(tmp_path / "chips", patches, MODALITIES)
    with rasterio.open(tmp_path / "chips" / "s2" / "p32633-16-16-4.tif") as chip:
        assert (chip.crs.to_epsg(), tuple(chip.bounds)) == (32633, patches[4].bounds)
        assert chip.descriptions[1:4] == ("B03 2024-06-05", "B04 2024-06-05", "B02 padding")
        pixels = chip.read()
    expected = read(patches[4])["image"].reshape(6, 16, 16)
    np.testing.assert_array_equal(pixels[:, 1:], expected[:, 1:])
    assert np.isnan(pixels[:, 0, 0]).all()


def test_a_mask_is_a_chip_of_its_own(tmp_path, patches) -> None:
    """Its nodata is what training ignores."""
    write_chips(tmp_path / "chips", patches, MODALITIES, classes=("water", "forest"))
    with rasterio.open(tmp_path / "chips" / "mask" / "p32633-0-16-1.tif") as chip:
        assert (chip.dtypes, chip.nodata) == (("int16",), -100)
        assert np.unique(chip.read(1)).tolist() == [-100, 1]


def test_files_list_the_sets_and_a_yaml_tells_of_the_bands(tmp_path, patches) -> None:
    """As TerraTorch's generic datasets take them."""
    write_chips(tmp_path / "chips", patches, MODALITIES, classes=("water", "forest"))
    lists = [(tmp_path / "chips" / f"{split}.txt").read_text() for split in ("train", "validation", "test")]
    keys = "p32633-0-0-0.tif\np32633-0-16-1.tif\np32633-16-16-4.tif\n"
    assert lists == [keys, "p32633-0-32-2.tif\n", "p32633-16-0-3.tif\n"]
    told = yaml.safe_load((tmp_path / "chips" / "dataset.yaml").read_text())
    assert told["modalities"]["s2"] == {
        "folder": "s2",
        "bands": ["B02", "B03", "B04"],
        "dates": 2,
        "first": "date",
        "expand_temporal_dimension": True,
        "means": [1.0, 2.0, 3.0],
        "stds": [0.1, 0.2, 0.3],
    }
    assert told["mask"] == {"folder": "mask", "ignore_index": -100, "classes": ["water", "forest"]}
    assert told["splits"]["train"] == {"file": "train.txt", "patches": 3}


@pytest.mark.parametrize("order", ["date", "band"])
def test_chips_are_read_as_terratorch_reads_them(tmp_path, patches, order) -> None:
    """By its generic dataset: masked by nodata, (time channels) y x from 1.2.2 on, and what is masked filled."""
    write_chips(tmp_path / "chips", patches, MODALITIES, order=order)
    name, expected = "p32633-16-16-4.tif", read(patches[4])
    image = rioxarray.open_rasterio(tmp_path / "chips/s2" / name, masked=True).fillna(0).to_numpy()
    by_date = image.reshape(2, 3, 16, 16) if order == "date" else image.reshape(3, 2, 16, 16).swapaxes(0, 1)
    np.testing.assert_array_equal(by_date, np.where(expected["valid"][:, None], expected["image"], 0))
    mask = rioxarray.open_rasterio(tmp_path / "chips/mask" / name, masked=True).fillna(-100).to_numpy()[0]
    np.testing.assert_array_equal(mask, expected["mask"])


def test_names_stay_names_in_the_yaml(tmp_path, patches) -> None:
    """Whatever they would be if they were not quoted."""
    names = ["yes", "null", "1e3", "a: b", "- x", "!!python/object:os.system", "two\nlines", "#", "\u2028é"]
    write_chips(tmp_path / "chips", replace(patches, cube="a: {b}"), MODALITIES, classes=names)
    told = yaml.safe_load((tmp_path / "chips" / "dataset.yaml").read_text("utf-8"))
    assert (told["cube"], told["mask"]["classes"]) == ("a: {b}", names)


def test_a_modality_is_no_column_of_the_table(tmp_path, patches) -> None:
    """A store has both at its root."""
    with pytest.raises(PlanError, match="'key' is a column of the table"):
        write_patch_store(tmp_path / "p.zarr", patches, {"key": MODALITIES["s1"]})


WRITERS = pytest.mark.parametrize("write", [write_webdataset, write_patch_store, write_chips])


@WRITERS
def test_nothing_is_written_over(tmp_path, patches, write) -> None:
    """Not even an empty folder."""
    (tmp_path / "there").mkdir()
    with pytest.raises(StoreError, match="is there already"):
        write(tmp_path / "there", patches, MODALITIES)


@WRITERS
def test_an_export_that_fails_leaves_nothing(tmp_path, patches, write) -> None:
    """Whatever had been written of it."""

    def fail(patch: Patch) -> dict[str, Any]:
        return {"train": read, "validation": read, "test": dict}[patch.split](patch)

    with pytest.raises(TypeError):
        write(tmp_path / "out", patches, {"s2": replace(MODALITIES["s2"], read=fail)})
    assert list(tmp_path.iterdir()) == []


@WRITERS
def test_what_cannot_be_a_file_is_refused(tmp_path, patches, write) -> None:
    """Keys with dots, keys that come twice, names with a slash, patches of no set, means of other bands."""
    dotted = replace(patches, key=np.char.add(patches.key, ".x"))
    with pytest.raises(PlanError, match="cannot be a file's name"):
        write(tmp_path / "out", dotted, MODALITIES)
    with pytest.raises(PlanError, match="keys are not unique"):
        write(tmp_path / "out", patches.take(np.array([0, 0])), MODALITIES)
    with pytest.raises(PlanError, match="'a/b' cannot be a modality's name"):
        write(tmp_path / "out", patches, {"a/b": MODALITIES["s1"]})
    with pytest.raises(PlanError, match="left out of every set"):
        write(tmp_path / "out", patches.of_split("left out"), MODALITIES)
    with pytest.raises(PlanError, match="3 means for 1 bands"):
        write(tmp_path / "out", patches, {"s1": replace(MODALITIES["s1"], means=(1.0, 2.0, 3.0))})
    with pytest.raises(PlanError, match="nothing to export"):
        write(tmp_path / "out", patches, {})
