"""A real S3 on loopback for benchmarks, and the environment that leads to it."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

from tests.seaweed import Keys, start_seaweed

BUCKET = "bench-cubes"
KEYS = Keys(key_id="bench", secret="bench-secret")  # noqa: S106  # of a server that lives for a block


@contextlib.contextmanager
def open_bucket(folder: Path) -> Iterator[None]:
    """SeaweedFS with the bucket ``bench-cubes``, its files below ``folder``; the environment leads to it meanwhile."""
    with start_seaweed(folder / "seaweed", [KEYS]) as server:
        server.make_bucket(BUCKET, KEYS)
        place = {"AWS_ENDPOINT_URL": server.endpoint, "AWS_REGION": "us-east-1"}
        with mock.patch.dict(os.environ, {**KEYS.environ, **place}):
            yield
