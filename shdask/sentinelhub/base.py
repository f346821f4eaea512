"""ProcessingRequest: what SentinelHubRequest and AsyncProcessRequest share, from the payload to data and files.

Refuses to know how a payload is written.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

from shdask.sentinelhub.config import SHConfig
from shdask.sentinelhub.connections import BasedAccount
from shdask.sentinelhub.constants import MimeType, RequestType
from shdask.sentinelhub.downloading import download_many
from shdask.sentinelhub.models import DownloadRequest


class ProcessingRequest:
    """A request with its payload, its download list of one entry, and where its data is kept.

    ``payload`` is the JSON that is sent to ``url``; ``mime_type`` is asked for and decoded. ``config`` is ours or
    sentinelhub-py's. Nothing is sent before data is asked for.
    """

    def __init__(
        self,
        *,
        url: str,
        payload: dict[str, Any],
        mime_type: MimeType,
        data_folder: str | None,
        config: BasedAccount | None,
    ) -> None:
        self.payload = payload
        self.data_folder = data_folder
        self.config: BasedAccount = SHConfig() if config is None else config
        self._mime_type = mime_type
        self.download_list = [
            DownloadRequest(
                request_type=RequestType.POST,
                url=url,
                post_values=payload,
                data_folder=data_folder,
                save_response=bool(data_folder),
                data_type=mime_type,
                headers={"content-type": MimeType.JSON.get_string(), "accept": mime_type.get_string()},
                use_session=True,
            )
        ]

    @property
    def mime_type(self) -> MimeType:
        """The format of the answer: of the one output, or TAR for several. Pure."""
        return self._mime_type

    def get_download_list(self) -> list[DownloadRequest]:
        """The requests that will be sent. Pure."""
        return self.download_list

    def get_filename_list(self) -> list[str]:
        """Paths of the answers below ``data_folder``, in the order of the download list. Pure."""
        return [request.get_relative_paths()[1] for request in self.download_list]

    def get_url_list(self) -> list[str | None]:
        """URLs of the requests, in the order of the download list. Pure."""
        return [request.url for request in self.download_list]

    def is_valid_request(self) -> bool:
        """Whether the download list is one. Pure."""
        return isinstance(self.download_list, list) and all(
            isinstance(request, DownloadRequest) for request in self.download_list
        )

    def get_data(
        self,
        *,
        save_data: bool = False,
        redownload: bool = False,
        data_filter: Sequence[int] | None = None,
        max_threads: int | None = None,
        decode_data: bool = True,
        raise_download_errors: bool = True,
        show_progress: bool = False,
    ) -> list[Any]:
        """The data, from ``data_folder`` where it is kept, else from the service; saved there with ``save_data``.

        Pictures are arrays (y, x) or (y, x, band), JSON is its object, several outputs are a dict by file name; with
        ``decode_data=False`` they are DownloadResponses. ``data_filter`` picks from the download list and orders;
        ``redownload`` asks the service in any case. ``max_threads`` None is the processors and 4, at most 32.
        Raises DownloadFailedException, or with ``raise_download_errors=False`` warns and gives None; ValueError for
        saving without a folder, IndexError for a filter out of range, and what ``decode_data`` raises.
        """
        self._prepare(save_data=save_data, return_data=True)
        return self._download(
            data_filter,
            redownload=redownload,
            max_threads=max_threads,
            decode_data=decode_data,
            raise_download_errors=raise_download_errors,
            show_progress=show_progress,
        )

    def save_data(
        self,
        *,
        data_filter: Sequence[int] | None = None,
        redownload: bool = False,
        max_threads: int | None = None,
        raise_download_errors: bool = False,
        show_progress: bool = False,
    ) -> None:
        """Saves the data below ``data_folder``; what is kept there whole is not asked for again.

        Takes its arguments and raises as ``get_data`` does.
        """
        self._prepare(save_data=True, return_data=False)
        self._download(
            data_filter,
            redownload=redownload,
            max_threads=max_threads,
            decode_data=True,
            raise_download_errors=raise_download_errors,
            show_progress=show_progress,
        )

    def _prepare(self, *, save_data: bool, return_data: bool) -> None:
        if not self.is_valid_request():
            raise ValueError("the download list holds something else than DownloadRequests")
        if save_data and self.data_folder is None:
            raise ValueError("data_folder is not given: name a folder when the request is made, to save its data there")
        for request in self.download_list:
            request.save_response = save_data
            request.return_data = return_data
            request.data_folder = self.data_folder

    def _download(
        self,
        data_filter: Sequence[int] | None,
        *,
        redownload: bool,
        max_threads: int | None,
        decode_data: bool,
        raise_download_errors: bool,
        show_progress: bool,
    ) -> list[Any]:
        chosen = self._chosen(data_filter)
        # each one once, however often the filter names it
        places = {id(request): place for place, request in reversed(list(enumerate(chosen)))}
        unique = [request for place, request in enumerate(chosen) if places[id(request)] == place]
        results = download_many(
            unique,
            self.config,
            redownload=redownload,
            max_threads=max_threads,
            decode_data=decode_data,
            raise_download_errors=raise_download_errors,
            show_progress=show_progress,
        )
        if len(unique) == len(chosen):
            return results
        found = {id(request): result for request, result in zip(unique, results, strict=True)}
        return [copy.deepcopy(found[id(request)]) for request in chosen]

    def _chosen(self, data_filter: Sequence[int] | None) -> list[DownloadRequest]:
        if data_filter is None:
            return self.download_list
        if not isinstance(data_filter, list | tuple):
            raise ValueError("data_filter must be a list of indices")  # noqa: TRY004  # sentinelhub-py's class
        try:
            return [self.download_list[index] for index in data_filter]
        except IndexError as error:
            raise IndexError(f"data_filter is out of range: {len(self.download_list)} requests") from error
