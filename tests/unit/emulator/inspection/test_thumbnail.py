"""Small pictures of what was answered."""

from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from rasterio.io import MemoryFile

from shdask.emulator.inspection.thumbnail import make_thumbnail


def make_tiff(pixels: np.ndarray) -> bytes:
    """(band, y, x) as a TIFF."""
    count, height, width = pixels.shape
    with MemoryFile() as file:
        with file.open(driver="GTiff", count=count, height=height, width=width, dtype=pixels.dtype.name) as image:
            image.write(pixels)
        return file.read()


def read(png: bytes | None) -> np.ndarray:
    """The picture's pixels."""
    assert png is not None
    with Image.open(io.BytesIO(png)) as image:
        return np.asarray(image)


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
@pytest.mark.parametrize(("bands", "shape"), [(1, (96, 48)), (2, (96, 48)), (3, (96, 48, 3)), (5, (96, 48, 3))])
def test_three_bands_are_colours_and_fewer_are_grey(bands, shape):
    """The first three, or the first."""
    assert read(make_thumbnail(make_tiff(np.zeros((bands, 200, 100), np.uint8)), "image/tiff")).shape == shape


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_bytes_are_shown_as_they_are():
    """No stretch hides that a picture is dark."""
    assert np.unique(read(make_thumbnail(make_tiff(np.full((1, 9, 9), 7, np.uint8)), "image/tiff"))) == [7]


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
@pytest.mark.parametrize("dtype", [np.uint16, np.int16, np.float32])
def test_numbers_are_stretched(dtype):
    """From black to white, whatever their range."""
    ramp = np.arange(0, 10000, dtype=dtype).reshape(1, 100, 100)
    pixels = read(make_thumbnail(make_tiff(ramp), "image/tiff"))
    assert (pixels.min(), pixels.max()) == (0, 255)


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
@pytest.mark.parametrize("value", [np.nan, np.inf, 3.0])
def test_a_picture_of_one_value_is_drawn(value):
    """Even of none at all."""
    assert read(make_thumbnail(make_tiff(np.full((1, 4, 4), value, np.float32)), "image/tiff")).shape == (4, 4)


@given(st.binary(max_size=200), st.sampled_from(["image/tiff", "image/png", "image/jpeg", "application/x-tar", "a/b"]))
def test_what_is_no_picture_has_none(content, kind):
    """Any bytes are taken."""
    assert make_thumbnail(content, kind) is None


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
@given(st.data())
def test_a_garbled_picture_raises_nothing(data):
    """Whatever a fault did to it."""
    content = bytearray(make_tiff(np.ones((1, 8, 8), np.uint8)))
    place = data.draw(st.integers(0, len(content) - 1))
    content[place : place + 4] = data.draw(st.binary(min_size=0, max_size=4))
    picture = make_thumbnail(bytes(content), "image/tiff")
    assert picture is None or picture.startswith(b"\x89PNG")
