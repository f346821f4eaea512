"""The reference is complete: every public name, every key of a job, every state on disk."""

from __future__ import annotations

import json
import re
from functools import reduce
from operator import getitem

import pytest
from pydantic import BaseModel
from pydantic_core import PydanticUndefined

import shdask
import shdask.patches
import shdask.sentinelhub
from shdask.assemble.conventions import tile_state_attributes
from shdask.plan.delivery_spec import DeliveryOptions
from shdask.plan.layer_spec import Layer
from shdask.plan.spec import CubeSpec, ServiceOptions, StoreOptions
from tests.docs.blocks import ROOT
from tests.unit.test_house import FLOORS

REFERENCE = ROOT / "docs" / "reference"
JOB_FILE = (REFERENCE / "job-file.md").read_text()
TABLES = {
    "cube": CubeSpec,
    "layers.name": Layer,
    "store": StoreOptions,
    "service": ServiceOptions,
    "delivery": DeliveryOptions,
}


def shown(page: str) -> list[str]:
    """What a page of the reference shows the docstrings of."""
    return re.findall(r"^::: (\S+)$", (REFERENCE / page).read_text(), re.MULTILINE)


def rows(table: str) -> dict[str, str]:
    """The keys that the page has of a job's table, and their defaults as they are written."""
    section = JOB_FILE.split(f"\n## [{table}]\n")[1].split("\n## ")[0]
    found = re.findall(r"^\| (`.*?`) \| (.*?) \|", section, re.MULTILINE)
    return {key: default for keys, default in found for key in re.findall(r"`(\w+)`", keys)}


def as_told(model: type[BaseModel], key: str) -> str:
    """A field's default as the page writes it."""
    default = model.model_fields[key].default
    return "must" if default is PydanticUndefined else f"`{json.dumps(default)}`"


def test_every_public_name_is_told() -> None:
    """On the page of Python; errors have a page of their own, and the seed's classes."""
    elsewhere = {"ShdaskError", *shdask.sentinelhub.__all__}
    assert set(shown("python.md")) == {f"shdask.{name}" for name in set(shdask.__all__) - elsewhere}


def test_every_name_of_the_seed_is_told() -> None:
    """On the page of `shdask.sentinelhub`."""
    assert set(shown("sentinelhub.md")) == {f"shdask.sentinelhub.{name}" for name in shdask.sentinelhub.__all__}


def test_every_name_for_training_is_told() -> None:
    """On its page, but for the one that is told as a public name of shdask; with those that need torch."""
    told = {name for name in shown("training.md") if name.startswith("shdask.patches.")}
    torch = {"PatchDataset", "PatchIterable", "PatchSampler"}
    assert told == {f"shdask.patches.{name}" for name in torch | set(shdask.patches.__all__) - set(shdask.__all__)}


@pytest.mark.parametrize("table", TABLES)
def test_every_key_of_a_job_is_told(table: str) -> None:
    """Those of each table, and no other."""
    assert set(rows(table)) == set(TABLES[table].model_fields)


REQUIRED = {"aoi", "crs", "resolution", "bands"}
"""Keys that must be given, though their model has a default: what may stand in their place is checked together."""
OWN_TABLES = {"store", "service", "delivery"}


@pytest.mark.parametrize(
    ("table", "key"),
    [(table, key) for table in TABLES for key in rows(table) if key not in REQUIRED | OWN_TABLES],
)
def test_a_key_is_told_with_its_default(table: str, key: str) -> None:
    """As JSON writes it."""
    assert rows(table)[key] == as_told(TABLES[table], key)


@pytest.mark.parametrize("key", sorted(REQUIRED))
def test_what_must_be_given_is_told(key: str) -> None:
    """As such."""
    assert {**rows("cube"), **rows("layers.name")}[key] == "must"


def test_every_state_on_disk_is_told() -> None:
    """With its number, as the cube itself names them."""
    flags = tile_state_attributes()
    names = dict(zip(flags["flag_meanings"].split(), flags["flag_values"], strict=True))
    told = re.findall(r"^\| `(\w+)` \((\d+)\) \|", (REFERENCE / "cube.md").read_text(), re.MULTILINE)
    assert {name: int(number) for name, number in told} == names


def test_every_room_is_told_on_its_floor() -> None:
    """The page of the design has the floors that imports are held to."""
    rows = re.findall(r"^\| (\d) \| (.*?) \|", (ROOT / "docs" / "design.md").read_text(), re.MULTILINE)
    assert {room: int(floor) for floor, rooms in rows for room in re.findall(r"`(\w+)`", rooms)} == FLOORS


def test_every_figure_has_its_file() -> None:
    """What the page of figures names was written by a benchmark."""
    page = (ROOT / "docs" / "figures.md").read_text()
    named = set(re.findall(r"\(`(?:make )?(\w+)`\) \|", page)) | set(re.findall(r"`make bench ONLY=(\w+)`", page))
    files = {file.stem for file in (ROOT / "benchmarks" / "results").glob("*.json")}
    assert named > {"million_tiles", "slurm", "windows"}
    assert named - files == set()


@pytest.mark.parametrize(
    ("name", "keys", "share", "shown"),
    [
        ("kill_points", ("disk", "pu_charged_over_needed"), 1, "{:.2f} of the price on disk"),
        ("kill_points", ("s3", "pu_charged_over_needed"), 1, "{:.2f} on S3"),
        ("engine_overhead", ("engine_over_sentinelhub_py_throughput",), 1, "| {:.2f}, at"),
        ("engine_overhead", ("engine_over_sentinelhub_py_cpu",), 1, "at {:.2f} times its CPU"),
        ("rate_limit", ("10_pu_bucket_60s", "ratio"), 1, "| {:.2f}; at most"),
        ("windows", ("shapes", "slovenia", "plans", "shdask, prefer auto", "ratio"), 1, "| {:.3f}; sentinelhub-py"),
        ("patch_reading", ("beside_others", "aligned_256_px", "ours_over_zarr_alone"), 1, "| {:.1f} times zarr"),
        (
            "patch_reading",
            ("beside_others", "aligned_256_px", "ours_over_the_faster_xbatcher"),
            1,
            "chunks, {:.1f} times xb",
        ),
        ("train", ("test_accuracy", "net"), 100, "[{:.1f} % right]"),
        ("train", ("test_accuracy", "logistic_regression"), 100, "logistic regression {:.1f} %"),
    ],
)
def test_headlines_are_what_was_measured(name: str, keys: tuple[str, ...], share: float, shown: str) -> None:
    """The README's figures are those of the results, rounded."""
    found = reduce(getitem, keys, json.loads((ROOT / "benchmarks" / "results" / f"{name}.json").read_text())["result"])
    assert shown.format(float(found) * share) in (ROOT / "README.md").read_text()
