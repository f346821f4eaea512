"""The command that looks before anything is paid: `shdask doctor`.

Refuses to look itself.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from shdask.cli.app import EXIT_CODES, JsonOption, app


@app.command(epilog=EXIT_CODES)
def doctor(
    job: Annotated[
        Path | None, typer.Argument(help="The job file (TOML); none: the account alone.", metavar="JOB")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Hold a job against what account and deployment offer, and name the cure of each fault; for under 0.1 PU."""
    from shdask.doctor.examine import examine

    found = examine(job)
    print(json.dumps(found.as_dict()) if as_json else found)
    if found.exit_code:
        raise typer.Exit(found.exit_code)
