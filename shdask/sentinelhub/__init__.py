"""sentinelhub-py's process requests by their own names, sent through shdask's request and fetch rooms.

Refuses to know cubes, tiles and Dask.
"""

from typing import TYPE_CHECKING

from shdask.lazy_names import names_from

if TYPE_CHECKING:
    from shdask.sentinelhub.bands import Band, Unit
    from shdask.sentinelhub.client import SentinelHubDownloadClient
    from shdask.sentinelhub.collections import DataCollection
    from shdask.sentinelhub.config import SHConfig
    from shdask.sentinelhub.constants import MimeType, MosaickingOrder, RequestType, ResamplingType
    from shdask.sentinelhub.crs import CRS
    from shdask.sentinelhub.exceptions import DownloadFailedException, OutOfRequestsException, SHRateLimitWarning
    from shdask.sentinelhub.geometry import BBox, Geometry
    from shdask.sentinelhub.models import DownloadRequest, DownloadResponse
    from shdask.sentinelhub.process import AsyncProcessRequest, SentinelHubRequest
    from shdask.sentinelhub.sizes import bbox_to_dimensions
    from shdask.sentinelhub.status import get_async_running_status

__all__ = [
    "CRS",
    "AsyncProcessRequest",
    "BBox",
    "Band",
    "DataCollection",
    "DownloadFailedException",
    "DownloadRequest",
    "DownloadResponse",
    "Geometry",
    "MimeType",
    "MosaickingOrder",
    "OutOfRequestsException",
    "RequestType",
    "ResamplingType",
    "SHConfig",
    "SHRateLimitWarning",
    "SentinelHubDownloadClient",
    "SentinelHubRequest",
    "Unit",
    "bbox_to_dimensions",
    "get_async_running_status",
]

_HOME = {
    "CRS": "crs",
    "AsyncProcessRequest": "process",
    "BBox": "geometry",
    "Band": "bands",
    "DataCollection": "collections",
    "DownloadFailedException": "exceptions",
    "DownloadRequest": "models",
    "DownloadResponse": "models",
    "Geometry": "geometry",
    "MimeType": "constants",
    "MosaickingOrder": "constants",
    "OutOfRequestsException": "exceptions",
    "RequestType": "constants",
    "ResamplingType": "constants",
    "SHConfig": "config",
    "SHRateLimitWarning": "exceptions",
    "SentinelHubDownloadClient": "client",
    "SentinelHubRequest": "process",
    "Unit": "bands",
    "bbox_to_dimensions": "sizes",
    "get_async_running_status": "status",
}

__getattr__, __dir__ = names_from(__name__, _HOME, "; see the docs for what is left out")
