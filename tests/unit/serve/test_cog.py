"""COGs of small cubes, held against rio-cogeo, rasterio and the cube itself."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio.enums import MaskFlags
from rasterio.errors import RasterioIOError
from rio_cogeo.cogeo import cog_validate
from shapely import Polygon

from shdask.assemble.store import create_or_open
from shdask.errors import PlanError, StoreUnavailable, WrongStore
from shdask.inputs import AreaOfInterest
from shdask.plan.group import GroupPlan
from shdask.plan.placing import make_group
from shdask.plan.spec import CubeSpec
from shdask.serve import cog
from shdask.serve.cog import export_cog
from shdask.serve.open import open_cube
from shdask.settings import DEPLOYMENTS
from tests.cluster.specs import earth_spec
from tests.unit.assemble.conftest import L_SHAPE, Pixels, small_plan

from .timed import disordered_plan, fill, timed_plan

# affine 3 deprecates what rioxarray 0.19 and rasterio 1.4 still write.
pytestmark = pytest.mark.filterwarnings("ignore:Use `@` matmul:PendingDeprecationWarning")


def write(plan: GroupPlan, path: Path) -> Path:
    cube, pixels = create_or_open(plan, path), Pixels.random(plan)
    for tile in plan.tiles():
        cube.write_tile(tile, pixels.of(tile))
    cube.mark_complete(pu_spent=1.0)
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cog")


@pytest.fixture(scope="module")
def integers(folder: Path) -> Path:
    """B04 and SCL as the service has them."""
    return write(small_plan(), folder / "integers.zarr")


@pytest.fixture(scope="module")
def floats(folder: Path) -> Path:
    """B04 as reflectance, and SCL."""
    return write(small_plan(units="REFLECTANCE"), folder / "floats.zarr")


@pytest.fixture(scope="module")
def series(folder: Path) -> Path:
    """Three dates."""
    return fill(timed_plan(), folder / "series.zarr").place.path


@pytest.fixture(scope="module")
def wide(folder: Path) -> Path:
    """800 x 700 px, so that there is an overview."""
    spec = CubeSpec(
        aoi=L_SHAPE,
        crs="EPSG:32633",
        resolution=1,
        time=(date(2024, 6, 1), date(2024, 6, 30)),
        layers={"s2": {"collection": "sentinel-2-l2a", "bands": ("B04", "SCL")}},
        store={"chunk_px": 256, "tile_px": 512},
    )
    area = AreaOfInterest(geometry=Polygon(L_SHAPE), crs="EPSG:32633")
    return write(make_group(spec, area=area, like=None, deployment=DEPLOYMENTS["services"]), folder / "wide.zarr")


# what a file holds


@pytest.mark.parametrize("words", [{}, {"bands": ["SCL"]}, {"bands": ["B04"]}, {"compress": "lzw"}, {"nodata": 65535}])
def test_rio_cogeo_finds_nothing_wrong(integers: Path, tmp_path: Path, words: dict[str, object]):
    """No error and no warning, strictly."""
    (made,) = export_cog(integers, tmp_path / "out.tif", **words)
    assert cog_validate(made.path, strict=True) == (True, [], [])


def test_pixels_are_those_of_the_cube(wide: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """All of them, whatever is read at once; the mask is the cube's data_mask."""
    monkeypatch.setattr(cog, "_AT_ONCE_PX", 512)
    export_cog(wide, tmp_path / "out.tif")
    cube = open_cube(wide)
    with rasterio.open(tmp_path / "out.tif") as made:
        np.testing.assert_array_equal(made.read(1), cube["B04"])
        np.testing.assert_array_equal(made.read(2), cube["SCL"])
        np.testing.assert_array_equal(made.dataset_mask() == 255, cube["data_mask"] == 1)


def test_it_lies_where_the_cube_does(integers: Path, tmp_path: Path):
    """CRS, transform, bounds."""
    export_cog(integers, tmp_path / "out.tif")
    with rasterio.open(tmp_path / "out.tif") as made:
        assert made.crs == "EPSG:32633"
        assert tuple(made.bounds) == (500000.0, 4999300.0, 500800.0, 5000000.0)


