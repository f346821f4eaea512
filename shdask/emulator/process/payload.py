"""The bytes of a Process request become its JSON: gzip is undone, a multipart form is put together.

Refuses to know what the JSON says.
"""

from __future__ import annotations

import email
import json
import zlib
from collections.abc import AsyncIterator

from shdask.emulator.refusal import Refusal, bad_payload

MAX_NBYTES = 64 * 2**20
"""Of a body, where nothing else is said; the service's own limit is not documented."""
GZIP_WINDOW = 31


async def collect(chunks: AsyncIterator[bytes], max_nbytes: int) -> bytes:
    """A body that arrives piece by piece; raises Refusal (413) for a larger one, when all of it has come.

    A client that is still sending would not read an answer.
    """
    pieces, nbytes = [], 0
    async for chunk in chunks:
        nbytes += len(chunk)
        if nbytes <= max_nbytes:
            pieces.append(chunk)
    if nbytes > max_nbytes:
        raise _too_large(max_nbytes)
    return b"".join(pieces)


def read_payload(
    raw: bytes, content_type: str, content_encoding: str, max_nbytes: int = MAX_NBYTES, *, forms: bool = True
) -> bytes:
    """The JSON of a request with these headers; of a form, ``request`` with ``evalscript`` put into it.

    ``forms``: they are taken at all.

    Pure; raises Refusal: 415 for other types and encodings, 413 for a body that unpacks to more than ``max_nbytes``,
    400 for one that cannot be read.
    """
    encoding = content_encoding.strip().lower()
    if encoding == "gzip":
        raw = _unpack(raw, max_nbytes)
    elif encoding not in {"", "identity"}:
        raise _unsupported(encoding)
    kind = content_type.partition(";")[0].strip().lower()
    if not raw or kind == "application/json":
        return raw
    if kind == "multipart/form-data" and forms:
        return _join(raw, content_type)
    raise _unsupported(kind)


def _unpack(raw: bytes, max_nbytes: int) -> bytes:
    stream = zlib.decompressobj(GZIP_WINDOW)
    try:
        content = stream.decompress(raw, max_nbytes)
    except zlib.error:
        raise bad_payload("The body is not gzip.") from None
    if stream.unconsumed_tail:
        raise _too_large(max_nbytes)
    if not stream.eof:
        raise bad_payload("The body's gzip is cut short.")
    return content


def _too_large(max_nbytes: int) -> Refusal:
    # the code is the nearest one that is documented
    return Refusal(413, "COMMON_BAD_PAYLOAD", f"The body is larger than {max_nbytes} bytes.")


def _join(raw: bytes, content_type: str) -> bytes:
    form = email.message_from_bytes(f"Content-Type: {content_type}\r\n\r\n".encode() + raw)
    parts = {}
    for part in form.walk():
        name, content = part.get_param("name", header="content-disposition"), part.get_payload(decode=True)
        if isinstance(name, str) and isinstance(content, bytes):
            parts[name] = content
    try:
        request = json.loads(parts["request"])
        return json.dumps({**request, "evalscript": parts["evalscript"].decode()}).encode()
    except (KeyError, TypeError, ValueError, RecursionError):
        raise bad_payload("A form must have the parts request (a JSON object) and evalscript (text).") from None


def _unsupported(what: str) -> Refusal:
    return Refusal(415, "COMMON_UNSUPPORTED_MEDIA_TYPE", f"HTTP 415 Unsupported Media Type: {what}")
