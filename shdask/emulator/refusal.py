"""The service's way of saying no: one exception and the JSON it becomes.

Refuses to know who says no, and why.
"""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

_OLD_PHRASES = {413: "Request Entity Too Large", 422: "Unprocessable Entity"}
"""As the service has them; Python 3.13 took on newer ones."""


def phrase_of(status: int) -> str:
    """The reason phrase of an HTTP status, the same with every Python. Pure."""
    return _OLD_PHRASES.get(status) or HTTPStatus(status).phrase


@dataclass(frozen=True, slots=True, kw_only=True)
class Violation:
    """One offending place in a request body, such as ``output->resx``."""

    parameter: str
    violation: str


class Refusal(Exception):
    """A request that is answered with an error of the service. Survives pickling."""

    def __init__(self, status: int, code: str, message: str, violations: tuple[Violation, ...] = ()) -> None:
        super().__init__(status, code, message, violations)
        self.status = status
        self.code = code
        self.message = message
        self.violations = violations

    def body(self) -> dict[str, Any]:
        """The answer's JSON: ``error`` with status, reason, message, code and, where known, places. Pure."""
        error: dict[str, Any] = {
            "status": self.status,
            "reason": phrase_of(self.status),
            "message": self.message,
            "code": self.code,
        }
        if self.violations:
            error["errors"] = [{"parameter": v.parameter, "violation": v.violation} for v in self.violations]
        return {"error": error}


def bad_payload(message: str, parameter: str | None = None) -> Refusal:
    """A 400 COMMON_BAD_PAYLOAD, at ``parameter`` where one is to blame. Pure."""
    violations = (Violation(parameter=parameter, violation=message),) if parameter else ()
    return Refusal(400, "COMMON_BAD_PAYLOAD", message, violations)


def forbidden() -> Refusal:
    """A 403 for what the account has no right to. Pure."""
    return Refusal(403, "COMMON_INSUFFICIENT_PERMISSIONS", "You are not authorized to perform this action.")


def used_up() -> Refusal:
    """A 403 for an account whose month is used up. Pure."""
    message = "Insufficient processing units or requests available in your account."
    return Refusal(403, "ACCESS_INSUFFICIENT_PROCESSING_UNITS", message)


def wrong_method() -> Refusal:
    """A 405 for a path that knows other methods. Pure."""
    return Refusal(405, "COMMON_METHOD_NOT_ALLOWED", "HTTP 405 Method Not Allowed")


def too_many_requests() -> Refusal:
    """A 429 for a call that may be made again later. Pure."""
    return Refusal(429, "RATE_LIMIT_EXCEEDED", "You have exceeded your rate limit")


def too_many_jobs() -> Refusal:
    """A 429 for an account that has as many asynchronous jobs as it may. Pure; the code is not documented."""
    return Refusal(429, "RATE_LIMIT_EXCEEDED", "Maximum number of concurrent async requests reached.")


def not_found(what: str) -> Refusal:
    """A 404 for what is not there, or not any more. Pure."""
    return Refusal(404, "COMMON_NOT_FOUND", f"{what} not found.")


def not_emulated(what: str) -> Refusal:
    """A 400 for a feature of the service that this emulator does not have. Pure."""
    return Refusal(400, "COMMON_EXCEPTION", f"This emulator does not serve {what}.")


def script_failed(error: str) -> Refusal:
    """A 400 for a script that does not load, throws, or takes too much. Pure; ``error`` such as ``Error: no luck``.

    The text is what the service's own request builder looks for; status and code are not documented.
    """
    return Refusal(400, "RENDERER_EXCEPTION", f"Failed to evaluate script!\n {error}")
