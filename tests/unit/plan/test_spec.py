"""What the user wants, and what is said of a job that cannot be read."""

from __future__ import annotations

import pickle
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from pyproj import CRS

from shdask.errors import PlanError
from shdask.model import TimeInterval
from shdask.plan.spec import CubeSpec, Layer, StoreOptions

JOB = """
[cube]
aoi = "area.geojson"
crs = "EPSG:32633"
resolution = 20
time = ["2024-06-01", "2024-06-30"]

[layers.s2]
collection = "sentinel-2-l2a"
bands = ["B02", "SCL"]

[store]
tile_px = 1024

[service]
deployment = "cdse"
max_pu = 500
"""


def read(folder: Path, text: str) -> CubeSpec:
    (folder / "job.toml").write_text(text)
    return CubeSpec.from_file(folder / "job.toml")


def test_a_job_file_says_the_same_as_python(tmp_path: Path) -> None:
    """The same fields, the same defaults."""
    spec = read(tmp_path, JOB)
    assert (
        spec.model_dump()
        == CubeSpec(
            aoi="area.geojson",
            crs="EPSG:32633",
            resolution=20,
            time=("2024-06-01", "2024-06-30"),
            layers={"s2": Layer(collection="sentinel-2-l2a", bands=("B02", "SCL"))},
            store=StoreOptions(tile_px=1024),
            service={"deployment": "cdse", "max_pu": 500},
        ).model_dump()
    )
    assert spec.folder == tmp_path


def test_both_days_are_included(tmp_path: Path) -> None:
    """A half-open interval that ends at the midnight after the last day."""
    assert read(tmp_path, JOB).interval == TimeInterval(
        start=datetime(2024, 6, 1, tzinfo=UTC), end=datetime(2024, 7, 1, tzinfo=UTC)
    )


def test_a_layers_own_time_wins(tmp_path: Path) -> None:
    """One day, written as TOML's own date."""
    text = JOB.replace("[store]", "time = [2023-02-28, 2023-02-28]\n[store]")
    assert read(tmp_path, text).interval == TimeInterval(
        start=datetime(2023, 2, 28, tzinfo=UTC), end=datetime(2023, 3, 1, tzinfo=UTC)
    )


def test_a_spec_survives_pickling(tmp_path: Path) -> None:
    """With the folder that its paths count from."""
    spec = read(tmp_path, JOB)
    copy = pickle.loads(pickle.dumps(spec))  # noqa: S301  # our own bytes
    assert copy == spec
    assert copy.folder == tmp_path


