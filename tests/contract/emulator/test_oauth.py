"""The emulator's tokens, as an OAuth client sees them."""

from __future__ import annotations

import base64
import json

import pytest
import requests

from .conftest import make_body

TOKEN_PATHS = [
    "/auth/realms/main/protocol/openid-connect/token",
    "/oauth/token",
    "/auth/realms/CDSE/protocol/openid-connect/token",
]


@pytest.mark.parametrize("path", TOKEN_PATHS)
def test_client_credentials_buy_a_token(client, path):
    """Every token path answers a form with the fields observed at the service."""
    answer = client.login(path)
    fields = {key: value for key, value in answer.json().items() if key != "access_token"}
    assert answer.status_code == 200
    assert fields == {
        "expires_in": 3600,
        "refresh_expires_in": 0,
        "token_type": "Bearer",
        "not-before-policy": 0,
        "scope": "email profile",
    }


def test_token_carries_the_claims_clients_read(client):
    """A token is a JWT with expiry, user and client."""
    payload = client.token.split(".")[1]
    claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    assert claims["azp"] == "emulator"
    assert claims["exp"] - claims["iat"] == 3600
    assert claims["sub"]


def test_wrong_secret_is_refused(client):
    """Other credentials get Keycloak's 401 body."""
    answer = client.login(client_secret="guess")
    assert answer.status_code == 401
    assert answer.json() == {
        "error": "invalid_client",
        "error_description": "Invalid client or Invalid client credentials",
    }


def test_a_client_may_name_itself_by_http_basic(emulator):
    """As requests-oauthlib does, and by it xcube-sh: every OAuth server takes it."""
    form, client = {"grant_type": "client_credentials"}, (emulator.client_id, emulator.client_secret)
    answer = requests.post(emulator.token_url, data=form, auth=client, timeout=30)
    assert (answer.status_code, answer.json()["token_type"]) == (200, "Bearer")


def test_other_grant_is_refused(client):
    """Only client credentials are served."""
    answer = client.login(grant_type="password")
    assert (answer.status_code, answer.json()["error"]) == (400, "unsupported_grant_type")


def test_form_without_a_grant_is_refused(emulator):
    """A body that is no form has none."""
    answer = requests.post(emulator.token_url, json={"grant_type": "client_credentials"}, timeout=30)
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request")


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer unknown"}, {"Authorization": "Basic abc"}])
def test_process_without_a_valid_token_is_401(emulator, headers):
    """A missing, unknown or foreign authorization gets the error wrapper."""
    answer = requests.post(emulator.base_url + "/api/v1/process", json=make_body(), headers=headers, timeout=30)
    assert answer.status_code == 401
    assert answer.json()["error"]["reason"] == "Unauthorized"
    assert answer.json()["error"]["code"] == "COMMON_UNAUTHORIZED"


def test_revoked_token_is_refused_and_a_new_one_works(launched):
    """Revoking ends every token issued so far, and only those."""
    client = launched()
    client.emulator.revoke_tokens()
    statuses = [client.process(make_body()).status_code]
    client.token = client.login().json()["access_token"]
    assert [*statuses, client.process(make_body()).status_code] == [401, 200]


def test_token_expires(launched):
    """A token whose lifetime is over when it arrives is refused."""
    client = launched(token_lifetime_s=0.0)
    assert client.process(make_body()).status_code == 401


def test_one_token_too_many_is_429(launched):
    """Tokens have a rate of their own: the third in a row of two a minute must wait, told in milliseconds."""
    client = launched(tokens_per_minute=2)
    statuses = [client.login().status_code]
    answer = client.login()
    assert [*statuses, answer.status_code] == [200, 429]
    assert answer.json()["error"]["code"] == "RATE_LIMIT_EXCEEDED"
    assert 20_000 < int(answer.headers["Retry-After"]) <= 30_000


def test_a_reset_allows_tokens_again(launched):
    """Filling the buckets fills that of tokens too."""
    client = launched(tokens_per_minute=1)
    statuses = [client.login().status_code]
    client.emulator.reset()
    assert [*statuses, client.login().status_code] == [429, 200]
