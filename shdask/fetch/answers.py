"""What an answer that is not data means: the service's error bodies read, and one table from status to error class.

Refuses to know what was asked and whether it is tried again.
"""

from __future__ import annotations

import html
import json
import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from shdask.errors import (
    AuthError,
    JobQueueFull,
    QuotaExhausted,
    RateLimited,
    RequestRejected,
    ServiceError,
    ServiceUnavailable,
    TokenRejected,
)
from shdask.fetch.transport import HttpAnswer
from shdask.settings import Deployment

_MESSAGE_CHARS = 500
_READ_NBYTES = 256 * 1024
_TELLING_CHARS = 8
"""So much of a secret's beginning is masked as all of it is: a service may clip what it repeats."""

_CURES: Mapping[str, str] = {
    "COMMON_INSUFFICIENT_PERMISSIONS": "the account may not use this collection; check the collection's access terms",
    "COMMON_UNAUTHORIZED": "the token was refused",
    "ACCESS_INSUFFICIENT_PROCESSING_UNITS": (
        "this month's processing units or requests are used up; what was fetched is kept, run again after the "
        "quota resets"
    ),
    "COMMON_SENTINEL_ACCOUNT_EXPIRED": "the account has expired; renew it",
    "RATE_LIMIT_TOKEN_COUNT_EXCEEDS_CAPACITY": (
        "one request costs more than the account's bucket can ever hold; use a smaller tile_px or fewer bands"
    ),
}

_CODES: Mapping[str, type[ServiceError]] = {
    "ACCESS_INSUFFICIENT_PROCESSING_UNITS": QuotaExhausted,
    "COMMON_SENTINEL_ACCOUNT_EXPIRED": AuthError,
    "RATE_LIMIT_TOKEN_COUNT_EXCEEDS_CAPACITY": RequestRejected,
}
"""Codes that say more than their status."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Complaint:
    """The service's own words: ``text`` is one line of bounded length, ``code`` its name for the error."""

    text: str
    code: str | None = None


def service_error(
    answer: HttpAnswer, deployment: Deployment, now: Callable[[], datetime] = lambda: datetime.now(UTC)
) -> ServiceError | None:
    """The error that a whole answer stands for, None for a 2xx. Pure but for ``now``, where no answer is dated."""
    status = answer.status
    if answer.is_success:
        return None
    complaint = read_complaint(answer)
    message = complaint.text
    code = complaint.code or ""
    if code in _CURES:
        message = f"{message}; {_CURES[code]}"
    error_class = _CODES.get(code) or _class_of(status, complaint)
    if error_class is QuotaExhausted:
        resume_at = _resume_at(answer.headers, now)
        return QuotaExhausted(f"{message} at {resume_at}", status, complaint.code, resume_at)
    if error_class in {RateLimited, JobQueueFull}:
        limited = RateLimited if error_class is RateLimited else JobQueueFull
        return limited(message, status, complaint.code, retry_after_s(answer.headers, deployment))
    if 300 <= status < 400:  # noqa: PLR2004  # HTTP's own numbers
        message = f"{message} (a redirect, not followed since it would carry the token elsewhere); check the base URL"
    if status == 404:  # noqa: PLR2004  # HTTP's own number
        message = f"{message}; the service has no such path or collection: check base_url (SH_BASE_URL) and collection"
    return error_class(message, status, complaint.code)


def without_secrets(body: bytes, secrets: Iterable[str]) -> bytes:
    """The body of an answer that may repeat what was sent, as it may be shown, logged and sent on. Pure.

    Found are secrets as they are, escaped as JSON, a URL or HTML does it, and clipped ones.
    """
    for secret in filter(None, secrets):
        characters = [_any_form(character) for character in secret]
        told, more = characters[:_TELLING_CHARS], characters[_TELLING_CHARS:]
        # each of the rest is optional: a match never fails there, and so never takes long
        pattern = "".join(told) + "".join(f"{character}?" for character in more)
        body = re.sub(pattern.encode(errors="surrogatepass"), b"***", body)
    return body


