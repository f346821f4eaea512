"""What is wrong with a job, its area or the words of a command: one error with place and cure, and exit code 2."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pyogrio
import pytest
import shapely
from shapely import Polygon

AOI = 'aoi = "area.geojson"'
BANDS = 'bands = ["B02", "B08"]'
TIME = 'time = ["2024-06-01", "2024-06-30"]'
CRS = 'crs = "EPSG:32633"\n'
RESOLUTION = "resolution = 20"
COLLECTION = 'collection = "sentinel-2-l2a"'
L2A_BANDS = "it has B01, B02, B03, B04, B05, B06, B07, B08, B8A, B09, B11, B12, AOT, SCL, CLD, SNW"
PIXEL_SIZE = "is not a pixel size; give one number above 0, or [x, y], in CRS units"


def assert_refused(ended: tuple[object, str, str], message: str) -> None:
    """Exit code 2, nothing on stdout, and one error that says ``message``, without a traceback."""
    code, out, err = ended
    assert (code, out) == (2, ""), err
    assert message in " ".join(err.split())
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "job.toml: the job file cannot be read (No such file or directory); check the path"),
        (b"[cube]\naoi = 'a'\n# caf\xe9\n", "job.toml: line 3 is not UTF-8; save the file as UTF-8"),
        (
            b"[cube\n",
            "job.toml: this is not TOML: Expected ']' at the end of a table declaration (at line 1, column 6)",
        ),
        (b'{"cube": {}}', "job.toml: this is not TOML: Invalid statement (at line 1, column 1); mend the job file"),
        (b"", "job.toml: cube: the table [cube] is missing; it holds aoi, crs, resolution and time"),
        (b"cube = 3", "job.toml: cube: must be a table, [cube]"),
        (b"[cube]\n[layers]\nx = 1", "job.toml: layers: must hold layers by name: [layers.s2]"),
    ],
    ids=["missing", "not-utf8", "not-toml", "json", "empty", "no-table", "no-layer"],
)
def test_a_file_that_is_no_job_is_refused(run, work: Path, content: bytes | None, message: str) -> None:
    """With the file, and the line where there is one."""
    file = work / ("job.toml" if content is not None else "area.geojson")
    file.write_bytes(content or b"")
    assert_refused(run("plan", "job.toml"), message)


def test_a_folder_is_no_job(run, work: Path) -> None:
    """A cube's folder in the place of the job, for instance."""
    assert_refused(run("plan", work), f"{work}: the job file cannot be read (Is a directory); check the path")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (RESOLUTION, "resolutoin = 20", "cube.resolutoin: is not known (did you mean resolution?)"),
        (AOI, "", "cube: aoi missing; give them, or a raster's grid with like"),
        (CRS, "", "cube: crs missing; give them, or a raster's grid with like"),
        (RESOLUTION, "", "cube: resolution missing; give them, or a raster's grid with like"),
        (TIME, "", 'cube: time missing for sentinel-2-l2a; give time = ["2024-06-01", "2024-06-30"]'),
        (BANDS, "", 'layers.s2.bands: is missing; write bands = ["B02", "B03"]'),
        (COLLECTION, "", 'layers.s2.collection: is missing; write collection = "sentinel-2-l2a"'),
        (
            "sentinel-2-l2a",
            "sentinel2-l2a",
            "layers.s2.collection: collection 'sentinel2-l2a' is not known (did you mean",
        ),
        (BANDS, "bands = []", 'layers.s2.bands: is empty; write bands = ["B02", "B03"]'),
        (BANDS, 'bands = "B02"', "layers.s2.bands: must be a list (given: 'B02'); write bands ="),
        (
            BANDS,
            'bands = ["B02", "B99"]',
            f"layers.s2.bands: sentinel-2-l2a has no band 'B99' (did you mean B09?); {L2A_BANDS}",
        ),
        (BANDS, 'bands = ["VV"]', f"layers.s2.bands: sentinel-2-l2a has no band 'VV'; {L2A_BANDS}"),
        (BANDS, 'bands = ["b08"]', "layers.s2.bands: sentinel-2-l2a has no band 'b08' (did you mean B08"),
        (BANDS, 'bands = ["B02", "B02"]', "layers.s2.bands: B02 is named more than once; name each band once"),
        (RESOLUTION, 'resolution = "20 m"', f"cube.resolution: '20 m' {PIXEL_SIZE}"),
        (RESOLUTION, "resolution = 0", f"cube.resolution: 0 {PIXEL_SIZE}"),
        (RESOLUTION, "resolution = -20", f"cube.resolution: -20 {PIXEL_SIZE}"),
        (RESOLUTION, "resolution = nan", f"cube.resolution: nan {PIXEL_SIZE}"),
        (RESOLUTION, "resolution = true", f"cube.resolution: True {PIXEL_SIZE}"),
        (RESOLUTION, "resolution = 0.0002", "make resolution coarser (it is in units of EPSG:32633)"),
        ("EPSG:32633", "EPSG:4326", "(resolution is in degrees in EPSG:4326; 10 m are about 0.0001); make it finer"),
        (
            "EPSG:32633",
            "EPSG:99999",
            "cube.crs: the service does not render in EPSG:99999; for this area it does in EPSG:32633",
        ),
        (
            "EPSG:32633",
            "UTM33",
            'cube.crs: \'UTM33\' is not understood; write "EPSG:32633", or "utm" for the area\'s zone',
        ),
        (TIME, 'time = ["2024-06-01", "30.06.2024"]', "cube.time[1]: should be a valid date or datetime"),
        (
            TIME,
            'time = ["2024-06-01", "2024-06-31"]',
            "cube.time[1]: should be a valid date or datetime, day value is outside",
        ),
        (TIME, 'time = ["2024-06-01"]', "cube.time[1]: is missing; write time ="),
        (TIME, 'time = "2024-06-01"', "cube.time: must be a list (given: '2024-06-01'); write time ="),
        (
            TIME,
            'time = ["2024-06-30", "2024-06-01"]',
            "cube.time: the first day, 2024-06-30, is after the last, 2024-06-01; swap them",
        ),
        (TIME, 'time = ["2994-06-01", "2994-06-30"]', "cube.time: 2994-06-01 is in the future (today is 2"),
        (
            TIME,
            'time = ["2015-01-01", "2015-06-22"]',
            "cube.time: 2015-06-22 is before 2015-06-23, when the first satellite of",
        ),
    ],
)
def test_a_wrong_key_or_value_is_named_with_the_cure(run, write_job, old: str, new: str, message: str) -> None:
    """File, table, key, what was given, and what would be right."""
    assert_refused(run("plan", write_job(old, new)), message)


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        ("[stor]\ntile_px = 512\n", "job.toml: stor: is not known (did you mean store?)"),
        ('units = "REFLECTANCES"', "layers.s2.units: 'REFLECTANCES' is not one of 'DN' or 'REFLECTANCE'"),
        (
            "max_cloud_cover = 60",
            "layers.s2.max_cloud_cover: 60 is more than the whole scene; it is a share from 0 to 1: write 0.6",
        ),
        ("max_cloud_cover = -0.1", "layers.s2.max_cloud_cover: -0.1 is below 0; it is a share from 0 to 1"),
        ('cadence = "weekly"', "layers.s2.cadence: 'weekly' is not understood; write mosaic, acquisition, day"),
        ('resampling = "cubic"', "layers.s2.resampling: 'cubic' is not one of 'nearest', 'bilinear' or 'bicubic'"),
        ('mosaicking_order = "best"', "layers.s2.mosaicking_order: 'best' is not one of"),
        (
            '[layers.time]\ncollection = "sentinel-2-l1c"\nbands = ["B02"]',
            "layers: 'time' is a name the cube itself uses; call the layer otherwise",
        ),
        ("[store]\ntile_px = 1000", "store: tile_px = 1000 is not a multiple of chunk_px = 512; use 512"),
        ("[store]\ntile_px = 3072", "store: tile_px = 3072 is more than the 2500 px of one request; make it smaller"),
        ("[store]\nchunk_px = 0", "store.chunk_px: should be greater than 0 (given: 0)"),
        ("[store]\nchunk_px = 51.5", "store.chunk_px: should be a valid integer"),
        (
            '[service]\ndeployment = "cdes"',
            "service.deployment: 'cdes' is not known (did you mean cdse?); choose services, ",
        ),
        (
            '[service]\nbase_url = "sh.example.com"\ntoken_url = "https://a.b/c"',
            "base_url: 'sh.example.com' is not a URL of the service; write it as https://host",
        ),
        (
            '[service]\nbase_url = "https://sh.example.com"',
            "but no token_url is set; set SH_TOKEN_URL (or token_url) too",
        ),
        (
            '[service]\nbase_url = "http://services.sentinel-hub.com"',
            "base_url: http://services.sentinel-hub.com is plain http: credentials would cross the network",
        ),
        (
            '[service]\nbase_url = "http://sh.example.com"\ntoken_url = "https://a.b/c"',
            "Use https, or name the host in SHDASK_ALLOW_HTTP",
        ),
        ("[service]\nrequests_per_minute = 0", "service.requests_per_minute: should be greater than 0 (given: 0)"),
        ("[service]\nrequests_per_minute = -5", "service.requests_per_minute: should be greater than 0 (given: -5)"),
        ("[service]\npu_per_minute = inf", "service.pu_per_minute: should be a finite number (given: inf)"),
        ("[service]\nmax_pu = -5", "service.max_pu: should be greater than 0 (given: -5)"),
        ("[service]\nmax_pu = nan", "service.max_pu: should be a finite number (given: nan)"),
        (
            '[service]\nclient_secret = "hidden"',
            "service.client_secret: is never read from a job; set SH_CLIENT_ID and SH_CLIENT_SECRET",
        ),
    ],
)
def test_a_wrong_option_is_named_with_the_cure(run, write_job, extra: str, message: str) -> None:
    """Of the layer, the store and the service."""
    assert_refused(run("plan", write_job(extra=extra)), message)


