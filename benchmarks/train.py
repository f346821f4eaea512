"""How well does a small net trained on patches know the classes of held-out ground, and does it wait for data?

From a job file to a map: a growing season is built on the emulator, the land cover of its synthetic Earth is fetched
as a raster, patches are chosen and set apart on the ground, and what the net says of patches that overlap is blended
onto the grid. ``make train``. The net sees bands of Sentinel-2 and which dates are clear, never the raster.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import torch
from numpy.typing import NDArray
from rasterio.transform import from_bounds
from rio_cogeo.cogeo import cog_validate
from torch.utils.data import DataLoader

import shdask
from benchmarks.record import write_result
from benchmarks.train_model import Clock, Linear, NearestMean, Net, accuracy, class_ious, count_pairs, train
from benchmarks.train_picture import draw_maps
from shdask.emulator.launch import EmulatorProcess, start_emulator
from shdask.emulator.world.cover import Cover
from shdask.patches import (
    AllDates,
    LayerView,
    Patch,
    PatchDataset,
    Patches,
    PatchIterable,
    PatchReader,
    RasterMask,
    ReadingOrder,
    count_leakage,
    measure_statistics,
    open_reader,
    write_blended,
)
from shdask.patches.reading.torch_datasets import to_tensors
from shdask.sentinelhub import CRS, BBox, DataCollection, MimeType, SentinelHubRequest, SHConfig

SEED = 7
LEFT, TOP = 400_000, 5_081_920
PIXEL_M = 10
SIDE_PX = 1024
PATCH_PX = 64
BLOCK_M, GUARD_M = 1920, 100
SHARES = (0.55, 0.15, 0.3)
BATCH = 8
WORKERS = 1
EPOCHS = 12
NET_AT_LEAST = 0.95
"""Of the test set's pixels; the Earth is made up, so that a net that is given the right pixels can."""
AHEAD_OF_LINEAR = 0.05
"""By so much the net must know more than logistic regression, which sees no neighbours."""
MONTHS = 6
BANDS = ("blue", "green", "red", "nir", "swir16", "swir22")
JOB = """
[cube]
aoi = [{left}, {bottom}, {right}, {top}]
aoi_crs = "EPSG:32633"
crs = "EPSG:32633"
resolution = {pixel}
time = ["2024-04-01", "2024-09-30"]

[layers.s2]
collection = "sentinel-2-l2a"
bands = ["B02", "B03", "B04", "B08", "B11", "B12", "SCL"]
cadence = "month"
mosaicking_order = "leastCC"

[store]
chunk_px = {patch}
tile_px = 512

[service]
requests_per_minute = 100000
pu_per_minute = 100000
"""
CLASSES: Mapping[str, tuple[Cover, ...]] = {
    "water": (Cover.SEA, Cover.SHALLOWS, Cover.LAKE, Cover.RIVER),
    "conifers": (Cover.CONIFER,),
    "broadleaves": (Cover.BROADLEAF,),
    "grass": (Cover.PASTURE, Cover.ALPINE, Cover.GARDEN),
    "cereals": (Cover.WHEAT,),
    "maize": (Cover.MAIZE,),
    "rapeseed": (Cover.RAPESEED,),
    "greens": (Cover.GREENS,),
    "fallow": (Cover.FALLOW,),
    "tracks": (Cover.TRACK,),
    "built": (Cover.STREET, Cover.RED_ROOF, Cover.GREY_ROOF, Cover.HALL, Cover.ROAD),
    "bare": (Cover.SAND, Cover.ROCK),
}
"""Whatever covers the ground is of one of them; none is left out to flatter anybody."""
TRUTH_SCRIPT = """//VERSION=3
function setup() { return {input: [{bands: ["cover"]}], output: {bands: 1, sampleType: "UINT8"}}; }
function evaluatePixel(s) { return [s.cover]; }
"""


