"""The JSON of an Async Process request: a Process request that says where to deliver.

Refuses to know S3: it only says which place is meant, and by which right.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Annotated, Any

from pydantic import AfterValidator, Field, SecretStr, model_validator

from shdask.emulator.process.area import SizeRule
from shdask.emulator.process.body import Output, Part, ProcessBody, check_script, validate
from shdask.emulator.refusal import bad_payload, not_emulated

ASYNC_SIZES = SizeRule(max_px=10_000, default_px=None)
URL = re.compile(r"s3://(?P<bucket>[a-z0-9][a-z0-9.-]{1,61}[a-z0-9])(?:/(?P<path>.*))?")
REQUEST_ID, OUTPUT = "<REQUEST_ID>", "<OUTPUT>"
KEYS = ("accessKey", "secretAccessKey")


def _check_url(url: str) -> str:
    if not URL.fullmatch(url):
        raise ValueError("the url must be s3://bucket or s3://bucket/path")
    return url


class S3Access(Part):
    """``delivery.s3`` and ``evalscriptReference.s3``."""

    url: Annotated[str, AfterValidator(_check_url)]
    access_key: SecretStr | None = Field(default=None, alias="accessKey")
    secret_access_key: SecretStr | None = Field(default=None, alias="secretAccessKey")
    iam_role_arn: str | None = Field(default=None, alias="iamRoleARN")
    region: str | None = None

    @model_validator(mode="after")
    def _has_one_right(self) -> S3Access:
        pair = (self.access_key, self.secret_access_key)
        if None in pair and (self.iam_role_arn is None or pair != (None, None)):
            raise ValueError("either iamRoleARN or both accessKey and secretAccessKey must be set")
        return self


class Storage(Part):
    """``output.delivery`` and ``evalscriptReference``."""

    s3: S3Access | None = None
    gs: dict[str, Any] | None = None


class AsyncOutput(Output):
    """``output`` of an Async Process request."""

    delivery: Storage


class AsyncBody(ProcessBody):
    """A whole Async Process request."""

    output: AsyncOutput
    evalscript_reference: Storage | None = Field(default=None, alias="evalscriptReference")


@dataclass(frozen=True, slots=True, kw_only=True)
class Right:
    """By which an object is read or written: a pair of keys, or a role."""

    access_key: str | None = None
    secret_access_key: str | None = field(default=None, repr=False)
    iam_role_arn: str | None = None
    region: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """An object in S3, or where several go."""

    bucket: str
    path: str
    """Without a slash at either end; may hold placeholders."""
    right: Right

    def key(self, request_id: str, output: str, extension: str) -> str:
        """The key of an output of this request. Pure.

        Without any placeholder the path is a folder, in which each request has one of its own; one that lacks
        ``<OUTPUT>`` is a folder too. The extension always follows.
        """
        path = self.path
        if REQUEST_ID not in path and OUTPUT not in path:
            path = "/".join(filter(None, (path, REQUEST_ID)))
        if OUTPUT not in path:
            path = f"{path}/{OUTPUT}"
        return f"{path.replace(REQUEST_ID, request_id).replace(OUTPUT, output)}.{extension}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """A request that may become a job."""

    body: AsyncBody
    told: dict[str, Any] = field(repr=False)
    """Its JSON without keys."""
    delivery: Place
    script: Place | None
    """Where the evalscript is, if not in the body."""


def read_order(raw: bytes) -> Order:
    """The request in these bytes. Pure; raises Refusal (400) that names each offending place."""
    body = validate(raw, AsyncBody)
    if (body.evalscript is None) == (body.evalscript_reference is None):
        raise bad_payload("Exactly one of evalscript and evalscriptReference must be set.", "evalscript")
    if body.evalscript_reference is None:
        check_script(body.evalscript)
        script = None
    else:
        script = _find_place(body.evalscript_reference, "evalscriptReference")
    delivery = _find_place(body.output.delivery, "output->delivery")
    return Order(body=body, told=_without_keys(json.loads(raw)), delivery=delivery, script=script)


def _find_place(storage: Storage, name: str) -> Place:
    if storage.s3 is None and storage.gs is not None:
        raise not_emulated("Google Cloud Storage")
    if storage.s3 is None:
        raise bad_payload("A bucket must be set.", f"{name}->s3")
    found = URL.fullmatch(storage.s3.url)
    if found is None:
        raise bad_payload("The url is no bucket's.", f"{name}->s3->url")
    right = Right(
        access_key=_reveal(storage.s3.access_key),
        secret_access_key=_reveal(storage.s3.secret_access_key),
        iam_role_arn=storage.s3.iam_role_arn,
        region=storage.s3.region,
    )
    return Place(bucket=found["bucket"], path=(found["path"] or "").strip("/"), right=right)


def _reveal(secret: SecretStr | None) -> str | None:
    return None if secret is None else secret.get_secret_value()


def _without_keys(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_keys(member) for name, member in value.items() if name not in KEYS}
    return [_without_keys(item) for item in value] if isinstance(value, list) else value
