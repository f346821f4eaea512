"""The S3 of tests: `shdask.testing.seaweed`."""

from __future__ import annotations

from shdask.testing.seaweed import Keys, Server, start_seaweed

__all__ = ["Keys", "Server", "start_seaweed"]