def run(side_px: int = SIDE_PX, epochs: int = EPOCHS, picture: str | None = None) -> dict[str, Any]:
    """Accuracy and mean IoU over the pixels of ``test``, which no patch of the training set comes near."""
    torch.manual_seed(SEED)
    torch.use_deterministic_algorithms(mode=True)
    seconds: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        cube, truth = folder / "training.zarr", folder / "cover.tif"
        with timed(seconds, "build"), start_emulator() as service:
            os.environ.update(service.environment())
            pu_spent = build(folder / "job.toml", cube, side_px)
            fetch_truth(service, truth, side_px)
        with timed(seconds, "choose"):
            patches = choose(cube, truth)
        with timed(seconds, "statistics"):
            view = see(cube, patches)
        sets = {split: patches.of_split(split) for split in ("train", "validation", "test")}
        reader = open_reader(cube, view, mask=RasterMask(path=truth, classes=class_codes()))
        with timed(seconds, "train"):
            models, clock, history = train_all(reader, sets, epochs)
        test = load(reader, sets["test"])
        pairs = {model: count_pairs(predict, test) for model, predict in models.items()}
        with timed(seconds, "blend"):
            label = blend(folder, cube, view, models["net"])
        classes = read_classes(truth)
        if picture is not None:
            draw_maps(picture, cube, (classes, label), sets["test"], tuple(CLASSES))
        ious = {model: class_ious(each, len(CLASSES)) for model, each in pairs.items()}
        return {
            "of": "the emulator's made-up Earth, whose pixels say nothing of the real one",
            "torch": torch.__version__,
            "threads": torch.get_num_threads(),
            "seed": SEED,
            "cube": {"side_px": side_px, "months": MONTHS, "bands": BANDS, "pu": round(pu_spent, 1)},
            "patches": {
                "size_px": PATCH_PX,
                "guard_m": GUARD_M,
                "block_m": BLOCK_M,
                **{split: len(some) for split, some in sets.items()},
                "left_out": len(patches.of_split("left out")),
                "pairs_of_sets_nearer_than_guard": count_leakage(patches, GUARD_M).pairs,
            },
            "test_pixels": int(pairs["net"].sum()),
            "test_accuracy": {model: round(accuracy(each), 3) for model, each in pairs.items()},
            "test_mean_iou": {model: round(float(np.nanmean(each)), 3) for model, each in ious.items()},
            "test_iou_of_net": {
                name: None if np.isnan(iou) else round(iou, 3) for name, iou in zip(CLASSES, ious["net"], strict=True)
            },
            "blended_test_accuracy": round(score_map(label, classes, sets["test"]), 3),
            "labels_sha256": hashlib.sha256(label.tobytes()).hexdigest()[:16],
            "validation_accuracy": [round(each, 3) for each in history],
            "reading": tell_reading(reader, sets["train"], clock),
            "seconds": seconds,
        }


@contextmanager
def timed(seconds: dict[str, float], name: str) -> Iterator[None]:
    """Note how long the block takes."""
    started = time.perf_counter()
    yield
    seconds[name] = round(time.perf_counter() - started, 1)
    print(f"{name}: {seconds[name]} s", flush=True)


def build(job: Path, cube: Path, side_px: int) -> float:
    """Processing units of the job, which the emulator charged."""
    side = side_px * PIXEL_M
    job.write_text(JOB.format(left=LEFT, bottom=TOP - side, right=LEFT + side, top=TOP, pixel=PIXEL_M, patch=PATCH_PX))
    report = shdask.build_cube(job, cube, executor=shdask.SerialExecutor())
    report.raise_for_failures()
    return float(report.pu_spent)


def fetch_truth(service: EmulatorProcess, path: Path, side_px: int) -> None:
    """The land cover of the cube's grid as a GeoTIFF, as users have one of another source."""
    config = SHConfig(
        sh_client_id=service.client_id,
        sh_client_secret=service.client_secret,
        sh_base_url=service.base_url,
        sh_token_url=service.token_url,
    )
    collection = DataCollection.define(
        f"TRUTH_{secrets.token_hex(4)}", api_id="emulator-truth", service_url=service.base_url
    )
    side = side_px * PIXEL_M
    bounds = (LEFT, TOP - side, LEFT + side, TOP)
    request = SentinelHubRequest(
        evalscript=TRUTH_SCRIPT,
        input_data=[SentinelHubRequest.input_data(collection)],
        responses=[SentinelHubRequest.output_response("default", MimeType.TIFF)],
        bbox=BBox(bounds, CRS("32633")),
        size=(side_px, side_px),
        config=config,
    )
    (cover,) = request.get_data()
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        width=side_px,
        height=side_px,
        count=1,
        dtype="uint8",
        crs="EPSG:32633",
        transform=from_bounds(*bounds, side_px, side_px),
        tiled=True,
        compress="deflate",
    ) as tiff:
        tiff.write(cover, 1)


def class_codes() -> dict[int, int]:
    """Cover -> number of its class."""
    return {int(cover): number for number, covers in enumerate(CLASSES.values()) for cover in covers}


def read_classes(truth: Path) -> NDArray[np.uint8]:
    """(y, x): the class of each pixel."""
    numbers = np.full(256, len(CLASSES), np.uint8)
    codes = class_codes()
    numbers[list(codes)] = list(codes.values())
    with rasterio.open(truth) as tiff:
        return numbers[tiff.read(1)]


def choose(cube: Path, truth: Path) -> Patches:
    """Side by side on the store's chunks; the raster tells the commonest cover of each."""
    return shdask.sample_patches(
        cube,
        size_px=PATCH_PX,
        labels=str(truth),
        min_valid=0.5,
        shares=SHARES,
        block_m=BLOCK_M,
        guard_m=GUARD_M,
        seed=SEED,
    )


def see(cube: Path, patches: Patches) -> LayerView:
    """All months, scaled by what is clear in the training set."""
    figures = measure_statistics(cube, patches, "s2", clear_only=True, all_dates=True)
    return LayerView(layer="s2", bands=BANDS, time=AllDates(count=MONTHS), scaling=figures)


def load(reader: PatchReader, patches: Patches) -> list[dict[str, Any]]:
    """All batches, kept."""
    return list(DataLoader(PatchDataset(reader.read, patches), batch_size=BATCH))


