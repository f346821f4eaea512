"""Downloaded bytes give what sentinelhub-py makes of the same bytes, and cut ones give nothing."""

from __future__ import annotations

import io
import json
import tarfile
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from PIL import Image
from rasterio import Affine
from rasterio.io import MemoryFile

from shdask.sentinelhub.constants import MimeType
from shdask.sentinelhub.decoding import UNDECODABLE, decode_data
from shdask.sentinelhub.exceptions import ImageDecodingError

RNG = np.random.default_rng(7)


def pixels(dtype: str, *shape: int) -> Any:
    """Noise over the whole range of the type."""
    if np.dtype(dtype).kind == "f":
        return RNG.normal(size=shape).astype(dtype)
    return RNG.integers(np.iinfo(dtype).min, np.iinfo(dtype).max, shape, dtype, endpoint=True)


def tiff(values: Any, **profile: Any) -> bytes:
    """A placed TIFF of (y, x, band) values, its samples side by side as the service sends them."""
    bands = np.moveaxis(values, -1, 0)
    profile = {"interleave": "pixel", "crs": "EPSG:32633", "transform": Affine(10, 0, 5e5, 0, -10, 5e6), **profile}
    with MemoryFile() as file:
        with file.open(
            driver="GTiff",
            count=bands.shape[0],
            height=bands.shape[1],
            width=bands.shape[2],
            dtype=bands.dtype,
            **profile,
        ) as sink:
            sink.write(bands)
        return bytes(file.read())


def picture(values: Any, form: str) -> bytes:
    """A PNG or JPEG."""
    stream = io.BytesIO()
    Image.fromarray(values).save(stream, form)
    return stream.getvalue()


def tar(**members: bytes) -> bytes:
    """A tar of files with the given contents; ``default_tif`` is called ``default.tif``."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for name, content in members.items():
            member = tarfile.TarInfo(name.replace("_", "."))
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return stream.getvalue()


def their_decode(theirs: ModuleType, content: bytes, kind: MimeType) -> Any:
    return theirs.decoding.decode_data(content, theirs.MimeType(kind.value))


@pytest.mark.parametrize("compress", ["none", "deflate"])
@pytest.mark.parametrize("bands", [1, 2, 3, 4, 7])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "float32"])
def test_tiffs_give_equal_arrays(theirs: ModuleType, dtype: str, bands: int, compress: str):
    """The same type, shape and values, for any count of bands."""
    content = tiff(pixels(dtype, 20, 30, bands), compress=compress)
    found, expected = decode_data(content, MimeType.TIFF), their_decode(theirs, content, MimeType.TIFF)
    assert (found.dtype, found.shape) == (expected.dtype, expected.shape)
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("compress", ["lzw", "zstd"])
def test_tiffs_of_rarer_compressions_are_read(compress: str):
    """Those for which sentinelhub-py wants another package."""
    values = pixels("uint16", 20, 30, 3)
    np.testing.assert_array_equal(decode_data(tiff(values, compress=compress), MimeType.TIFF), values)


def test_a_tiff_of_separate_planes_still_has_bands_last():
    """(y, x, band), as promised, where sentinelhub-py turns it round."""
    values = pixels("uint16", 20, 30, 3)
    np.testing.assert_array_equal(decode_data(tiff(values, interleave="band"), MimeType.TIFF), values)


@pytest.mark.parametrize("bands", [(), (3,), (4,)])
def test_pngs_give_equal_arrays(theirs: ModuleType, bands: tuple[int, ...]):
    """Grey, colour, and colour with transparency."""
    values = pixels("uint8", 20, 30, *bands)
    content = picture(values, "PNG")
    np.testing.assert_array_equal(decode_data(content, MimeType.PNG), values)
    np.testing.assert_array_equal(their_decode(theirs, content, MimeType.PNG), values)


def test_deep_grey_pngs_keep_their_type(theirs: ModuleType):
    """16 bit stay 16 bit."""
    values = pixels("uint16", 20, 30)
    found = decode_data(picture(values, "PNG"), MimeType.PNG)
    assert found.dtype == their_decode(theirs, picture(values, "PNG"), MimeType.PNG).dtype == np.uint16
    np.testing.assert_array_equal(found, values)


@pytest.mark.parametrize("bands", [(), (3,)])
def test_jpegs_give_equal_arrays(theirs: ModuleType, bands: tuple[int, ...]):
    """To the last bit, although the format is lossy."""
    content = picture(pixels("uint8", 40, 50, *bands), "JPEG")
    expected = their_decode(theirs, content, MimeType.JPG)
    np.testing.assert_array_equal(decode_data(content, MimeType.JPG), expected)


@pytest.mark.parametrize("content", [b"", b'{"a": [1, 2.5, null]}', b"[]", '"\u017e"'.encode()])
def test_json_gives_equal_objects(theirs: ModuleType, content: bytes):
    """An empty answer is an empty text, as there."""
    assert decode_data(content, MimeType.JSON) == their_decode(theirs, content, MimeType.JSON)


def test_a_tar_gives_equal_members(theirs: ModuleType):
    """A dict of file name to what that member holds."""
    content = tar(
        default_tif=tiff(pixels("float32", 5, 6, 2)),
        mask_png=picture(pixels("uint8", 5, 6), "PNG"),
        userdata_json=json.dumps({"scenes": 3}).encode(),
    )
    found, expected = decode_data(content, MimeType.TAR), their_decode(theirs, content, MimeType.TAR)
    assert list(found) == list(expected) == ["default.tif", "mask.png", "userdata.json"]
    np.testing.assert_array_equal(found["default.tif"], expected["default.tif"])
    np.testing.assert_array_equal(found["mask.png"], expected["mask.png"])
    assert found["userdata.json"] == {"scenes": 3}


def test_raw_bytes_stay_bytes():
    """What has no format is not touched."""
    assert decode_data(b"\0\1", MimeType.RAW) == b"\0\1"


def test_a_zip_is_a_stream():
    """As sentinelhub-py hands it out."""
    assert decode_data(b"PK", MimeType.ZIP).read() == b"PK"


def test_another_format_is_refused():
    """Those no process request can give."""
    with pytest.raises(ValueError, match="not supported"):
        decode_data(b"", MimeType.HDF)


NOISE = pixels("uint8", 200, 300, 3)
WHOLE = {
    MimeType.TIFF: tiff(NOISE),
    MimeType.PNG: picture(NOISE, "PNG"),
    MimeType.JPG: picture(NOISE, "JPEG"),
    MimeType.JSON: json.dumps(list(range(1000))).encode(),
    MimeType.TAR: tar(default_tif=tiff(NOISE)),
}


@pytest.mark.parametrize("share", [0.01, 0.3, 0.6, 0.9])
@pytest.mark.parametrize("kind", WHOLE, ids=str)
def test_a_cut_answer_is_never_taken_for_a_whole_one(kind: MimeType, share: float):
    """Wherever it ends, it raises, and never gives part of a picture."""
    content = WHOLE[kind]
    with pytest.raises(UNDECODABLE):
        decode_data(content[: int(share * len(content))], kind)


@pytest.mark.parametrize("kind", [MimeType.TIFF, MimeType.PNG, MimeType.JPG], ids=str)
@pytest.mark.parametrize("content", [b"", b"<html>", b"II*\0"])
def test_what_is_no_picture_is_an_image_decoding_error(kind: MimeType, content: bytes):
    """By sentinelhub-py's name."""
    with pytest.raises(ImageDecodingError):
        decode_data(content, kind)
