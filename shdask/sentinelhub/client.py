"""SentinelHubDownloadClient: downloads of requests from several download lists in one call.

Refuses to know sessions and limits: they are the account's, whoever asks.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from shdask.sentinelhub.config import SHConfig
from shdask.sentinelhub.connections import BasedAccount
from shdask.sentinelhub.downloading import download_many
from shdask.sentinelhub.models import DownloadRequest


class SentinelHubDownloadClient:
    """Sends DownloadRequests, those of ``download_list`` or handwritten ones, for one account.

    ``redownload`` asks the service in any case; with ``raise_download_errors=False`` what fails is warned of, and None.
    """

    def __init__(
        self, *, redownload: bool = False, raise_download_errors: bool = True, config: BasedAccount | None = None
    ) -> None:
        self.redownload = redownload
        self.raise_download_errors = raise_download_errors
        self.config: BasedAccount = SHConfig() if config is None else config

    def download(
        self,
        download_requests: DownloadRequest | Iterable[DownloadRequest],
        max_threads: int | None = None,
        decode_data: bool = True,
        show_progress: bool = False,
    ) -> Any:
        """The results in the order of the requests; of a single request its result itself.

        Pictures are arrays (y, x) or (y, x, band), JSON is its object, several outputs are a dict by file name; with
        ``decode_data=False`` they are DownloadResponses. Raises DownloadFailedException, and what decoding raises.
        """
        asked = [download_requests] if isinstance(download_requests, DownloadRequest) else list(download_requests)
        results = download_many(
            asked,
            self.config,
            redownload=self.redownload,
            max_threads=max_threads,
            decode_data=decode_data,
            raise_download_errors=self.raise_download_errors,
            show_progress=show_progress,
        )
        return results[0] if isinstance(download_requests, DownloadRequest) else results
