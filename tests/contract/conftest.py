"""The command line in this process, for the contracts as well."""

from tests.unit.conftest import run, work, write_job

__all__ = ["run", "work", "write_job"]
