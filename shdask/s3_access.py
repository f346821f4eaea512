"""A bucket opened with this process's own keys, and what S3 says in our words.

Refuses to know what its objects hold; no key is in any repr, message or pickle of this module.
"""

from __future__ import annotations

import importlib.util
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NoReturn, Self
from urllib.parse import urlsplit

from shdask.errors import SettingsError, ShdaskError, StoreError, StoreUnavailable, WrongStore
from shdask.settings import may_use_plain_http

if TYPE_CHECKING:
    from obstore.store import ClientConfig, RetryConfig, S3Store

_CLIENT: ClientConfig = {"connect_timeout": "10s", "timeout": "120s"}
_RETRY: RetryConfig = {
    "max_retries": 3,
    "retry_timeout": timedelta(seconds=30),
    "backoff": {"init_backoff": timedelta(milliseconds=200), "max_backoff": timedelta(seconds=5), "base": 2},
}
"""What the library does by itself; longer trouble is waited for by who writes, with the pixels in hand."""
_METADATA_SERVICE = "169.254.169.254"
_BUSY_CODES = frozenset({408, 429, 500, 502, 503, 504})
_CURES = {
    "NoSuchBucket": "there is no such bucket; create it, or correct its name or AWS_ENDPOINT_URL",
    "InvalidBucketName": "that is no bucket's name; correct it",
    "InvalidAccessKeyId": "the access key is not known there; correct AWS_ACCESS_KEY_ID, or AWS_ENDPOINT_URL",
    "SignatureDoesNotMatch": "the secret key is wrong; correct AWS_SECRET_ACCESS_KEY",
    "ExpiredToken": "the keys have expired; set fresh AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN",
    "RequestTimeTooSkewed": "this machine's clock is wrong; set it",
    "PermanentRedirect": "the bucket is in another region; set AWS_REGION to it",
    "AuthorizationHeaderMalformed": "the bucket is in another region; set AWS_REGION to it",
    "AccessDenied": "these keys may not do that; allow them to list, read, write and delete under the prefix",
}
_WRONG_ENDPOINT = "no S3 answers there; correct AWS_ENDPOINT_URL, or see to the network, then build again"
_NO_KEYS = "no keys; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY where this process runs"
_NO_LOAN = (
    "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY to a lasting pair of keys, or delivery.iam_role_arn in the job "
    "file"
)
_BUSY = "the store is in trouble or throttles; build again later (what is written is kept)"


@dataclass(frozen=True, slots=True, kw_only=True)
class S3Keys:
    """A pair of keys that the service may be given. The secret is in no repr, and the object refuses to be pickled."""

    access_key: str
    secret_access_key: str = field(repr=False)

    def __reduce__(self) -> NoReturn:
        raise TypeError("S3Keys do not travel: each process reads its own environment")

    @classmethod
    def load(cls, environ: Mapping[str, str] | None = None) -> Self:
        """The keys of the environment, else of the profile that ``AWS_PROFILE`` names.

        Raises SettingsError where there are none, and for temporary ones: the service takes no session token.
        """
        env = os.environ if environ is None else environ
        key, secret, token = (
            env.get(f"AWS_{name}") for name in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY", "SESSION_TOKEN")
        )
        provider = _profile_provider(env)
        if provider is not None:
            found = provider()
            key, secret, token = found["access_key_id"], found["secret_access_key"], found.get("token")
        if not key or not secret:
            raise SettingsError(f"jobs deliver with keys of S3, or with a role that the service may assume: {_NO_LOAN}")
        if token:
            raise SettingsError(
                f"the keys of S3 are temporary ones, and the service takes no session token: {_NO_LOAN}"
            )
        return cls(access_key=key, secret_access_key=secret)


def own_secrets() -> tuple[str, ...]:
    """What of this process's keys the service may have been given, and might tell again; none where there are none."""
    try:
        keys = S3Keys.load()
    except ShdaskError:
        return ()
    return keys.secret_access_key, keys.access_key


def check_obstore(url: str) -> None:
    """Raises WrongStore, with the cure, where the package that speaks S3 is not installed."""
    if importlib.util.find_spec("obstore") is None:
        raise WrongStore(f"{url}: S3 needs one more package: pip install 'shdask[s3]'")