def _any_form(character: str) -> str:
    """A pattern of a character, escaped or not, once or twice."""
    code, utf8 = ord(character), "".join(f"%(?:25)?{byte:02x}" for byte in character.encode(errors="surrogatepass"))
    named = html.escape(character)
    forms = [
        rf"\\{{0,4}}{re.escape(character)}",
        rf"(?i:\\{{1,4}}u{code:04x})",
        rf"(?i:{utf8})",
        rf"(?i:&(?:amp;)?\#(?:0{{0,4}}{code}|x0{{0,4}}{code:x});)",
        *([re.escape(named)] if named != character else []),
    ]
    return f"(?:{'|'.join(reversed(forms))})"


def _class_of(status: int, complaint: Complaint) -> type[ServiceError]:
    if status == 401:  # noqa: PLR2004  # HTTP's own number
        return TokenRejected
    if status == 429:  # noqa: PLR2004  # HTTP's own number
        return JobQueueFull if "concurrent async requests" in complaint.text else RateLimited
    # a request time-out, and a known transient fault: the service lost a body that was sent
    if status == 408 or "Request body should be non-empty" in complaint.text:  # noqa: PLR2004  # HTTP's own number
        return ServiceUnavailable
    if 300 <= status < 500:  # noqa: PLR2004  # HTTP's own numbers
        return RequestRejected
    return ServiceUnavailable


def _resume_at(headers: Mapping[str, str], now: Callable[[], datetime]) -> str:
    """When a month's quota is whole again: what ``Retry-After`` dates, else the first of the month after ``Date``."""
    sent = _http_date(headers.get("date")) or now()
    advised = _http_date(headers.get("retry-after"))
    if advised is None or advised <= sent:
        year, month = divmod(sent.year * 12 + sent.month, 12)
        advised = datetime(year, month + 1, 1, tzinfo=UTC)
    return advised.isoformat().replace("+00:00", "Z")


def _http_date(text: str | None) -> datetime | None:
    try:
        return parsedate_to_datetime(text or "").astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def retry_after_s(headers: Mapping[str, str], deployment: Deployment) -> float | None:
    """The advice of ``Retry-After`` in seconds; None where it is absent, a date or no number. Pure.

    The unit is the deployment's (documented as milliseconds; some clients read seconds), and the advice is cut at
    ``deployment.retry_after_max_s``.
    """
    try:
        value = float(headers["retry-after"])
    except (KeyError, ValueError):
        return None
    if not math.isfinite(value) or value < 0:
        return None
    return min(value * deployment.retry_after_unit_s, deployment.retry_after_max_s)


def read_complaint(answer: HttpAnswer) -> Complaint:
    """What an error answer says, in any of the shapes met: wrapped, bare, Keycloak's, Catalog's, HTML, text. Pure."""
    try:
        told = json.loads(answer.body[:_READ_NBYTES])
    # a body of brackets only nests deeper than Python reads
    except (ValueError, RecursionError):
        told = None
    code: str | None = None
    message = ""
    if isinstance(told, dict):
        code, message = _read_json(told)
    elif told is None:
        message = _read_text(answer)
    parts = [str(answer.status), code or "", _clip(message) or "(no message)"]
    return Complaint(text=" ".join(part for part in parts if part), code=code)


def _read_json(told: Mapping[str, Any]) -> tuple[str | None, str]:
    error = told.get("error", told)
    if isinstance(error, str):
        return error, str(told.get("error_description", ""))
    if not isinstance(error, dict):
        return None, ""
    message = error.get("message") or error.get("description") or error.get("reason") or ""
    violations = _read_violations(error.get("errors"))
    code = error.get("code")
    return (code if isinstance(code, str) else None), f"{message}{violations}"


def _read_violations(errors: object) -> str:
    entries = errors if isinstance(errors, list) else [errors]
    named = [
        f"{entry.get('parameter')}: {entry.get('violation') or entry.get('description')}"
        for entry in entries
        if isinstance(entry, dict) and entry.get("parameter")
    ]
    return f" [{'; '.join(named)}]" if named else ""


def _read_text(answer: HttpAnswer) -> str:
    text = answer.body[:_READ_NBYTES].decode("utf-8", errors="replace")
    title = re.search(r"<title[^>]*>(.*?)</title>", text, re.IGNORECASE | re.DOTALL)
    if title:
        return html.unescape(title.group(1))
    if "<html" in text.lower():
        return f"an HTML page of {len(answer.body)} bytes"
    return text


def _clip(text: str) -> str:
    line = " ".join("".join(character if character.isprintable() else " " for character in text).split())
    return line if len(line) <= _MESSAGE_CHARS else line[:_MESSAGE_CHARS] + "..."