def test_an_area_may_be_left_to_the_raster(tmp_path: Path) -> None:
    """A raster alone gives grid and area."""
    text = JOB.replace('aoi = "area.geojson"\ncrs = "EPSG:32633"\nresolution = 20', 'like = "grid.tif"')
    assert str(read(tmp_path, text).like) == "grid.tif"


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        ("aoi =", "ao =", "job.toml: cube.ao: is not known (did you mean aoi?)"),
        (
            'aoi = "area.geojson"',
            "",
            'job.toml: cube: aoi missing; give them, or a raster\'s grid with like = "grid.tif"',
        ),
        ("resolution = 20", 'like = "a.tif"', "job.toml: cube: like takes its grid from the raster; leave out crs"),
        (
            '"EPSG:32633"',
            '"utm-zones"\nextent = [0, 0, 9, 9]',
            "job.toml: cube: extent is in one CRS, and utm-zones has many; leave it out, or take one CRS",
        ),
        ("= 20", "= -20", "job.toml: cube.resolution: -20 is not a pixel size; give one number above 0, or [x, y]"),
        ("= 20", '= "20"', "job.toml: cube.resolution: '20' is not a pixel size"),
        ("= 20", "= [20, 20, 1]", "job.toml: cube.resolution: [20, 20, 1] is not a pixel size"),
        (
            "= 20",
            "= 20\nextent = [5, 0, 1, 9]",
            "job.toml: cube.extent: [5.0, 0.0, 1.0, 9.0] is not [left, bottom, right",
        ),
        (
            '"2024-06-30"]',
            '"2024-05-30"]',
            "job.toml: cube.time: the first day, 2024-06-01, is after the last, 2024-05-30",
        ),
        ('"2024-06-30"]', '"2024-06-31"]', "job.toml: cube.time[1]: should be a valid date"),
        ('time = ["2024-06-01", "2024-06-30"]', "", "job.toml: cube: time missing for sentinel-2-l2a; give time ="),
        ('"B02", ', '"BO2", ', "job.toml: layers.s2.bands: sentinel-2-l2a has no band 'BO2' (did you mean"),
        ('"B02", ', '"B02", "B02", ', "job.toml: layers.s2.bands: B02 is named more than once"),
        ('["B02", "SCL"]', "[]", "job.toml: layers.s2.bands: "),
        ("2-l2a", "2-l2b", "job.toml: layers.s2.collection: collection 'sentinel-2-l2b' is not known (did you mean"),
        ("bands =", 'unit = "DN"\nbands =', "job.toml: layers.s2.unit: is not known (did you mean units?)"),
        (
            "bands =",
            "max_cloud_cover = 30\nbands =",
            "job.toml: layers.s2.max_cloud_cover: 30 is more than the whole scene;",
        ),
        ("bands =", "max_cloud_cover = -1\nbands =", "job.toml: layers.s2.max_cloud_cover: -1 is below 0"),
        (
            '["B02", "SCL"]',
            '["SCL"]\nunits = "REFLECTANCE"',
            "job.toml: layers.s2.units: none of these bands can be had",
        ),
        (
            '"sentinel-2-l2a"',
            '"byoc-1"\nmosaicking_order = "leastCC"',
            "job.toml: layers.s2.mosaicking_order: byoc-1 has no",
        ),
        (
            '"sentinel-2-l2a"',
            '"byoc-1"\nmax_cloud_cover = 0.5',
            "job.toml: layers.s2.max_cloud_cover: byoc-1 has no cloud",
        ),
        ("[layers.s2]", "[layers.x]", "job.toml: layers: 'x' is a name the cube itself uses; call the layer otherwise"),
        ("[layers.s2]", "[layers.scout]", "job.toml: layers: 'scout' is a name the cube itself uses"),
        ("[layers.s2]", "[layers.overviews]", "job.toml: layers: 'overviews' is a name the cube itself uses"),
        ("[layers.s2]", '[layers."s2/a"]', "job.toml: layers: 's2/a' cannot be a group's name; use letters, digits"),
        (
            "[layers.s2]",
            '[layers.S2]\ncollection = "byoc-1"\nbands = ["b"]\n[layers.s2]',
            "job.toml: layers: 'S2' differs from another layer by capitals alone; call it otherwise",
        ),
        (
            'time = ["2024-06-01", "2024-06-30"]',
            '[layers.b]\ncollection = "byoc-1"\nbands = ["b"]\ncadence = "day"',
            "job.toml: cube: time missing for byoc-1; give time =",
        ),
        ("1024", "1000", "job.toml: store: tile_px = 1000 is not a multiple of chunk_px = 512; use 512"),
        ("1024", "3072", "job.toml: store: tile_px = 3072 is more than the 2500 px of one request; make it smaller"),
        ("max_pu = 500", "max_pu = 0", "job.toml: service.max_pu: should be greater than 0 (given: 0)"),
        (
            "[store]",
            '[delivery]\naccess_key = "k"\n[store]',
            "job.toml: delivery.access_key: is never read from a job; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
        ),
        ("[store]", "[stores]", "job.toml: stores: is not known (did you mean store?)"),
        ("[cube]", "[cub]", "job.toml: cube: the table [cube] is missing"),
        ("[cube]", "store = 1\n[cube]", "job.toml: this is not TOML"),
        ('["B02", "SCL"]', '"B02"', """layers.s2.bands: must be a list (given: 'B02'); write bands = ["B02", "B03"]"""),
        ('["B02", "SCL"]', "[]", "job.toml: layers.s2.bands: is empty; write bands = "),
        ("bands =", "clear = 0.2\nbands =", "layers.s2.clear: must be a table (given: 0.2); write clear = {min = 0.2}"),
        ("bands =", "encode = 16\nbands =", "job.toml: layers.s2.encode: must be a table (given: 16); write encode ="),
        ('["B02", "SCL"]', '["B02", "dataMask"]', "layers.s2.bands: 'dataMask' is a name the cube itself uses"),
        ('["2024-06-01", "2024-06-30"]', '"2024-06"', "cube.time: must be a list (given: '2024-06'); write time = ["),
        ('["2024-06-01", "2024-06-30"]', "[2024-06-01]", "job.toml: cube.time[1]: is missing; write time = ["),
        ('"2024-06-01",', "2024-06-01T10:00:00Z,", "job.toml: cube.time[0]: must be a whole day (given: "),
        ("[layers.s2]", "[layers]", "job.toml: layers: must hold layers by name: [layers.s2] in a job file"),
        ("= 20", "= 20\nmax_pu = 5", "job.toml: cube.max_pu: belongs in [service]"),
        ("= 20", '= 20\ncollection = "dem"', "job.toml: cube.collection: belongs in [layers.NAME]"),
        ("bands =", "resolution = 10\nbands =", "job.toml: layers.s2.resolution: belongs in [cube]"),
        ('"cdse"', '"csde"', "job.toml: service.deployment: 'csde' is not known (did you mean cdse?); choose services"),
        ("max_pu", 'client_secret = "x"\nmax_pu', "service.client_secret: is never read from a job; set SH_CLIENT_ID"),
        ("max_pu", "max_cloud = 1\nmax_pu", "job.toml: service.max_cloud: is not known"),
    ],
)
def test_a_wrong_job_is_refused_with_place_and_cure(tmp_path: Path, old: str, new: str, line: str) -> None:
    """Each mistake in a good job file has a line that names file, table and key."""
    with pytest.raises(PlanError) as refusal:
        read(tmp_path, JOB.replace(old, new, 1))
    assert line in str(refusal.value).replace(f"{tmp_path}/", "")