def open_s3_store(
    bucket: str,
    prefix: str,
    environ: Mapping[str, str],
    *,
    endpoint_url: str | None = None,
    region: str | None = None,
) -> S3Store:
    """The objects below a bucket's prefix; keys, region and endpoint as boto3 reads them, unless the latter are given.

    Raises WrongStore for plain http to another machine.
    """
    from obstore.store import S3Store

    endpoint = endpoint_url or environ.get("AWS_ENDPOINT_URL_S3") or environ.get("AWS_ENDPOINT_URL") or None
    client: ClientConfig = dict(_CLIENT)  # type: ignore[assignment]  # a copy of the same keys
    if endpoint is not None and not endpoint.startswith("https://"):
        host = urlsplit(endpoint).hostname or ""
        if not endpoint.startswith("http://") or not may_use_plain_http(host, environ):
            raise WrongStore(
                f"{name_endpoint(endpoint_url)} is {endpoint}: pixels and keys' signatures would cross the network "
                f"unencrypted. Use https, or name the host in SHDASK_ALLOW_HTTP if that is what you want"
            )
        client["allow_http"] = True
    options: dict[str, Any] = {} if endpoint is None else {"endpoint": endpoint.rstrip("/")}
    provider = _profile_provider(environ)
    if provider is not None:
        options["credential_provider"] = provider
    chosen = region or environ.get("AWS_REGION") or environ.get("AWS_DEFAULT_REGION")
    if chosen:
        options["region"] = chosen
    return S3Store(bucket, prefix=prefix or None, client_options=client, retry_config=_RETRY, **options)


def name_endpoint(endpoint_url: str | None) -> str:
    """What to change where an endpoint is wrong: the job file's field, if it stands there. Pure."""
    return "AWS_ENDPOINT_URL" if endpoint_url is None else "delivery.endpoint_url"


def _profile_provider(environ: Mapping[str, str]) -> Any:
    """boto3's way to the keys of AWS_PROFILE; None where keys stand in the environment or no profile is named."""
    if environ.get("AWS_ACCESS_KEY_ID") or not environ.get("AWS_PROFILE"):
        return None
    if importlib.util.find_spec("boto3") is None:
        raise WrongStore(
            "AWS_PROFILE is set, and reading profiles needs boto3: pip install boto3, or set AWS_ACCESS_KEY_ID "
            "and AWS_SECRET_ACCESS_KEY"
        )
    from botocore.exceptions import BotoCoreError
    from obstore.auth.boto3 import Boto3CredentialProvider

    try:
        return Boto3CredentialProvider()
    except (BotoCoreError, ValueError) as error:
        raise WrongStore(f"AWS_PROFILE {environ['AWS_PROFILE']!r} has no keys ({error}); correct it") from error


def s3_error(name: str, error: Exception, *, opening: bool = False, endpoint_url: str | None = None) -> StoreError:
    """What to raise for an error of obstore at the place ``name``: what happened, and the cure. Pure.

    ``endpoint_url`` is the job file's, if it names one. obstore tells the service's answer by its text alone.
    """
    text, endpoint = str(error), name_endpoint(endpoint_url)
    status = re.search(r"status code: (\d{3})", text)
    code = re.search(r"<Code>(\w+)</Code>", text)
    if _METADATA_SERVICE in text:
        return WrongStore(f"{name}: {_NO_KEYS}")
    cure = _CURES.get(code[1]) if code else None
    if cure is None and status and status[1] in {"401", "403"}:
        cure = _CURES["AccessDenied"]
    if cure is not None:
        cure = cure.replace("AWS_ENDPOINT_URL", endpoint)
        return (WrongStore if opening else StoreError)(f"{name}: {cure}{f' ({code[1]})' if code else ''}")
    if status and int(status[1]) in _BUSY_CODES:
        return StoreUnavailable(f"{name}: HTTP {status[1]}{f' {code[1]}' if code else ''}: {_BUSY}")
    if status is None:
        return StoreUnavailable(
            f"{name}: {_WRONG_ENDPOINT.replace('AWS_ENDPOINT_URL', endpoint)} ({_first_line(text)})"
        )
    return StoreError(f"{name}: {_first_line(text)}")


def _first_line(text: str) -> str:
    return text.partition("\n")[0].partition(": <?xml")[0]
