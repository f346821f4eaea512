#!/usr/bin/env python3
"""Build a cube with workers that are Slurm jobs: ``python cluster.py job.toml /shared/cube.zarr --jobs 8``.

Refuses to know the site: partition, walltime and the like stand in jobqueue.yaml.
"""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from dask_jobqueue import SLURMCluster
from distributed import Client

import shdask


@contextmanager
def open_cluster(jobs: int) -> Iterator[Client]:
    """A scheduler in this process, and ``jobs`` worker jobs, replaced when they end; all speak TLS.

    The scheduler alone knows the account's secret. The cluster's certificates are made for it, and gone with it.
    """
    # exec: the worker is the batch process itself. What Slurm tells to end is that process alone, and a shell would
    # die of it, and the job with it, before the worker has heard.
    python = f"exec {sys.executable}"
    with SLURMCluster(security=True, python=python) as cluster, Client(cluster) as client:
        cluster.adapt(minimum_jobs=jobs, maximum_jobs=jobs)
        yield client


def main() -> int:
    """Build; returns 0 where the cube is complete, 5 where tiles failed, 130 where it was interrupted."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("job", help="the job file")
    parser.add_argument("store", help="the cube: a folder that all nodes see, or s3://bucket/prefix")
    parser.add_argument("--jobs", type=int, default=2, help="worker jobs")
    words = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ended like by Ctrl-C: what is in flight is written
    try:
        with open_cluster(words.jobs) as client:
            sys.stderr.write(f"Dask dashboard: {client.dashboard_link}\n")
            report = shdask.build_cube(words.job, words.store, client=client)
    except KeyboardInterrupt:
        sys.stderr.write("interrupted; what was written is kept, and the same command continues\n")
        return 130
    sys.stdout.write(f"{report}\n")
    return 5 if report.failed else 0


if __name__ == "__main__":
    sys.exit(main())
