"""The demo of Async Process: an S3 on this machine, jobs ordered, watched and collected, one of which fails.

Refuses to pretend: it says that the pixels are synthetic, and what goes wrong on purpose.
"""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console

from shdask.demo.run import lay_out_job, say
from shdask.display import build_on_cluster, plan_table
from shdask.emulator.launch import start_emulator
from shdask.planning import make_plan
from shdask.testing.seaweed import Keys, start_seaweed

BUCKET = "deliveries"
KEYS = Keys(key_id="demo", secret="of-a-server-that-ends-with-the-demo")  # noqa: S106  # see its value
FAULTS = "slow=6,fail@2"
TELLERS = ("shdask.tally", "shdask.jobs.ordering")
"""Loggers of what becomes of jobs."""


def run_demo_of_jobs(store: Path, console: Console) -> None:
    """Build the demo's cube of three months at ``store`` by jobs. Raises BuildError when tiles failed."""
    job = lay_out_job(store.parent, "job_async.toml")
    say(console, "1  The job", f"{job}: a country in three months, bought by Async Process")
    with tempfile.TemporaryDirectory(prefix="shdask-s3-") as folder, start_seaweed(Path(folder), [KEYS]) as server:
        server.make_bucket(BUCKET, KEYS)
        say(console, "2  The bucket", f"s3://{BUCKET} of SeaweedFS on 127.0.0.1, ended with the demo")
        with start_emulator(s3_endpoint=server.endpoint, async_concurrency=2, faults=FAULTS) as service:
            say(
                console,
                "3  The service",
                "an emulator: two jobs at once, each a few seconds long, and the second fails",
            )
            place = {"AWS_ENDPOINT_URL": server.endpoint, "AWS_REGION": "us-east-1"}
            os.environ.update({**service.environment(), **KEYS.environ, **place})
            plan = make_plan(job)
            say(console, "4  The price", "before anything is sent; by Process beside it")
            console.print(plan_table(plan))
            say(
                console,
                "5  The build",
                "each job is in the cube's ledger before it is ordered; waiting takes no worker",
            )
            with _told(console):
                report = build_on_cluster(plan, store, console)
            charged = service.stats()["pu_charged"]
    report.raise_for_failures()
    console.print(str(report), markup=False, highlight=False, soft_wrap=True)
    say(console, "6  The cube", f"{store}; the service charged {charged:.2f} PU, and the bucket was cleaned")


class _Teller(logging.Handler):
    """Says on a console what is logged of jobs."""

    def __init__(self, console: Console) -> None:
        super().__init__()
        self._console = console

    def emit(self, record: logging.LogRecord) -> None:
        """Say it, if it is of a job, or a warning."""
        text = record.getMessage()
        if "job " in text or record.levelno >= logging.WARNING:
            self._console.print(f"   {text}", markup=False, highlight=False, soft_wrap=True)


@contextmanager
def _told(console: Console) -> Iterator[None]:
    teller, loggers = _Teller(console), [logging.getLogger(name) for name in TELLERS]
    before = [(logger.level, logger.propagate) for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.INFO)
        logger.propagate = False
        logger.addHandler(teller)
    try:
        yield
    finally:
        for logger, (level, propagate) in zip(loggers, before, strict=True):
            logger.setLevel(level)
            logger.propagate = propagate
            logger.removeHandler(teller)
