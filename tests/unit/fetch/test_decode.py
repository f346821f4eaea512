"""Bytes become a picture that was checked, or a DecodeError; never half a picture, never zeros for what is missing."""

from __future__ import annotations

import io
import tarfile
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from rasterio.crs import CRS
from rasterio.io import MemoryFile
from rasterio.transform import Affine, from_bounds

from shdask.errors import DecodeError
from shdask.fetch.decode import decode_tar, decode_tiff

BOUNDS = (500000.0, 5100000.0, 501940.0, 5101660.0)
SHAPE = (83, 97)
ASKED = {"shape": SHAPE, "band_count": 3, "dtype": "uint16", "bounds": BOUNDS, "epsg": 32633}
PICTURE = np.random.default_rng(7).integers(1, 10_000, (3, *SHAPE)).astype("uint16")

LAYOUTS: dict[str, dict[str, Any]] = {
    "plain": {},
    "plain-band": {"interleave": "band"},
    "plain-tiled": {"tiled": True, "blockxsize": 16, "blockysize": 16},
    "deflate": {"compress": "deflate"},
    "deflate-predictor": {"compress": "deflate", "predictor": 2},
    "deflate-bigtiff": {"compress": "deflate", "BIGTIFF": "YES"},
    "lzw": {"compress": "lzw"},
    "packbits": {"compress": "packbits", "interleave": "band"},
    "zstd-tiled": {"compress": "zstd", "tiled": True, "blockxsize": 16, "blockysize": 16},
}


def make_tiff(picture: NDArray[Any] = PICTURE, *, driver: str = "GTiff", **options: Any) -> bytes:
    """A GeoTIFF written by rasterio, placed at BOUNDS unless told otherwise."""
    count, height, width = picture.shape
    place = {"crs": "EPSG:32633", "transform": from_bounds(*BOUNDS, width, height)}
    size = {"width": width, "height": height, "count": count, "dtype": picture.dtype}
    with MemoryFile() as file:
        with file.open(driver=driver, **size, **(place | options)) as target:
            target.write(picture)
        return bytes(file.getbuffer())


TIFFS = {name: make_tiff(**options) for name, options in LAYOUTS.items()}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_picture_is_decoded_whatever_its_layout(layout: str):
    """Strips or tiles, compressed or not, pixel by pixel or band by band: the same array (band, y, x)."""
    decoded = decode_tiff(TIFFS[layout], **ASKED)
    assert decoded.dtype == np.uint16
    np.testing.assert_array_equal(decoded, PICTURE)


@pytest.mark.parametrize("dtype", ["uint8", "int8", "uint16", "int16", "float32"])
def test_every_sample_type_is_decoded(dtype: str):
    """NaN included."""
    picture = (PICTURE % 100).astype(dtype)
    decoded = decode_tiff(make_tiff(picture), **{**ASKED, "dtype": dtype})
    np.testing.assert_array_equal(decoded, picture)
    assert decoded.dtype == dtype


@pytest.mark.parametrize("layout", LAYOUTS)
@given(share=st.floats(0, 1, exclude_max=True))
@settings(max_examples=60)
def test_a_truncated_picture_is_never_read(layout: str, share: float):
    """Cut anywhere, down to the last byte: an error, and not zeros where the rest should be."""
    body = TIFFS[layout]
    with pytest.raises(DecodeError):
        decode_tiff(body[: int(share * len(body))], **ASKED)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_picture_without_its_last_pixel_is_never_read(layout: str):
    """The smallest cut of all."""
    with pytest.raises(DecodeError):
        decode_tiff(TIFFS[layout][:-2], **ASKED)


@given(st.binary(max_size=2000))
def test_no_body_is_too_strange_to_be_refused(body: bytes):
    """Whatever comes is a DecodeError and no crash."""
    with pytest.raises(DecodeError):
        decode_tiff(body, **ASKED)


@given(position=st.integers(0, 400), value=st.integers(0, 255))
@settings(max_examples=200, suppress_health_check=[HealthCheck.filter_too_much])
def test_a_damaged_head_gives_a_picture_of_the_asked_kind_or_an_error(position: int, value: int):
    """A wrong byte in the directory can never give another size or type."""
    body = bytearray(TIFFS["deflate"])
    body[position] = value
    assert _kind_of(bytes(body)) in {(3, *SHAPE, "uint16"), "DecodeError"}