def test_overviews_are_inside(wide: Path, tmp_path: Path):
    """Of the pixels and of the mask; rio-cogeo asks for them in a file that is wider than a block."""
    (made,) = export_cog(wide, tmp_path / "out.tif")
    assert cog_validate(made.path, strict=True) == (True, [], [])
    with rasterio.open(made.path) as file:
        assert file.overviews(1) == [2]
        assert (file.read_masks(1, out_shape=(350, 400)) == 0).any()


@pytest.mark.parametrize(("bands", "may_mix"), [(["B04"], True), (["SCL"], False), (["B04", "SCL"], False)])
def test_classes_are_not_averaged_in_overviews(wide: Path, tmp_path: Path, bands: list[str], may_mix: bool):
    """Only a file of measurements alone is: a mean of random numbers is less spread than they are."""
    export_cog(wide, tmp_path / "out.tif", bands=bands)
    with rasterio.open(tmp_path / "out.tif") as whole, rasterio.open(tmp_path / "out.tif", overview_level=0) as coarse:
        number = len(bands)
        fine, rough = (each.read(number)[each.read_masks(number) == 255].std() for each in (whole, coarse))
    assert (rough < 0.6 * fine) == may_mix


def test_integers_get_a_mask_band(integers: Path, tmp_path: Path):
    """0 may be a value, so that no number stands for no data."""
    (made,) = export_cog(integers, tmp_path / "out.tif")
    with rasterio.open(made.path) as file:
        assert (file.nodata, made.nodata) == (None, None)
        assert file.mask_flag_enums[0] == [MaskFlags.per_dataset]


def test_floats_get_nan(floats: Path, tmp_path: Path):
    """As in the cube; codes beside them become floats too."""
    (made,) = export_cog(floats, tmp_path / "out.tif")
    with rasterio.open(made.path) as file:
        assert file.dtypes == ("float32", "float32")
        assert np.isnan(file.nodata)
        np.testing.assert_array_equal(np.isnan(file.read(2)), open_cube(floats)["data_mask"] == 0)


def test_a_number_can_stand_for_no_data(integers: Path, tmp_path: Path):
    """Then there is no mask band."""
    export_cog(integers, tmp_path / "out.tif", bands=["B04"], nodata=65535)
    with rasterio.open(tmp_path / "out.tif") as file:
        assert file.nodata == 65535
        np.testing.assert_array_equal(file.read(1) == 65535, open_cube(integers)["data_mask"] == 0)


def test_tags_tell_bands_units_and_date(floats: Path, series: Path, tmp_path: Path):
    """What the cube knows of them."""
    export_cog(floats, tmp_path / "floats.tif")
    export_cog(series, tmp_path / "dated.tif", time=("2024-06-02", "2024-06-02"))
    with rasterio.open(tmp_path / "floats.tif") as file:
        assert (file.descriptions, file.units) == (("B04", "SCL"), ("1", None))
        assert file.tags()["TIME_START"] == "2024-06-01T00:00:00+00:00"
    with rasterio.open(tmp_path / "dated.tif") as file:
        tags = file.tags()
    assert (tags["TIFFTAG_DATETIME"], tags["SCENE_IDS"], tags["LAYER"]) == ("2024:06:02 10:11:12", "S2A_0", "s2")


# which files


def test_each_date_gets_a_file(series: Path, tmp_path: Path):
    """Named by its day, in the order of time."""
    made = export_cog(series, tmp_path / "out.tif", bands=["B04"])
    assert [Path(one.path).name for one in made] == ["out_2024-06-02.tif", "out_2024-06-05.tif", "out_2024-06-09.tif"]
    assert [one.time for one in made] == ["2024-06-02T10:11:12Z", "2024-06-05T00:00:00Z", "2024-06-09T23:59:59Z"]
    assert [rasterio.open(one.path).read(1).max() for one in made] == [1, 2, 3]


def test_a_date_that_was_bought_again_gets_a_file_of_its_own(tmp_path: Path):
    """With its revision."""
    store = fill(disordered_plan(), tmp_path / "cube.zarr").place.path
    made = export_cog(store, tmp_path / "out.tif", time=("2024-06-05", "2024-06-05"), bands=["B04"])
    assert [Path(one.path).stem for one in made] == ["out_2024-06-05T000000_r0", "out_2024-06-05T000000_r1"]


