"""Takes secrets out of what people may see: keys of buckets, passwords, signatures, tokens.

Refuses to know where a text comes from and who will read it.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any

MASK = "***"
_NAMES = "accesskey|secretaccesskey|accesskeyid|sessiontoken|credentials|client_?secret|password|access_token"
SECRET_NAME = re.compile(f"(?:{_NAMES})", re.IGNORECASE)
"""Names of members; those of delivery and evalscriptReference first."""
NAMED_IN_TEXT = re.compile(
    rf"""(["']?\b(?:{_NAMES})["']?\s*[:=]\s*)(?:"(?:[^"\\]|\\.)*"?|'[^']*'?|[^\s,;&}}'"]+)""", re.IGNORECASE
)
"""A name and its value in a text that is not quite JSON, or in a form."""
BY_FORM = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        r"([?&](?:X-Amz-(?:Signature|Credential|Security-Token)|X-Goog-Signature|Signature|sig)=)[^&\s\"']+",
        r"(\b[a-z][a-z0-9+.-]*://)[^/@\s\"']+(?=@)",
        r"(\bBearer\s+)[\w.~+/=-]{8,}",
        r"(\bA[KS]IA)[0-9A-Z]{16}\b",
    )
)
"""Signatures of URLs, users in URLs, tokens, and the identifiers of Amazon's keys."""


def mask_text(text: str) -> str:
    """The text with every secret that can be told by its name or form replaced by ``***``. Pure."""
    return _mask_forms(NAMED_IN_TEXT.sub(_keep_name, text))


def mask_json(value: Any) -> Any:
    """The JSON value with secrets replaced, at any depth; names and structure stay. Pure."""
    if isinstance(value, dict):
        return {
            name: MASK if SECRET_NAME.fullmatch(name) and member is not None else mask_json(member)
            for name, member in value.items()
        }
    if isinstance(value, list):
        return [mask_json(item) for item in value]
    # an evalscript may well say "password = "; a value whose name is harmless is told by its form alone
    return _mask_forms(value) if isinstance(value, str) else value


def read_masked(raw: bytes) -> Any:
    """A body's JSON without secrets, or its text where it is none; None for an empty one. Pure."""
    if not raw:
        return None
    text = raw.decode(errors="replace")
    try:
        return mask_json(json.loads(text, parse_constant=str, parse_float=_read_float))
    except (ValueError, RecursionError):
        return mask_text(text)


def _read_float(text: str) -> float | str:
    """The number, or the text of one that JSON could not say again."""
    number = float(text)
    return number if math.isfinite(number) else text


def _mask_forms(text: str) -> str:
    for pattern in BY_FORM:
        text = pattern.sub(_keep_name, text)
    return text


def _keep_name(match: re.Match[str]) -> str:
    return match[1] + MASK
