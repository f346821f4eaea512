"""Looks for secrets in bytes of any kind: as they are, URL-encoded, in base64 or hex, cut in half, and compressed.

Refuses to know where the bytes come from.
"""

from __future__ import annotations

import base64
import gzip
import json
import re
import secrets
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

CORE_CHARS = 24
JSON_WEB_TOKEN = re.compile(rb"eyJ[\w-]{8,}\.eyJ[\w-]{8,}\.[\w-]{8,}")
_GZIP_MAGIC = b"\x1f\x8b\x08"
_ZLIB_MAGIC = re.compile(rb"\x78[\x01\x9c\xda]")


def make_canary(name: str) -> str:
    """A secret that looks like one: it ends with signs that URLs, JSON and shells write otherwise."""
    return f"{name}{secrets.token_hex(CORE_CHARS // 2)}+/=%&"


def _forms(secret: str) -> Iterator[bytes]:
    core = secret.rstrip("+/=%&")
    half = core[-CORE_CHARS // 2 :]  # what is left of a text that was cut
    whole = secret.encode()
    yield from (half.encode(), core[-CORE_CHARS : -CORE_CHARS // 2].encode(), quote(secret, safe="").encode())
    yield from (
        half.encode("utf-16-le"),
        half.encode().hex().encode(),
        json.dumps(secret).encode(),
        half[::-1].encode(),
    )
    for shift in range(3):  # base64 looks otherwise at each place of three; its ends depend on the neighbours
        text = base64.b64encode(bytes(shift) + whole).rstrip(b"=")
        yield text[4:-4]
        yield text[4:-4].translate(bytes.maketrans(b"+/", b"-_"))


@dataclass(slots=True, kw_only=True)
class Search:
    """Names of secrets -> what they are; and all that was looked through."""

    secrets: Mapping[str, str]
    nbytes: int = 0
    found: set[tuple[str, str]] = field(default_factory=set)
    """(name of the secret, where it was)."""

    def look(self, where: str, data: bytes | str, *, allowed: Iterable[str] = ()) -> None:
        """Look for every secret, but for those that may be there, and for any access token."""
        data = data.encode(errors="surrogateescape") if isinstance(data, str) else data
        for layer in _layers(data):
            self.nbytes += len(layer)
            for name, secret in self.secrets.items():
                if name not in allowed and any(form in layer for form in _forms(secret)):
                    self.found.add((name, where))
            if "token" not in allowed and JSON_WEB_TOKEN.search(layer):
                self.found.add(("token", where))

    def look_at_files(self, folder: Path, *, allowed: Iterable[str] = ()) -> int:
        """Look into every file below ``folder``, and at its name; returns how many there are."""
        files = [path for path in folder.rglob("*") if path.is_file()]
        for path in files:
            self.look(str(path), str(path).encode() + path.read_bytes(), allowed=allowed)
        return len(files)


def _layers(data: bytes) -> Iterator[bytes]:
    """The bytes, and what unpacks from anywhere in them."""
    yield data
    at = data.find(_GZIP_MAGIC)
    if at >= 0:
        try:
            yield from _layers(gzip.decompress(data[at:]))
        except (OSError, EOFError, zlib.error):
            yield _inflate(data[at:], 31)
    for match in list(_ZLIB_MAGIC.finditer(data))[:64]:
        yield _inflate(data[match.start() :], 15)


def _inflate(data: bytes, wbits: int) -> bytes:
    try:
        return zlib.decompressobj(wbits).decompress(data)
    except zlib.error:
        return b""
