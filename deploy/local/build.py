#!/usr/bin/env python3
"""Build a cube with worker processes on this machine: ``python build.py job.toml cube.zarr``.

Refuses to know what is built; the job file says it.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys

import shdask
from shdask.cluster.local import open_local_client


def main() -> int:
    """Build; returns 0 where the cube is complete, 5 where tiles failed, 130 where it was interrupted."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("job", help="the job file")
    parser.add_argument("store", help="the cube: a folder, or s3://bucket/prefix")
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="processes (default: one per core)")
    parser.add_argument("--memory", default="2GB", help="of each process; Dask restarts one that takes more")
    parser.add_argument("--scratch", help="folder for what Dask spills (default: the system's temporary one)")
    parser.add_argument("--dashboard", default="127.0.0.1:8787", help="where Dask's dashboard listens")
    words = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ended like by Ctrl-C: what is in flight is written
    try:
        with open_local_client(
            words.workers, memory_limit=words.memory, scratch=words.scratch, dashboard=words.dashboard
        ) as client:
            sys.stderr.write(f"Dask dashboard: {client.dashboard_link}\n")
            report = shdask.build_cube(words.job, words.store, client=client)
    except KeyboardInterrupt:
        sys.stderr.write("interrupted; what was written is kept, and the same command continues\n")
        return 130
    sys.stdout.write(f"{report}\n")
    return 5 if report.failed else 0


if __name__ == "__main__":
    sys.exit(main())
