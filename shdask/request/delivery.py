"""Writes where a job finds its evalscript and leaves its files in S3, and keeps the key out of every repr. Pure.

Refuses to know buckets, and how their files are read.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from shdask.errors import PlanError
from shdask.request.parts import without_none

SECRET_MEMBERS = frozenset({"secretaccesskey", "secret_access_key", "credentials"})
"""In lower case: the members that hold a key of S3 or of Google's storage."""


class Secret(str):
    """Text that is written to JSON as it is, but shows itself as ``'***'`` in reprs, and so in logs and tracebacks."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "'***'"


def s3_json(
    url: str,
    *,
    access_key: str | None = None,
    secret_access_key: str | None = None,
    iam_role_arn: str | None = None,
    region: str | None = None,
) -> dict[str, Any]:
    """The ``{"s3": ...}`` object of a place in S3, with the secret masked in its repr. Pure.

    Raises PlanError unless there is exactly one of the role and the pair of keys.
    """
    if (iam_role_arn is None) == (access_key is None or secret_access_key is None):
        raise PlanError("give iam_role_arn, or both access_key and secret_access_key")
    access = {
        "url": url,
        "accessKey": access_key,
        "secretAccessKey": secret_access_key,
        "iamRoleARN": iam_role_arn,
        "region": region,
    }
    return {"s3": hide_secrets(without_none(access))}


def hide_secrets(json: Any) -> Any:
    """``json`` with its secrets masked in reprs; equal, the same when sent, and the same object without any. Pure."""
    if not _has_secrets(json):
        return json
    if not isinstance(json, Mapping):
        return [hide_secrets(inner) for inner in json]
    return {key: Secret(value) if _is_secret(key, value) else hide_secrets(value) for key, value in json.items()}


def _has_secrets(json: Any) -> bool:
    if isinstance(json, Mapping):
        return any(_is_secret(key, value) or _has_secrets(value) for key, value in json.items())
    return isinstance(json, list | tuple) and any(map(_has_secrets, json))


def _is_secret(key: object, value: object) -> bool:
    return isinstance(value, str) and str(key).lower() in SECRET_MEMBERS
