"""The service on this machine: `shdask emulator` and `shdask demo`.

Refuses to serve itself; turns words into the emulator's configuration.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import typer

from shdask.cli.app import JsonOption, app, console
from shdask.errors import SettingsError

ENDPOINT = re.compile(r"https?://[^/@?#]+/?")
COLLECTION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@app.command(epilog="Everything it serves, and how to use it from tests: docs/emulator.md.")
def emulator(
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 0,
    archive: Annotated[
        list[str] | None,
        typer.Option(metavar="COLLECTION=DIR", help="Serve GeoTIFFs as this collection. Can be repeated."),
    ] = None,
    plan: Annotated[
        str | None, typer.Option(help="The limits of a published plan, such as trial.", show_default="no limit")
    ] = None,
    requests_per_minute: Annotated[
        float | None, typer.Option(min=1, help="Refill of the request bucket.", show_default="the plan's")
    ] = None,
    requests_per_month: Annotated[
        float | None, typer.Option(min=1, help="Quota of requests.", show_default="the plan's")
    ] = None,
    pu_per_minute: Annotated[
        float | None,
        typer.Option(min=0.01, help="Refill of the bucket of processing units.", show_default="the plan's"),
    ] = None,
    pu_per_month: Annotated[
        float | None, typer.Option(min=0.01, help="Quota of processing units.", show_default="the plan's")
    ] = None,
    retry_after: Annotated[Literal["ms", "s"], typer.Option(help="What Retry-After counts.")] = "ms",
    token_lifetime: Annotated[float, typer.Option(min=0.1, help="Seconds until a token ends.")] = 3600.0,
    latency: Annotated[float, typer.Option(min=0, help="Seconds before every answer of a data call.")] = 0.0,
    s3_endpoint: Annotated[
        str | None, typer.Option(metavar="URL", help="The S3 that jobs of Async Process deliver to.")
    ] = None,
    s3_role: Annotated[
        list[str] | None,
        typer.Option(metavar="ARN", help="A role that jobs may name: it has the keys in AWS_*. Can be repeated."),
    ] = None,
    async_concurrency: Annotated[
        int | None, typer.Option(min=1, help="Jobs that may wait or run at once.", show_default="no limit")
    ] = None,
    async_queue: Annotated[float, typer.Option(min=0, help="Seconds that every job waits.")] = 0.0,
    async_discount: Annotated[bool, typer.Option("--async-discount", help="Jobs cost two thirds.")] = False,
    async_renderers: Annotated[int, typer.Option(min=1, help="Further processes that render jobs.")] = 1,
    faults: Annotated[
        str | None, typer.Option(metavar="TEXT|FILE", help="What goes wrong, such as 503:0.05,reset:0.01.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Another seed is another Earth, with other luck for faults.")] = 7,
    renderers: Annotated[int, typer.Option(min=1, help="Processes that render and run evalscripts.")] = 2,
    record: Annotated[
        Path | None, typer.Option(file_okay=False, help="Write each call as a file, without secrets.")
    ] = None,
    record_answers: Annotated[bool, typer.Option("--record-answers", help="With what was answered.")] = False,
    client_id: Annotated[str, typer.Option(help="The one OAuth client there is.")] = "emulator",
    client_secret: Annotated[str, typer.Option(help="Its secret.")] = "emulator",  # noqa: S107  # printed on purpose, opens nothing real
    as_json: JsonOption = False,
) -> None:
    """Serve the emulated service on 127.0.0.1 until ended; prints the environment that points shdask at it."""
    try:
        from shdask.emulator.config import EmulatorConfig
        from shdask.emulator.server import run_server
    except ImportError as error:
        raise _missing_extra(error) from error
    if record_answers and record is None:
        raise typer.BadParameter("--record-answers is for --record DIR")
    config = EmulatorConfig(
        port=port,
        archives=dict(_parse_archive(text) for text in archive or ()),
        plan=_check_plan(plan),
        requests_per_minute=requests_per_minute,
        requests_per_month=requests_per_month,
        pu_per_minute=pu_per_minute,
        pu_per_month=pu_per_month,
        retry_after_unit=retry_after,
        token_lifetime_s=token_lifetime,
        latency_s=latency,
        s3_endpoint=_check_endpoint(s3_endpoint),
        s3_roles=_find_keys(s3_role or ()),
        async_concurrency=async_concurrency,
        async_queue_s=async_queue,
        async_discount=async_discount,
        async_renderers=async_renderers,
        faults=_check_faults(faults),
        seed=seed,
        fault_seed=seed,
        renderers=renderers,
        record=_make_folder(record),
        record_answers=record_answers,
        client_id=client_id,
        client_secret=client_secret,
    )
    try:
        run_server(config, announce=_announce_json if as_json else _announce_exports)
    except OSError as error:
        raise SettingsError(f"cannot serve on 127.0.0.1:{port}: {error.strerror}; choose another --port") from error


def _missing_extra(error: ImportError) -> SettingsError:
    return SettingsError(f"the emulator is not installed ({error}): pip install 'shdask[emulator]'")


def _parse_archive(text: str) -> tuple[str, str]:
    from shdask.emulator.archive import ArchiveSource

    collection, _, folder = text.partition("=")
    if not collection or not folder or not Path(folder).is_dir():
        raise typer.BadParameter(f"--archive {text!r}: expected COLLECTION=DIR with a folder that exists")
    if not COLLECTION.fullmatch(collection):
        raise typer.BadParameter(f"--archive {text!r}: a collection is named by letters, digits, '-', '_' and '.'")
    try:
        ArchiveSource.open_folder(collection, Path(folder))
    except ValueError as error:
        raise typer.BadParameter(f"--archive {text!r}: {error}") from error
    return collection, folder


def _check_plan(plan: str | None) -> str | None:
    from shdask.emulator.account.plans import find_plan

    try:
        find_plan(plan)
    except ValueError as error:
        raise typer.BadParameter(f"--plan: {error}") from error
    return plan


def _check_endpoint(url: str | None) -> str | None:
    if url is not None and not ENDPOINT.fullmatch(url):
        raise typer.BadParameter(f"--s3-endpoint {url!r}: expected http://HOST:PORT or https://HOST")
    return url


def _find_keys(roles: Sequence[str]) -> dict[str, tuple[str, str]]:
    keys = tuple(os.environ.get(name, "") for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"))
    if roles and not all(keys):
        raise typer.BadParameter("--s3-role: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, the keys it has")
    return dict.fromkeys(roles, (keys[0], keys[1]))


def _check_faults(faults: str | None) -> str:
    from shdask.emulator.faults.text import read_faults

    try:
        read_faults(faults or "")
    except ValueError as error:
        raise typer.BadParameter(f"--faults: {error}") from error
    return faults or ""


def _make_folder(folder: Path | None) -> str | None:
    if folder is None:
        return None
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise typer.BadParameter(f"--record {folder}: {error.strerror}") from error
    return str(folder)


def _announce_json(place: dict[str, object]) -> None:
    print(json.dumps(place), flush=True)


def _announce_exports(place: dict[str, object]) -> None:
    for name in ("base_url", "token_url", "client_id", "client_secret"):
        print(f"export SH_{name.upper()}={place[name]}", flush=True)
    print(f"look at {place['base_url']}/emulator/", file=sys.stderr)
    print(f"serving as process {place['pid']} until Ctrl-C", file=sys.stderr)


@app.command()
def demo(
    store: Annotated[Path, typer.Option(help="Where the cube goes; a second run continues it.")] = Path(
        "demo/cube.zarr"
    ),
    by_jobs: Annotated[bool, typer.Option("--async", help="By jobs of Async Process, which deliver to S3.")] = False,
) -> None:
    """Run the whole main job on the emulator, with no account: a country becomes one cube."""
    try:
        if by_jobs:
            from shdask.demo.jobs import run_demo_of_jobs as run_demo
        else:
            from shdask.demo.run import run_demo
    except ImportError as error:
        raise _missing_extra(error) from error
    run_demo(store, console())
