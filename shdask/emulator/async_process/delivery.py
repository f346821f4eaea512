"""Objects of S3 read and written for jobs, each with the right that its request gave.

Refuses to know jobs, and to try a place it was not given a right to.
"""

from __future__ import annotations

import asyncio
import threading
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from shdask.emulator.async_process.body import Place, Right
from shdask.emulator.config import EmulatorConfig

THREADS = 4
KEPT_CLIENTS = 16
PART_NBYTES = 16 * 2**20
"""Files larger than this are sent in parts of it, two at a time."""
CONNECT_S, READ_S, ATTEMPTS = 5.0, 30.0, 3
LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})

T = TypeVar("T")


class DeliveryFailed(Exception):
    """An object could not be read or written; the message names no key."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parcel:
    """A file on its way to a bucket."""

    key: str
    path: Path
    media_type: str


class Courier:
    """Talks to the one S3 of this emulator, in threads of its own."""

    def __init__(self, config: EmulatorConfig) -> None:
        self._config = config
        self._threads = ThreadPoolExecutor(max_workers=THREADS, thread_name_prefix="courier")
        self._clients: OrderedDict[Right, Any] = OrderedDict()
        self._lock = threading.Lock()

    def close(self) -> None:
        """Begin nothing any more."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def send(self, place: Place, parcel: Parcel) -> None:
        """Put a file there; memory is bounded whatever its size. Raises DeliveryFailed."""

        def send(client: Any) -> None:
            from boto3.s3.transfer import TransferConfig

            parts = TransferConfig(
                multipart_threshold=PART_NBYTES, multipart_chunksize=PART_NBYTES, max_concurrency=2, use_threads=True
            )
            kind = {"ContentType": parcel.media_type}
            client.upload_file(str(parcel.path), place.bucket, parcel.key, ExtraArgs=kind, Config=parts)

        await self._do(send, place, parcel.key)

    async def write(self, place: Place, key: str, content: bytes) -> None:
        """Put a JSON object there. Raises DeliveryFailed."""
        kind = "application/json"
        await self._do(
            lambda client: client.put_object(Bucket=place.bucket, Key=key, Body=content, ContentType=kind), place, key
        )

    async def read(self, place: Place, max_nbytes: int) -> bytes:
        """The object at the place's own path, cut after ``max_nbytes``. Raises DeliveryFailed."""

        def read(client: Any) -> bytes:
            found = client.get_object(Bucket=place.bucket, Key=place.path)
            with found["Body"] as body:
                return bytes(body.read(max_nbytes))

        return await self._do(read, place, place.path)

    async def _do(self, act: Callable[[Any], T], place: Place, key: str) -> T:
        def run() -> T:
            from boto3.exceptions import Boto3Error
            from botocore.exceptions import BotoCoreError, ClientError

            try:
                return act(self._find_client(place.right))
            except ClientError as error:
                # the message may repeat the access key
                code = error.response.get("Error", {}).get("Code", "Unknown")
                raise DeliveryFailed(f"s3://{place.bucket}/{key}: {code}") from None
            except Boto3Error as error:
                raise DeliveryFailed(f"s3://{place.bucket}/{key}: {_find_code(error)}") from None
            except (BotoCoreError, OSError) as error:
                raise DeliveryFailed(f"s3://{place.bucket}/{key}: {type(error).__name__}") from None

        return await asyncio.get_running_loop().run_in_executor(self._threads, run)

    def _find_client(self, right: Right) -> Any:
        with self._lock:
            if right not in self._clients:
                self._clients[right] = _make_client(self._config, right)
                if len(self._clients) > KEPT_CLIENTS:
                    self._clients.popitem(last=False)
            return self._clients[right]


def _find_code(error: Exception) -> str:
    """What S3 said, of an error that boto3 tells in a sentence of its own."""
    cause = error.__cause__ or error.__context__
    response = getattr(cause, "response", None) or {}
    return str(response.get("Error", {}).get("Code", type(cause or error).__name__))


def _make_client(config: EmulatorConfig, right: Right) -> Any:
    import boto3
    from botocore.config import Config

    access_key, secret = right.access_key, right.secret_access_key
    if access_key is None or secret is None:
        found = config.s3_roles.get(right.iam_role_arn or "")
        if found is None:
            raise DeliveryFailed(f"The role {right.iam_role_arn} cannot be assumed.")
        access_key, secret = found
    here = urlsplit(config.s3_endpoint or "").hostname in LOOPBACK
    options = Config(
        signature_version="s3v4",
        s3={"addressing_style": "path"},
        connect_timeout=CONNECT_S,
        read_timeout=READ_S,
        retries={"total_max_attempts": ATTEMPTS, "mode": "standard"},
        # servers that are not Amazon's need not know its newer checksums
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        # a proxy knows no loopback of ours
        proxies={} if here else None,
    )
    return boto3.session.Session(aws_access_key_id=access_key, aws_secret_access_key=secret).client(
        "s3", endpoint_url=config.s3_endpoint, region_name=right.region or config.s3_region, config=options
    )
