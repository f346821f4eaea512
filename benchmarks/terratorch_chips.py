"""Does TerraTorch train on exported chips by the page's own config, and are its samples those that were exported?

The config of docs/training.md as it stands there, but for the means and stds of this cube: three months of three
bands on the emulator, its land cover as classes. ``make terratorch``.
"""

from __future__ import annotations

import os
import re
import tempfile
from contextlib import chdir
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from terratorch.cli_tools import build_lightning_cli
from terratorch.models.backbones.prithvi_vit import prithvi_cfgs
from terratorch.models.backbones.terramind.model.terramind_register import v1_pretraining_mean, v1_pretraining_std

from benchmarks.record import write_result
from benchmarks.train import CLASSES, PATCH_PX, SEED, SIDE_PX, build, choose, class_codes, fetch_truth
from shdask.emulator.launch import start_emulator
from shdask.patches import (
    AllDates,
    LayerView,
    Modality,
    Patches,
    PatchReader,
    RasterMask,
    find_preset,
    make_datasheet,
    measure_statistics,
    open_reader,
    write_chips,
)

PAGE = Path(__file__).parents[1] / "docs" / "training.md"
CONFIG = re.compile(r'^```yaml title="terratorch\.yaml"\n(.*?)^```$', re.MULTILINE | re.DOTALL)
BANDS = ("B03", "B04", "B08")
DATES = 3
AHEAD = 0.1
"""By so much of the test set's pixels the model must know more than the commonest class."""


def run() -> dict[str, Any]:
    """Accuracy over the test set's pixels, and how many samples were held against what was exported."""
    with tempfile.TemporaryDirectory() as name, chdir(name):
        cube, truth = Path("training.zarr"), Path("cover.tif")
        with start_emulator() as service:
            os.environ.update(service.environment())
            build(Path("job.toml"), cube, SIDE_PX)
            fetch_truth(service, truth, SIDE_PX)
        patches = choose(cube, truth)
        reader = export(cube, truth, patches)
        Path("terratorch.yaml").write_text(yaml.safe_dump(make_config()))
        cli = build_lightning_cli(["fit", "--config", "terratorch.yaml"])
        compared = compare(cli.datamodule, reader, patches.of_split("test"))
        (told,) = cli.trainer.test(cli.model, datamodule=cli.datamodule)
        return {
            "terratorch": version("terratorch"),
            "torch": version("torch"),
            "presets_equal_to_its_own": compare_presets(),
            "samples_equal_to_what_was_exported": compared,
            "test_pixel_accuracy": round(told["test/Pixel_Accuracy"], 3),
            "commonest_class": round(commonest(reader, patches), 3),
            "test_mean_iou": round(told["test/mIoU"], 3),
        }


def export(cube: Path, truth: Path, patches: Patches) -> PatchReader:
    """``chips``, and what they were read with."""
    figures = measure_statistics(cube, patches, "s2", clear_only=True, all_dates=True)
    view = LayerView(layer="s2", bands=BANDS, time=AllDates(count=DATES))
    reader = open_reader(cube, view, mask=RasterMask(path=truth, classes=class_codes()))
    s2 = Modality(read=reader.read, bands=BANDS, means=tuple(figures.means(BANDS)), stds=tuple(figures.stds(BANDS)))
    write_chips("chips", patches, {"s2": s2}, classes=tuple(CLASSES), datasheet=make_datasheet(cube, patches))
    return reader


def make_config() -> dict[str, Any]:
    """The page's, with the figures that stand beside the chips."""
    (text,) = CONFIG.findall(PAGE.read_text("utf-8"))
    config: dict[str, Any] = yaml.safe_load(text)
    told = yaml.safe_load(Path("chips/dataset.yaml").read_text("utf-8"))
    data, model = config["data"]["init_args"], config["model"]["init_args"]["model_args"]
    s2 = told["modalities"]["s2"]
    data.update(means=s2["means"], stds=s2["stds"])
    assert (data["dataset_bands"], data["no_label_replace"]) == (s2["bands"], told["mask"]["ignore_index"])
    assert (data["num_classes"], model["num_classes"]) == (len(CLASSES), len(CLASSES))
    assert (model["backbone_num_frames"], model["backbone_img_size"]) == (s2["dates"], PATCH_PX)
    config["trainer"].update(accelerator="cpu", logger=False, enable_checkpointing=False)
    return {"seed_everything": SEED, **config}


def compare(datamodule: Any, reader: PatchReader, patches: Patches) -> int:
    """How many samples the data module gives; each must be what was exported, to the bit."""
    datamodule.setup("test")
    dataset = datamodule.test_dataset
    found = map(dataset.__getitem__, range(len(dataset)))
    samples = {Path(sample["filename"]).stem: sample for sample in found}
    assert samples.keys() == set(patches.key.tolist())
    for patch in patches:
        expected, sample = reader.read(patch), samples[patch.key]
        image = np.where(expected["valid"][:, None], expected["image"], 0)
        assert np.array_equal(np.asarray(sample["image"]), image.swapaxes(0, 1)), patch.key
        assert np.array_equal(np.asarray(sample["mask"]), expected["mask"]), patch.key
    return len(samples)


def compare_presets() -> list[str]:
    """Which presets and modalities have the means and stds of TerraTorch's own models; all must."""
    prithvi = {"prithvi-eo-1.0": "prithvi_eo_v1_100", "prithvi-eo-2.0": "prithvi_eo_v2_300"}
    figures = {(name, "S2L2A"): (prithvi_cfgs[key]["mean"], prithvi_cfgs[key]["std"]) for name, key in prithvi.items()}
    terramind = {"S2L2A": "sen2l2a", "S2L1C": "sen2l1c", "S1GRD": "sen1grd", "S1RTC": "sen1rtc", "DEM": "dem"}
    for modality, name in terramind.items():
        key = f"untok_{name}@224"
        figures["terramind-1.0", modality] = v1_pretraining_mean[key], v1_pretraining_std[key]
    for (preset, modality), (means, stds) in figures.items():
        ours = find_preset(preset).modalities[modality].scaling
        assert (list(ours.means), list(ours.stds)) == (means, stds), (preset, modality)
    return [f"{preset} {modality}" for preset, modality in figures]


def commonest(reader: PatchReader, patches: Patches) -> float:
    """Share of the test set's pixels that are of the training set's commonest class."""
    codes = np.arange(len(CLASSES) + 1)
    train, test = (
        np.sum([np.histogram(reader.read(patch)["mask"], codes)[0] for patch in patches.of_split(split)], axis=0)
        for split in ("train", "test")
    )
    return float(test[train.argmax()] / test.sum())


def main() -> None:
    """Run and record; ends with an error, and records nothing, where the model has learnt nothing."""
    os.environ["SHDASK_LEARN"] = "0"
    told = run()
    if told["test_pixel_accuracy"] < told["commonest_class"] + AHEAD:
        raise SystemExit(f"not recorded: the model has learnt too little: {told}")
    write_result("terratorch_chips", (__doc__ or "").strip().splitlines()[0], told, command="make terratorch")


if __name__ == "__main__":
    main()
