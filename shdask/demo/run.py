"""The demo's story: start the emulator, plan, build on a local cluster, open the cube, draw it.

Refuses to pretend: it says that the pixels are synthetic, here and in the cube's attributes.
"""

from __future__ import annotations

import os
from importlib.resources import files
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from shdask.display import build_on_cluster, plan_table
from shdask.emulator.launch import start_emulator
from shdask.errors import SettingsError
from shdask.planning import make_plan
from shdask.serve.preview import preview

PICTURE = "picture.png"


def run_demo(store: Path, console: Console) -> None:
    """Build the demo's cube at ``store`` and a picture beside it. Raises BuildError when tiles failed."""
    folder = store.parent
    job = lay_out_job(folder)
    say(console, "1  The job", f"{job}: a coarse outline of a country, July 2024, 30 m")
    say(console, "2  The service", "an emulator on 127.0.0.1; its Earth is synthetic, its protocol is real")
    with start_emulator() as service:
        os.environ.update(service.environment())
        plan = make_plan(job)
        say(console, "3  The price", "before anything is sent")
        console.print(plan_table(plan))
        say(console, "4  The build", "on a Dask cluster of one process per core")
        report = build_on_cluster(plan, store, console)
    report.raise_for_failures()
    console.print(str(report), markup=False, highlight=False, soft_wrap=True)

    picture = folder / PICTURE
    preview(store).save(picture)
    say(
        console,
        "5  The cube",
        f"{store}, drawn in {picture}; run the demo again and nothing is fetched twice. Open it:",
    )
    lines = ("import shdask", f'ds = shdask.open_cube("{store}", masked=True)', "print(ds.B08.mean().compute().item())")
    console.print("\n" + "".join(f"    {line}\n" for line in lines), style="green", markup=False, highlight=False)


def lay_out_job(folder: Path, job: str = "job.toml") -> Path:
    """Copy a job of the demo's and its area into ``folder``; returns the job's path.

    Raises SettingsError where a file of the user's would be overwritten, and then copies nothing.
    """
    ours = {name: files("shdask.demo").joinpath(name).read_bytes() for name in (job, "country.geojson")}
    taken = [name for name, text in ours.items() if (folder / name).exists() and (folder / name).read_bytes() != text]
    if (folder / PICTURE).exists() and not (folder / job).exists():
        taken.append(PICTURE)
    if taken:
        raise SettingsError(
            f"{folder.absolute()} holds a {' and a '.join(taken)} that the demo would overwrite; "
            f"name a cube in a folder of its own, such as --store demo/cube.zarr"
        )
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in ours.items():
        (folder / name).write_bytes(text)
    return folder / job


def say(console: Console, step: str, text: str) -> None:
    """Tell a step of the story."""
    console.print(f"[bold]{step}[/bold]  {escape(text)}", highlight=False, soft_wrap=True)
