"""Many requests become many results, in order: from the cache or the service, on threads, decoded or not.

Refuses to know the wire and the layout of the cache.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from typing import Any

from shdask.sentinelhub.cache import read_response, write_response
from shdask.sentinelhub.connections import Account
from shdask.sentinelhub.decoding import UNDECODABLE
from shdask.sentinelhub.exceptions import DownloadFailedException, SHRuntimeWarning
from shdask.sentinelhub.models import DownloadRequest, DownloadResponse
from shdask.sentinelhub.sending import send_request

logger = logging.getLogger(__name__)


def download_many(
    download_requests: Sequence[DownloadRequest],
    config: Account,
    *,
    redownload: bool = False,
    max_threads: int | None = None,
    decode_data: bool = True,
    raise_download_errors: bool = True,
    show_progress: bool = False,
) -> list[Any]:
    """The results in the order of the requests: decoded data, or DownloadResponses where ``decode_data`` is False.

    None stands where a request returns no data, and where it failed and errors are not raised but warned of.
    Raises the first DownloadFailedException; requests that have not begun are then not sent.
    """
    results: list[Any] = [None] * len(download_requests)
    with ThreadPoolExecutor(max_threads, thread_name_prefix="shdask-download") as pool:
        places = {
            pool.submit(download_one, request, config, redownload=redownload, decode_data=decode_data): place
            for place, request in enumerate(download_requests)
        }
        try:
            with _progress(places, len(places), show=show_progress) as finished:
                for future in finished:
                    try:
                        results[places[future]] = future.result()
                    except DownloadFailedException as error:
                        if raise_download_errors:
                            raise
                        warnings.warn(str(error), category=SHRuntimeWarning, stacklevel=2)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return results


def download_one(
    request: DownloadRequest, config: Account, *, redownload: bool = False, decode_data: bool = True
) -> Any:
    """One result: decoded data, a DownloadResponse, or None where the request returns no data.

    What is kept on disk is used if it is whole, can be decoded and belongs to the request, unless ``redownload``;
    otherwise the request is sent, and its answer kept where ``save_response`` says so.
    Raises as ``send_request`` and ``decode_data`` do; ValueError for a request that is to be saved nowhere.
    """
    request.raise_if_invalid()
    if not (request.save_response or request.return_data):
        return None
    kept = None if redownload else read_response(request)
    if kept is not None:
        try:
            # decoded even where nobody asks: only that shows that it is whole
            data = kept.decode()
        except UNDECODABLE as error:
            logger.info("what was kept cannot be decoded and is fetched again: %s", error)
        else:
            return _chosen(kept, data, decode_data=decode_data)
    response = send_request(request, config)
    if request.save_response:
        write_response(response)
    return _chosen(
        response, response.decode() if decode_data and request.return_data else None, decode_data=decode_data
    )


def _chosen(response: DownloadResponse, data: Any, *, decode_data: bool) -> Any:
    if not response.request.return_data:
        return None
    return data if decode_data else response


@contextmanager
def _progress(futures: Iterable[Future[Any]], total: int, *, show: bool) -> Iterator[Iterator[Future[Any]]]:
    """The futures as they end, counted on a progress bar where that is wanted."""
    if not show:
        yield as_completed(futures)
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    with Progress(BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()) as bar:
        yield iter(bar.track(as_completed(futures), total=total))