def load_shuffled(reader: PatchReader, patches: Patches) -> Any:
    """Batches of the next epoch at each pass, read by workers beside the net, and ``len`` tells how many."""
    order = ReadingOrder.of(patches, shard_px=512, chunk_px=PATCH_PX, seed=SEED)
    dataset = PatchIterable(reader, patches, order, batch_size=BATCH, workers=WORKERS)
    return DataLoader(dataset, batch_size=None, num_workers=WORKERS, persistent_workers=True, prefetch_factor=8)


def train_all(
    reader: PatchReader, sets: Mapping[str, Patches], epochs: int
) -> tuple[dict[str, Any], Clock, list[float]]:
    """The net and what stands beside it, all from the same patches; the net's time, and its accuracy by epoch."""
    planes, classes = MONTHS * (len(BANDS) + 1), len(CLASSES)
    validation = load(reader, sets["validation"])
    net, linear = Net(planes, classes), Linear(planes, classes)
    clock, history = train(net, epochs, load_shuffled(reader, sets["train"]), validation)
    train(linear, epochs, load_shuffled(reader, sets["train"]), validation)
    batches = load(reader, sets["train"])
    counts = sum(torch.bincount(batch["mask"][batch["mask"] >= 0], minlength=classes) for batch in batches)
    commonest = int(counts.argmax())
    return (
        {
            "net": net,
            "logistic_regression": linear,
            "nearest_mean": NearestMean.fit(batches, classes),
            "commonest_class": lambda batch: torch.full_like(batch["mask"], commonest),
        },
        clock,
        history,
    )


def blend(folder: Path, cube: Path, view: LayerView, net: Any) -> NDArray[np.uint8]:
    """(y, x) classes of the whole grid, by patches twice as large that overlap by half; as Zarr and COG, both read."""
    reader, target = open_reader(cube, view), folder / "predicted.zarr"
    wide = shdask.sample_patches(cube, size_px=2 * PATCH_PX, stride_px=PATCH_PX, seed=SEED)

    def predict(patch: Patch) -> NDArray[np.float32]:
        sample = to_tensors(reader.read(patch))
        with torch.no_grad():
            return net({name: sample[name][None] for name in ("image", "clear")}).softmax(1)[0].numpy()

    write_blended(target, cube, wide, predict, classes=tuple(CLASSES))
    label = shdask.open_cube(target)["label"].to_numpy()
    (tiff,) = shdask.export_cog(target, folder / "label.tif", bands=["label"])
    is_valid, errors, _ = cog_validate(tiff.path)
    assert is_valid, errors
    with rasterio.open(tiff.path) as cog:
        assert np.array_equal(cog.read(1), label)
    return label


def score_map(label: NDArray[np.uint8], classes: NDArray[np.uint8], test: Patches) -> float:
    """Share of pixels of the test set's patches whose blended class is true."""
    size = PATCH_PX
    windows = [(slice(patch.y0, patch.y0 + size), slice(patch.x0, patch.x0 + size)) for patch in test]
    return float(np.mean([(label[window] == classes[window]).mean() for window in windows]))


def tell_reading(reader: PatchReader, patches: Patches, clock: Clock) -> dict[str, Any]:
    """Samples a second that a worker reads when nobody trains, and where the net's time went."""
    loader = load_shuffled(reader, patches)
    passes = []
    for _ in range(3):
        started = time.perf_counter()
        assert sum(len(batch["image"]) for batch in loader) == len(patches)
        passes.append(time.perf_counter() - started)
    wall, waited = sum(clock.wall_s), sum(clock.waited_s)
    return {
        "samples_per_s_when_only_read": round(len(patches) / min(passes)),
        "samples_per_s_when_trained": round(len(patches) * len(clock.wall_s) / wall),
        "share_of_training_waiting_for_data": round(waited / wall, 3),
        "share_after_the_first_epoch": round(sum(clock.waited_s[1:]) / sum(clock.wall_s[1:]), 3),
    }


def refuse_poor(told: Mapping[str, Any]) -> None:
    """End the program where the proof has failed: sets that see each other, or a net that has not learnt."""
    known, linear = (told["test_accuracy"][model] for model in ("net", "logistic_regression"))
    pairs = told["patches"]["pairs_of_sets_nearer_than_guard"]
    faults = {
        f"{pairs} pairs of patches of two sets are nearer than {GUARD_M} m": pairs == 0,
        f"the net knows {known} of the test set's pixels, not {NET_AT_LEAST}": known >= NET_AT_LEAST,
        f"logistic regression knows {linear}, and the net {known}, not {AHEAD_OF_LINEAR} more": (
            round(known - linear, 3) >= AHEAD_OF_LINEAR
        ),
    }
    failed = [fault for fault, is_kept in faults.items() if not is_kept]
    if failed:
        raise SystemExit(f"not recorded: {'; '.join(failed)}")


def main() -> None:
    """Run and record; ends with an error, and records nothing, where the proof has failed."""
    os.environ["SHDASK_LEARN"] = "0"  # it stands alone, and the user's own plans learn nothing of it
    question = (__doc__ or "").strip().splitlines()[0]
    told = run(picture="docs/training.png")
    refuse_poor(told)
    write_result("train", question, told, command="make train")


if __name__ == "__main__":
    main()