def test_a_bbox_cuts(integers: Path, tmp_path: Path):
    """To the pixels whose centre lies in it."""
    (made,) = export_cog(integers, tmp_path / "out.tif", bbox=(500100, 4999400, 500300, 4999500))
    assert (made.shape, made.transform) == ((10, 20), (10.0, 0.0, 500100.0, 0.0, -10.0, 4999500.0))
    with rasterio.open(made.path) as file:
        np.testing.assert_array_equal(file.read(1), open_cube(integers)["B04"][50:60, 10:30])


def test_progress_is_told(series: Path, tmp_path: Path):
    """Over all files."""
    heard: list[tuple[int, int]] = []
    export_cog(series, tmp_path / "out.tif", on_progress=lambda done, blocks: heard.append((done, blocks)))
    assert heard == [(1, 3), (2, 3), (3, 3)]


def test_nothing_is_left_beside_the_file(integers: Path, tmp_path: Path):
    """Neither when it is written nor when that fails."""
    export_cog(integers, tmp_path / "out.tif")
    with pytest.raises(PlanError):
        export_cog(integers, tmp_path / "other.tif", bands=["SCL"], nodata=3)
    assert [path.name for path in tmp_path.iterdir()] == ["out.tif"]


# refusals


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ({"bands": ["B02"]}, "bands: there is no 'B02'; give some of B04, SCL"),
        ({"nodata": -1}, "nodata = -1 does not fit uint16, the type of B04, SCL"),
        ({"nodata": float("nan")}, "nodata = nan does not fit uint16"),
        ({"bands": ["SCL"], "nodata": 3}, "nodata = 3 is also the value of valid pixels of SCL"),
        ({"compress": "JPEG"}, "compress = 'JPEG' is not known; choose NONE, LZW, DEFLATE"),
    ],
)
def test_what_cannot_be_is_refused(integers: Path, tmp_path: Path, words: dict[str, object], said: str):
    """With what can be."""
    with pytest.raises(PlanError, match=said):
        export_cog(integers, tmp_path / "out.tif", **words)


def test_a_folder_in_its_place_is_refused_before_anything_is_read(integers: Path, tmp_path: Path):
    """And left as it is."""
    heard: list[int] = []
    with pytest.raises(StoreUnavailable, match="is a folder; choose another file"):
        export_cog(integers, tmp_path, on_progress=lambda done, _: heard.append(done))
    assert heard == []


def test_a_write_that_fails_is_told_by_its_cause(integers: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """As of a full disk, of which rasterio only says that it failed; what stood there stands."""

    def fail(*_: object, **__: object) -> None:
        raise RasterioIOError("Write failed. See previous exception for details.") from OSError(28, "disk full")

    monkeypatch.setattr("rasterio.shutil.copy", fail)
    (tmp_path / "out.tif").write_text("before")
    with pytest.raises(StoreUnavailable, match=r"out\.tif: disk full; make room there"):
        export_cog(integers, tmp_path / "out.tif", bands="B04")
    assert [path.read_text() for path in tmp_path.iterdir()] == ["before"]


def test_a_place_that_cannot_be_written_is_named(integers: Path, tmp_path: Path):
    """With the cure."""
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreUnavailable, match=r"file/out\.tif: .*choose another file"):
        export_cog(integers, tmp_path / "file" / "out.tif")


def test_a_day_without_data_is_refused(series: Path, tmp_path: Path):
    """As `open_cube` does."""
    with pytest.raises(WrongStore, match="no date of the cube lies in time"):
        export_cog(series, tmp_path / "out.tif", time=("2024-06-03", "2024-06-04"))


def test_a_job_is_not_bought_to_be_exported(tmp_path: Path):
    """Pixels that are not there yet cost money, which no export asks for."""
    with pytest.raises(WrongStore, match="is a job"):
        export_cog(earth_spec(), tmp_path / "out.tif")  # type: ignore[arg-type]  # what a user may give
