"""Which Async Process requests still run.

Refuses to know what became of those that do not: the service answers 404 for success and failure alike.
"""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import quote

import requests

from shdask.sentinelhub.config import SHConfig
from shdask.sentinelhub.connections import BasedAccount
from shdask.sentinelhub.constants import MimeType
from shdask.sentinelhub.downloading import download_one
from shdask.sentinelhub.exceptions import DownloadFailedException, MissingDataInRequestException
from shdask.sentinelhub.models import DownloadRequest

_NOT_FOUND = 404


def get_async_running_status(ids: Iterable[str], config: BasedAccount | None = None) -> dict[str, bool]:
    """For every id whether the request runs, asked of ``config.sh_base_url``: False is over, failed or never was.

    Raises DownloadFailedException for any other answer than a status or "not found", so that no id is missing;
    MissingDataInRequestException for a status that is no JSON object.
    """
    settings = SHConfig() if config is None else config
    return {request_id: _is_running(request_id, settings) for request_id in ids}


def _is_running(request_id: str, config: BasedAccount) -> bool:
    url = f"{config.sh_base_url.rstrip('/')}/api/v1/async/process/{quote(request_id, safe='')}"
    request = DownloadRequest(url=url, use_session=True, data_type=MimeType.JSON)
    try:
        status = download_one(request, config)
    except DownloadFailedException as error:
        answered = error.request_exception
        if isinstance(answered, requests.HTTPError) and answered.response.status_code == _NOT_FOUND:
            return False
        raise
    if not isinstance(status, dict):
        raise MissingDataInRequestException(f"{url} answered with {type(status).__name__}, not with a status")
    return True
