"""The command line: words become calls, errors become exit codes, and stdout holds what was asked for.

Refuses to do any work itself.
"""

from shdask.cli import cube, doctor, look, patches, service
from shdask.cli.app import main

__all__ = ["cube", "doctor", "look", "main", "patches", "service"]