def _kind_of(body: bytes) -> object:
    try:
        decoded = decode_tiff(body, **ASKED)
    except DecodeError as error:
        return type(error).__name__
    return (*decoded.shape, str(decoded.dtype))


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "the answer is empty"),
        (b"<html><body>Maintenance</body></html>", "37 bytes of HTML or XML beginning b'<html><body>"),
        (b'{"error": {"status": 500}}', "26 bytes of JSON beginning"),
        (b"\x89PNG\r\n\x1a\n" + bytes(50), "58 bytes beginning b'.x89PNG"),
        (TIFFS["deflate"][:100], "a TIFF of 100 bytes, truncated or damaged"),
        (b"<VRTDataset rasterXSize='97' rasterYSize='83'/>", "HTML or XML"),
    ],
)
def test_what_came_instead_is_said(body: bytes, words: str):
    """Enough to know what to look for, and never more than the first bytes."""
    with pytest.raises(DecodeError, match=words):
        decode_tiff(body, **ASKED)


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_a_picture_in_another_format_is_refused():
    """A PNG of the right size and type: it could not say where it lies."""
    with pytest.raises(DecodeError, match=r"beginning b'.x89PNG"):
        decode_tiff(make_tiff(driver="PNG"), **ASKED)


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"shape": (97, 83)}, r"83 x 97 \(y, x\) pixels, asked for were \(97, 83\)"),
        ({"band_count": 4}, "has 3 bands, asked for were 4"),
        ({"dtype": "float32"}, "samples are uint16, asked for was float32"),
        ({"epsg": 32634}, "is in EPSG:32633, asked for was EPSG:32634"),
        ({"bounds": (500020.0, 5100000.0, 501960.0, 5101660.0)}, "misplaced"),
        ({"bounds": (500000.0, 5100020.0, 501940.0, 5101680.0)}, "misplaced"),
        ({"bounds": (500000.0, 5100000.0, 501941.0, 5101660.0)}, "misplaced"),
    ],
)
def test_another_picture_than_the_one_asked_for_is_refused(asked: dict[str, Any], words: str):
    """Size, bands, type, CRS and place are checked before anyone sees a pixel."""
    with pytest.raises(DecodeError, match=words):
        decode_tiff(TIFFS["deflate"], **{**ASKED, **asked})


@pytest.mark.parametrize(("off_px", "accepted"), [(0.0009, True), (0.0011, False), (-0.0011, False), (0.5, False)])
@pytest.mark.parametrize("axis", ["x", "y"])
def test_a_picture_may_be_off_by_a_thousandth_of_a_pixel(off_px: float, accepted: bool, axis: str):
    """Rounding on the way is forgiven, half a pixel never."""
    x, y = 500000.0 + 20 * off_px * (axis == "x"), 5101660.0 - 20 * off_px * (axis == "y")
    body = make_tiff(transform=Affine(20, 0, x, 0, -20, y))
    assert (_kind_of(body) != "DecodeError") is accepted


@pytest.mark.parametrize(
    "turned",
    [Affine(20, 0.1, 500000, 0.1, -20, 5101660), Affine(20, 0, 500000, 0, 20, 5100000)],
    ids=["rotated", "south-up"],
)
def test_a_turned_picture_is_refused(turned: Affine):
    """The array's rows must run from north to south."""
    with pytest.raises(DecodeError, match="misplaced"):
        decode_tiff(make_tiff(transform=turned), **ASKED)


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_a_picture_that_does_not_say_where_it_lies_is_taken():
    """Its size and bands are checked all the same."""
    decoded = decode_tiff(make_tiff(crs=None, transform=None), **ASKED)
    np.testing.assert_array_equal(decoded, PICTURE)


def test_where_warnings_are_errors_a_missing_place_is_one_of_ours():
    """And not a warning that ends the program."""
    with warnings.catch_warnings(action="ignore"):
        body = make_tiff(crs=None, transform=None)
    with pytest.raises(DecodeError, match="no geotransform"):
        decode_tiff(body, **ASKED)


def test_a_crs_spelled_in_an_unknown_way_is_taken():
    """Only a CRS that is surely another one is refused; the place is checked in any case."""
    unknown = CRS.from_proj4("+proj=tmerc +lat_0=0 +lon_0=15 +k=0.9996 +x_0=500000 +y_0=0 +R=6370997 +units=m")
    np.testing.assert_array_equal(decode_tiff(make_tiff(crs=unknown), **ASKED), PICTURE)


def test_a_picture_in_degrees_is_checked_in_degrees():
    """Here x is longitude, as the service sends it for 4326."""
    bounds = (14.0, 46.0, 14.0097, 46.0083)
    body = make_tiff(crs="EPSG:4326", transform=from_bounds(*bounds, 97, 83))
    np.testing.assert_array_equal(decode_tiff(body, **{**ASKED, "bounds": bounds, "epsg": 4326}), PICTURE)


BYTES = (PICTURE[:1] % 100).astype("uint8")
OUTPUTS = {"default": (3, "uint16"), "classes": (1, "uint8")}
TAR_ASKED: dict[str, Any] = {"shape": SHAPE, "outputs": OUTPUTS, "bounds": BOUNDS, "epsg": 32633}


