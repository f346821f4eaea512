"""Tokens by a clock that is an argument."""

from __future__ import annotations

import base64

import pytest

from shdask.emulator.account.oauth import OAuthError, TokenIssuer, TooManyTokens
from shdask.emulator.account.quota import Bucket, Policy
from shdask.emulator.refusal import Refusal

FORM = {"grant_type": "client_credentials", "client_id": "me", "client_secret": "mine"}


def make_issuer(lifetime_s: float = 600.0, per_minute: float | None = None) -> TokenIssuer:
    bucket = None if per_minute is None else Bucket(Policy.per_minute(per_minute), 0.0)
    return TokenIssuer(client_id="me", client_secret="mine", lifetime_s=lifetime_s, bucket=bucket)


def test_a_token_lives_for_its_lifetime():
    """It is good a moment before its end, and refused at its end."""
    issuer = make_issuer()
    token = issuer.issue(FORM, 0.0)["access_token"]
    issuer.check(f"Bearer {token}", 599.9)
    with pytest.raises(Refusal, match="expired"):
        issuer.check(f"Bearer {token}", 600.0)


def test_the_wait_for_a_token_is_enough():
    """At 6 a minute the seventh token in a row is 10 s away, and no further."""
    issuer = make_issuer(per_minute=6)
    [issuer.issue(FORM, 0.0) for _ in range(6)]
    with pytest.raises(TooManyTokens) as raised:
        issuer.issue(FORM, 0.0)
    assert raised.value.wait_s == pytest.approx(10.0)
    assert issuer.issue(FORM, raised.value.wait_s)["token_type"] == "Bearer"


def test_a_refill_allows_tokens_at_once():
    """After it the issuer gives as many tokens in a row as at the start."""
    issuer = make_issuer(per_minute=1)
    issuer.issue(FORM, 0.0)
    issuer.refill(0.0)
    assert issuer.issue(FORM, 0.0)["expires_in"] == 600


def test_wrong_secrets_cost_no_token():
    """Only tokens that are issued count against the rate."""
    issuer = make_issuer(per_minute=1)
    with pytest.raises(OAuthError, match="invalid_client"):
        issuer.issue({**FORM, "client_secret": "guess"}, 0.0)
    assert issuer.issue(FORM, 0.0)["scope"] == "email profile"


def test_a_client_may_name_itself_in_a_header():
    """Id and secret are encoded as in a form, so that a colon and an umlaut can be told."""
    issuer = TokenIssuer(client_id="sh:me", client_secret="m ü", lifetime_s=600.0)
    told = base64.b64encode(b"sh%3Ame:m+%C3%BC").decode()
    assert issuer.issue({"grant_type": "client_credentials"}, 0.0, authorization=f"Basic {told}")["expires_in"] == 600


@pytest.mark.parametrize("told", ["bWU6Z3Vlc3M=", "bWU=", "no base64", "/w==", ""])
def test_a_header_that_proves_nothing_is_refused(told: str):
    """Another secret, none, and what cannot be read; a right form beside it does not help."""
    with pytest.raises(OAuthError, match="invalid_client"):
        make_issuer().issue(FORM, 0.0, authorization=f"Basic {told}")
