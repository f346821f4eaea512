"""Where jobs of Async Process deliver to, as a job file says it: the place and nothing else.

Refuses to know keys: each process reads them from its own environment. Refuses to know how a bucket is read.
"""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from pydantic import field_validator

from shdask.plan.complaints import Table

S3_SCHEME = "s3://"
BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
SEGMENT = re.compile(r"(?!\.{1,2}$)[A-Za-z0-9!_.*'()=+,:@-]+")
"""Of a key: what S3's own guide calls safe, and a few signs that paths have; no template's brackets."""
ROLE = re.compile(r"arn:aws[a-z-]*:iam::\d{12}:role/[\w+=,.@/-]+")
REGION = re.compile(r"[a-z0-9-]+")


class DeliveryOptions(Table):
    """A bucket of the user's, which makes Async Process possible. No part of a cube's identity."""

    s3_url: str
    """``s3://bucket/prefix``, without a slash at the end; the service writes below it, and workers read there."""
    endpoint_url: str | None = None
    """Of S3 that is not AWS, as workers reach it; None takes ``AWS_ENDPOINT_URL``, else AWS."""
    region: str | None = None
    """The bucket's; None lets the service take its deployment's own."""
    iam_role_arn: str | None = None
    """What the service delivers as, in place of the keys of the environment."""
    cleanup: bool = False
    """Whether files of jobs are deleted once their tiles are durable."""

    @property
    def bucket(self) -> str:
        """The bucket's name."""
        return self.s3_url.removeprefix(S3_SCHEME).partition("/")[0]

    @property
    def prefix(self) -> str:
        """What stands behind the bucket, without slashes around it; may be empty."""
        return self.s3_url.removeprefix(S3_SCHEME).partition("/")[2]

    @field_validator("s3_url")
    @classmethod
    def _is_place(cls, url: str) -> str:
        bucket, _, prefix = url.removeprefix(S3_SCHEME).partition("/")
        if "@" in bucket:  # what stands before it is a key, and is not to be shown
            raise ValueError(f"holds a key; write {S3_SCHEME}bucket/prefix, and set the keys in the environment")
        prefix = prefix.strip("/")
        is_prefix = not prefix or all(map(SEGMENT.fullmatch, prefix.split("/")))
        if not url.startswith(S3_SCHEME) or not BUCKET.fullmatch(bucket) or not is_prefix:
            raise ValueError(f"{url.partition('?')[0]!r} is no place in S3; write {S3_SCHEME}bucket/prefix")
        return f"{S3_SCHEME}{bucket}/{prefix}".rstrip("/")

    @field_validator("endpoint_url")
    @classmethod
    def _is_endpoint(cls, url: str | None) -> str | None:
        if url is None:
            return None
        try:
            parts = urlsplit(url)
            has_host, _ = bool(parts.hostname), parts.port
        except ValueError:
            raise ValueError("is no URL; write it as https://host") from None
        if "@" in parts.netloc:
            raise ValueError("holds a key; write it as https://host, and set the keys in the environment")
        if parts.scheme not in {"http", "https"} or not has_host or parts.query or parts.fragment:
            raise ValueError(f"{url.partition('?')[0]!r} is no endpoint of S3; write it as https://host")
        return url.rstrip("/")

    @field_validator("region")
    @classmethod
    def _is_region(cls, region: str | None) -> str | None:
        if region is not None and not REGION.fullmatch(region):
            raise ValueError(f'{region!r} is no region; write it as "eu-central-1"')
        return region

    @field_validator("iam_role_arn")
    @classmethod
    def _is_role(cls, role: str | None) -> str | None:
        if role is not None and not ROLE.fullmatch(role):
            raise ValueError(f'{role!r} is no role; write it as "arn:aws:iam::123456789012:role/name"')
        return role