def make_tar(members: Sequence[tuple[str, bytes]], **headers: str) -> bytes:
    """A tar of these files, as the service packs several outputs; ``headers`` are written before each."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            info.pax_headers = {key.replace("_", "."): value for key, value in headers.items()}
            tar.addfile(info, io.BytesIO(content))
    return file.getvalue()


MEMBERS = [("default.tif", TIFFS["deflate"]), ("classes.tif", make_tiff(BYTES)), ("userdata.json", b"{}")]
TAR = make_tar(MEMBERS)


def test_a_tar_is_decoded_output_by_output():
    """By id, each of its own type; what was not asked for is left alone."""
    pictures = decode_tar(TAR, **TAR_ASKED)
    assert list(pictures) == ["default", "classes"]
    np.testing.assert_array_equal(pictures["default"], PICTURE)
    np.testing.assert_array_equal(pictures["classes"], BYTES)


def test_members_may_be_written_in_other_ways():
    """In another order, below a dot, or with the long ending."""
    members = [("./classes.tiff", MEMBERS[1][1]), MEMBERS[0]]
    np.testing.assert_array_equal(decode_tar(make_tar(members), **TAR_ASKED)["classes"], BYTES)


@pytest.mark.parametrize(
    ("members", "words"),
    [
        (MEMBERS[:1], "the tar has 0 pictures of output 'classes'"),
        ([*MEMBERS, MEMBERS[1]], "the tar has classes.tif twice"),
        ([*MEMBERS, ("classes.tiff", b"")], "the tar has 2 pictures of output 'classes'"),
        ([MEMBERS[0], ("classes.tif", TIFFS["plain"])], "output 'classes': the picture has 3 bands"),
        ([MEMBERS[0], ("classes.tif", b"{}")], "output 'classes': the answer is no readable TIFF"),
        ([], "the tar has 0 pictures of output 'default'"),
    ],
)
def test_a_tar_that_is_not_what_was_asked_for_is_refused(members: list[tuple[str, bytes]], words: str):
    """And the output is named."""
    with pytest.raises(DecodeError, match=words):
        decode_tar(make_tar(members), **TAR_ASKED)


@pytest.mark.parametrize(
    ("body", "words"), [(b"", "the answer is empty"), (b"<html></html>", "no readable tar: 13 bytes of HTML")]
)
def test_what_is_no_tar_is_refused(body: bytes, words: str):
    """Saying what came instead."""
    with pytest.raises(DecodeError, match=words):
        decode_tar(body, **TAR_ASKED)


@pytest.mark.parametrize(
    ("headers", "words"),
    [
        ({"GNU_sparse_map": "a,b"}, "no readable tar"),
        ({"GNU_sparse_map": "0,1000000000000", "GNU_sparse_size": "1000000000000"}, "is no file of it"),
        ({"size": f"1{'0' * 30}"}, "no readable tar|is no file of it"),
        ({"size": "-5"}, "no file of it"),
    ],
)
def test_a_tar_with_wild_headers_is_refused(headers: dict[str, str], words: str):
    """Sizes that are no numbers, below zero, or larger than any memory."""
    with pytest.raises(DecodeError, match=words):
        decode_tar(make_tar(MEMBERS, **headers), **TAR_ASKED)


@given(share=st.floats(0, 1, exclude_max=True))
def test_a_truncated_tar_never_lacks_a_pixel(share: float):
    """Cut anywhere before the end of the last picture: an error."""
    end = TAR.index(b"classes.tif") + tarfile.BLOCKSIZE + len(MEMBERS[1][1])
    with pytest.raises(DecodeError):
        decode_tar(TAR[: int(share * end)], **TAR_ASKED)


@given(st.binary(max_size=2000))
def test_no_body_is_too_strange_for_a_tar(body: bytes):
    """Whatever comes is a DecodeError and no crash."""
    with pytest.raises(DecodeError):
        decode_tar(body, **TAR_ASKED)


@given(position=st.integers(0, 511), value=st.integers(0, 255), member=st.sampled_from([0, 1]))
@settings(max_examples=200)
def test_a_damaged_header_gives_the_pictures_or_an_error(position: int, value: int, member: int):
    """Never another error, and never other pixels."""
    body = bytearray(TAR)
    body[TAR.index(MEMBERS[member][0].encode()) + position] = value
    np.testing.assert_array_equal(_classes_of(bytes(body)), BYTES)


def _classes_of(body: bytes) -> NDArray[np.generic]:
    """The second picture of a damaged tar, or what it should be where the tar is refused."""
    try:
        return decode_tar(body, **TAR_ASKED)["classes"]
    except DecodeError:
        return BYTES
