"""The closed lists of words in a request: file formats, mosaicking orders, resamplings, HTTP verbs.

Refuses to know where any of them is written in the service's JSON.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from types import MappingProxyType


class ResamplingType(Enum):
    """How the service interpolates pixels; ``ResamplingType("bicubic")`` reads any case."""

    NEAREST = "NEAREST"
    BILINEAR = "BILINEAR"
    BICUBIC = "BICUBIC"

    @classmethod
    def _missing_(cls, value: object) -> ResamplingType | None:
        return cls.__members__.get(value.upper()) if isinstance(value, str) else None


class MosaickingOrder(Enum):
    """Which of several scenes lies on top."""

    MOST_RECENT = "mostRecent"
    LEAST_RECENT = "leastRecent"
    LEAST_CC = "leastCC"


class RequestType(Enum):
    """The verb of an HTTP request."""

    GET = "GET"
    POST = "POST"
    DELETE = "DELETE"
    PUT = "PUT"
    PATCH = "PATCH"


class MimeType(Enum):
    """A file format; the value is its extension. The Process API gives TIFF, PNG, JPG, JSON, or a TAR of several."""

    TIFF = "tiff"
    PNG = "png"
    JPG = "jpg"
    JP2 = "jp2"
    JSON = "json"
    CSV = "csv"
    ZIP = "zip"
    HDF = "hdf"
    XML = "xml"
    GML = "gml"
    TXT = "txt"
    TAR = "tar"
    RAW = "raw"
    SAFE = "safe"
    PICKLE = "pkl"
    NPY = "npy"
    GPKG = "gpkg"
    GEOJSON = "geojson"
    GZIP = "gz"

    @property
    def extension(self) -> str:
        """The file extension, without its dot. Pure."""
        return self.value

    @classmethod
    def has_value(cls, value: str) -> bool:
        """Whether a format has ``value`` for its extension. Pure."""
        return value in _EXTENSIONS

    @staticmethod
    def from_string(mime_type_str: str) -> MimeType:
        """The format with this extension (``"tif"``) or media type (``"image/tiff"``). Pure.

        Raises ValueError for one that is not in the list.
        """
        word = mime_type_str.lower()
        extension = _BY_MEDIA_TYPE.get(word) or word.rsplit("/", 1)[-1]
        extension = _OTHER_EXTENSIONS.get(extension, extension)
        if not MimeType.has_value(extension):
            raise ValueError(f"data format {mime_type_str} is not supported")
        return MimeType(extension)

    def get_string(self) -> str:
        """The media type as HTTP and the service write it, ``"image/tiff"``. Pure.

        Raises ValueError for a format without one (SAFE).
        """
        if self.value not in _MEDIA_TYPES:
            raise ValueError(f"{self} has no media type")
        return _MEDIA_TYPES[self.value]

    def is_image_format(self) -> bool:
        """Whether it holds a picture. Pure."""
        return self.value in _MAX_VALUES

    def is_api_format(self) -> bool:
        """Whether the Process API can be asked for it. Pure."""
        return self.value in _API_FORMATS

    def matches_extension(self, path: str) -> bool:
        """Whether ``path`` ends with this format's extension. Pure."""
        return path.endswith(f".{self.value}")

    def get_expected_max_value(self) -> float | int:
        """The value of a white pixel. Pure. Raises ValueError for a format that holds no picture."""
        if self.value not in _MAX_VALUES:
            raise ValueError(f"{self} holds no pixels")
        return _MAX_VALUES[self.value]


_EXTENSIONS = frozenset(member.value for member in MimeType)
_OTHER_EXTENSIONS: Mapping[str, str] = MappingProxyType({"tif": "tiff", "jpeg": "jpg", "hdf5": "hdf", "h5": "hdf"})
_API_FORMATS = frozenset({"tiff", "png", "jpg", "json"})
_MAX_VALUES: Mapping[str, int] = MappingProxyType({"tiff": 65535, "png": 255, "jpg": 255, "jp2": 10000})
_MEDIA_TYPES: Mapping[str, str] = MappingProxyType(
    {
        "tiff": "image/tiff",
        "png": "image/png",
        "jpg": "image/jpeg",
        "jp2": "image/jpeg2000",
        "json": "application/json",
        "csv": "text/csv",
        "zip": "application/zip",
        "hdf": "application/x-hdf",
        "xml": "text/xml",
        "gml": "application/gml+xml",
        "txt": "text/plain",
        "tar": "application/x-tar",
        "raw": "raw",
        "pkl": "application/octet-stream",
        "npy": "application/octet-stream",
        "gpkg": "application/geopackage+sqlite3",
        "geojson": "application/geo+json",
        "gz": "application/gzip",
    }
)
_BY_MEDIA_TYPE: Mapping[str, str] = MappingProxyType(
    {media: extension for extension, media in _MEDIA_TYPES.items() if media != "application/octet-stream"}
)