def test_all_problems_of_a_job_are_told_at_once(run, write_job) -> None:
    """Each in its own line, so that one need not run again for each."""
    code, _, err = run("plan", write_job(BANDS, 'bands = ["B99"]', extra="[store]\nchunk_px = 0\n"))
    assert code == 2
    assert re.search(r"layers\.s2\.bands: .*\n.*store\.chunk_px: ", err)


def test_a_secret_in_a_job_is_not_repeated(run, write_job) -> None:
    """An error may end in a log."""
    _, _, err = run("plan", write_job(extra='[service]\nclient_secret = "hidden"\n'))
    assert "hidden" not in err


def geojson(*corners: tuple[float, float]) -> str:
    return shapely.to_geojson(Polygon(corners))


def box(left: float, bottom: float, right: float, top: float) -> str:
    return shapely.to_geojson(shapely.box(left, bottom, right, top))


@pytest.mark.parametrize(
    ("area", "message"),
    [
        ("", "aoi: area.geojson is empty; give a GeoJSON or GeoPackage with a polygon"),
        ("{", "aoi: area.geojson cannot be read as a vector file"),
        ('{"type": "FeatureCollection", "features": []}', "aoi: area.geojson: it has no feature with a geometry"),
        (
            '{"type": "Point", "coordinates": [14, 46]}',
            "Point is no area; give polygons, or buffer the lines or points first",
        ),
        (
            '{"type": "LineString", "coordinates": [[14, 46], [15, 46]]}',
            "LineString is no area; give polygons, or buffer",
        ),
        (
            geojson(
                (14, 46),
                (14.2, 46),
                (14.2, 46.2),
                (14.1, 46.2),
                (14.1, 46.05),
                (14.15, 46.05),
                (14.15, 46.1),
                (14, 46.1),
            ),
            "aoi: the area is ambiguous: Self-intersection[14.1 46.1]",
        ),
        (
            '{"type": "Polygon", "coordinates": [[[14, 46], [14.1, NaN], [14.1, 46.1], [14, 46]]]}',
            "aoi: area.geojson: a coordinate is not a finite number; mend the geometry",
        ),
        (box(14, 95, 15, 96), "aoi: latitudes from 95 to 96 are no degrees; say with aoi_crs which CRS the area is in"),
        (box(500000, 5000000, 501000, 5001000), "are no degrees; say with aoi_crs which CRS the area is in"),
        (box(514, 46, 515, 47), "Check aoi_crs, and that coordinates are x, then y; else take EPSG:4326"),
        (
            geojson((0, 85), (90, 85), (180, 85), (-90, 85)),
            "goes around a pole, which no ring in degrees can; give the area in a polar CRS",
        ),
        (
            box(14.00001, 46.00001, 14.00002, 46.00002),
            "aoi: no pixel centre of the 1 x 1 px array lies in the area; set all_touched",
        ),
        (box(179.9, 46, 180.1, 46.1), "the UTM zone of its centre is EPSG:32601. Check aoi_crs"),
    ],
    ids=[
        "empty",
        "torn",
        "no-feature",
        "point",
        "line",
        "crossing",
        "nan",
        "latitude",
        "metres",
        "longitude",
        "pole",
        "no-pixel",
        "antimeridian",
    ],
)
def test_an_unusable_area_is_refused_with_the_cure(run, write_job, area: str, message: str) -> None:
    """What is wrong with it, where, and what to do."""
    assert_refused(run("plan", write_job(area=area)), message)


