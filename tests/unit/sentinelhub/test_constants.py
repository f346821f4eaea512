"""The words of a request are sentinelhub-py's."""

from __future__ import annotations

from types import ModuleType

import pytest

from shdask.sentinelhub.constants import MimeType, MosaickingOrder, RequestType, ResamplingType

WITH_MEDIA_TYPE = ["TIFF", "PNG", "JPG", "JP2", "JSON", "CSV", "ZIP", "HDF", "XML", "TXT", "TAR", "RAW"]


@pytest.mark.parametrize("words", [MimeType, MosaickingOrder, RequestType, ResamplingType])
def test_members_are_those_of_sentinelhub_py(words: type, theirs: ModuleType) -> None:
    """Names, values and order are equal."""
    other = getattr(theirs.constants, words.__name__)
    assert [(one.name, one.value) for one in words] == [(one.name, one.value) for one in other]


@pytest.mark.parametrize("name", WITH_MEDIA_TYPE)
def test_media_types_are_those_of_sentinelhub_py(name: str, theirs: ModuleType) -> None:
    """A format is named on the wire, and read from there, as sentinelhub-py does."""
    ours, other = MimeType[name], theirs.MimeType[name]
    assert (ours.get_string(), ours.is_image_format(), ours.is_api_format(), ours.extension) == (
        other.get_string(),
        other.is_image_format(),
        other.is_api_format(),
        other.extension,
    )
    assert MimeType.from_string(ours.get_string()) is ours


@pytest.mark.parametrize("text", ["tif", "tiff", "jpeg", "image/jpeg", "h5", "hdf5", "application/x-tar", "image/jp2"])
def test_spellings_are_read_alike(text: str, theirs: ModuleType) -> None:
    """Extensions and media types mean what they mean to sentinelhub-py."""
    assert MimeType.from_string(text).value == theirs.MimeType.from_string(text).value


@pytest.mark.parametrize("text", ["", "bmp", "image/unknown", "application/octet-stream"])
def test_unknown_formats_are_refused(text: str) -> None:
    """What is not in the list is a ValueError that names it."""
    with pytest.raises(ValueError, match="is not supported"):
        MimeType.from_string(text)


@pytest.mark.parametrize(("name", "white"), [("TIFF", 65535), ("PNG", 255), ("JPG", 255), ("JP2", 10000)])
def test_white_is_known_of_pictures(name: str, white: int) -> None:
    """A picture's format says its largest value."""
    assert MimeType[name].get_expected_max_value() == white


@pytest.mark.parametrize("question", [MimeType.get_expected_max_value, MimeType.get_string])
def test_what_a_format_has_not_is_refused(question: object) -> None:
    """SAFE is a folder: no pixels, no media type."""
    with pytest.raises(ValueError, match=r"SAFE (holds no pixels|has no media type)"):
        question(MimeType.SAFE)


@pytest.mark.parametrize("text", ["bicubic", "BICUBIC", "BiCubic"])
def test_resamplings_are_read_in_any_case(text: str) -> None:
    """The case of a resampling's name does not matter."""
    assert ResamplingType(text) is ResamplingType.BICUBIC
