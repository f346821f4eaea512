"""sentinelhub-py's exceptions and warnings by their names; those that tell of a request carry the answer to it.

Refuses to know when they are raised. They are ShdaskErrors too, and survive pickling.
"""

from __future__ import annotations

import requests

from shdask.errors import ShdaskError


class BaseSentinelHubException(ShdaskError):
    """Base of all exceptions here."""


class DownloadFailedException(BaseSentinelHubException):
    """A download failed; the message holds the service's own.

    ``request_exception`` is what ``requests`` would have raised: an HTTPError whose ``response`` has the status,
    headers and content of the service's answer, or a ConnectionError where there was none. It holds neither the
    request nor its token.
    """

    def __init__(self, msg: str, *, request_exception: requests.RequestException | None = None) -> None:
        super().__init__(msg)
        self.request_exception = request_exception


class OutOfRequestsException(DownloadFailedException):
    """The account has no requests or processing units left, or 429 was answered ``max_retries`` times."""

    exit_code = 4


class ImageDecodingError(BaseSentinelHubException):
    """Downloaded bytes are not a whole picture of the expected format."""


class MissingDataInRequestException(BaseSentinelHubException):
    """The answer is not of the expected kind."""


class HashedNameCollisionException(BaseSentinelHubException):
    """A cached answer belongs to another request of the same hashed name."""


class SHDeprecationWarning(DeprecationWarning):
    """An argument has been replaced by another."""


class SHUserWarning(UserWarning):
    """Something in the user's settings looks wrong."""


class SHRuntimeWarning(RuntimeWarning):
    """Something went wrong on the way and was lived with."""


class SHRateLimitWarning(SHRuntimeWarning):
    """The service answered 429; the request waits and is sent again."""