@pytest.fixture
def packages(work: Path) -> None:
    """A GeoPackage of one layer, and one of which only half was copied."""
    wkb = shapely.to_wkb([shapely.box(14, 46, 14.1, 46.1)])
    options = {"crs": "EPSG:4326", "geometry_type": "Polygon", "driver": "GPKG"}
    pyogrio.raw.write(work / "areas.gpkg", wkb, [np.array(["a"])], ["name"], layer="north", **options)
    whole = (work / "areas.gpkg").read_bytes()
    (work / "half.gpkg").write_bytes(whole[: len(whole) // 2])


@pytest.mark.parametrize(
    ("aoi", "message"),
    [
        (
            'aoi = "nothing.geojson"',
            "aoi: nothing.geojson does not exist; relative paths count from the job file's folder",
        ),
        ('aoi = "."', "aoi: . is a folder; name a vector file in it"),
        ('aoi = "job.toml"', "aoi: job.toml cannot be read as a vector file: 'job.toml' not recognized"),
        ('aoi = "half.gpkg"', "aoi: half.gpkg is damaged, or only part of it is here; copy it again"),
        ('aoi = "areas.gpkg"\naoi_layer = "nort"', "aoi_layer: areas.gpkg has no layer 'nort'; it has north"),
        ('aoi = "areas.gpkg"\naoi_where = "name = \'z\'"', "no feature matches aoi_where"),
        ('aoi = "areas.gpkg"\naoi_where = "nam = = 3"', "aoi_where: 'nam = = 3' does not choose from areas.gpkg"),
        ('aoi = "area.geojson"\naoi_crs = "WGS85"', "aoi_crs: 'WGS85' is not a CRS; write it as \"EPSG:4326\""),
        ('aoi = "area.geojson"\naoi_crs = "EPSG:32633"', "check aoi_crs and extent"),
        ("aoi = 5", "aoi: int is no area; give a path, a GeoJSON mapping, a shapely geometry or a bbox"),
        ("aoi = [1, 2, 3]", "aoi: [1, 2, 3] is not a bbox; give four numbers [left, bottom, right, top]"),
        (
            "aoi = [14, 47, 15, 46]",
            "aoi: [14, 47, 15, 46] is not [left, bottom, right, top] with left < right and bottom < top",
        ),
        ('aoi = "area.geojson"\nbuffer = -90000', "buffer = -90000 leaves nothing of the area; make it smaller"),
    ],
)
@pytest.mark.usefixtures("packages")
def test_an_area_that_is_not_there_is_refused_with_the_cure(run, write_job, aoi: str, message: str) -> None:
    """The file, its layer, its condition, its CRS."""
    assert_refused(run("plan", write_job(AOI, aoi)), message)


def test_swapped_coordinates_are_suspected(run, write_job) -> None:
    """An area far from where the CRS is used is planned, with a note that says what to check."""
    code, out, _ = run("plan", write_job(area=box(46, 14, 46.1, 14.1)))
    assert code == 0
    assert "Check aoi_crs, and that coordinates are x, then y" in " ".join(out.split())


def test_a_crossing_that_can_only_mean_one_area_is_mended_and_told(run, write_job) -> None:
    """A bow-tie: the note says where."""
    code, out, _ = run("plan", write_job(area=geojson((14, 46), (14.1, 46.1), (14.1, 46), (14, 46.1))))
    assert code == 0
    assert "Self-intersection" in out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["biuld"], "No such command 'biuld'"),
        (["build"], "Missing argument 'JOB'"),
        (["build", "job.toml"], "Missing argument 'STORE'"),
        (["plan"], "Missing argument 'JOB'"),
        (["build", "job.toml", "cube", "--workers", 0], "Invalid value for '--workers'"),
        (["build", "job.toml", "cube", "--workers", "many"], "Invalid value for '--workers'"),
        (["build", "job.toml", "cube", "--workers", 1, "--scheduler", "tcp://a:1"], "--workers is for a local cluster"),
        (
            ["build", "job.toml", "cube", "--scheduler", "nonsense"],
            "check the address, such as tcp://127.0.0.1:8786, or build",
        ),
        (["build", "job.toml", "cube", "--max-pu", -1], "Invalid value for '--max-pu'"),
        (["build", "job.toml", "cube", "--max-pu", "nan"], "Invalid value for '--max-pu'"),
        (["build", "job.toml", "cube", "--max-pu", "5PU"], "Invalid value for '--max-pu'"),
        (["build", "job.toml", "cube", "--wrokers", 3], "No such option"),
        (
            ["build", "job.toml", "cube", "--events", "nothing/here"],
            "--events nothing/here: No such file or directory; name a file",
        ),
        (["verify", "cube", "--job", "job.toml"], "--job is for --repair"),
        (["emulator", "--archive", "sentinel-2-l1c"], "expected COLLECTION=DIR with a folder that exists"),
        (["emulator", "--faults", "nonsense"], "--faults: "),
        (["emulator", "--port", "http"], "Invalid value for '--port'"),
    ],
    ids=lambda value: " ".join(map(str, value)) if isinstance(value, list) else "",
)
def test_a_wrong_word_is_named(run, write_job, monkeypatch, words: list[object], message: str) -> None:
    """In one line, before anything is sent or written."""
    monkeypatch.setenv("SH_CLIENT_ID", "id")
    monkeypatch.setenv("SH_CLIENT_SECRET", "secret")
    write_job()
    code, _, err = run(*words)
    assert code == 2, err
    assert message in " ".join(err.split())
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        (
            "SH_BASE_URL",
            "sh.example.com",
            "SH_BASE_URL: 'sh.example.com' is not a URL of the service; write it as https://host",
        ),
        (
            "SH_BASE_URL",
            "ftp://services.sentinel-hub.com",
            "SH_BASE_URL: 'ftp://services.sentinel-hub.com' is not a URL",
        ),
        ("SH_TOKEN_URL", "http://token.example.com/t", "SH_TOKEN_URL: http://token.example.com/t is plain http"),
        (
            "SH_TOKEN_URL",
            "https://me:hidden@token.example.com",
            "SH_TOKEN_URL: the URL of token.example.com holds a user name",
        ),
    ],
)
def test_a_wrong_environment_is_named(run, write_job, monkeypatch, variable: str, value: str, message: str) -> None:
    """By the variable, which wins over the job."""
    monkeypatch.setenv("SH_TOKEN_URL", "https://token.example.com")
    monkeypatch.setenv(variable, value)
    ended = run("plan", write_job())
    assert_refused(ended, message)
    assert "hidden" not in ended[2]
