"""Asks the service what is free: its entry page, its collections and the account's limits; with a token or without.

Refuses to know what answers mean for a job.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any

from shdask.errors import AuthError, DecodeError, ServiceError, TokenRejected, TransportError
from shdask.fetch.answers import service_error
from shdask.fetch.auth import AccessToken
from shdask.fetch.retry import RetryPolicy, call_with_retries
from shdask.fetch.transport import HttpAnswer, Timeouts, Transport
from shdask.settings import Deployment

PATIENT = RetryPolicy(max_retries=2, base_wait_s=0.5, total_s=15.0)
"""For people who wait for the answer."""
ONCE = RetryPolicy(max_retries=0, total_s=0.0)
ACCOUNT_PATH = "/aux/ratelimit/"
"""Where the service's own rate limiting guard (2022) asks; not documented, and perhaps not everywhere."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """Where a deployment is asked for what is free."""

    deployment: Deployment
    transport: Transport
    policy: RetryPolicy = PATIENT
    timeouts: Timeouts = field(default_factory=lambda: Timeouts(connect_s=5, read_s=15, total_s=20))

    def entry(self) -> HttpAnswer:
        """The answer of the Catalog's entry page, which anybody may read (documentation, "Catalog API examples").

        It is 401 or 403 where a deployment sees that differently. Raises ServiceError, TransportError.
        """
        return self._get(self.deployment.catalog_path + "/", None)

    def collections(self, token: AccessToken) -> Mapping[str, Any]:
        """The list of collections that the account may read, as JSON. Raises ServiceError, TransportError, DecodeError.

        It holds those of the deployment and the user's own (documentation, page "Catalog API examples").
        """
        return read_object(self._get(self.deployment.catalog_path + "/collections", token))

    def contract(self, token: AccessToken, user: str) -> Mapping[str, Any]:
        """The account's policies, as JSON. Raises as `collections`."""
        return read_object(self._get(f"{ACCOUNT_PATH}contract?userId=eq:{user}", token))

    def token_counts(self, token: AccessToken, user: str) -> Mapping[str, Any]:
        """What is left of each policy, as JSON. Raises as `collections`."""
        return read_object(self._get(f"{ACCOUNT_PATH}statistics/tokenCounts/{user}", token))

    def _get(self, path: str, token: AccessToken | None) -> HttpAnswer:
        headers = {"Accept": "*/*", **({} if token is None else {"Authorization": f"Bearer {token.value}"})}

        def attempt() -> HttpAnswer:
            url = self.deployment.base_url + path
            answer = self.transport.send("GET", url, headers=headers, body=None, timeouts=self.timeouts)
            if token is None and answer.status in {401, 403}:
                return answer
            error: ServiceError | TransportError | None = service_error(answer, self.deployment)
            if isinstance(error, TokenRejected):
                error = self._foreign(error)
            if error is None and answer.cut is not None:
                error = TransportError(answer.cut)
            if error is not None:
                raise error
            return answer

        return call_with_retries(attempt, self.policy)

    def _foreign(self, error: TokenRejected) -> AuthError:
        """What it means that a token is refused that has just been issued."""
        return AuthError(
            f"{self.deployment.base_url} refuses the token of {self.deployment.token_url} ({error}); "
            f"base_url and token_url (SH_BASE_URL, SH_TOKEN_URL) must be of one deployment",
            error.status,
            error.code,
        )


def read_object(answer: HttpAnswer) -> Mapping[str, Any]:
    """The JSON object of an answer. Pure. Raises DecodeError for anything else."""
    try:
        told = json.loads(answer.body)
    # a body of brackets only nests deeper than Python reads
    except (ValueError, RecursionError):
        told = None
    if not isinstance(told, dict):
        kind = answer.headers.get("content-type", "no content type")
        raise DecodeError(f"{kind} of {len(answer.body)} bytes where a JSON object was expected")
    return told


def read_date(answer: HttpAnswer) -> datetime | None:
    """When the answer was sent, by its server's clock, to the second; None where it does not say. Pure."""
    try:
        sent = parsedate_to_datetime(answer.headers.get("date", ""))
    except ValueError:
        return None
    return sent if sent.tzinfo is not None else None


def user_of(token: AccessToken) -> str | None:
    """The account's id, which a token names as ``sub``; None where it is no token of this kind. Pure."""
    _, _, rest = token.value.partition(".")
    claims = rest.partition(".")[0]
    try:
        told = json.loads(base64.urlsafe_b64decode(claims + "=" * (-len(claims) % 4)))
    except (ValueError, RecursionError):
        return None
    user = told.get("sub") if isinstance(told, dict) else None
    # it becomes part of a path
    return user if isinstance(user, str) and user.replace("-", "").isalnum() else None
