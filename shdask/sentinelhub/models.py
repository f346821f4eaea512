"""DownloadRequest and DownloadResponse: one request of a download list, and the answer to it.

Refuses to know how one becomes the other.
"""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict, TypeVar, Unpack

from shdask.sentinelhub.constants import MimeType, RequestType
from shdask.sentinelhub.decoding import decode_data
from shdask.sentinelhub.naming import hashed_name, redacted

if TYPE_CHECKING:
    import requests

E = TypeVar("E", bound=Enum)


@dataclass(repr=False)
class DownloadRequest:
    """What is asked for, and where the answer is kept. Mutable, and hashed by identity, as sentinelhub-py's is.

    ``data_type`` and ``request_type`` are given as enums or their values. Its repr hides secrets.
    """

    url: str | None = None
    headers: dict[str, Any] = field(default_factory=dict)
    request_type: RequestType = RequestType.GET
    post_values: dict[str, Any] | None = None
    """The JSON body."""
    use_session: bool = False
    """Whether the access token goes along."""
    data_type: MimeType = MimeType.RAW
    """What the answer is decoded as; RAW: what it says it is."""
    save_response: bool = False
    data_folder: str | None = None
    filename: str | None = None
    """Path below ``data_folder``; None: a folder of the hashed name."""
    return_data: bool = True
    extra_params: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.request_type = _member(RequestType, self.request_type)
        self.data_type = _member(MimeType, self.data_type)

    def __hash__(self) -> int:
        return id(self)

    def __repr__(self) -> str:
        shown = ", ".join(f"{field.name}={redacted(getattr(self, field.name))!r}" for field in fields(self))
        return f"{type(self).__name__}({shown})"

    def raise_if_invalid(self) -> None:
        """Raises ValueError where the answer is to be saved and there is no folder for it."""
        if self.save_response and self.data_folder is None:
            raise ValueError("data_folder is not given: name a folder when the request is made, to save its data there")

    def get_request_params(self, include_metadata: bool = False) -> dict[str, Any]:
        """URL and payload, and with ``include_metadata`` headers and local time."""
        params: dict[str, Any] = {"url": self.url, "payload": self.post_values}
        if include_metadata:
            params.update(
                headers=self.headers, timestamp=dt.datetime.now().astimezone().replace(tzinfo=None).isoformat()
            )
        return params

    def get_hashed_name(self) -> str:
        """The name of the answer's folder, from URL and payload; the order of keys does not change it. Pure."""
        return hashed_name(self.url, self.post_values)

    def get_relative_paths(self) -> tuple[str | None, str]:
        """Paths below ``data_folder`` of the request's record, None with a ``filename``, and of the answer. Pure."""
        if self.filename is not None:
            return None, self.filename
        folder = Path(self.get_hashed_name())
        return str(folder / "request.json"), str(folder / f"response.{self.data_type.extension}")

    def get_storage_paths(self) -> tuple[str | None, str | None]:
        """Paths of the request's record and of the answer; each None where it is not kept. Pure."""
        if self.data_folder is None:
            return None, None
        record, answer = self.get_relative_paths()
        # not pathlib, which would write the user's "./folder" in another way than sentinelhub-py
        return record and os.path.join(self.data_folder, record), os.path.join(self.data_folder, answer)  # noqa: PTH118


class DownloadResponseFields(TypedDict, total=False):
    """The fields of DownloadResponse, as keyword arguments."""

    request: DownloadRequest
    content: bytes
    headers: Mapping[str, Any]
    status_code: int | None
    elapsed: float | None


@dataclass(frozen=True)
class DownloadResponse:
    """An answer: its bytes, and what came with them."""

    request: DownloadRequest
    content: bytes = field(repr=False)
    headers: Mapping[str, Any] = field(default_factory=dict)
    status_code: int | None = None
    elapsed: float | None = None
    """Seconds from sending to the last byte."""

    @property
    def response_type(self) -> MimeType:
        """What the answer is decoded as: what was asked for, else what its headers say. Pure."""
        if self.request.data_type is not MimeType.RAW:
            return self.request.data_type
        said = next((value for name, value in self.headers.items() if name.lower() == "content-type"), None)
        return MimeType.from_string(said.partition(";")[0].strip()) if said else MimeType.RAW

    def decode(self) -> Any:
        """The bytes as an array (y, x) or (y, x, band), or as the object they hold. Raises as ``decode_data``. Pure."""
        return decode_data(self.content, data_type=self.response_type)

    def derive(self, **changes: Unpack[DownloadResponseFields]) -> DownloadResponse:
        """The same answer but for what is given. Pure."""
        return replace(self, **changes)

    @classmethod
    def from_response(cls, response: requests.Response, request: DownloadRequest) -> DownloadResponse:
        """The answer that the HTTP library holds, read whole."""
        return cls(
            request=request,
            content=response.content,
            headers=dict(response.headers),
            status_code=response.status_code,
            elapsed=response.elapsed.total_seconds(),
        )

    @classmethod
    def from_local(cls, request: DownloadRequest) -> DownloadResponse:
        """The answer that is kept for the request below its ``data_folder``.

        Raises ValueError for a request without a folder, FileNotFoundError where no whole answer is kept,
        HashedNameCollisionException for one to another request.
        """
        from shdask.sentinelhub.cache import read_response

        if request.data_folder is None:
            raise ValueError("data_folder is not given: there is nowhere to read an answer from")
        found = read_response(request)
        if found is None:
            raise FileNotFoundError(f"no whole answer is kept at {request.get_storage_paths()[1]}")
        return found

    def to_local(self) -> None:
        """Keeps the answer below its request's ``data_folder``. Raises ValueError where there is none, OSError."""
        from shdask.sentinelhub.cache import write_response

        write_response(self)


def _member(kind: Callable[[object], E], value: object) -> E:
    """``value`` as a member of ours, be it ours, sentinelhub-py's or the bare value."""
    return kind(value.value if isinstance(value, Enum) else value)
