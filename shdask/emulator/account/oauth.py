"""OAuth client credentials: tokens that are issued, expire and can be revoked.

Refuses to know HTTP and the clock: forms are mappings, time is an argument.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote_plus

from shdask.emulator.account.quota import Bucket
from shdask.emulator.refusal import Refusal


class TooManyTokens(Exception):
    """A token request over the rate limit, which may be made again after ``wait_s`` seconds."""

    def __init__(self, wait_s: float) -> None:
        super().__init__(wait_s)
        self.wait_s = wait_s


class OAuthError(Exception):
    """A token request that is refused, with the body the identity server sends."""

    def __init__(self, status: int, error: str, description: str) -> None:
        super().__init__(status, error, description)
        self.status = status
        self.body = {"error": error, "error_description": description}


class TokenIssuer:
    """Issues bearer tokens to one OAuth client and checks those that come back."""

    def __init__(self, *, client_id: str, client_secret: str, lifetime_s: float, bucket: Bucket | None = None) -> None:
        """``bucket`` holds the tokens that may be issued, on the clock of ``issue``; None does not limit."""
        self._client_id = client_id
        self._client_secret = client_secret
        self._lifetime_s = lifetime_s
        self._key = secrets.token_bytes(32)
        self._bucket = bucket
        self._expiry: dict[str, float] = {}
        self.issued = 0

    @property
    def user_id(self) -> str:
        """The account behind the client, as tokens name it in ``sub``."""
        return "00000000-0000-4000-8000-" + hashlib.sha256(self._client_id.encode()).hexdigest()[:12]

    def issue(self, form: Mapping[str, str], now: float, *, authorization: str | None = None) -> dict[str, Any]:
        """The JSON answer to a token request with these form fields, at POSIX time ``now``.

        The client names itself in the form, or in an ``Authorization`` header (RFC 6749, 2.3.1), as requests-oauthlib
        does where it is not told otherwise. Raises OAuthError (400 or 401) for another grant type or other
        credentials, TooManyTokens for one too many.
        """
        if "grant_type" not in form:
            raise OAuthError(400, "invalid_request", "Missing form parameter: grant_type")
        if form["grant_type"] != "client_credentials":
            raise OAuthError(400, "unsupported_grant_type", "Unsupported grant_type")
        client_id, client_secret = _read_basic(authorization) or (
            form.get("client_id", ""),
            form.get("client_secret", ""),
        )
        known = hmac.compare_digest(client_id.encode(), self._client_id.encode())
        proven = hmac.compare_digest(client_secret.encode(), self._client_secret.encode())
        if not (known and proven):
            raise OAuthError(401, "invalid_client", "Invalid client or Invalid client credentials")
        self._count(now)
        self._expiry = {token: expiry for token, expiry in self._expiry.items() if expiry > now}
        token = self._make_token(now)
        self._expiry[token] = now + self._lifetime_s
        self.issued += 1
        return {
            "access_token": token,
            "expires_in": round(self._lifetime_s) if self._lifetime_s >= 1 else self._lifetime_s,
            "refresh_expires_in": 0,
            "token_type": "Bearer",
            "not-before-policy": 0,
            "scope": "email profile",
        }

    def check(self, authorization: str | None, now: float) -> None:
        """Accept an ``Authorization`` header with a token that is alive at ``now``; raises Refusal (401) otherwise."""
        scheme, _, token = (authorization or "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise Refusal(401, "COMMON_UNAUTHORIZED", "You are not authorized! Please provide a valid access token.")
        if self._expiry.get(token.strip(), 0.0) <= now:
            raise Refusal(401, "COMMON_UNAUTHORIZED", "The access token is expired, revoked or unknown.")

    def revoke_all(self) -> int:
        """End every token's life; returns how many were known."""
        count = len(self._expiry)
        self._expiry = {}
        return count

    def refill(self, now: float) -> None:
        """Allow as many tokens at once as at the start."""
        if self._bucket is not None:
            self._bucket.give_back(self._bucket.policy.capacity, now)

    def _count(self, now: float) -> None:
        if self._bucket is None:
            return
        if wait_s := self._bucket.wait_s(1.0, now):
            raise TooManyTokens(wait_s)
        self._bucket.take(1.0, now)

    def _make_token(self, now: float) -> str:
        header = {"alg": "HS256", "typ": "JWT"}
        claims = {
            "exp": int(now + self._lifetime_s),
            "iat": int(now),
            "jti": secrets.token_hex(8),
            "sub": self.user_id,
            "azp": self._client_id,
        }
        signed = f"{_segment(header)}.{_segment(claims)}"
        signature = hmac.new(self._key, signed.encode(), hashlib.sha256).digest()
        return f"{signed}.{_base64url(signature)}"


def _read_basic(authorization: str | None) -> tuple[str, str] | None:
    """Id and secret of a header of HTTP Basic; None where there is none, or another scheme."""
    scheme, _, told = (authorization or "").partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        client_id, _, client_secret = base64.b64decode(told, validate=True).decode().partition(":")
    except ValueError:
        return "", ""
    return unquote_plus(client_id), unquote_plus(client_secret)


def _segment(part: dict[str, Any]) -> str:
    return _base64url(json.dumps(part, separators=(",", ":")).encode())


def _base64url(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
