"""The commands preview, overviews and export, in this process."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import rasterio
from PIL import Image

from shdask.assemble.store import create_or_open
from tests.unit.assemble.conftest import small_plan
from tests.unit.serve.timed import fill, timed_plan

pytestmark = pytest.mark.filterwarnings("ignore:Use `@` matmul:PendingDeprecationWarning")


@pytest.fixture(scope="module")
def series(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fill(timed_plan(), tmp_path_factory.mktemp("look") / "cube.zarr").place.path


def test_preview_writes_a_picture_and_says_of_what(run, series: Path, work: Path):
    """A line for people."""
    code, out, err = run("preview", series, "out.png", "--time", "2024-06-05", "--size", 80)
    assert (code, out, err) == (0, "out.png: s2, B04, 2024-06-05T00:00:00 UTC\n", "")
    with Image.open(work / "out.png") as picture:
        assert picture.width == 320


def test_preview_tells_json(run, series: Path, work: Path):
    """One object."""
    code, out, _ = run("preview", series, "out.png", "--bands", "SCL", "--size", 80, "--json")
    assert code == 0
    told = json.loads(out)
    assert (told["path"], told["look"], told["bands"], told["size"]) == ("out.png", "SCL", ["SCL"], [70, 80])


def test_preview_refuses_bands_that_are_not_there(run, series: Path, work: Path):
    """With exit code 2 and the cure; nothing is written."""
    code, out, err = run("preview", series, "out.png", "--bands", "B04,B03,B02")
    assert (code, out) == (2, "")
    assert "there is no 'B03'; give one or three of B04, SCL, or one of true-colour" in err
    assert list(work.iterdir()) == []


def test_preview_refuses_another_format_before_it_reads(run, work: Path):
    """Which may take long."""
    code, _, err = run("preview", "no.zarr", "out.jpg")
    assert (code, "out.jpg: a picture is written as PNG; call it out.png" in err) == (2, True)


@pytest.mark.parametrize("words", ["preview no.zarr o.png", "overviews no.zarr", "export no.zarr o.tif"])
def test_a_store_that_is_none_is_refused(run, work: Path, words: str):
    """With exit code 2."""
    code, _, err = run(*words.split())
    assert (code, "no.zarr does not exist" in err) == (2, True)


def test_a_cube_that_is_not_complete_is_drawn_with_a_note(run, work: Path):
    """On stderr, in one line."""
    create_or_open(small_plan(), work / "cube.zarr")
    code, _, err = run("preview", "cube.zarr", "out.png")
    assert code == 0
    assert err.startswith("note: ")
    assert err.count("\n") == 1
    assert "is not complete" in err


def test_overviews_say_what_they_made(run, series: Path):
    """A small cube needs none."""
    assert run("overviews", series) == (
        0,
        "/: overviews none, it is small enough; 0 tiles were new or had changed\n",
        "",
    )
    code, out, _ = run("overviews", series, "--json")
    assert (code, json.loads(out)["groups"]) == (0, {"": {"factors": [], "tiles": 0, "objects": 0}})


def test_export_writes_files_and_an_item(run, series: Path, work: Path):
    """A file for each date, and a STAC item that names them."""
    code, out, err = run(
        "export", series, "tiff/out.tif", "--bands", "B04", "--time", "2024-06-01", "2024-06-05", "--stac", "item.json"
    )
    assert (code, len(out.splitlines())) == (0, 2)
    assert err == "item.json: a STAC item\n"
    hrefs = [asset["href"] for asset in json.loads((work / "item.json").read_text())["assets"].values()]
    assert hrefs[1:] == ["tiff/out_2024-06-02.tif", "tiff/out_2024-06-05.tif"]


def test_export_tells_json(run, series: Path, work: Path):
    """What each file holds."""
    words = (
        "--time",
        "2024-06-02",
        "2024-06-02",
        "--bbox",
        500100,
        4999400,
        500300,
        4999500,
        "--nodata",
        9,
        "--bands",
        "SCL",
    )
    code, out, _ = run("export", series, "out.tif", *words, "--json")
    (told,) = json.loads(out)["files"]
    assert (code, told["path"], told["shape"], told["nodata"], told["bands"]) == (0, "out.tif", [10, 20], 9.0, ["SCL"])
    with rasterio.open(work / "out.tif") as file:
        assert (file.shape, file.nodata) == ((10, 20), 9.0)