def test_a_cloud_cover_that_is_no_percentage_gets_no_number_for_a_cure() -> None:
    """130 is no share either way; 1.3 would be refused as well."""
    with pytest.raises(PlanError, match=r"it is a share from 0 to 1$"):
        Layer(collection="sentinel-2-l2a", bands=("B02",), max_cloud_cover=130)


def test_several_layers_share_a_grid_and_have_times_of_their_own(job: dict[str, Any]) -> None:
    """Each its own time, else the cube's; heights have none."""
    s2 = {"collection": "sentinel-2-l2a", "bands": ["B02"]}
    layers = {
        "s2": s2,
        "old": {**s2, "time": ("2023-06-01", "2023-06-01")},
        "h": {"collection": "dem", "bands": ["DEM"]},
    }
    spec = CubeSpec(aoi="a.geojson", **{**job, "layers": layers})
    assert spec.interval_of("s2") == TimeInterval(
        start=datetime(2024, 6, 1, tzinfo=UTC), end=datetime(2024, 7, 1, tzinfo=UTC)
    )
    assert spec.interval_of("old") == TimeInterval(
        start=datetime(2023, 6, 1, tzinfo=UTC), end=datetime(2023, 6, 2, tzinfo=UTC)
    )
    assert spec.interval_of("h") is None


@pytest.mark.parametrize("crs", ["utm-zones", "UTM-Zones", "utm_zones"])
def test_a_group_per_utm_zone_may_be_asked_for(job: dict[str, Any], crs: str) -> None:
    """However it is spelt."""
    assert CubeSpec(aoi="a.geojson", **{**job, "crs": crs}).crs == "utm-zones"


def test_heights_alone_need_no_time(job: dict[str, Any]) -> None:
    """They have no acquisitions."""
    job = {**job, "time": None, "layers": {"h": {"collection": "dem", "bands": ["DEM"]}}}
    assert CubeSpec(aoi="a.geojson", **job).interval is None


@pytest.mark.parametrize("crs", ["EPSG:32633", 32633, CRS.from_epsg(32633)], ids=["text", "number", "object"])
def test_a_crs_is_taken_in_the_forms_people_have_it_in(job: dict[str, Any], crs: object) -> None:
    """Its EPSG code is what counts."""
    assert CubeSpec(**{**job, "crs": crs}, aoi="a.geojson").crs == "EPSG:32633"


def test_a_job_file_may_begin_with_a_byte_order_mark(tmp_path: Path) -> None:
    """Some editors of Windows write one."""
    assert read(tmp_path, "\ufeff" + JOB).crs == "EPSG:32633"


def test_all_problems_are_told_at_once(tmp_path: Path) -> None:
    """One error, a line for each."""
    wrong = JOB.replace("B02", "B99").replace("= 20", "= 0").replace("tile_px", "tile")
    with pytest.raises(PlanError) as refusal:
        read(tmp_path, wrong)
    places = [line.split(": ")[1] for line in str(refusal.value).splitlines()]
    assert sorted(places) == ["cube.resolution", "layers.s2.bands", "store.tile"]


def test_a_missing_job_file_is_refused(tmp_path: Path) -> None:
    """With its path."""
    with pytest.raises(PlanError, match=r"no\.toml: the job file cannot be read \(No such file"):
        CubeSpec.from_file(tmp_path / "no.toml")


def test_python_hears_the_same_complaints(job: dict[str, Any]) -> None:
    """A spec made in Python raises PlanError with the field's place."""
    job["layers"] = {"s2": {"collection": "sentinel-2-l2a", "bands": ["B99"]}}
    with pytest.raises(PlanError, match=r"^CubeSpec: layers\.s2\.bands: sentinel-2-l2a has no band 'B99'"):
        CubeSpec(aoi="a.geojson", **job)


def test_a_layer_by_itself_complains_too() -> None:
    """Before it is part of any spec."""
    with pytest.raises(PlanError, match=r"^Layer: bands: is missing"):
        Layer(collection="sentinel-2-l2a")


def test_a_spec_cannot_be_changed(job: dict[str, Any]) -> None:
    """Frozen: a plan made of it stays true."""
    spec = CubeSpec(aoi="a.geojson", **job)
    with pytest.raises(ValueError, match="frozen"):
        spec.crs = "EPSG:4326"
